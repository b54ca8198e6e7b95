//! The likely cause of a difference, pure: from the values of both sides and from what became of the row's events.

use std::collections::BTreeMap;

use super::shape::Shapes;
use crate::model::compared::{SideRow, ValueKind};
use crate::model::decimal;
use crate::model::reconciliation::{Cause, Difference, DifferenceKind};

/// What is known of the way of a row's last event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub event: u64,
    /// `delivered`, `waiting`, `dead`, `parked`, `skipped`; `None`: no delivery is known.
    pub delivery: Option<String>,
    /// The number of the last attempt.
    pub attempt: Option<i64>,
}

/// What is known of the way of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nobody asked.
    #[default]
    Nothing,
    /// The row has no event.
    NoEvent,
    Event(Trace),
}

/// The likely cause; `version` is the column that counts versions.
pub fn cause(shapes: &Shapes, difference: &Difference, version: Option<usize>, known: &Known) -> Cause {
    if difference.kind == DifferenceKind::Duplicate {
        return Cause::AppliedTwice;
    }
    if let (Some(source), Some(target)) = (difference.source.first(), difference.target.first()) {
        if let Some(cause) = version.and_then(|column| by_version(&source[column], &target[column])) {
            return cause;
        }
        if let Some(cause) = by_values(shapes, difference, source, target) {
            return cause;
        }
    }
    match (known, difference.kind) {
        (Known::NoEvent, DifferenceKind::Missing) => Cause::NeverPublished,
        (Known::Event(trace), DifferenceKind::Missing | DifferenceKind::Different) => match trace.delivery.as_deref() {
            Some("delivered") if difference.kind == DifferenceKind::Different => Cause::ChangedAtTarget,
            Some("delivered") => Cause::NotApplied,
            Some(_) | None => Cause::NeverDelivered,
        },
        (_, DifferenceKind::Extra) => Cause::NotDeleted,
        _ => Cause::Unknown,
    }
}

fn by_version(source: &Option<String>, target: &Option<String>) -> Option<Cause> {
    let read = |text: &Option<String>| decimal::parse(text.as_deref()?, 0, 0);
    match read(source)?.cmp(&read(target)?) {
        std::cmp::Ordering::Greater => Some(Cause::OlderVersion),
        std::cmp::Ordering::Less => Some(Cause::ChangedAtTarget),
        std::cmp::Ordering::Equal => None,
    }
}

/// A cause that explains every column that differs.
fn by_values(
    shapes: &Shapes,
    difference: &Difference,
    source: &[Option<String>],
    target: &[Option<String>],
) -> Option<Cause> {
    let mut causes = difference
        .fields
        .iter()
        .map(|column| of_value(shapes.columns[*column].kind, source[*column].as_deref(), target[*column].as_deref()));
    let first = causes.next()??;
    causes.all(|cause| cause == Some(first)).then_some(first)
}

fn of_value(kind: ValueKind, source: Option<&str>, target: Option<&str>) -> Option<Cause> {
    let (source, target) = match (source, target) {
        (Some(""), None) | (None, Some("")) => return Some(Cause::EmptyText),
        (None, _) | (_, None) => return Some(Cause::LostValue),
        (Some(source), Some(target)) => (source, target),
    };
    match kind {
        ValueKind::Number => of_numbers(source, target),
        ValueKind::Instant => of_instants(source.parse().ok()?, target.parse().ok()?),
        ValueKind::Text => of_texts(source, target),
        _ => None,
    }
}

fn of_texts(source: &str, target: &str) -> Option<Cause> {
    if source.trim() == target.trim() {
        return Some(Cause::Padding);
    }
    if source.to_lowercase() == target.to_lowercase() {
        return Some(Cause::LetterCase);
    }
    (!target.is_empty() && source.starts_with(target)).then_some(Cause::CutShort)
}

