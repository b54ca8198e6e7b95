//! Writes the reference page of a catalogue: one readable section for each dataset.

use std::fmt::{self, Write};

use super::Catalog;
use crate::model::dataset::{
    Agreement, Conflict, Cut, Mode, Points, RowOrigin, Served, Service, Shape, Tushare, Universe, WireForm,
};
use crate::model::{Column, ColumnType, Dataset, Strategy};

/// The text of `docs/reference/datasets.md`.
pub fn markdown(catalog: &Catalog) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = page(&mut out, catalog);
    out
}

/// The section of one table.
pub fn dataset(dataset: &Dataset) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = section(&mut out, dataset);
    out
}

fn page(out: &mut String, catalog: &Catalog) -> fmt::Result {
    let datasets = catalog.datasets();
    writeln!(out, "# Datasets\n")?;
    writeln!(
        out,
        "Generated from the files in `catalog/`; `docs/guide/catalogue.md` tells how to add one. {} tables.\n\n\
         Volumes are in shares and amounts in yuan, whatever the source sends: the *source sends* column tells where it \
         differs. `percent` 5 is 5 %, `fraction` 0.05 is 5 %. A unit in *italics* is not documented by the source but \
         follows from its samples; `unstated` is not known. Times are Beijing time.\n",
        datasets.len()
    )?;
    writeln!(out, "| table | title | | shape | key |\n|---|---|---|---|---|")?;
    for dataset in datasets {
        let Dataset { name, title, title_zh, .. } = &**dataset;
        writeln!(
            out,
            "| [{name}](#{name}) | {title} | {title_zh} | {} | {} |",
            shape(dataset),
            dataset.key.join(", ")
        )?;
    }
    datasets.iter().try_for_each(|dataset| section(out, dataset))
}

fn section(out: &mut String, dataset: &Dataset) -> fmt::Result {
    writeln!(
        out,
        "\n## {}\n\n**{}** · {}\n\n{}\n",
        dataset.name,
        dataset.title,
        dataset.title_zh,
        dataset.about.trim()
    )?;
    writeln!(out, "- Key: {}", quoted(dataset.key.iter()))?;
    writeln!(out, "- Rows: {}", rows(dataset))?;
    if dataset.origin == RowOrigin::Sources {
        writeln!(out, "- Published: {}", published(dataset))?;
        writeln!(out, "- Kept fresh: {}", policy(dataset))?;
    }
    if !dataset.policy.checks.is_empty() {
        writeln!(out, "- Checks: {}", quoted(dataset.policy.checks.iter()))?;
    }
    if let Some(versions) = &dataset.versions {
        writeln!(
            out,
            "- Versions: told apart by {}; announced on {}",
            quoted(versions.columns.iter()),
            quoted(versions.announced.iter())
        )?;
    }
    if let Some(adjusted) = &dataset.adjust {
        let factors = adjusted.factors.iter().map(|table| &table.dataset);
        writeln!(out, "- Adjusted on read: {}, by {}", quoted(adjusted.prices.iter()), quoted(factors))?;
    }
    if let Some(tushare) = &dataset.tushare {
        source(out, tushare)?;
    }
    for (name, services) in [("BaoStock", &dataset.baostock), ("AKShare", &dataset.akshare)] {
        services.iter().try_for_each(|one| service(out, dataset, name, one))?;
    }
    writeln!(out, "\n| column | type | unit | meaning | 含义 | source sends |\n|---|---|---|---|---|---|")?;
    dataset.columns.iter().try_for_each(|column| self::column(out, dataset, column))
}

fn shape(dataset: &Dataset) -> &'static str {
    match dataset.shape {
        Shape::Dense => "dense",
        Shape::Sparse => "sparse",
        Shape::Period => "by period",
        Shape::Whole => "whole",
    }
}

fn rows(dataset: &Dataset) -> String {
    if dataset.origin == RowOrigin::Publishers {
        return "whatever publishers send".into();
    }
    let expect = &dataset.expect;
    let points = match expect.points {
        Points::Trading => "trading day",
        Points::Calendar => "calendar day",
        Points::WeekEnd => "last trading day of a week",
        Points::MonthEnd => "last trading day of a month",
        Points::QuarterEnd => "report period",
    };
    let whose = match dataset.universe {
        Universe::Stock => "share".into(),
        Universe::Index => format!("index ({})", dataset.codes.join(", ")),
        Universe::Market => "market".into(),
    };
    let text = match (dataset.shape, dataset.universe) {
        (Shape::Whole, _) => return "one state of the whole table".into(),
        (Shape::Sparse, _) => format!("what happened, about {} for each {points}", expect.rows_per_point),
        (_, Universe::Market) => format!("{} for each {points}", expect.rows_per_point),
        _ => format!("about {} for each {whose} and {points}", expect.rows_per_security),
    };
    let time = dataset.time.as_deref().map_or(String::new(), |time| format!(", counted by `{time}`"));
    let whole = match expect.complete_at {
        share if share > 0.0 => format!("; an answer is whole from {} % of them", (share * 100.0).round()),
        _ => String::new(),
    };
    format!("{text}{time}, from {}{whole}", dataset.first_day())
}

