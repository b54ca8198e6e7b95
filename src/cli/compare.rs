//! `tidegate compare`: two sides of the same rows, and what differs beyond rounding. Nothing is written.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, grouped};
use super::progress::stop_on_signal;
use crate::check::Columns;
use crate::compare::{ColumnReport, Report, Side, Wanted, compare, factors};
use crate::engine::{Engine, knowledge};
use crate::model::{Area, ColumnType, Dataset, Day, Error, Query, Result, Securities, Span, task::Request};
use crate::read::choice::day;
use crate::source::file::{self, Mapping, ReadOptions, Units};
use crate::store::{Scan, Store};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate compare daily --sources tushare,baostock --from 2024-01-02 --to 2024-01-31 --codes 600519.SH
  tidegate compare daily --sources store,akshare --from 2024-01-02 --to 2024-01-05
  tidegate compare daily --sources store,file:600000.csv --code 600000.SH
  tidegate compare adj_factor --sources tushare,baostock --codes 600000.SH    histories as ratios

A side is a source, `store` or `file:PATH`. Differences within what the sides round are counted apart.
Exit code 1: something differs.")]
pub struct Args {
    /// The table that is compared
    dataset: String,
    /// The two sides
    #[arg(long, value_name = "LEFT,RIGHT", value_delimiter = ',', required = true)]
    sources: Vec<String>,
    /// First day [default: of the table]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day [default: the last one that is due]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Only these securities
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    codes: Vec<String>,
    /// Only these columns
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Differences shown of each column, and missing rows of each side
    #[arg(long, default_value_t = 5)]
    limit: usize,
    /// Calls that a side may take
    #[arg(long, default_value_t = 500)]
    calls: u64,
    /// A heading of a file and the column it fills, as for `tidegate import`
    #[arg(long, value_name = "HEADING=COLUMN[:UNIT]")]
    map: Vec<String>,
    /// The security of a file without a column that names it
    #[arg(long)]
    code: Option<String>,
}

/// The rows of one side.
struct Read {
    name: String,
    batch: RecordBatch,
    /// The rows are factors of ex-dates (`ex_factor`), because the source has none day by day.
    ex_dates: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let dataset = context.catalog.get(&args.dataset)?.clone();
    let [left, right] = args.sources.as_slice() else {
        return Err(Error::invalid("two sides are compared").hint("write --sources tushare,baostock"));
    };
    if let Some(unknown) = args.columns.iter().find(|name| dataset.column(name).is_none()) {
        let error = Error::not_found(format!("{} has no column {unknown:?}", dataset.name));
        return Err(error.hint(format!("`tidegate datasets {}` lists them", dataset.name)));
    }
    for side in &args.sources {
        if side != "store" && !side.starts_with("file:") {
            context.check_source(Some(side))?;
        }
    }
    let reader = Reader::new(context, &args, dataset.clone()).await?;
    let (mut left, mut right) = (reader.side(left).await?, reader.side(right).await?);
    match (left.ex_dates, right.ex_dates) {
        (true, false) => left.batch = factors::day_by_day(&dataset, &right.batch, &left.batch)?,
        (false, true) => right.batch = factors::day_by_day(&dataset, &left.batch, &right.batch)?,
        (true, true) => return Err(Error::invalid("neither side has factors day by day").hint("compare ex_factor")),
        (false, false) => {}
    }
    let wanted = Wanted { examples_max: args.limit, columns: args.columns.clone() };
    let side = |read: &Read| -> (String, RecordBatch) { (read.name.clone(), read.batch.clone()) };
    let (sides, table) = ([side(&left), side(&right)], dataset.clone());
    let comparing = tokio::task::spawn_blocking(move || {
        let [left, right] = &sides;
        compare(&table, Side { name: &left.0, batch: &left.1 }, Side { name: &right.0, batch: &right.1 }, &wanted)
    });
    let report = comparing.await.map_err(|error| Error::bug("comparing ended early").caused_by(error))?;
    if context.json {
        context.print_json(&as_json(&dataset, &left.name, &right.name, &report))?;
    } else {
        print(&as_text(&dataset, &left.name, &right.name, &report))?;
    }
    Ok(u8::from(!report.agrees()))
}

/// The table of factors by ex-date.
const EX_DATES: &str = "ex_factor";

