//! `tidegate reconcile`: compares two tables wherever they are, keeps the report and shows it; and the definitions by
//! which tables are compared every week.

use std::collections::BTreeMap;

use serde_json::json;

use super::context::{Context, print};
use super::list::{List, duration, grouped};
use super::progress::stop_on_signal;
use super::reconciling::{counted, difference_json, reconciler, report_json};
use crate::model::compared::{Precision, ValueKind};
use crate::model::reconciliation::{
    After, Difference, DifferencesWanted, Events, KIND, Outcome, RepairBy, Report, ReportsWanted, Rule, WEEKLY, Wanted,
    Window,
};
use crate::model::{Error, Result};
use crate::reconcile::Reconciler;
use crate::reconcile::address::shown;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate reconcile postgres://settle@db/settle#contract postgres://tax@db2/tax#contract_copy
  tidegate reconcile erp#sales.contracts store:contracts --ignore updated_at
  tidegate reconcile erp#invoice sqlite://tax.db#invoice --name id=invoice_id --tolerance amount=0.01
  tidegate reconcile erp#voucher tax#voucher --only voucher_date=2024-12-01..2024-12-31
  tidegate reconcile erp#contract store:contracts --save contracts --cron '0 3 * * 0'
  tidegate reconcile --run contracts            what is defined, now
  tidegate reconcile --list
  tidegate reconcile --history
  tidegate reconcile --report 12                what a run has found
  tidegate reconcile --remove contracts

A side is store:DATASET, NAME#TABLE of sources.database.connections, postgres://...#TABLE, sqlite://FILE#TABLE, NAME#DATASET
of reconcile.tidegates, or https://:KEY@host#DATASET. The source is the side that is right. Passwords are neither shown nor
kept. Exit code 0: equal; 1: something differs, or the budget ended before everything was compared.")]
pub struct Args {
    /// The side that is right, and the side that shall be equal to it
    #[arg(num_args = 0..=2, value_names = ["SOURCE", "TARGET"])]
    sides: Vec<String>,
    /// Columns of the key [default: the primary key]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Only these columns [default: all that both sides have]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// Columns that are not compared
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    ignore: Vec<String>,
    /// A column with another name at the target
    #[arg(long, value_name = "SOURCE=TARGET")]
    name: Vec<String>,
    /// As what a column is compared: text, number, truth, day, instant, json, bytes
    #[arg(long = "as", value_name = "COLUMN=KIND")]
    kinds: Vec<String>,
    /// Numbers that differ by no more are equal
    #[arg(long, value_name = "COLUMN=NUMBER")]
    tolerance: Vec<String>,
    /// To which unit instants are compared: microsecond, millisecond, second, minute
    #[arg(long, value_name = "COLUMN=UNIT")]
    precision: Vec<String>,
    /// Blanks at the end of these columns do not count
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    trim: Vec<String>,
    /// Nothing and an empty text are the same in these columns
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    empty_is_null: Vec<String>,
    /// The zone of instants that say none [default: +08:00]
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    zone: Option<String>,
    /// Only rows with a value of a column between two
    #[arg(long, value_name = "COLUMN=FROM..TO")]
    only: Option<String>,
    /// What has to pass before a difference counts: slot:NAME, cursor:NAME or subscription:NAME
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// The column whose value is the subject or key of a row's events, with what stands before it: contract/{id}
    #[arg(long, value_name = "PREFIX{COLUMN}")]
    events: Option<String>,
    /// The subscription that carries them to the target
    #[arg(long, value_name = "NAME", requires = "events")]
    subscription: Option<String>,
    /// The column that counts versions
    #[arg(long, value_name = "COLUMN")]
    version_column: Option<String>,
    /// Stop after so many differences [default: reconcile.differences_max]
    #[arg(long, value_name = "COUNT")]
    differences: Option<u64>,
    /// Read at most so many rows one by one [default: reconcile.rows_max]
    #[arg(long, value_name = "ROWS")]
    rows: Option<u64>,
    /// Take at most so long [default: reconcile.seconds_max]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Keep this as a definition that runs by itself, instead of running it now
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// When it runs: five fields in Beijing time, or nothing for only by hand [default: 0 3 * * 0, Sundays]
    #[arg(long, value_name = "LINE", requires = "save")]
    cron: Option<String>,
    /// Repair up to so many differences without a person
    #[arg(long, value_name = "ROWS", requires = "save")]
    auto_repair: Option<u64>,
    /// How the target is mended: rows (written into it), or replay (the events of the rows are sent again)
    #[arg(long, value_name = "WAY", default_value = "rows", value_parser = ["rows", "replay"])]
    repair_by: String,
    /// Run a definition now
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sides", "save"])]
    run: Option<String>,
    /// Every definition
    #[arg(long, conflicts_with_all = ["sides", "run"])]
    list: bool,
    /// Remove a definition; its reports stay
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sides", "run"])]
    remove: Option<String>,
    /// Reports, newest first
    #[arg(long, conflicts_with_all = ["sides", "run"])]
    history: bool,
    /// One report
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["sides", "run"])]
    report: Option<i64>,
    /// Differences that are shown, and reports of the history
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let reconciler = reconciler(context, context.store().await?);
    if args.list {
        return list(context, &reconciler).await;
    }
    if args.history {
        return history(context, &reconciler, args.limit).await;
    }
    if let Some(id) = args.report {
        return tell(context, &reconciler, &reconciler.report(id).await?, args.limit).await;
    }
    if let Some(name) = &args.remove {
        reconciler.undefine(name).await?;
        eprintln!("{name} is removed");
        return Ok(0);
    }
    let stop = stop_on_signal();
    let limit = args.limit;
    if let Some(name) = &args.run {
        let report = reconciler.run_defined(name, &stop).await?;
        return tell(context, &reconciler, &report, limit).await;
    }
    let save = args.save.clone();
    let wanted = args.wanted()?;
    if let Some(name) = save {
        reconciler.define(&name, &wanted, false).await?;
        let when = wanted.schedule().map_or("only by hand".to_string(), |line| format!("by {line:?}"));
        eprintln!("{name} is kept and runs {when}; `tidegate reconcile --run {name}` runs it now");
        return Ok(0);
    }
    let report = reconciler.run(None, &wanted, &stop).await?;
    tell(context, &reconciler, &report, limit).await
}

