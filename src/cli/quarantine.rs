//! `tidegate quarantine`: rows that a rule refused, kept apart with the reason.

use serde_json::json;

use super::context::{Context, print};
use super::list::List;
use crate::model::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this table's rows
    dataset: Option<String>,
    /// How many, newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let dataset = args.dataset.as_deref().map(|name| context.catalog.get(name)).transpose()?;
    let store = context.store().await?;
    let rows = store.quarantine(dataset.map(|dataset| dataset.name.as_str()), args.limit).await?;
    if context.json {
        let as_json = |row: &crate::store::QuarantinedRow| {
            json!({
                "id": row.id, "dataset": row.dataset, "at": row.at.to_string(), "source": row.source,
                "rule": row.quarantined.rule, "reason": row.quarantined.reason, "row": row.quarantined.row,
            })
        };
        context.print_json(&rows.iter().map(as_json).collect())?;
        return Ok(0);
    }
    if rows.is_empty() {
        eprintln!("nothing is quarantined");
        return Ok(0);
    }
    let mut list = List::new([">id", "table", "at", "source", "rule", "reason", "row"]);
    for row in rows {
        let shown: String = row.quarantined.row.to_string().chars().take(100).collect();
        let reason = row.quarantined.reason;
        list.push([
            row.id.to_string(),
            row.dataset,
            row.at.to_string(),
            row.source,
            row.quarantined.rule,
            reason,
            shown,
        ]);
    }
    print(&list.render())?;
    Ok(0)
}