fn published(dataset: &Dataset) -> String {
    let publish = &dataset.publish;
    let refresh = format!("a provisional answer is asked again after {} h", publish.refresh_hours);
    let settle = format!("an answer is final {} days later", publish.settle_days);
    match (dataset.shape, publish.days_later) {
        (Shape::Whole, _) => format!("{}; asked again after {} h", publish.at, publish.refresh_hours),
        (Shape::Period, _) => format!("by the statutory deadline of the period; {settle}; {refresh}"),
        (_, 0) => format!("{} the same day; {settle}; {refresh}", publish.at),
        (_, 1) => format!("{} the next trading day; {settle}; {refresh}", publish.at),
        (_, days) => format!("{}, {days} trading days later; {settle}; {refresh}", publish.at),
    }
}

fn policy(dataset: &Dataset) -> String {
    let policy = &dataset.policy;
    let mode = match policy.mode {
        Mode::Incremental => "incremental",
        Mode::Merge => "merge",
        Mode::Full => "full",
        Mode::Realtime => "realtime",
    };
    let schedule = match (policy.schedule.as_str(), policy.poll_seconds) {
        ("event_driven", _) => "when an event asks for it".into(),
        (_, Some(seconds)) => format!("polled every {seconds} s"),
        (cron, None) => format!("`{cron}`"),
    };
    let conflict = match policy.conflict {
        Conflict::Replace => "a new row replaces the old",
        Conflict::Merge if policy.fields.is_empty() => "a missing value never erases a present one",
        Conflict::Merge => "rows are merged by rules",
        Conflict::FirstWriteWins => "the row that was stored first stays",
        Conflict::LastWriteWins => "the row that was fetched last counts",
        Conflict::Manual => "a row that differs waits for a person",
    };
    let fields = policy.fields.iter().map(|(name, rule)| format!("`{name}`: {}", rule.name())).collect::<Vec<_>>();
    let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
    let strategy = match policy.strategy {
        Strategy::FewestCalls => String::new(),
        strategy => format!(" by strategy `{strategy}` ({})", strategy.about()),
    };
    let look_back = match policy.look_back {
        0 => String::new(),
        points => format!(", the last {points} points again"),
    };
    let (batch, retries) = (policy.batch, policy.retries);
    let cache = match policy.cache_invalidate.is_empty() {
        true => String::new(),
        false => format!("; makes stale {}", quoted(policy.cache_invalidate.iter())),
    };
    format!(
        "{mode}{strategy}, {schedule}{look_back}; {batch} rows a batch, {retries} retries; {conflict}{fields}{cache}"
    )
}

fn source(out: &mut String, tushare: &Tushare) -> fmt::Result {
    let document = tushare.document.map_or(String::new(), |number| format!(", document {number}"));
    let cap = tushare.row_cap.map_or("row cap not documented".into(), |cap| format!("{cap} rows a call"));
    writeln!(out, "- Tushare: `{}`{document}; from {} points; {cap}{}", tushare.api, tushare.points, limits(tushare))?;
    writeln!(out, "- Asked: {}", tushare.cuts.iter().map(cut).collect::<Vec<_>>().join("; "))?;
    for (parameter, values) in &tushare.facets {
        writeln!(out, "- Asked value by value: `{parameter}` = {}", values.join(", "))?;
    }
    for (parameter, value) in &tushare.always {
        writeln!(out, "- Always sent: `{parameter}` = {value}")?;
    }
    if !tushare.filters.is_empty() {
        let filter = |(parameter, column): (&String, &String)| match parameter == column {
            true => format!("`{parameter}`"),
            false => format!("`{parameter}` (column `{column}`)"),
        };
        writeln!(out, "- Further filters: {}", tushare.filters.iter().map(filter).collect::<Vec<_>>().join(", "))?;
    }
    if let Some(column) = &tushare.range_column {
        writeln!(out, "- `start_date` and `end_date` bound `{column}`")?;
    }
    for (parameter, value) in &tushare.defaults {
        writeln!(out, "- Without `{parameter}` the source assumes {value}")?;
    }
    if !tushare.required.is_empty() {
        writeln!(out, "- One of these is required: {}", quoted(tushare.required.iter()))?;
    }
    Ok(())
}