impl Args {
    fn wanted(self) -> Result<Wanted> {
        let [source, target] = <[String; 2]>::try_from(self.sides)
            .map_err(|_| Error::invalid("two sides are compared").hint("write tidegate reconcile SOURCE TARGET"))?;
        let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
        for (column, kind) in pairs(&self.kinds, "--as")? {
            let known = ValueKind::ALL.into_iter().find(|known| known.name() == kind);
            let known = known.ok_or_else(|| Error::invalid(format!("--as {column}={kind} names no kind")));
            rules.entry(column).or_default().kind = Some(known?);
        }
        for (column, number) in pairs(&self.tolerance, "--tolerance")? {
            rules.entry(column).or_default().tolerance = Some(number);
        }
        for (column, unit) in pairs(&self.precision, "--precision")? {
            rules.entry(column).or_default().precision = Some(precision(&unit)?);
        }
        self.trim.into_iter().for_each(|column| rules.entry(column).or_default().trim = true);
        self.empty_is_null.into_iter().for_each(|column| rules.entry(column).or_default().empty_is_null = true);
        let events = self.events.map(|text| events(&text, self.subscription)).transpose()?;
        let mut wanted = Wanted {
            source,
            target,
            key: self.key,
            columns: self.columns,
            ignore: self.ignore,
            names: pairs(&self.name, "--name")?.into_iter().collect(),
            rules,
            zone: self.zone,
            only: self.only.as_deref().map(window).transpose()?,
            after: self.after.as_deref().map(after).transpose()?,
            events,
            version: self.version_column,
            cron: self.cron,
            ..Wanted::default()
        };
        (wanted.limits.differences, wanted.limits.rows, wanted.limits.seconds) =
            (self.differences, self.rows, self.seconds);
        wanted.repair.by = if self.repair_by == "replay" { RepairBy::Replay } else { RepairBy::Rows };
        (wanted.repair.auto, wanted.repair.auto_max) =
            (self.auto_repair.is_some(), self.auto_repair.unwrap_or_default());
        Ok(wanted)
    }
}

