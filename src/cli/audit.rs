//! `tidegate audit`: every expected cell explained, or a list of holes with reason and remedy.

use super::context::{Context, print};
use super::list::{List, grouped};
use crate::engine::audits::{self, as_json, unexplained};
use crate::model::{Day, Error, Result, Span};
use crate::plan::Audit;
use crate::read::choice;
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate audit
  tidegate audit daily --from 2024-01-01 --to 2024-12-31
  tidegate audit --json | jq '.datasets[].holes'

The exit code is 0 when every hole is explained, 1 otherwise.")]
pub struct Args {
    /// Only these tables [default: all]
    datasets: Vec<String>,
    /// First day [default: the first one that was asked for]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day [default: the last one that is due]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Holes to print for each table
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let span = span(&args)?;
    let store = context.store().await?;
    let audits = audits(context, &*store, &args.datasets, span).await?;
    if context.json {
        context.print_json(&as_json(&audits))?;
    } else {
        print(&as_text(&audits, args.limit))?;
    }
    Ok(u8::from(unexplained(&audits) > 0))
}

fn span(args: &Args) -> Result<Option<Span>> {
    let day = |text: &Option<String>, option| -> Result<Option<Day>> {
        choice::day(text.as_deref(), option)?.map(|text| Day::parse(&text)).transpose()
    };
    let (from, to) = (day(&args.from, "--from")?, day(&args.to, "--to")?);
    if from.is_none() && to.is_none() {
        return Ok(None);
    }
    let span = Span::new(from.unwrap_or(Day::MIN), to.unwrap_or(Day::MAX));
    match span.is_empty() {
        true => Err(Error::invalid("--from lies after --to").hint("swap the two")),
        false => Ok(Some(span)),
    }
}

/// Audits the named datasets, or all of the catalogue.
pub async fn audits(context: &Context, store: &dyn Store, names: &[String], span: Option<Span>) -> Result<Vec<Audit>> {
    let sources = context.sources().unwrap_or_default();
    audits::audits(store, &context.catalog, &sources, names, span, context.clock.now()).await
}

/// Tables that are kept, then holes, then the verdict.
pub fn as_text(audits: &[Audit], holes_max: usize) -> String {
    let mut list = List::new([
        "table",
        "from",
        "to",
        ">present",
        ">closed",
        ">not listed",
        ">suspended",
        ">source said so",
        ">not due",
        ">partial",
        ">failed",
        ">unknown",
    ]);
    for audit in audits.iter().filter(|audit| audit.kept) {
        let (from, to) = audit.span.map_or(Default::default(), |span| (bound(span.from), bound(span.to)));
        let cells = &audit.cells;
        let counts = [
            cells.present,
            cells.closed_day,
            cells.not_listed,
            cells.suspended,
            cells.source_said_so,
            cells.not_due,
            cells.partial,
            cells.failed,
            cells.unknown,
        ];
        let [present, closed, not_listed, suspended, source, not_due, partial, failed, unknown] = counts.map(grouped);
        let name = audit.dataset.clone();
        list.push([name, from, to, present, closed, not_listed, suspended, source, not_due, partial, failed, unknown]);
    }
    let mut text = if list.is_empty() { String::new() } else { list.render() + "\n" };
    for audit in audits {
        holes(audit, holes_max, &mut text);
        audit.notes.iter().for_each(|note| text.push_str(&format!("{}: {note}\n", audit.dataset)));
    }
    text.push_str(&verdict(audits));
    text
}

/// `34 tables, 0 unexplained holes`.
fn verdict(audits: &[Audit]) -> String {
    let kept = audits.iter().filter(|audit| audit.kept).count();
    let published = audits.iter().filter(|audit| audit.published).count();
    let not_kept = match audits.len() - kept - published {
        0 => String::new(),
        some => format!(" ({some} more in the catalogue are not kept)"),
    };
    format!("{kept} tables{not_kept}, {} unexplained holes\n", grouped(unexplained(audits)))
}

fn bound(day: Day) -> String {
    if day == Day::MIN || day == Day::MAX { "all time".to_string() } else { day.to_string() }
}

fn holes(audit: &Audit, holes_max: usize, text: &mut String) {
    for hole in audit.holes.iter().take(holes_max) {
        let state = hole.state.name();
        text.push_str(&format!("{} {}: {state}, {} cells: {}\n", audit.dataset, hole.area, hole.cells, hole.reason));
        text.push_str(&format!("    {}\n", hole.remedy));
    }
    if audit.holes.len() > holes_max {
        let more = audit.holes.len() - holes_max;
        text.push_str(&format!("{}: {more} more holes; --limit shows them, --json lists all\n", audit.dataset));
    }
}
