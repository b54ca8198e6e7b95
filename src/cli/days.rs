//! `tidegate days`: how each day of a table stands.

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, duration, grouped};
use crate::engine::days::DayReport;
use crate::model::{Day, Error, Result, Span};
use crate::plan::{DayState, DayStatus};
use crate::read::choice;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate days daily --from 2024-01-01 --to 2024-01-31
  tidegate days daily --days-back 30 --state failed
  tidegate days daily moneyflow --days-back 7 --json

Each day is success, partial, failed, skipped (no trading, or not due yet) or pending (never asked for). Nothing is kept
for this list: it follows from the claims, the failures and the calendar.")]
pub struct Args {
    #[arg(required = true)]
    datasets: Vec<String>,
    /// First day [default: 30 days before the last]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// From so many days before the last one on
    #[arg(long, value_name = "DAYS", conflicts_with = "from", default_value_t = 30)]
    days_back: i32,
    /// Only days in this state
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<DayState>,
}

fn state(name: &str) -> std::result::Result<DayState, String> {
    DayState::from_name(name).ok_or_else(|| "success, partial, failed, skipped or pending".to_string())
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let day = |text: &Option<String>, option| -> Result<Option<Day>> {
        choice::day(text.as_deref(), option)?.map(|text| Day::parse(&text)).transpose()
    };
    let to = day(&args.to, "--to")?.unwrap_or(context.clock.now().day());
    let from = day(&args.from, "--from")?.unwrap_or(to.plus(-args.days_back.max(0)));
    if from > to {
        return Err(Error::invalid(format!("--from {from} lies after --to {to}")).hint("swap the two"));
    }
    let engine = context.engine(context.store().await?).await?;
    let mut reports = Vec::new();
    for dataset in &args.datasets {
        let mut report = engine.days(dataset, Span::new(from, to)).await?;
        report.days.retain(|status| args.state.is_none_or(|state| state == status.state));
        reports.push(report);
    }
    if context.json {
        context.print_json(&reports.iter().map(as_json).collect())?;
    } else {
        print(&reports.iter().map(as_text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(0)
}

/// The days as a table, and how many there are of each kind.
pub fn as_text(report: &DayReport) -> String {
    let mut list = List::new(["table", "day", "status", ">rows", ">took", "source", "why"]);
    for status in &report.days {
        list.push([
            report.dataset.clone(),
            status.day.to_string(),
            status.state.name().to_string(),
            grouped(status.rows),
            status.millis.map(duration).unwrap_or_default(),
            status.source.clone().unwrap_or_default(),
            status.why.clone(),
        ]);
    }
    list.render() + &summary(report)
}

/// `daily: 18 success, 0 partial, 1 failed, 12 skipped (2 done before, 10 closed, 0 not due), 4 s`.
fn summary(report: &DayReport) -> String {
    let counts = &report.counts;
    let pending = if counts.pending > 0 { format!(", {} pending", counts.pending) } else { String::new() };
    let took = report.millis.map_or(String::new(), |millis| format!(", {}", duration(millis)));
    format!(
        "{}: {} success, {} partial, {} failed, {} skipped ({} done before, {} closed, {} not due){pending}{took}\n",
        report.dataset,
        counts.success,
        counts.partial,
        counts.failed,
        counts.skipped(),
        counts.done_before,
        counts.closed,
        counts.not_due,
    )
}

pub fn as_json(report: &DayReport) -> Value {
    let counts = &report.counts;
    let day = |status: &DayStatus| {
        json!({
            "day": status.day.to_string(), "status": status.state.name(), "why": status.why, "rows": status.rows,
            "source": status.source, "at": status.at.map(|at| at.to_string()), "ms": status.millis,
        })
    };
    json!({
        "dataset": report.dataset, "from": report.span.from.to_string(), "to": report.span.to.to_string(),
        "success": counts.success, "partial": counts.partial, "failed": counts.failed, "skipped": counts.skipped(),
        "skipped_done": counts.done_before, "skipped_closed": counts.closed, "skipped_not_due": counts.not_due,
        "pending": counts.pending, "ms": report.millis, "days": report.days.iter().map(day).collect::<Vec<_>>(),
    })
}