fn pairs(texts: &[String], flag: &str) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| {
        let (one, two) =
            text.split_once('=').filter(|(one, two)| !one.is_empty() && !two.is_empty()).ok_or_else(|| {
                Error::invalid(format!("{flag} {text:?} names no column and value")).hint("write COLUMN=VALUE")
            })?;
        Ok((one.to_string(), two.to_string()))
    };
    texts.iter().map(pair).collect()
}

fn precision(unit: &str) -> Result<Precision> {
    serde_json::from_value(json!(unit)).map_err(|_| {
        Error::invalid(format!("{unit:?} is no unit of instants")).hint("microsecond, millisecond, second or minute")
    })
}

/// `COLUMN=FROM..TO`; either end may be absent.
pub fn window(text: &str) -> Result<Window> {
    let unfit = || Error::invalid(format!("{text:?} chooses no rows")).hint("write COLUMN=FROM..TO");
    let (column, bounds) = text.split_once('=').ok_or_else(unfit)?;
    let (from, to) = bounds.split_once("..").unwrap_or((bounds, bounds));
    let bound = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
    Ok(Window { column: column.to_string(), from: bound(from), to: bound(to) })
}

fn after(text: &str) -> Result<After> {
    let unfit = || Error::invalid(format!("--after {text:?} names no position"));
    let (kind, name) = text.split_once(':').ok_or_else(|| unfit().hint("write slot:NAME or subscription:NAME"))?;
    let name = name.to_string();
    match kind {
        "slot" => Ok(After::Slot { name }),
        "cursor" => Ok(After::Cursor { name }),
        "subscription" => Ok(After::Subscription { name }),
        _ => Err(unfit().hint("positions are slot:NAME, cursor:NAME and subscription:NAME")),
    }
}

/// `contract/{id}`: what stands before a value, and the column that it is in.
fn events(text: &str, subscription: Option<String>) -> Result<Events> {
    let (prefix, column) = match text.split_once('{') {
        Some((prefix, rest)) => (prefix, rest.trim_end_matches('}')),
        None => ("", text),
    };
    Ok(Events { column: column.to_string(), prefix: prefix.to_string(), subscription })
}

async fn list(context: &Context, reconciler: &Reconciler) -> Result<u8> {
    let definitions = reconciler.store().definitions(KIND).await?;
    let mut rows = Vec::new();
    let mut list = List::new(["name", "source", "target", "when", "last report", "outcome"]);
    for definition in definitions {
        let wanted = Wanted::of(&definition)?;
        let newest = ReportsWanted { name: Some(definition.name.clone()), before: None, limit: 1 };
        let last = reconciler.store().reconciliations(&newest).await?.pop();
        let when = wanted.schedule().unwrap_or("by hand").to_string();
        let when = if when == WEEKLY { format!("{when} (weekly)") } else { when };
        list.push([
            definition.name.clone(),
            wanted.source.clone(),
            wanted.target.clone(),
            when,
            last.as_ref().map_or("-".to_string(), |last| format!("{} at {}", last.id, last.finished_at)),
            last.as_ref().map_or("-".to_string(), |last| last.outcome.name().to_string()),
        ]);
        let last = last.as_ref().map(report_json);
        rows.push(json!({ "name": definition.name, "definition": wanted.body()?, "last": last }));
    }
    match context.json {
        true => context.print_json(&json!(rows))?,
        false if rows.is_empty() => eprintln!("nothing is defined; see `tidegate reconcile --help`"),
        false => print(&list.render())?,
    }
    Ok(0)
}

async fn history(context: &Context, reconciler: &Reconciler, limit: usize) -> Result<u8> {
    let reports = reconciler.store().reconciliations(&ReportsWanted { limit, ..ReportsWanted::default() }).await?;
    if context.json {
        context.print_json(&reports.iter().map(report_json).collect())?;
        return Ok(0);
    }
    let mut list = List::new(["report", "finished", "source", "target", ">rows", "outcome", "differences"]);
    for report in &reports {
        list.push([
            report.id.to_string(),
            report.finished_at.to_string(),
            report.wanted.source.clone(),
            report.wanted.target.clone(),
            grouped(report.counts.source_rows),
            report.outcome.name().to_string(),
            counted(&report.counts),
        ]);
    }
    print(&list.render())?;
    Ok(0)
}

