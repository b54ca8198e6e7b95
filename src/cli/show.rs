//! `tidegate show` and `tidegate export`: rows of a table, chosen and ordered.

use std::io::Write;
use std::path::{Path, PathBuf};

use arrow_array::Array;
use futures::TryStreamExt;

use super::context::Context;
use super::list::grouped;
use super::table::{TableOptions, writer_with};
use crate::engine::knowledge;
use crate::model::{Error, Result};
use crate::read::choice::{Choice, Wanted, day};
use crate::read::write::{Format, RowWriter, Units, writer};
use crate::read::{FACTORS, PARAMETERS, View};
use crate::store::Scan;

/// Which rows and columns.
#[derive(Debug, clap::Args)]
struct Rows {
    /// A table of the catalogue
    dataset: String,
    /// Only these securities
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    codes: Vec<String>,
    /// First day
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Column equals one of the values: --where list_status=L,P
    #[arg(long = "where", value_name = "COLUMN=VALUES")]
    filters: Vec<String>,
    /// Columns to print, in this order
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Columns to order by; a leading - is descending
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    order: Vec<String>,
    /// Rows at most
    #[arg(long)]
    limit: Option<u64>,
    /// Rows to skip
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// Volumes and amounts as Tushare sends them, so that its tools can read the file
    #[arg(long)]
    tushare_units: bool,
    #[command(flatten)]
    seen: Seen,
}

/// In which times and in which price base.
#[derive(Debug, clap::Args)]
struct Seen {
    /// The table as it was believed then: an instant (2024-06-28T18:00:00+08:00) or the end of a day in Beijing
    #[arg(long, value_name = "INSTANT|DAY")]
    as_of: Option<String>,
    /// Of each statement the version that had been announced last on this day
    #[arg(long, value_name = "DAY")]
    known_on: Option<String>,
    /// Prices adjusted forward (qfq) or backward (hfq), computed from raw prices and factors; none leaves them raw
    #[arg(long, value_name = "qfq|hfq|none")]
    adjust: Option<String>,
    /// The day whose prices qfq leaves as they are [default: --to, or the day of --as-of, or today]
    #[arg(long, value_name = "DAY")]
    anchor: Option<String>,
}

