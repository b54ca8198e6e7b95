//! Tables as a session describes them: before their first use, and again after every change of their columns.

use std::collections::HashMap;

use crate::model::{Error, Result};

/// By what an update or a delete names its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    Nothing,
    /// The whole row.
    Full,
    Index,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub oid: u32,
    pub namespace: String,
    pub name: String,
    pub identity: Identity,
    pub columns: Vec<Column>,
}

impl Relation {
    /// `public.voucher`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Positions of the columns that tell rows apart.
    pub fn key(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_key).map(|(index, _)| index)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub is_key: bool,
    pub name: String,
    pub type_oid: u32,
    pub typmod: i32,
}

/// What a type means for a value that is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    Float,
    /// Digits before and after the point, where the column limits them.
    Decimal(Option<(u16, i16)>),
    Json,
    Bytes,
    /// At most so many characters, where the column limits them.
    Text(Option<u32>),
}

impl Column {
    /// What its type means; types that are not known are text.
    pub fn kind(&self) -> Kind {
        match self.type_oid {
            16 => Kind::Boolean,
            20 | 21 | 23 => Kind::Integer,
            700 | 701 => Kind::Float,
            1700 => Kind::Decimal(self.precision()),
            114 | 3802 => Kind::Json,
            17 => Kind::Bytes,
            1042 | 1043 => Kind::Text(u32::try_from(self.typmod.saturating_sub(4)).ok().filter(|_| self.typmod >= 4)),
            _ => Kind::Text(None),
        }
    }

    /// Precision and scale of `numeric(p,s)`; the scale has eleven bits and a sign.
    fn precision(&self) -> Option<(u16, i16)> {
        let packed = u32::try_from(self.typmod.checked_sub(4)?).ok()?;
        let scale = (packed & 0x7ff) as i16;
        Some(((packed >> 16) as u16, (scale ^ 1024) - 1024))
    }
}

/// The tables that a session has described.
#[derive(Debug, Default)]
pub struct Relations(HashMap<u32, Relation>);

impl Relations {
    /// Learns or relearns a table.
    pub fn learn(&mut self, relation: Relation) {
        self.0.insert(relation.oid, relation);
    }

    /// The table of a change; a change of one that was never described is a fault.
    pub fn get(&self, oid: u32) -> Result<&Relation> {
        self.0.get(&oid).ok_or_else(|| {
            Error::transient(format!("a change of a table (oid {oid}) that the server has not described"))
        })
    }
}
