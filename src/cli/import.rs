//! `tidegate import`: rows from files, checked and committed like any others.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use super::context::{Context, print};
use super::list::{List, grouped};
use crate::check;
use crate::dialect::row_hash::fill_row_hash;
use crate::model::{Area, Change, Commit, Counts, Dataset, Error, Exchanges, Result, RowsChange, change::Write};
use crate::source::file::{self, FileBatch, FileReport, Limits, Mapping, ReadOptions, TextEncoding, Units};
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate import daily tushare_2019.tar.gz
  tidegate import daily 600000.csv --code 600000.SH --map 'Volume=vol:share'
  tidegate import stock_basic stocks.csv --encoding gbk

CSV, TSV, Parquet, .gz and .tar.gz; Tushare, BaoStock, AKShare and common Chinese headings are known.
Bad rows are kept apart with their line numbers: see `tidegate quarantine`.")]
pub struct Args {
    /// The table that the rows belong to
    dataset: String,
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A heading of the file and the column it fills, with the file's unit if it differs: --map 'Volume=vol:share'
    #[arg(long, value_name = "HEADING=COLUMN[:UNIT]")]
    map: Vec<String>,
    /// The text's encoding: utf-8, gbk, gb18030 [default: found out]
    #[arg(long)]
    encoding: Option<String>,
    /// Units of columns whose heading names none: tushare (lots, 千元) or canonical (shares, yuan)
    #[arg(long)]
    units: Option<String>,
    /// The security, for files without a column that names it
    #[arg(long)]
    code: Option<String>,
    /// Let the files win over rows that a source delivered
    #[arg(long)]
    overwrite: bool,
    /// Read and check everything, write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Files are trusted less than sources, unless told otherwise.
const RANK: u8 = 100;
const RANK_OVERWRITE: u8 = 0;

/// What came of one file.
struct Imported {
    file: String,
    report: FileReport,
    counts: Counts,
    duplicates: u64,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let dataset = context.catalog.get(&args.dataset)?.clone();
    let options = read_options(context, &args, dataset.clone())?;
    let store = if args.dry_run { None } else { Some(context.open_store(true).await?) };
    let mut imported = Vec::new();
    for path in &args.files {
        let rank = if args.overwrite { RANK_OVERWRITE } else { RANK };
        let importer = Importer { context, store: store.clone(), dataset: dataset.clone(), rank };
        imported.push(importer.file(path.clone(), options.clone()).await?);
    }
    report(context, &imported)?;
    Ok(u8::from(imported.iter().any(|one| one.counts.quarantined > 0)))
}

fn read_options(context: &Context, args: &Args, dataset: Arc<Dataset>) -> Result<ReadOptions> {
    let options = &context.options().import;
    let encoding = match &args.encoding {
        None => TextEncoding::Auto,
        Some(name) => TextEncoding::from_name(name).ok_or_else(|| {
            Error::invalid(format!("--encoding {name} is not known")).hint("write utf-8, gbk or gb18030")
        })?,
    };
    let units = match args.units.as_deref() {
        None => Units::Declared,
        Some("tushare") => Units::Tushare,
        Some("canonical") => Units::Canonical,
        Some(other) => {
            return Err(Error::invalid(format!("--units {other} is not known")).hint("write tushare or canonical"));
        }
    };
    let code = args.code.as_deref().map(|code| {
        crate::model::code::canonical(code)
            .ok_or_else(|| Error::invalid(format!("--code {code} is no security code")).hint("write 600000.SH"))
    });
    let field = options.field_kb_max as usize * 1024;
    Ok(ReadOptions {
        mapping: Mapping::parse(&args.map, &dataset)?,
        dataset,
        encoding,
        units,
        limits: Limits { field_bytes_max: field, record_bytes_max: field.saturating_mul(16) },
        batch_rows: options.batch_rows,
        code: code.transpose()?,
    })
}

struct Importer<'a> {
    context: &'a Context,
    store: Option<Arc<dyn Store>>,
    dataset: Arc<Dataset>,
    rank: u8,
}