fn of_instants(source: i64, target: i64) -> Option<Cause> {
    const QUARTER: i64 = 15 * 60 * 1_000_000;
    let by = source - target;
    (by % QUARTER == 0 && by.abs() <= 56 * QUARTER).then_some(Cause::TimeZone)
}

fn of_numbers(source: &str, target: &str) -> Option<Cause> {
    let digits = |text: &str| {
        let plain: String = text.chars().filter(|letter| letter.is_ascii_digit()).collect();
        plain.trim_matches('0').to_owned()
    };
    let same_sign = source.starts_with('-') == target.starts_with('-');
    if same_sign && !digits(source).is_empty() && digits(source) == digits(target) {
        return Some(Cause::Scale);
    }
    let places = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let (more, less) = (places(source), places(target));
    if less >= more {
        return None;
    }
    let (scale, fewer) = (i8::try_from(more).ok()?, i8::try_from(less).ok()?);
    let (exact, kept) = (decimal::parse(source, scale, 0)?, decimal::parse(target, scale, 0)?);
    let unit = 10i128.checked_pow(u32::from((scale - fewer).unsigned_abs()))?;
    // Within one unit of the last place: rounded in whatever way.
    (exact.checked_sub(kept)?.abs() < unit).then_some(Cause::Rounding)
}

/// Marks pairs of rows that have each other's values in the columns in which they differ.
pub fn mark_swapped(differences: &mut [Difference]) {
    type Values = Vec<Option<String>>;
    let values = |difference: &Difference, rows: &[Values]| -> Option<Values> {
        let row = rows.first().filter(|_| difference.kind == DifferenceKind::Different)?;
        difference.fields.iter().map(|at| row.get(*at).cloned()).collect()
    };
    let mut by_target: BTreeMap<(Vec<usize>, Values), Vec<usize>> = BTreeMap::new();
    for (at, difference) in differences.iter().enumerate() {
        if let Some(values) = values(difference, &difference.target) {
            by_target.entry((difference.fields.clone(), values)).or_default().push(at);
        }
    }
    let mut swapped = Vec::new();
    for (at, difference) in differences.iter().enumerate() {
        let (source, target) = (values(difference, &difference.source), values(difference, &difference.target));
        let (Some(source), Some(target)) = (source, target) else { continue };
        let others = by_target.get(&(difference.fields.clone(), source)).into_iter().flatten();
        let has_ours = |other: &usize| {
            let other = &differences[*other];
            values(other, &other.source).as_ref() == Some(&target)
        };
        if others.filter(|other| **other != at).any(has_ours) {
            swapped.push(at);
        }
    }
    swapped.into_iter().for_each(|at| differences[at].cause = Cause::Swapped);
}

