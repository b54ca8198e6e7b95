//! Whether rows of two sides are the same, pure: values by the rules of their columns, rows of one key as a set in which
//! equal ones may appear several times.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::Shapes;
use crate::model::compared::{SideRow, ValueKind, number_text};
use crate::model::reconciliation::DifferenceKind;
use crate::model::{Error, Key, Result, decimal};

/// The rows of one key on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub source: Vec<SideRow>,
    pub target: Vec<SideRow>,
}

/// Puts rows of both sides side by side.
pub fn pair(shapes: &Shapes, source: Vec<SideRow>, target: Vec<SideRow>) -> Result<BTreeMap<Key, Pair>> {
    let mut pairs: BTreeMap<Key, Pair> = BTreeMap::new();
    let keyless = || Error::invalid("a row has no value in its key").hint("choose another key, or leave such rows out");
    for row in source {
        pairs.entry(row.key(&shapes.source).ok_or_else(keyless)?).or_default().source.push(row);
    }
    for row in target {
        pairs.entry(row.key(&shapes.target).ok_or_else(keyless)?).or_default().target.push(row);
    }
    for pair in pairs.values_mut() {
        pair.source.sort();
        pair.target.sort();
    }
    Ok(pairs)
}

impl Shapes {
    /// Whether two values of a column mean the same.
    pub fn same_value(&self, column: usize, one: Option<&str>, two: Option<&str>) -> bool {
        let (rule, kind) = (&self.rules[column], self.columns[column].kind);
        let is_nothing = |value: Option<&str>| value.is_none_or(|text| rule.empty_is_null && text.is_empty());
        let (one, two) = match (is_nothing(one), is_nothing(two), one, two) {
            (true, true, _, _) => return true,
            (false, false, Some(one), Some(two)) => (one, two),
            _ => return false,
        };
        let (here, there) = (&self.source.columns[column], &self.target.columns[column]);
        let equal = here.compared(one) == there.compared(two);
        equal || (kind == ValueKind::Number && rule.tolerance.as_ref().is_some_and(|most| within(one, two, most)))
    }

    /// Positions of the columns in which two rows differ.
    pub fn differing(&self, one: &SideRow, two: &SideRow) -> Vec<usize> {
        let differs = |column: &usize| !self.same_value(*column, one.0[*column].as_deref(), two.0[*column].as_deref());
        (0..self.columns.len()).filter(differs).collect()
    }

    /// How the rows of a key differ and in which columns; `None`: they do not.
    pub fn judge(&self, pair: &Pair) -> Option<(DifferenceKind, Vec<usize>)> {
        let mut left: Vec<&SideRow> = pair.target.iter().collect();
        let mut unmatched = Vec::new();
        for row in &pair.source {
            match left.iter().position(|other| self.differing(row, other).is_empty()) {
                Some(at) => drop(left.swap_remove(at)),
                None => unmatched.push(row),
            }
        }
        let kind = match (unmatched.is_empty(), left.is_empty()) {
            (true, true) => return None,
            _ if pair.target.is_empty() => DifferenceKind::Missing,
            _ if pair.source.is_empty() => DifferenceKind::Extra,
            _ if pair.source.len() != pair.target.len() => DifferenceKind::Duplicate,
            _ => DifferenceKind::Different,
        };
        let fields: BTreeSet<usize> =
            unmatched.iter().zip(&left).flat_map(|(one, two)| self.differing(one, two)).collect();
        Some((kind, fields.into_iter().collect()))
    }
}

