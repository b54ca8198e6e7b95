//! Finding rows by key among encoded ones.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::decode::Fields;
use super::table::Table;

/// Where the key lies in an encoded row.
#[derive(Clone, Debug)]
pub(super) struct KeyShape {
    key: Vec<usize>,
    /// The key columns are the first ones, in their order.
    leads: bool,
}

impl KeyShape {
    pub(super) fn of(table: &Table) -> KeyShape {
        let leads = table.key.iter().enumerate().all(|(at, index)| at == *index);
        KeyShape { key: table.key.clone(), leads }
    }

    /// The bytes of the key where it leads the row, else those of the whole row: something to sort by.
    pub(super) fn leading<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        match self.leads {
            true => {
                let len: usize = Fields::of(row).take(self.key.len()).map(<[u8]>::len).sum();
                row.get(2..2 + len).unwrap_or_default()
            }
            false => row.get(2..).unwrap_or_default(),
        }
    }

    /// Appends the fields of the key, in key order.
    pub(super) fn write(&self, row: &[u8], out: &mut Vec<u8>) {
        if self.leads {
            return out.extend_from_slice(self.leading(row));
        }
        let fields: Vec<&[u8]> = Fields::of(row).collect();
        self.key.iter().filter_map(|index| fields.get(*index)).for_each(|field| out.extend_from_slice(field));
    }

    fn hash(&self, row: &[u8]) -> u64 {
        if self.leads {
            return mixed(self.leading(row));
        }
        let mut key = Vec::new();
        self.write(row, &mut key);
        mixed(&key)
    }

    fn same(&self, one: &[u8], other: &[u8]) -> bool {
        if self.leads {
            return self.leading(one) == self.leading(other);
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        self.write(one, &mut first);
        self.write(other, &mut second);
        first == second
    }
}

/// Eight bytes at a time; keys are short.
#[inline]
fn mixed(bytes: &[u8]) -> u64 {
    let mut hash = 0x9E37_79B9_7F4A_7C15u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash ^= hash >> 29;
    }
    hash
}

/// The numbers are mixed already.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mixed(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Change and row.
pub(super) type At = (u32, u32);

/// Rows by the hash of their key; the rare others with the same hash stand apart.
pub(super) struct Index {
    shape: KeyShape,
    first: HashMap<u64, At, BuildHasherDefault<Mixed>>,
    others: HashMap<u64, Vec<At>>,
}

impl Index {
    pub(super) fn new(table: &Table, rows: usize) -> Index {
        let first = HashMap::with_capacity_and_hasher(rows, BuildHasherDefault::default());
        Index { shape: KeyShape::of(table), first, others: HashMap::new() }
    }

    /// Adds a row; `false` when its key is there already.
    pub(super) fn insert<'r>(&mut self, row: &[u8], at: At, known: impl Fn(At) -> &'r [u8]) -> bool {
        let hash = self.shape.hash(row);
        let Some(first) = self.first.get(&hash) else {
            self.first.insert(hash, at);
            return true;
        };
        let others = self.others.entry(hash).or_default();
        let twice = std::iter::once(first).chain(others.iter()).any(|at| self.shape.same(row, known(*at)));
        if !twice {
            others.push(at);
        }
        !twice
    }

    /// The row with the key of this one.
    #[inline]
    pub(super) fn find<'r>(&self, row: &[u8], known: impl Fn(At) -> &'r [u8]) -> Option<At> {
        let hash = self.shape.hash(row);
        let first = self.first.get(&hash)?;
        if self.shape.same(row, known(*first)) {
            return Some(*first);
        }
        self.others.get(&hash)?.iter().copied().find(|at| self.shape.same(row, known(*at)))
    }
}
