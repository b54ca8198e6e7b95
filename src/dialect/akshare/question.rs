//! Which question asks for an area, and what its answer may hold.

use std::collections::BTreeMap;

use crate::dialect::facets;
use crate::model::dataset::{Cut, Service};
use crate::model::{Area, Day, Error, Result, Span};

/// One call of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub api: String,
    pub params: BTreeMap<String, String>,
    /// The canonical code that is asked about, when it is one.
    pub code: Option<String>,
    /// The days that the answer may hold. Wider than the wanted ones where days before them prove that the door works:
    /// an empty answer alone does not prove that nothing happened.
    pub asked: Span,
}

/// The question for `area` by way of `cut`; spans of one security begin `proof_days` earlier.
pub fn question(service: &Service, cut: &Cut, area: &Area, facet: u32, proof_days: u32) -> Result<Question> {
    let mut params: BTreeMap<String, String> = service.always.clone();
    for (name, value) in facets::values(&service.facets, facet)? {
        params.insert(name.to_string(), value.to_string());
    }
    let impossible = || Error::bug(format!("{} cannot be asked for {area} by {}", service.api, cut.name()));
    let mut put = |name: &str, value: String| params.insert(name.to_string(), value);
    let (mut asked, mut code) = (Span::ALL, None);
    match cut {
        Cut::Day { day: name } | Cut::Period { period: name } => {
            if area.span.from != area.span.to {
                return Err(impossible());
            }
            put(name, area.span.from.compact());
            asked = area.span;
        }
        Cut::Security { security, from, to } => {
            let wanted = area.securities.single().ok_or_else(impossible)?;
            put(security, wanted.split('.').next().unwrap_or_default().to_string());
            code = Some(wanted.to_string());
            if let (Some(from), Some(to)) = (from, to) {
                asked = earlier(area.span, proof_days);
                put_bounds(&mut put, from, to, asked);
            }
        }
        Cut::Range { from, to } => {
            asked = area.span;
            put_bounds(&mut put, from, to, asked);
        }
        Cut::Whole => {}
    }
    Ok(Question { api: service.api.clone(), params, code, asked })
}

fn earlier(span: Span, days: u32) -> Span {
    if span.from <= Day::MIN {
        return span;
    }
    Span::new(span.from.plus(-i32::try_from(days).unwrap_or(0)), span.to)
}

/// Open ends are not sent.
fn put_bounds(put: &mut impl FnMut(&str, String) -> Option<String>, from: &str, to: &str, span: Span) {
    if span.from > Day::MIN {
        put(from, span.from.compact());
    }
    if span.to < Day::MAX {
        put(to, span.to.compact());
    }
}