async fn tell(context: &Context, reconciler: &Reconciler, report: &Report, limit: usize) -> Result<u8> {
    let first = DifferencesWanted { report: report.id, after: 0, limit };
    let differences = reconciler.store().differences(&first).await?;
    if context.json {
        let mut value = report_json(report);
        value["rows"] = differences.iter().map(|difference| difference_json(report, difference)).collect();
        context.print_json(&value)?;
    } else {
        print(&told(report, &differences))?;
    }
    Ok(u8::from(report.outcome != Outcome::Equal))
}

/// A report for people.
fn told(report: &Report, differences: &[Difference]) -> String {
    let counts = &report.counts;
    let millis = report.finished_at.millis_since(report.started_at);
    let took = duration(u64::try_from(millis).unwrap_or_default());
    let mut text = format!(
        "report {}: {}\n  source  {}  {} rows\n  target  {}  {} rows\n  {} in {took}; {} ranges and {} single rows were compared\n",
        report.id,
        report.outcome.name(),
        shown(&report.wanted.source),
        grouped(counts.source_rows),
        shown(&report.wanted.target),
        grouped(counts.target_rows),
        counted(counts),
        grouped(counts.ranges),
        grouped(counts.rows_read),
    );
    if counts.passed > 0 {
        let passed = grouped(counts.passed);
        text.push_str(&format!("  {passed} rows were on their way, and equal when they were looked at again\n"));
    }
    if let Some(note) = &report.note {
        text.push_str(&format!("  {note}\n"));
    }
    if differences.is_empty() {
        return text;
    }
    let mut list = List::new([">", "kind", "key", "differs in", "source", "target", "likely cause", "event"]);
    for difference in differences {
        let key = difference
            .key
            .iter()
            .zip(&report.columns)
            .map(|(value, column)| cell(value.as_deref().map(|it| column.shown(it))));
        let fields = || difference.fields.iter().filter_map(|at| report.columns.get(*at));
        let side = |rows: &[Vec<Option<String>>]| match rows {
            [] => "-".to_string(),
            [row] => {
                let values = difference.fields.iter().filter_map(|at| Some((report.columns.get(*at)?, row.get(*at)?)));
                values
                    .map(|(column, value)| cell(value.as_deref().map(|it| column.shown(it))))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            rows => format!("{} rows", rows.len()),
        };
        let told = [
            difference.event.map(|event| event.to_string()),
            difference.delivery.clone(),
            difference.attempt.map(|attempt| format!("(attempt {attempt})")),
        ];
        let told: Vec<String> = told.into_iter().flatten().collect();
        let event = if told.is_empty() { "-".to_string() } else { told.join(" ") };
        list.push([
            difference.number.to_string(),
            difference.kind.name().to_string(),
            key.collect::<Vec<_>>().join(", "),
            fields().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", "),
            side(&difference.source),
            side(&difference.target),
            difference.cause.text().to_string(),
            event,
        ]);
    }
    text.push('\n');
    text.push_str(&list.render());
    let shown = differences.len() as u64;
    if counts.differences() > shown {
        let all = grouped(counts.differences());
        text.push_str(&format!(
            "the first {shown} of {all}; `tidegate reconcile --report {} --limit N` shows more\n",
            report.id
        ));
    }
    text.push_str(&format!("\nto mend the target: tidegate repair --report {} --dry-run\n", report.id));
    text
}

/// A value as a list shows it: short, on one line.
fn cell(value: Option<String>) -> String {
    const CHARS_MAX: usize = 32;
    let Some(value) = value else { return "null".to_string() };
    let plain: String = value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match plain.chars().count() > CHARS_MAX {
        true => format!("{}...", plain.chars().take(CHARS_MAX).collect::<String>()),
        false if plain.is_empty() || plain.ends_with(' ') => format!("{plain:?}"),
        false => plain,
    }
}
