//! `tidegate plan`: what a sync would do, before anything starts.

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, duration, grouped};
use super::selection::Selection;
use crate::engine::knowledge;
use crate::engine::run::Planned;
use crate::model::{Result, Strategy};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate plan daily daily_basic --from 2024-01-01
  tidegate plan daily --codes 600519.SH --from 2014-01-01
  tidegate plan --all --json")]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// List every slice
    #[arg(long)]
    slices: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let engine = context.engine(store.clone()).await?.asking(&args.selection.sources)?;
    let known = knowledge::read(&*store).await?.securities;
    let requests = args.selection.requests(context, &engine, &known)?;
    let mut plans = Vec::new();
    for (dataset, request) in engine.with_prerequisites(requests).await? {
        plans.push((dataset.clone(), engine.plan(&dataset, &request, &[]).await?));
    }
    if context.json {
        context.print_json(&plans.iter().map(|(name, planned)| as_json(name, planned, args.slices)).collect())?;
    } else {
        print(&as_text(&plans, args.slices))?;
    }
    Ok(0)
}

/// Batches or partitions that are listed for people.
const GROUPS_SHOWN_MAX: usize = 16;

/// The plans as a table with a total.
pub fn as_text(plans: &[(String, Planned)], with_slices: bool) -> String {
    let mut list = List::new(["table", "strategy", ">slices", ">calls", ">rows", ">time", "how"]);
    let (mut calls, mut rows, mut minutes) = (0, 0, 0.0f64);
    for (dataset, planned) in plans {
        let plan = &planned.plan;
        (calls, rows) = (calls + plan.calls, rows + plan.rows);
        // Quotas are counted by table, so tables do not wait for each other.
        minutes = minutes.max(plan.minutes);
        let slices = grouped(plan.slices.len() as u64);
        let how = if plan.slices.is_empty() { nothing_to_do(planned) } else { plan.reason.clone() };
        let strategy = plan.strategy.name().to_string();
        let row = [dataset.clone(), strategy, slices, grouped(plan.calls), grouped(plan.rows), time(plan.minutes), how];
        list.push(row);
    }
    let (none, total) = (String::new(), "total".into());
    list.push([total, none.clone(), none.clone(), grouped(calls), grouped(rows), time(minutes), none]);
    let mut text = list.render();
    for (dataset, planned) in plans {
        let groups = planned.plan.groups.iter().take(GROUPS_SHOWN_MAX);
        groups.for_each(|group| text.push_str(&format!("{dataset}: {group}\n")));
        if planned.plan.groups.len() > GROUPS_SHOWN_MAX {
            let more = planned.plan.groups.len() - GROUPS_SHOWN_MAX;
            text.push_str(&format!("{dataset}: {more} more; --json lists all\n"));
        }
    }
    if plans.iter().any(|(_, planned)| planned.plan.estimated) {
        text.push_str("\nestimated: the calendar or the list of securities is not stored yet and is fetched first\n");
    }
    for (dataset, planned) in plans.iter().filter(|(_, planned)| !planned.plan.unknown.is_empty()) {
        let unknown = planned.plan.unknown.join(", ");
        text.push_str(&format!("\n{dataset}: not in the list of securities, so not asked for: {unknown}\n"));
    }
    if with_slices {
        for slice in plans.iter().flat_map(|(_, planned)| &planned.plan.slices) {
            text.push_str(&format!("{slice}  {} calls  {} rows\n", slice.calls, grouped(slice.rows)));
        }
    }
    text
}

fn nothing_to_do(planned: &Planned) -> String {
    let plan = &planned.plan;
    match plan.points_not_due {
        0 if plan.strategy != Strategy::FewestCalls => format!("nothing to do: {}", plan.reason),
        0 => "nothing to do".to_string(),
        not_due => format!("nothing to do; {not_due} not due yet"),
    }
}

/// The time that the quota alone takes.
fn time(minutes: f64) -> String {
    if minutes < 0.05 { "-".to_string() } else { duration((minutes * 60_000.0) as u64) }
}

fn as_json(dataset: &str, planned: &Planned, with_slices: bool) -> Value {
    let plan = &planned.plan;
    let mut value = json!({
        "dataset": dataset, "source": planned.source.name(), "slices": plan.slices.len(), "calls": plan.calls,
        "rows": plan.rows, "minutes": plan.minutes, "points_claimed": plan.points_claimed,
        "points_not_due": plan.points_not_due, "points_provisional": plan.points_provisional,
        "strategy": plan.strategy.name(), "strategy_about": plan.strategy.about(), "at_once": plan.at_once,
        "groups": plan.groups.iter().map(|group| json!({
            "label": group.label, "slices": group.slices.len(), "from": group.slices.start, "to": group.slices.end,
        })).collect::<Vec<_>>(),
        "estimated": plan.estimated, "unknown": plan.unknown, "reason": plan.reason,
    });
    if with_slices {
        let slice = |slice: &crate::model::Slice| {
            json!({
                "securities": slice.area.securities.to_string(), "from": slice.area.span.from.to_string(),
                "to": slice.area.span.to.to_string(), "calls": slice.calls, "rows": slice.rows,
            })
        };
        value["slice_list"] = plan.slices.iter().map(slice).collect();
    }
    value
}
