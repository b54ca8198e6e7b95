//! `tidegate repair`: mends the rows that a report names, or takes a repair back.

use std::path::PathBuf;

use serde_json::json;

use super::context::{Context, print};
use super::list::grouped;
use super::progress::stop_on_signal;
use super::reconcile::window;
use super::reconciling::reconciler;
use crate::model::reconciliation::DifferenceKind;
use crate::model::{Error, Result};
use crate::reconcile::plan::Choice;
use crate::reconcile::repair::{Repaired, Sides};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate repair --report 12 --dry-run                       what would be done
  tidegate repair --report 12
  tidegate repair --report 12 --only voucher_date=2024-12-19
  tidegate repair --report 12 --kind missing --key 1001 --key 1002
  tidegate repair --report 12 --yes-really 5000               more rows than reconcile.repair_rows_max, confirmed
  tidegate repair --undo report-12.undo.jsonl                 take it back

Rows are written in transactions, and only where both sides still are as the report saw them; then the same rows are compared
again. The undo file has every changed row as it was, with all its columns: keep it as you keep the table itself.
Exit code 1: some rows have changed since the report, or still differ.")]
pub struct Args {
    /// The report whose differences are mended
    #[arg(long, value_name = "NUMBER", required_unless_present = "undo")]
    report: Option<i64>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Only rows with a value of a column between two
    #[arg(long, value_name = "COLUMN=FROM..TO")]
    only: Option<String>,
    /// Only the row with this key; may be repeated
    #[arg(long, value_name = "VALUES")]
    key: Vec<String>,
    /// Only these differences: missing, extra, different, duplicate
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kind: Vec<String>,
    /// Only the differences with these numbers
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    number: Vec<u64>,
    /// The number of rows that the dry run has named, to change more than reconcile.repair_rows_max
    #[arg(long, value_name = "ROWS")]
    yes_really: Option<u64>,
    /// Where the undo file is written [default: report-NUMBER.undo.jsonl here]
    #[arg(long, value_name = "FILE")]
    undo_file: Option<PathBuf>,
    /// Take back what a repair did, from its undo file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["report", "dry_run"])]
    undo: Option<PathBuf>,
    /// The source with its password, where its address needs one
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// The target with its password, where its address needs one
    #[arg(long, value_name = "ADDRESS")]
    target: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let reconciler = reconciler(context, context.store().await?);
    let sides = Sides { source: args.source.clone(), target: args.target.clone() };
    if let Some(file) = &args.undo {
        let undone = reconciler.undo(file, sides).await?;
        let kept = undone.changed_since.len();
        if context.json {
            context.print_json(&json!({
                "report": undone.report, "target": undone.target, "restored": undone.restored,
                "changed_since": undone.changed_since,
            }))?;
        } else {
            print(&format!(
                "{} differences of report {} are back as they were\n",
                grouped(undone.restored),
                undone.report
            ))?;
            if kept > 0 {
                print(&format!("{kept} stay: their rows are not as the repair left them\n"))?;
            }
        }
        return Ok(u8::from(kept > 0));
    }
    let Some(report) = args.report else { return Err(Error::invalid("a repair is of a report").hint("--report N")) };
    let choice = args.choice()?;
    if args.dry_run {
        let planned = reconciler.dry_run(report, &choice, sides).await?;
        return tell(context, &planned, None);
    }
    let file = args.undo_file.unwrap_or_else(|| format!("report-{report}.undo.jsonl").into());
    let done = reconciler.repair(report, &choice, sides, &file, &stop_on_signal()).await?;
    tell(context, &done, Some(&file))
}

impl Args {
    fn choice(&self) -> Result<Choice> {
        let kind = |name: &String| {
            DifferenceKind::from_name(name).ok_or_else(|| {
                Error::invalid(format!("--kind {name:?} is no kind")).hint("missing, extra, different, duplicate")
            })
        };
        Ok(Choice {
            numbers: self.number.clone(),
            kinds: self.kind.iter().map(kind).collect::<Result<_>>()?,
            keys: self.key.clone(),
            only: self.only.as_deref().map(window).transpose()?,
            rows_max: None,
            confirmed: self.yes_really,
        })
    }
}

fn tell(context: &Context, repaired: &Repaired, file: Option<&PathBuf>) -> Result<u8> {
    let counts = repaired.counts;
    let file = file.filter(|_| repaired.mended > 0);
    if context.json {
        context.print_json(&json!({
            "report": repaired.report, "target": repaired.target, "dry_run": file.is_none() && repaired.mended == 0,
            "rows": counts.rows(), "inserted": counts.inserted, "updated": counts.updated, "deleted": counts.deleted,
            "repaired_before": counts.repaired_before, "not_chosen": counts.not_chosen,
            "changed_since": repaired.changed_since, "equal_already": repaired.equal_already,
            "mended": repaired.mended, "replayed": repaired.replayed, "verified": repaired.verified, "still_different": repaired.still_different,
            "undo_file": file.map(|file| file.display().to_string()),
        }))?;
    } else {
        let (inserted, updated, deleted) = (grouped(counts.inserted), grouped(counts.updated), grouped(counts.deleted));
        let what =
            format!("{} rows: {inserted} inserted, {updated} updated, {deleted} deleted", grouped(counts.rows()));
        let mut text = format!("report {}, {}\n  {what}\n", repaired.report, repaired.target);
        let lines = [
            (repaired.equal_already, "differences are none any more"),
            (counts.repaired_before, "differences were repaired before"),
            (counts.not_chosen, "differences were not chosen"),
            (repaired.changed_since.len() as u64, "differences are refused: their rows have changed since the report"),
            (repaired.replayed, "events were sent again"),
            (repaired.verified, "rows were compared again and are equal"),
            (repaired.still_different, "rows were compared again and still differ"),
        ];
        for (count, what) in lines.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("  {} {what}\n", grouped(*count)));
        }
        if let Some(file) = file {
            text.push_str(&format!("  to take it back: tidegate repair --undo {}\n", file.display()));
        }
        print(&text)?;
    }
    Ok(u8::from(!repaired.changed_since.is_empty() || repaired.still_different > 0))
}
