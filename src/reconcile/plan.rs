//! Which differences of a report a repair mends and how many rows that changes, pure.

use crate::model::compared::{ValueKind, key_part, micros};
use crate::model::reconciliation::{Difference, DifferenceKind, Report, Window};
use crate::model::{Error, Result};

/// Which differences are wanted, and how many rows may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Numbers within the report; empty: all.
    pub numbers: Vec<u64>,
    /// Empty: all kinds.
    pub kinds: Vec<DifferenceKind>,
    /// Values of whole keys, parted by commas; empty: all.
    pub keys: Vec<String>,
    /// Only rows with a value of a column between two, at the side that has the row.
    pub only: Option<Window>,
    /// Rows that may change; `None`: `reconcile.repair_rows_max`.
    pub rows_max: Option<u64>,
    /// The number of rows, said by a person who has seen it: more than `rows_max` are changed only then.
    pub confirmed: Option<u64>,
}

/// What is done about the differences of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub differences: Vec<Difference>,
    pub counts: PlanCounts,
}

/// Rows by what is done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlanCounts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Differences that were repaired before.
    pub repaired_before: u64,
    /// Differences that were not chosen.
    pub not_chosen: u64,
}

impl PlanCounts {
    /// Rows that change.
    pub fn rows(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// Adds what mending one difference does.
    pub fn add(&mut self, difference: &Difference) {
        let stay = equal_rows(difference);
        let (come, go) = (difference.source.len() - stay, difference.target.len() - stay);
        let both = come.min(go);
        self.updated += both as u64;
        self.inserted += (come - both) as u64;
        self.deleted += (go - both) as u64;
    }
}

/// Rows that both sides have, value by value.
fn equal_rows(difference: &Difference) -> usize {
    let mut left: Vec<_> = difference.target.iter().collect();
    let mut same = 0;
    for row in &difference.source {
        if let Some(at) = left.iter().position(|other| *other == row) {
            left.swap_remove(at);
            same += 1;
        }
    }
    same
}

/// Chooses.
pub fn plan(report: &Report, differences: Vec<Difference>, choice: &Choice) -> Result<Plan> {
    let window = window(report, choice)?;
    let mut plan = Plan::default();
    for difference in differences {
        if !is_chosen(&difference, choice, window.as_ref()) {
            plan.counts.not_chosen += 1;
        } else if difference.repaired_at.is_some() {
            plan.counts.repaired_before += 1;
        } else {
            plan.counts.add(&difference);
            plan.differences.push(difference);
        }
    }
    Ok(plan)
}

/// Refuses more rows than may change, unless somebody has named their number.
pub fn check_bound(rows: u64, rows_max: u64, confirmed: Option<u64>) -> Result<()> {
    match confirmed {
        Some(confirmed) if confirmed == rows => Ok(()),
        Some(confirmed) => {
            Err(Error::conflict(format!("{rows} rows would change, not the {confirmed} that were confirmed"))
                .hint("look at the dry run again"))
        }
        None if rows <= rows_max => Ok(()),
        None => Err(Error::conflict(format!("{rows} rows would change, more than the {rows_max} of one repair"))
            .hint(format!("repair a part (--key, --only, --kind), or confirm the number: --yes-really {rows}"))),
    }
}

/// A window over one column of the report.
struct Bounds {
    column: usize,
    kind: ValueKind,
    from: Option<String>,
    to: Option<String>,
}

fn window(report: &Report, choice: &Choice) -> Result<Option<Bounds>> {
    let Some(only) = &choice.only else { return Ok(None) };
    let column = report.columns.iter().position(|column| column.name == only.column).ok_or_else(|| {
        let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
        Error::invalid(format!("the report has no column {:?}", only.column))
            .hint(format!("it has {}", names.join(", ")))
    })?;
    let kind = report.columns[column].kind;
    let read = |text: &Option<String>, is_end: bool| -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let read = match kind {
            ValueKind::Instant => micros(text, 480).map(|start| {
                let whole_day = is_end && text.trim().len() == 10;
                (start + if whole_day { 86_400_000_000 - 1 } else { 0 }).to_string()
            }),
            kind => Some(crate::model::compared::canonical(kind, text, 480)),
        };
        let read = read.filter(|read| key_part(kind, read).is_some());
        read.map(Some).ok_or_else(|| {
            Error::invalid(format!("{text:?} is no {} of {:?}", kind.name(), only.column))
                .hint("write days as 2024-01-31, numbers in plain digits")
        })
    };
    Ok(Some(Bounds { column, kind, from: read(&only.from, false)?, to: read(&only.to, true)? }))
}

