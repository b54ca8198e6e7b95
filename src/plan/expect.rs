//! How many rows an answer should have, from the listings of the day and the dataset's expectations.

use std::sync::Arc;

use super::Knowledge;
use crate::model::dataset::{Points, Shape, Universe};
use crate::model::{Dataset, Day, Securities, Span};

/// Securities that are assumed while the list is not known.
pub const SECURITIES_DEFAULT: usize = 5_500;

/// A security and the days on which it can have rows.
#[derive(Clone, Debug)]
pub struct Member {
    pub code: Arc<str>,
    pub life: Span,
}

/// Whose cells are meant.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Sorted by code; empty when nobody in particular is meant, or when the list is not known.
    pub members: Vec<Member>,
    /// Wanted codes that no security has or had.
    pub unknown: Vec<String>,
    /// The dataset is about securities, all of them are wanted, and the list is not known.
    pub list_missing: bool,
}

impl Members {
    /// The members of `dataset` that are `wanted`. Former codes mean the current one.
    pub fn of(dataset: &Dataset, knowledge: &Knowledge, wanted: &Securities, timeless: bool) -> Members {
        let mut found = match wanted {
            _ if dataset.security.is_none() => Members::default(),
            Securities::All => everybody(dataset, knowledge),
            Securities::Some(codes) => named(dataset, knowledge, codes.iter()),
        };
        if timeless {
            found.members.iter_mut().for_each(|member| member.life = Span::ALL);
        }
        found
    }
}

fn everybody(dataset: &Dataset, knowledge: &Knowledge) -> Members {
    let members: Vec<Member> = match dataset.universe {
        Universe::Stock => {
            let securities = knowledge.securities.iter();
            securities.map(|security| Member { code: security.code.clone(), life: security.life() }).collect()
        }
        Universe::Index => dataset.codes.iter().map(|code| ageless(Arc::from(code.as_str()))).collect(),
        Universe::Market => Vec::new(),
    };
    let list_missing = members.is_empty() && dataset.universe != Universe::Market;
    Members { members, list_missing, ..Members::default() }
}

fn named<'a>(dataset: &Dataset, knowledge: &Knowledge, codes: impl Iterator<Item = &'a Arc<str>>) -> Members {
    let mut found = Members::default();
    for code in codes {
        let member = match dataset.universe {
            Universe::Stock if !knowledge.securities.is_empty() => knowledge
                .securities
                .get(code)
                .map(|security| Member { code: security.code.clone(), life: security.life() }),
            Universe::Index if !dataset.codes.is_empty() => {
                dataset.codes.iter().any(|known| **known == **code).then(|| ageless(code.clone()))
            }
            _ => Some(ageless(code.clone())),
        };
        match member {
            Some(member) => found.members.push(member),
            None => found.unknown.push(code.to_string()),
        }
    }
    found.members.sort_by(|a, b| a.code.cmp(&b.code));
    found.members.dedup_by(|a, b| a.code == b.code);
    found
}

fn ageless(code: Arc<str>) -> Member {
    Member { code, life: Span::ALL }
}

/// How many securities have a cell on `day`; 1 when the dataset is about nobody in particular.
pub fn members_on(dataset: &Dataset, knowledge: &Knowledge, day: Day) -> usize {
    match dataset.universe {
        _ if dataset.security.is_none() => 1,
        Universe::Market => 1,
        Universe::Index => dataset.codes.len(),
        Universe::Stock if knowledge.securities.is_empty() => SECURITIES_DEFAULT,
        Universe::Stock if dataset.shape == Shape::Whole => knowledge.securities.len(),
        Universe::Stock => knowledge.securities.listed_on(day),
    }
}

/// How many securities are known to be suspended on the whole of `day`, where that means no rows.
pub fn suspended_on(dataset: &Dataset, knowledge: &Knowledge, day: Day) -> usize {
    let matters = dataset.universe == Universe::Stock
        && dataset.shape == Shape::Dense
        && matches!(dataset.expect.points, Points::Trading | Points::Calendar);
    if matters { knowledge.suspended.get(&day).map_or(0, |codes| codes.len()) } else { 0 }
}

/// Rows of all securities at one point of time.
pub fn market_rows(dataset: &Dataset, knowledge: &Knowledge, day: Day) -> f64 {
    let expect = &dataset.expect;
    let by_point = dataset.shape == Shape::Sparse || dataset.universe == Universe::Market;
    if (by_point || dataset.shape == Shape::Whole) && expect.rows_per_point > 0.0 {
        return expect.rows_per_point;
    }
    if dataset.shape == Shape::Sparse {
        return 0.0;
    }
    let members = members_on(dataset, knowledge, day);
    members.saturating_sub(suspended_on(dataset, knowledge, day)) as f64 * expect.rows_per_security
}

/// Rows of one security at one point of time.
pub fn security_rows(dataset: &Dataset, knowledge: &Knowledge, today: Day) -> f64 {
    match dataset.shape {
        Shape::Sparse => dataset.expect.rows_per_point / members_on(dataset, knowledge, today).max(1) as f64,
        _ => dataset.expect.rows_per_security,
    }
}