/// Whether two numbers differ by at most `most`, exactly.
fn within(one: &str, two: &str, most: &str) -> bool {
    let places = |text: &&str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = [one, two, most].iter().map(places).max().unwrap_or(0);
    let Ok(scale) = i8::try_from(scale) else { return false };
    let read = |text: &str| number_text(text).and_then(|text| decimal::parse(&text, scale, 0));
    match (read(one), read(two), read(most)) {
        (Some(one), Some(two), Some(most)) => {
            one.checked_sub(two).is_some_and(|by| by.unsigned_abs() <= most.unsigned_abs())
        }
        _ => false,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::compared::{Precision, Shape, SideColumn};
    use crate::model::reconciliation::{ReportColumn, Rule};

    /// A table of a key and columns of these kinds.
    pub fn table(kinds: &[(&str, ValueKind, Rule)]) -> Shapes {
        let key = [("id", ValueKind::Number, Rule::default())];
        let kinds: Vec<(&str, ValueKind, Rule)> = key.into_iter().chain(kinds.iter().cloned()).collect();
        let columns = kinds.iter().map(|(name, kind, rule)| SideColumn {
            name: name.to_string(),
            kind: *kind,
            precision: rule.precision.unwrap_or(Precision::Microsecond),
            zone_minutes: 480,
            trim: rule.trim,
            native: None,
        });
        let shape = Shape { columns: columns.collect(), key: 1, only: None, own_order: false, records: false };
        Shapes {
            source: shape.clone(),
            target: shape,
            columns: kinds.iter().map(|(name, kind, _)| ReportColumn { name: name.to_string(), kind: *kind }).collect(),
            rules: kinds.into_iter().map(|(_, _, rule)| rule).collect(),
            left_out: Vec::new(),
        }
    }

    pub fn row(values: &[Option<&str>]) -> SideRow {
        SideRow(values.iter().map(|value| value.map(str::to_owned)).collect())
    }

    #[test]
    fn values_are_judged_by_the_rules_of_their_columns() {
        let rule = |tolerance: &str| Rule { tolerance: Some(tolerance.into()), ..Rule::default() };
        let second = Rule { precision: Some(Precision::Second), ..Rule::default() };
        let trims = Rule { trim: true, empty_is_null: true, ..Rule::default() };
        let plain = Rule::default;
        for (kind, rule, one, two, same) in [
            (ValueKind::Number, plain(), Some("1.1"), Some("1.1"), true),
            (ValueKind::Number, plain(), Some("1.1"), Some("1.10001"), false),
            (ValueKind::Number, plain(), Some("0"), None, false),
            (ValueKind::Number, rule("0.01"), Some("1.1"), Some("1.11"), true),
            (ValueKind::Number, rule("0.01"), Some("1.1"), Some("1.1100001"), false),
            (ValueKind::Number, rule("1"), Some("-1"), Some("0"), true),
            (ValueKind::Number, rule("1"), Some("NaN"), Some("0"), false),
            (ValueKind::Text, plain(), Some("a "), Some("a"), false),
            (ValueKind::Text, trims.clone(), Some("a "), Some("a"), true),
            (ValueKind::Text, trims.clone(), Some(""), None, true),
            (ValueKind::Text, plain(), Some(""), None, false),
            (ValueKind::Instant, second.clone(), Some("1500000"), Some("1000000"), true),
            (ValueKind::Instant, second, Some("-1"), Some("0"), false),
            (ValueKind::Instant, plain(), Some("1500000"), Some("1000000"), false),
        ] {
            let shapes = table(&[("value", kind, rule)]);
            assert_eq!(shapes.same_value(1, one, two), same, "{kind:?} {one:?} {two:?}");
            assert_eq!(shapes.same_value(1, two, one), same, "{kind:?} {two:?} {one:?}");
        }
    }

    #[test]
    fn rows_of_a_key_are_a_set_in_which_equal_ones_count() {
        let shapes = table(&[("a", ValueKind::Text, Rule::default()), ("b", ValueKind::Text, Rule::default())]);
        let x = || row(&[Some("1"), Some("x"), None]);
        let y = || row(&[Some("1"), Some("x"), Some("y")]);
        let judge = |source: Vec<SideRow>, target: Vec<SideRow>| shapes.judge(&Pair { source, target });
        assert_eq!(judge(vec![x()], vec![x()]), None);
        assert_eq!(judge(vec![x(), y()], vec![y(), x()]), None);
        assert_eq!(judge(vec![x()], vec![]), Some((DifferenceKind::Missing, vec![])));
        assert_eq!(judge(vec![], vec![x()]), Some((DifferenceKind::Extra, vec![])));
        assert_eq!(judge(vec![x()], vec![y()]), Some((DifferenceKind::Different, vec![2])));
        assert_eq!(judge(vec![x()], vec![x(), x(), x()]), Some((DifferenceKind::Duplicate, vec![])));
        assert_eq!(judge(vec![x(), x()], vec![x()]), Some((DifferenceKind::Duplicate, vec![])));
    }
}