/// A question that another source answers, with the columns that it has and how well they agree.
fn service(out: &mut String, dataset: &Dataset, source: &str, service: &Service) -> fmt::Result {
    let cuts = service.cuts.iter().map(cut).collect::<Vec<_>>().join("; ");
    let cap = service.row_cap.map_or(String::new(), |cap| format!("; {cap} rows a call"));
    let with = service.always.iter().map(|(parameter, value)| format!(", `{parameter}` = {value}")).collect::<String>();
    writeln!(out, "- {source}: `{}`{with}; {cuts}{cap}", service.api)?;
    for (parameter, values) in &service.facets {
        writeln!(out, "  - asked value by value: `{parameter}` = {}", values.join(", "))?;
    }
    for (field, value) in &service.only {
        writeln!(out, "  - only rows with `{field}` = {value}")?;
    }
    for (agreement, what) in [
        (Agreement::Exact, "the same values"),
        (Agreement::Rounded, "the same but for rounding"),
        (Agreement::Unproven, "not proven equal, for comparing only"),
    ] {
        let agrees =
            |(column, served): (&String, &Served)| (served.agrees == agreement).then(|| comes_from(column, served));
        let columns: Vec<String> = service.columns.iter().filter_map(agrees).collect();
        if !columns.is_empty() {
            writeln!(out, "  - {what}: {}", columns.join(", "))?;
        }
    }
    let lacking = dataset.columns.iter().filter(|column| column.derived.is_none());
    let lacking = lacking.filter(|column| !service.columns.contains_key(&column.name));
    let lacking: Vec<String> = lacking.map(|column| format!("`{}`", column.name)).collect();
    if lacking.is_empty() { Ok(()) } else { writeln!(out, "  - lacking: {}", lacking.join(", ")) }
}

/// `vol` (volume, in lot).
fn comes_from(column: &str, served: &Served) -> String {
    let field = (served.field != *column).then(|| format!("`{}`", served.field));
    let unit = served.unit.as_ref().map(|unit| format!("in {unit}"));
    let words = served.values.iter().map(|(wire, value)| format!("{wire} is {value}"));
    let notes: Vec<String> = field.into_iter().chain(unit).chain(words).collect();
    if notes.is_empty() { format!("`{column}`") } else { format!("`{column}` ({})", notes.join(", ")) }
}

fn limits(tushare: &Tushare) -> String {
    let of = |per_minute: Option<u32>, per_day: Option<u32>| {
        let minute = per_minute.map(|calls| format!("{calls} calls a minute"));
        let day = per_day.map(|calls| format!("{calls} calls a day"));
        let limits: Vec<_> = [minute, day].into_iter().flatten().collect();
        if limits.is_empty() { "no limit of its own".into() } else { limits.join(" and ") }
    };
    if tushare.per_minute.is_none() && tushare.per_day.is_none() && tushare.tiers.is_empty() {
        return String::new();
    }
    let mut text = format!("; {}", of(tushare.per_minute, tushare.per_day));
    for tier in &tushare.tiers {
        text += &format!(", from {} points {}", tier.points, of(tier.per_minute, tier.per_day));
    }
    text
}

fn cut(cut: &Cut) -> String {
    match cut {
        Cut::Day { day } => format!("by day (`{day}`)"),
        Cut::Period { period } => format!("by report period (`{period}`)"),
        Cut::Security { security, from: Some(from), to: Some(to) } => {
            format!("by security (`{security}`, `{from}`, `{to}`)")
        }
        Cut::Security { security, .. } => format!("by security (`{security}`), all time at once"),
        Cut::Range { from, to } => format!("by range (`{from}`, `{to}`)"),
        Cut::Whole => "whole".into(),
    }
}

fn column(out: &mut String, dataset: &Dataset, column: &Column) -> fmt::Result {
    let name = match dataset.key.contains(&column.name) {
        true => format!("**{}**", column.name),
        false => column.name.clone(),
    };
    let kind = match column.kind {
        ColumnType::Text => "text".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Datetime => "datetime".into(),
        ColumnType::Int => "int".into(),
        ColumnType::Decimal => format!("decimal({})", column.scale),
        ColumnType::Float => "float".into(),
    };
    let unit = match column.unit_inferred {
        true => format!("*{}*", column.unit),
        false => column.unit.clone(),
    };
    let cells =
        [&name, &kind, &unit, &column.meaning, &column.meaning_zh, &sent(column)].map(|cell| cell.replace('|', "\\|"));
    writeln!(out, "| {} |", cells.join(" | "))
}

/// What is particular about the wire.
fn sent(column: &Column) -> String {
    let mut notes = Vec::new();
    if column.derived.is_some() {
        notes.push("never; computed".to_string());
    }
    if let Some(unit) = &column.tushare_unit {
        notes.push(unit.clone());
    }
    match column.tushare_form {
        Some(WireForm::Text) => notes.push("as text".into()),
        Some(WireForm::Integer) => notes.push("as integer".into()),
        None => {}
    }
    if column.on_request {
        notes.push("when named".into());
    }
    notes.join(", ")
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