impl Seen {
    fn view(&self) -> Result<View> {
        let mut view = View { told: true, ..View::default() };
        for (name, value) in PARAMETERS.into_iter().zip([&self.as_of, &self.known_on, &self.adjust, &self.anchor]) {
            let Some(value) = value else { continue };
            let option = || format!("--{}", name.replace('_', "-"));
            view.set(name, value).map_err(|error| error.while_doing(option()))?;
        }
        view.check().map_err(|error| error.while_doing("--anchor").hint("add --adjust qfq"))?;
        Ok(view)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate show daily --codes 600519.SH --from 2024-01-01 --limit 10
  tidegate show stock_basic --where list_status=D --columns ts_code,name,delist_date
  tidegate show daily --from 2024-01-02 --to 2024-01-02 --order=-pct_chg --limit 20
  tidegate show daily --codes 600519.SH --format csv > 600519.csv
  tidegate show daily --codes 600519.SH --from 2024-01-01 --adjust qfq
  tidegate show income_vip --codes 600519.SH --known-on 2024-04-30
  tidegate show daily --from 2024-01-02 --to 2024-01-02 --as-of 2024-01-03")]
pub struct Args {
    #[command(flatten)]
    rows: Rows,
    /// table, csv, json (an array), jsonl (an object a line), parquet or arrow (an IPC stream)
    #[arg(long, default_value = "table")]
    format: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate export daily --out daily.parquet
  tidegate export daily --from 2024-01-01 --out 2024.csv --tushare-units
  tidegate export daily --out qfq.parquet --adjust qfq --anchor 2024-06-28")]
pub struct ExportArgs {
    #[command(flatten)]
    rows: Rows,
    /// The file; it appears only when it is complete
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// csv, json, jsonl, parquet or arrow [default: by the file's ending]
    #[arg(long)]
    format: Option<String>,
}

impl Rows {
    fn choice(&self) -> Result<Choice> {
        Ok(Choice {
            codes: self.codes.clone(),
            from: day(self.from.as_deref(), "--from")?,
            to: day(self.to.as_deref(), "--to")?,
            filters: self.filters.iter().map(|filter| equals(filter)).collect::<Result<_>>()?,
            columns: self.columns.clone(),
            order: self.order.clone(),
            limit: self.limit,
            offset: self.offset,
        })
    }
}

fn equals(filter: &str) -> Result<Wanted> {
    let Some((column, values)) = filter.split_once('=') else {
        return Err(Error::invalid(format!("--where {filter} has no =")).hint("write --where COLUMN=VALUE"));
    };
    let values = values.split(',').map(|value| value.trim().to_string()).collect();
    Ok(Wanted::Among { column: column.trim().to_string(), values })
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let format = if context.json { "json" } else { &args.format };
    let stdout = Box::new(std::io::BufWriter::new(std::io::stdout()));
    if format == "table" {
        write(context, &args.rows, Output::Table, stdout).await?;
    } else {
        write(context, &args.rows, Output::Rows(Format::parse(format)?), stdout).await?;
    }
    Ok(0)
}

pub async fn export(context: &Context, args: ExportArgs) -> Result<u8> {
    let format = match &args.format {
        Some(name) => Format::parse(name)?,
        None => Format::of_path(&args.out)?,
    };
    let partial = args.out.with_extension("partial");
    let file = std::fs::File::create(&partial).map_err(|error| cannot_create(&args.out, error))?;
    let written = write(context, &args.rows, Output::Rows(format), Box::new(std::io::BufWriter::new(file))).await;
    let rows = match written {
        Ok(rows) => rows,
        Err(error) => {
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    std::fs::rename(&partial, &args.out).map_err(|error| cannot_create(&args.out, error))?;
    eprintln!("wrote {} rows to {}", super::list::grouped(rows), args.out.display());
    Ok(0)
}

fn cannot_create(path: &Path, error: std::io::Error) -> Error {
    let message = format!("writing {} failed: {error}", path.display());
    Error::storage(message).caused_by(error).hint("choose a folder that exists, has space and may be written to")
}

enum Output {
    Table,
    Rows(Format),
}

/// Streams the rows; returns how many.
async fn write(context: &Context, rows: &Rows, output: Output, out: Box<dyn Write + Send>) -> Result<u64> {
    let dataset = context.catalog.get(&rows.dataset)?.clone();
    let store = context.store().await?;
    let known = knowledge::read(&*store).await?.securities;
    let reader = context.reader(store).with(rows.seen.view()?);
    let dataset = reader.dataset(&dataset);
    let query = rows.choice()?.query(&dataset, &known)?;
    let units = if rows.tushare_units { Units::Tushare } else { Units::Canonical };
    if let Some(anchor) = reader.anchor(&query).filter(|_| !context.quiet) {
        let each = "each security's last factor on or before it";
        eprintln!("forward adjusted to {anchor} ({each}); rounded to the columns' digits");
    }
    let mut writer: Box<dyn RowWriter> = match output {
        Output::Table => writer_with(&dataset, &query.columns, units, table_options(), out)?,
        Output::Rows(format) => writer(format, &dataset, &query.columns, units, out)?,
    };
    let mut batches = reader.scan(&query).await?;
    let (mut written, mut without_factor) = (0, 0);
    while let Some(batch) = batches.try_next().await? {
        written += batch.num_rows() as u64;
        without_factor += batch.column_by_name(FACTORS).map_or(0, |factors| factors.null_count()) as u64;
        writer.write(&batch)?;
        if writer.is_closed() {
            break;
        }
    }
    writer.finish()?;
    if without_factor > 0 && !context.quiet {
        let rows = grouped(without_factor);
        eprintln!("{rows} rows have no factor and therefore no prices; `tidegate sync adj_factor` fetches the factors");
    }
    Ok(written)
}

/// On a terminal a table is as wide as the window.
fn table_options() -> TableOptions {
    let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    TableOptions { width_max: width, ..TableOptions::default() }
}