impl Importer<'_> {
    /// Reads on a thread of its own and commits batch by batch; at most two batches are in memory.
    async fn file(&self, path: PathBuf, options: ReadOptions) -> Result<Imported> {
        let file = path.display().to_string();
        let (sender, mut batches) = mpsc::channel::<FileBatch>(1);
        let reading = tokio::task::spawn_blocking(move || {
            file::read(&path, &options, &mut |batch| {
                sender.blocking_send(batch).map_err(|_| Error::bug("nobody takes the rows that are read"))
            })
        });
        let (mut counts, mut duplicates) = (Counts::default(), 0);
        let mut failed = None;
        while let Some(batch) = batches.recv().await {
            match self.batch(batch).await {
                Ok((written, dropped)) => {
                    add(&mut counts, &written);
                    duplicates += dropped;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            let limit = self.context.options().import.quarantine_max;
            if counts.quarantined > limit {
                let message = format!("more than {limit} rows could not be used; the import stopped");
                failed = Some(Error::invalid(message).hint(
                    "see `tidegate quarantine`: units or headings may be other than assumed (--map, --units); \
                     import.quarantine_max is the limit",
                ));
                break;
            }
        }
        drop(batches);
        let read = reading.await.map_err(|error| Error::bug("reading ended early").caused_by(error))?;
        match failed {
            Some(error) => Err(error),
            None => Ok(Imported { file, report: read?, counts, duplicates }),
        }
    }

    async fn batch(&self, read: FileBatch) -> Result<(Counts, u64)> {
        let batch = fill_row_hash(&self.dataset, read.batch);
        let checked = check::check(&self.dataset, &Area::whole(), batch);
        for warning in checked.warnings {
            tracing::warn!(file = %read.file, warning, "rows deserve a look");
        }
        let quarantined: Vec<_> = read.quarantined.into_iter().chain(checked.quarantined).collect();
        let Some(store) = &self.store else {
            let counts = Counts {
                inserted: checked.batch.num_rows() as u64,
                quarantined: quarantined.len() as u64,
                ..Counts::default()
            };
            return Ok((counts, checked.duplicates));
        };
        let now = self.context.clock.now();
        let change = RowsChange {
            dataset: self.dataset.clone(),
            area: Area::whole(),
            batch: checked.batch,
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
            write: Write::Upsert,
            source: "file".into(),
            rank: self.rank,
            fetched_at: now,
            claim: None,
            quarantined,
        };
        let commit = Commit { at: now, fence: None, changes: vec![Change::Rows(change)] };
        let receipt = store.commit(commit).await?;
        let counts = receipt.rows.first().copied().ok_or_else(|| Error::bug("a commit of rows counted nothing"))?;
        Ok((counts, checked.duplicates))
    }
}

fn add(sum: &mut Counts, counts: &Counts) {
    sum.inserted += counts.inserted;
    sum.updated += counts.updated;
    sum.unchanged += counts.unchanged;
    sum.quarantined += counts.quarantined;
}

fn report(context: &Context, imported: &[Imported]) -> Result<()> {
    if context.json {
        let as_json = |one: &Imported| {
            json!({
                "file": one.file, "rows_read": one.report.rows_read, "inserted": one.counts.inserted,
                "updated": one.counts.updated, "unchanged": one.counts.unchanged, "duplicates": one.duplicates,
                "quarantined": one.counts.quarantined, "suspended": one.report.suspended, "unmapped": one.report.unmapped, "encoding": one.report.encoding,
                "notes": one.report.notes,
            })
        };
        return context.print_json(&imported.iter().map(as_json).collect());
    }
    let mut list =
        List::new(["file", ">read", ">inserted", ">updated", ">unchanged", ">duplicates", ">quarantined", "not used"]);
    for one in imported {
        list.push([
            one.file.clone(),
            grouped(one.report.rows_read),
            grouped(one.counts.inserted),
            grouped(one.counts.updated),
            grouped(one.counts.unchanged),
            grouped(one.duplicates),
            grouped(one.counts.quarantined),
            one.report.unmapped.join(", "),
        ]);
    }
    print(&list.render())?;
    for one in imported {
        one.report.notes.iter().for_each(|note| eprintln!("{}: {note}", one.file));
    }
    Ok(())
}