/// Reads the sides over the same area.
struct Reader<'a> {
    context: &'a Context,
    args: &'a Args,
    dataset: Arc<Dataset>,
    store: Option<Arc<dyn Store>>,
    request: Request,
    area: Area,
}

impl<'a> Reader<'a> {
    async fn new(context: &'a Context, args: &'a Args, dataset: Arc<Dataset>) -> Result<Reader<'a>> {
        // Files are compared without a store.
        let needs_store = args.sources.iter().any(|side| !side.starts_with("file:"));
        let store = if needs_store { Some(context.store().await?) } else { None };
        let known = match &store {
            Some(store) => knowledge::read(&**store).await?.securities,
            None => Default::default(),
        };
        let (from, to) = (day(args.from.as_deref(), "--from")?, day(args.to.as_deref(), "--to")?);
        let securities = known.chosen_by(&args.codes)?;
        let day = |text: &Option<String>, none: Day| text.as_deref().map_or(Ok(none), Day::parse);
        let span = Span::new(day(&from, Day::MIN)?, day(&to, Day::MAX)?);
        if span.is_empty() {
            return Err(Error::invalid("--from lies after --to").hint("swap the two"));
        }
        let area = Area::new(securities.clone(), span);
        let request = Request { securities, from, to, ..Request::everything() };
        Ok(Reader { context, args, dataset, store, request, area })
    }

    async fn side(&self, text: &str) -> Result<Read> {
        if let Some(path) = text.strip_prefix("file:") {
            return self.file(Path::new(path)).await;
        }
        let Some(store) = &self.store else { return Err(Error::bug("a side has no store")) };
        let mut ex_dates = false;
        let batch = if text == "store" {
            self.stored(&**store).await?
        } else {
            let engine = self.context.engine(store.clone()).await?;
            let _running = store.run_exclusively().await?;
            let stop = stop_on_signal();
            ex_dates = self.has_ex_dates_only(&engine, text);
            if ex_dates {
                // A factor holds from its ex-date on, however long ago that was.
                let request = Request { from: None, ..self.request.clone() };
                engine.read(EX_DATES, &request, text, self.args.calls, &stop).await?
            } else {
                let read = engine.read(&self.dataset.name, &self.request, text, self.args.calls, &stop).await?;
                self.inside(&read)?
            }
        };
        Ok(Read { name: text.to_owned(), batch, ex_dates })
    }

    /// Whether the source has the factors of this table for ex-dates only.
    fn has_ex_dates_only(&self, engine: &Engine, source: &str) -> bool {
        let offers = |dataset: &Dataset| engine.offers(dataset, Some(source)).is_ok();
        let ex_dates = || self.context.catalog.get(EX_DATES).is_ok_and(|dataset| offers(dataset));
        self.dataset.name == "adj_factor" && !offers(&self.dataset) && ex_dates()
    }

    async fn stored<S: Scan + ?Sized>(&self, store: &S) -> Result<RecordBatch> {
        let batches: Vec<RecordBatch> =
            store.scan(&Query::area(&self.dataset, &self.area)).await?.try_collect().await?;
        joined(&self.dataset, &batches)
    }

    /// Files keep more digits than a table, so that rounding can be told from a difference.
    async fn file(&self, path: &Path) -> Result<Read> {
        let precise = Arc::new(with_more_digits(&self.dataset));
        let code = self.args.code.as_deref().map(|code| {
            crate::model::code::canonical(code)
                .ok_or_else(|| Error::invalid(format!("--code {code} is no security code")).hint("write 600000.SH"))
        });
        let mapping = Mapping::parse(&self.args.map, &self.dataset)?;
        let options = ReadOptions {
            mapping,
            units: Units::Declared,
            code: code.transpose()?,
            ..ReadOptions::new(precise.clone())
        };
        let owned = path.to_path_buf();
        let reading = tokio::task::spawn_blocking(move || {
            let (mut batches, mut unread) = (Vec::new(), Vec::new());
            let report = file::read(&owned, &options, &mut |read| {
                batches.push(read.batch);
                unread.extend(read.quarantined.into_iter().map(|row| row.reason));
                Ok(())
            })?;
            Ok((batches, unread, report.file))
        });
        let read: Result<_> = reading.await.map_err(|error| Error::bug("reading ended early").caused_by(error))?;
        let (batches, unread, name) = read?;
        if let Some(reason) = unread.first() {
            eprintln!("{name}: {} rows cannot be read, the first: {reason}", grouped(unread.len() as u64));
        }
        let batch = self.inside(&joined(&precise, &batches)?)?;
        Ok(Read { name, batch, ex_dates: false })
    }

    /// The rows that were asked for: a source may have sent more, and files hold what they hold.
    fn inside(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = Columns::new(batch);
        let named = |name: &Option<String>| name.as_deref().and_then(|name| columns.get(name));
        let (security, time) = (named(&self.dataset.security), named(&self.dataset.time));
        let fits = |row: usize| {
            let security_fits = match (&self.area.securities, security) {
                (Securities::Some(codes), Some(cells)) => cells.text(row).is_some_and(|code| codes.contains(code)),
                _ => true,
            };
            let day = time.and_then(|cells| cells.day(row));
            security_fits && (self.area.span.is_all() || day.is_none_or(|day| self.area.span.contains(day)))
        };
        let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(fits(row))).collect();
        filter_record_batch(batch, &mask).map_err(|error| Error::bug("choosing rows failed").caused_by(error))
    }
}

