//! Which columns of two sides are compared with each other and as what, pure: from what both tables declare and what is
//! wanted.

use crate::model::compared::{
    Family, Found, Only, Precision, Shape, SideColumn, ValueKind, canonical, common_kind, key_part, number_text,
    offset_minutes,
};
use crate::model::reconciliation::{ReportColumn, Rule, Wanted};
use crate::model::{Error, Result};
use crate::source::database::side::native;

/// Minutes east of UTC of instants that say no zone, unless something else is wanted: Beijing.
const ZONE_MINUTES: i32 = 480;

/// Both sides in one order of columns, and how values are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Shapes {
    pub source: Shape,
    pub target: Shape,
    pub columns: Vec<ReportColumn>,
    pub rules: Vec<Rule>,
    /// Columns that only one side has and nobody named: they are not compared.
    pub left_out: Vec<String>,
}

/// What two tables say of themselves, and of the servers that hold them.
pub struct Declared<'a> {
    pub source: &'a [Found],
    pub target: &'a [Found],
    /// The mark of the server of each side, where it computes hashes of records.
    pub engines: (Option<String>, Option<String>),
}

/// A column on both sides, and as what it is compared.
struct Paired<'a> {
    source: &'a Found,
    target: &'a Found,
    rule: Rule,
    kind: ValueKind,
}

/// Pairs the columns.
pub fn shapes(wanted: &Wanted, declared: &Declared) -> Result<Shapes> {
    let key = key_names(wanted, declared)?;
    let (names, left_out) = compared_names(wanted, declared, &key)?;
    let mut pairs = Vec::new();
    for name in &names {
        let source = found(declared.source, name, "source")?;
        let target = found(declared.target, of_target(wanted, name), "target")?;
        let rule = wanted.rules.get(name).cloned().unwrap_or_default();
        let kind = rule.kind.or_else(|| common_kind(source.family, target.family));
        let kind = kind.ok_or_else(|| do_not_meet(name, source, target))?;
        check_rule(name, kind, &rule)?;
        pairs.push(Paired { source, target, rule, kind });
    }
    let records = declared.engines.0.is_some() && declared.engines.0 == declared.engines.1;
    let own_order = records && pairs.iter().take(key.len()).all(|pair| pair.source.order == pair.target.order);
    let only = window(wanted, &names, &pairs)?;
    let side = |of_source: bool| -> Result<Shape> {
        let columns = pairs.iter().map(|pair| side_column(wanted, pair, of_source)).collect::<Result<Vec<_>>>()?;
        Ok(Shape { columns, key: key.len(), only: only.clone(), own_order, records })
    };
    let (source, target) = (side(true)?, side(false)?);
    let named = names.into_iter().zip(&pairs);
    let columns = named.map(|(name, pair)| ReportColumn { name, kind: pair.kind }).collect();
    let rules = pairs.into_iter().map(|pair| pair.rule).collect();
    Ok(Shapes { source, target, columns, rules, left_out })
}

fn of_target<'a>(wanted: &'a Wanted, name: &'a str) -> &'a str {
    wanted.names.get(name).map_or(name, String::as_str)
}

fn found<'a>(columns: &'a [Found], name: &str, side: &str) -> Result<&'a Found> {
    let same = columns.iter().find(|found| found.name == name);
    same.or_else(|| columns.iter().find(|found| found.name.eq_ignore_ascii_case(name))).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|found| found.name.as_str()).collect();
        Error::invalid(format!("the {side} has no column {name:?}"))
            .hint(format!("its columns are {}; names that differ are said with --name SOURCE=TARGET", names.join(", ")))
    })
}