fn is_chosen(difference: &Difference, choice: &Choice, window: Option<&Bounds>) -> bool {
    let key = difference.key.iter().map(|value| value.as_deref().unwrap_or_default()).collect::<Vec<_>>().join(",");
    let in_window = |bounds: &Bounds| {
        let row = difference.source.first().or(difference.target.first());
        let value = row.and_then(|row| row[bounds.column].as_deref()).and_then(|text| key_part(bounds.kind, text));
        let bound = |text: &Option<String>| text.as_deref().and_then(|text| key_part(bounds.kind, text));
        value.is_some_and(|value| {
            bound(&bounds.from).is_none_or(|from| from <= value) && bound(&bounds.to).is_none_or(|to| value <= to)
        })
    };
    (choice.numbers.is_empty() || choice.numbers.contains(&difference.number))
        && (choice.kinds.is_empty() || choice.kinds.contains(&difference.kind))
        && (choice.keys.is_empty() || choice.keys.contains(&key))
        && window.is_none_or(in_window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instant;
    use crate::model::reconciliation::{Cause, Counts, Outcome, ReportColumn, Wanted};

    fn report() -> Report {
        let column = |name: &str, kind| ReportColumn { name: name.into(), kind };
        Report {
            id: 7,
            name: None,
            wanted: Wanted::default(),
            outcome: Outcome::Different,
            started_at: Instant(0),
            finished_at: Instant(0),
            counts: Counts::default(),
            note: None,
            columns: vec![column("id", ValueKind::Number), column("day", ValueKind::Day)],
            key: 1,
        }
    }

    fn difference(number: u64, kind: DifferenceKind, source: &[&str], target: &[&str]) -> Difference {
        let id = Some(number.to_string());
        let rows = |days: &[&str]| days.iter().map(|day| vec![id.clone(), Some(day.to_string())]).collect();
        let (source, target) = (rows(source), rows(target));
        Difference {
            number,
            kind,
            key: vec![id],
            source,
            target,
            fields: Vec::new(),
            cause: Cause::Unknown,
            event: None,
            delivery: None,
            attempt: None,
            repaired_at: None,
        }
    }

    fn differences() -> Vec<Difference> {
        vec![
            difference(1, DifferenceKind::Missing, &["2024-01-01"], &[]),
            difference(2, DifferenceKind::Extra, &[], &["2024-01-02"]),
            difference(3, DifferenceKind::Different, &["2024-01-03"], &["2024-01-04"]),
            difference(4, DifferenceKind::Duplicate, &["2024-01-04"], &["2024-01-04", "2024-01-04", "2024-01-05"]),
            Difference {
                repaired_at: Some(Instant(1)),
                ..difference(5, DifferenceKind::Missing, &["2024-01-05"], &[])
            },
        ]
    }

    #[test]
    fn a_plan_counts_what_it_does_by_kind() {
        let counts = |choice: &Choice| plan(&report(), differences(), choice).unwrap().counts;
        let all = counts(&Choice::default());
        assert_eq!((all.inserted, all.updated, all.deleted, all.repaired_before), (1, 1, 3, 1));
        assert_eq!(all.rows(), 5);
        let only = Window { column: "day".into(), from: Some("2024-01-02".into()), to: Some("2024-01-03".into()) };
        let some = counts(&Choice { only: Some(only), ..Choice::default() });
        assert_eq!((some.rows(), some.not_chosen), (2, 3));
        assert_eq!(counts(&Choice { keys: vec!["3".into()], ..Choice::default() }).updated, 1);
        assert_eq!(counts(&Choice { kinds: vec![DifferenceKind::Extra], ..Choice::default() }).rows(), 1);
        assert_eq!(counts(&Choice { numbers: vec![4], ..Choice::default() }).deleted, 2);
        let unknown = Window { column: "nothing".into(), ..Window::default() };
        assert!(plan(&report(), differences(), &Choice { only: Some(unknown), ..Choice::default() }).is_err());
    }

    #[test]
    fn more_rows_than_allowed_need_their_number() {
        for (rows, rows_max, confirmed, allowed) in [
            (5, 5, None, true),
            (6, 5, None, false),
            (6, 5, Some(6), true),
            (6, 5, Some(7), false),
            (4, 5, Some(5), false),
        ] {
            assert_eq!(check_bound(rows, rows_max, confirmed).is_ok(), allowed, "{rows} {rows_max} {confirmed:?}");
        }
    }
}