/// The rows of one key as a difference.
pub fn difference(
    kind: DifferenceKind,
    key: usize,
    rows: (Vec<SideRow>, Vec<SideRow>),
    fields: Vec<usize>,
) -> Difference {
    let values = |rows: Vec<SideRow>| rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
    let (source, target) = (values(rows.0), values(rows.1));
    let first = source.first().or(target.first()).map(|row| row[..key].to_vec());
    Difference {
        number: 0,
        kind,
        key: first.unwrap_or_default(),
        source,
        target,
        fields,
        cause: Cause::Unknown,
        event: None,
        delivery: None,
        attempt: None,
        repaired_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reconciliation::Rule;
    use crate::reconcile::judge::tests::{row, table};

    #[test]
    fn values_tell_their_cause() {
        let hours = |hours: i64| (hours * 3_600_000_000).to_string();
        for (kind, source, target, expected) in [
            (ValueKind::Number, Some("12.345"), Some("12.35"), Some(Cause::Rounding)),
            (ValueKind::Number, Some("12.345"), Some("12.34"), Some(Cause::Rounding)),
            (ValueKind::Number, Some("12.5"), Some("1250"), Some(Cause::Scale)),
            (ValueKind::Number, Some("100"), Some("1"), Some(Cause::Scale)),
            (ValueKind::Number, Some("12.5"), Some("-12.5"), None),
            (ValueKind::Number, Some("12.5"), Some("99.9"), None),
            (ValueKind::Number, Some("12.5"), None, Some(Cause::LostValue)),
            (ValueKind::Text, Some(""), None, Some(Cause::EmptyText)),
            (ValueKind::Text, Some("abc"), Some("abc  "), Some(Cause::Padding)),
            (ValueKind::Text, Some("ABC"), Some("abc"), Some(Cause::LetterCase)),
            (ValueKind::Text, Some("a long text"), Some("a long"), Some(Cause::CutShort)),
            (ValueKind::Text, Some("a"), Some("b"), None),
            (ValueKind::Instant, Some(&*hours(10)), Some(&*hours(2)), Some(Cause::TimeZone)),
            (ValueKind::Instant, Some(&*hours(100)), Some(&*hours(2)), None),
        ] {
            assert_eq!(of_value(kind, source, target), expected, "{kind:?} {source:?} {target:?}");
        }
    }

    #[test]
    fn versions_come_first_then_values_then_the_way_of_the_event() {
        let shapes = table(&[("version", ValueKind::Number, Rule::default()), ("a", ValueKind::Text, Rule::default())]);
        let of = |source: Option<[&str; 2]>, target: Option<[&str; 2]>, fields: Vec<usize>| {
            let rows = |values: Option<[&str; 2]>| {
                values.map(|[version, a]| row(&[Some("1"), Some(version), Some(a)])).into_iter().collect::<Vec<_>>()
            };
            let kind = match (source, target) {
                (Some(_), None) => DifferenceKind::Missing,
                (None, _) => DifferenceKind::Extra,
                _ => DifferenceKind::Different,
            };
            difference(kind, 1, (rows(source), rows(target)), fields)
        };
        let event = |delivery: &str| Known::Event(Trace { event: 7, delivery: Some(delivery.into()), attempt: None });
        for (difference, known, expected) in [
            (of(Some(["2", "x"]), Some(["1", "y"]), vec![1, 2]), Known::Nothing, Cause::OlderVersion),
            (of(Some(["1", "x"]), Some(["2", "y"]), vec![1, 2]), Known::Nothing, Cause::ChangedAtTarget),
            (of(Some(["1", "x"]), Some(["1", "X"]), vec![2]), event("delivered"), Cause::LetterCase),
            (of(Some(["1", "x"]), Some(["1", "y"]), vec![2]), event("delivered"), Cause::ChangedAtTarget),
            (of(Some(["1", "x"]), Some(["1", "y"]), vec![2]), Known::Nothing, Cause::Unknown),
            (of(Some(["1", "x"]), None, vec![]), Known::NoEvent, Cause::NeverPublished),
            (of(Some(["1", "x"]), None, vec![]), event("dead"), Cause::NeverDelivered),
            (of(Some(["1", "x"]), None, vec![]), event("delivered"), Cause::NotApplied),
            (of(None, Some(["1", "x"]), vec![]), Known::NoEvent, Cause::NotDeleted),
        ] {
            assert_eq!(cause(&shapes, &difference, Some(1), &known), expected, "{difference:?} {known:?}");
        }
    }

    #[test]
    fn rows_with_each_others_values_are_swapped() {
        let of = |id: &str, source: &str, target: &str| {
            let rows = (vec![row(&[Some(id), Some(source)])], vec![row(&[Some(id), Some(target)])]);
            difference(DifferenceKind::Different, 1, rows, vec![1])
        };
        let mut found = [of("1", "a", "b"), of("2", "b", "a"), of("3", "c", "a")];
        mark_swapped(&mut found);
        assert_eq!(found.map(|one| one.cause), [Cause::Swapped, Cause::Swapped, Cause::Unknown]);
    }
}