/// The names of the key at the source.
fn key_names(wanted: &Wanted, declared: &Declared) -> Result<Vec<String>> {
    if !wanted.key.is_empty() {
        return Ok(wanted.key.clone());
    }
    let primary = |columns: &[Found]| {
        let key = columns.iter().filter(|found| found.place > 0);
        let mut key: Vec<(u32, String)> = key.map(|found| (found.place, found.name.clone())).collect();
        key.sort();
        key.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    let of_source = primary(declared.source);
    if !of_source.is_empty() {
        return Ok(of_source);
    }
    let back = |name: String| {
        let named = wanted.names.iter().find(|(_, target)| **target == name);
        named.map_or(name, |(source, _)| source.clone())
    };
    let of_target: Vec<String> = primary(declared.target).into_iter().map(back).collect();
    match of_target.is_empty() {
        true => Err(Error::invalid("neither side has a primary key").hint("name the columns of the key with --key")),
        false => Ok(of_target),
    }
}

/// The key first, then the other columns in the source's order; with them the columns that are left out.
fn compared_names(wanted: &Wanted, declared: &Declared, key: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    if let Some(name) = wanted.ignore.iter().find(|name| key.contains(name)) {
        let error = Error::invalid(format!("the key column {name:?} cannot be ignored"));
        return Err(error.hint("choose another key with --key"));
    }
    let at_target =
        |name: &str| declared.target.iter().any(|found| found.name.eq_ignore_ascii_case(of_target(wanted, name)));
    let mut names = key.to_vec();
    let mut left_out = Vec::new();
    let all: Vec<String> = match wanted.columns.is_empty() {
        false => wanted.columns.clone(),
        true => declared.source.iter().map(|found| found.name.clone()).collect(),
    };
    for name in all {
        if names.iter().any(|known| known.eq_ignore_ascii_case(&name)) || wanted.ignore.contains(&name) {
            continue;
        }
        match !wanted.columns.is_empty() || wanted.names.contains_key(&name) || at_target(&name) {
            true => names.push(name),
            false => left_out.push(name),
        }
    }
    let is_compared = |found: &&Found| {
        names.iter().any(|name| of_target(wanted, name).eq_ignore_ascii_case(&found.name))
            || wanted.ignore.contains(&found.name)
    };
    if wanted.columns.is_empty() {
        left_out.extend(declared.target.iter().filter(|found| !is_compared(found)).map(|found| found.name.clone()));
    }
    Ok((names, left_out))
}

fn do_not_meet(name: &str, one: &Found, two: &Found) -> Error {
    let message = format!("column {name:?} is {} at the source and {} at the target", one.declared, two.declared);
    Error::invalid(message).hint("say as what it is compared (--as NAME=text), or leave it out (--ignore)")
}

fn check_rule(name: &str, kind: ValueKind, rule: &Rule) -> Result<()> {
    let Some(tolerance) = &rule.tolerance else { return Ok(()) };
    let exact = number_text(tolerance).filter(|text| !text.starts_with('-'));
    match (kind, exact) {
        (ValueKind::Number, Some(_)) => Ok(()),
        (ValueKind::Number, None) => {
            Err(Error::invalid(format!("the tolerance of {name:?} is no number")).hint("write a decimal such as 0.01"))
        }
        _ => Err(Error::invalid(format!("{name:?} is no number and has no tolerance"))
            .hint("leave the tolerance out, or compare it --as NAME=number")),
    }
}

fn zone(text: Option<&String>) -> Result<Option<i32>> {
    let Some(text) = text else { return Ok(None) };
    offset_minutes(text).map(Some).ok_or_else(|| {
        Error::invalid(format!("{text:?} is no zone")).hint("write its distance from UTC, such as +08:00")
    })
}

fn side_column(wanted: &Wanted, pair: &Paired, of_source: bool) -> Result<SideColumn> {
    let rule = &pair.rule;
    let own = match of_source {
        true => zone(rule.zone.as_ref())?,
        false => zone(rule.target_zone.as_ref().or(rule.zone.as_ref()))?,
    };
    let zone_minutes = match own {
        Some(own) => own,
        None => zone(wanted.zone.as_ref())?.unwrap_or(ZONE_MINUTES),
    };
    let either = |test: fn(&Found) -> bool| test(pair.source) || test(pair.target);
    let coarse = match either(|found| found.family == Family::Second) {
        true => Precision::Second,
        false => Precision::Microsecond,
    };
    let found = if of_source { pair.source } else { pair.target };
    Ok(SideColumn {
        name: found.name.clone(),
        kind: pair.kind,
        precision: rule.precision.unwrap_or(coarse).max(coarse),
        zone_minutes,
        trim: rule.trim || (pair.kind == ValueKind::Text && either(|found| found.declared == "bpchar")),
        native: Some(native(pair.kind, pair.source, pair.target)),
    })
}

/// The window in canonical words.
fn window(wanted: &Wanted, names: &[String], pairs: &[Paired]) -> Result<Option<Only>> {
    let Some(only) = &wanted.only else { return Ok(None) };
    let column = names.iter().position(|name| name.eq_ignore_ascii_case(&only.column)).ok_or_else(|| {
        Error::invalid(format!("rows are chosen by {:?}, which is not compared", only.column))
            .hint("name a column that both sides have and that is not ignored")
    })?;
    let kind = pairs[column].kind;
    let minutes = zone(wanted.zone.as_ref())?.unwrap_or(ZONE_MINUTES);
    let bound = |text: &Option<String>, is_end: bool| -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let whole_day = kind == ValueKind::Instant && text.trim().len() == 10;
        let read = canonical(kind, text, minutes);
        if key_part(kind, &read).is_none() {
            let error = Error::invalid(format!("{text:?} is no {} of {:?}", kind.name(), only.column));
            return Err(error.hint("write days as 2024-01-31, instants with their offset, numbers in plain digits"));
        }
        match whole_day && is_end {
            // To the end of the day.
            true => Ok(read.parse::<i64>().ok().map(|micros| (micros + 86_400_000_000 - 1).to_string())),
            false => Ok(Some(read)),
        }
    };
    Ok(Some(Only { column, from: bound(&only.from, false)?, to: bound(&only.to, true)? }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::reconciliation::Window;

    fn column(name: &str, declared: &str, family: Family, place: u32) -> Found {
        Found { name: name.into(), declared: declared.into(), family, nullable: place == 0, place, order: None }
    }

    fn tables() -> (Vec<Found>, Vec<Found>) {
        let source = vec![
            column("id", "int8", Family::Whole, 1),
            column("amount", "numeric", Family::Exact, 0),
            column("at", "timestamptz", Family::Instant, 0),
            column("code", "bpchar", Family::Text, 0),
            column("only_here", "text", Family::Text, 0),
        ];
        let target = vec![
            column("voucher", "INTEGER", Family::Whole, 0),
            column("amount", "TEXT", Family::Text, 0),
            column("at", "DATETIME", Family::Second, 0),
            column("code", "TEXT", Family::Text, 0),
            column("synced_at", "TEXT", Family::Text, 0),
        ];
        (source, target)
    }

    fn wanted() -> Wanted {
        Wanted { names: BTreeMap::from([("id".to_string(), "voucher".to_string())]), ..Wanted::default() }
    }

    fn of(wanted: &Wanted) -> Result<Shapes> {
        let (source, target) = tables();
        shapes(wanted, &Declared { source: &source, target: &target, engines: (None, None) })
    }

    #[test]
    fn columns_are_paired_by_name_and_compared_as_what_both_can_say() {
        let shapes = of(&wanted()).unwrap();
        let names: Vec<&str> = shapes.target.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["voucher", "amount", "at", "code"]);
        let kinds: Vec<&str> = shapes.columns.iter().map(|column| column.kind.name()).collect();
        assert_eq!(kinds, ["number", "number", "instant", "text"]);
        assert_eq!(shapes.source.columns[2].precision, Precision::Second, "the store keeps seconds");
        assert!(shapes.source.columns[3].trim && shapes.target.columns[3].trim, "a char is padded");
        assert_eq!((shapes.source.key, shapes.source.records), (1, false));
        assert_eq!(shapes.left_out, ["only_here", "synced_at"]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_its_name() {
        let check = |wanted: Wanted, expected: &str| {
            let error = of(&wanted).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint_text().is_some());
        };
        check(Wanted { ignore: vec!["id".into()], ..wanted() }, "cannot be ignored");
        check(Wanted { columns: vec!["nothing".into()], ..wanted() }, "the source has no column \"nothing\"");
        check(Wanted { names: BTreeMap::new(), ..wanted() }, "the target has no column \"id\"");
        check(Wanted { zone: Some("Mars".into()), ..wanted() }, "no zone");
        let rule = Rule { tolerance: Some("0.01".into()), ..Rule::default() };
        check(Wanted { rules: BTreeMap::from([("code".into(), rule)]), ..wanted() }, "has no tolerance");
        let only = Window { column: "at".into(), from: Some("soon".into()), to: None };
        check(Wanted { only: Some(only), ..wanted() }, "is no instant");
    }

    #[test]
    fn a_day_bounds_instants_up_to_its_last_microsecond() {
        let day = Some("2024-01-31".to_string());
        let only = Window { column: "at".into(), from: day.clone(), to: day };
        let only = of(&Wanted { only: Some(only), ..wanted() }).unwrap().source.only.unwrap();
        let bound = |text: Option<String>| text.unwrap().parse::<i64>().unwrap();
        assert_eq!(bound(only.to) - bound(only.from), 86_399_999_999);
    }
}