/// Digits after the point that a file's figures are read with.
const SCALE: i8 = 10;

fn with_more_digits(dataset: &Dataset) -> Dataset {
    let mut precise = dataset.clone();
    for column in precise.columns.iter_mut().filter(|column| column.kind == ColumnType::Decimal) {
        (column.scale, column.digits) = (column.scale.max(SCALE), 38);
    }
    precise
}

fn joined(dataset: &Dataset, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(&dataset.schema(), batches).map_err(|error| Error::bug("joining rows failed").caused_by(error))
}

fn as_text(dataset: &Dataset, left: &str, right: &str, report: &Report) -> String {
    let mut text = format!(
        "{}: {left} (left) against {right} (right)\n{} rows in both, {} only in {left}, {} only in {right}\n\n",
        dataset.name,
        grouped(report.rows_both),
        grouped(report.only_left),
        grouped(report.only_right),
    );
    let mut list = List::new([
        "column",
        ">compared",
        ">equal",
        ">rounding",
        ">different",
        ">only right",
        ">only left",
        ">largest",
        "likely cause",
    ]);
    for column in &report.columns {
        let figures = [column.compared, column.equal, column.rounding, column.different];
        let [compared, equal, rounding, different] = figures.map(grouped);
        let largest = if column.largest > 0.0 { rounded(column.largest) } else { "-".to_owned() };
        let cause = column.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let (only_right, only_left) = (grouped(column.null_left), grouped(column.null_right));
        list.push([column.name.clone(), compared, equal, rounding, different, only_right, only_left, largest, cause]);
    }
    text.push_str(&list.render());
    let mut examples = List::new(["column", "row", ">left", ">right"]);
    for column in &report.columns {
        for example in &column.examples {
            examples.push([column.name.clone(), example.key.clone(), example.left.clone(), example.right.clone()]);
        }
    }
    if !examples.is_empty() {
        text.push_str(&format!("\nfirst differences\n{}", examples.render()));
    }
    for (side, keys) in [(left, &report.missing_left), (right, &report.missing_right)] {
        if !keys.is_empty() {
            text.push_str(&format!("\nnot in {side}: {}\n", keys.join(", ")));
        }
    }
    text
}

/// A difference with six digits at most.
fn rounded(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn as_json(dataset: &Dataset, left: &str, right: &str, report: &Report) -> Value {
    let column = |column: &ColumnReport| {
        let example = |example: &crate::compare::Example| json!({ "key": example.key, "left": example.left, "right": example.right });
        json!({
            "name": column.name, "compared": column.compared, "equal": column.equal, "rounding": column.rounding,
            "different": column.different, "null_left": column.null_left, "null_right": column.null_right,
            "largest": column.largest, "cause": column.cause.as_ref().map(|cause| cause.name()),
            "cause_text": column.cause.as_ref().map(ToString::to_string),
            "examples": column.examples.iter().map(example).collect::<Vec<_>>(),
        })
    };
    json!({
        "dataset": dataset.name, "left": left, "right": right, "agrees": report.agrees(),
        "rows_left": report.rows_left, "rows_right": report.rows_right, "rows_both": report.rows_both,
        "only_left": report.only_left, "only_right": report.only_right,
        "missing_left": report.missing_left, "missing_right": report.missing_right,
        "columns": report.columns.iter().map(column).collect::<Vec<_>>(),
    })
}
