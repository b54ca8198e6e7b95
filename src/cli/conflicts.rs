//! `tidegate conflicts`: rows that differ from the stored ones and wait for a decision.

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::List;
use crate::model::{Resolution, Result, RowConflict, Take};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate conflicts
  tidegate conflicts daily --json
  tidegate conflicts resolve 3 --take offered

Tables whose conflict rule is `manual` keep a row that differs beside the stored one until somebody decides.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only this table's
    dataset: Option<String>,
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    /// How many, newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Decide which of the two rows counts
    Resolve {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Which row counts
        #[arg(long)]
        take: Side,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Stored,
    Offered,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    if let Some(Action::Resolve { ids, take }) = args.action {
        let engine = context.engine(store).await?;
        let take = if take == Side::Stored { Take::Stored } else { Take::Offered };
        for id in ids {
            let over = engine.resolve_conflict(id, take).await?;
            eprintln!("conflict {id} of {} is over: {}", over.dataset, Resolution::Taken(take).name());
        }
        return Ok(0);
    }
    let dataset = args.dataset.as_deref().map(|name| context.catalog.get(name)).transpose()?;
    let dataset = dataset.map(|dataset| dataset.name.as_str());
    let conflicts = store.conflicts(dataset, args.all, args.limit).await?;
    if context.json {
        context.print_json(&conflicts.iter().map(as_json).collect())?;
        return Ok(0);
    }
    if conflicts.is_empty() {
        eprintln!("no conflicts");
        return Ok(0);
    }
    print(&as_text(&conflicts))?;
    Ok(0)
}

fn as_text(conflicts: &[RowConflict]) -> String {
    let mut list = List::new([">id", "table", "row", "column", "stored", "offered", "by", "at", "taken"]);
    for conflict in conflicts {
        let key = conflict.key.as_object().into_iter().flatten().map(|(_, value)| shown(value));
        let (mut id, mut row) = (conflict.id.to_string(), key.collect::<Vec<_>>().join(" "));
        for (column, stored, offered) in conflict.differences() {
            list.push([
                std::mem::take(&mut id),
                conflict.dataset.clone(),
                std::mem::take(&mut row),
                column.to_string(),
                shown(stored),
                shown(offered),
                conflict.source.clone(),
                conflict.at.to_string(),
                conflict.resolution.map_or("", Resolution::name).to_string(),
            ]);
        }
    }
    list.render()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::String(text) => text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect(),
        other => other.to_string(),
    }
}

fn as_json(conflict: &RowConflict) -> Value {
    json!({
        "id": conflict.id, "dataset": conflict.dataset, "key": conflict.key, "stored": conflict.stored,
        "offered": conflict.offered, "source": conflict.source, "rank": conflict.rank, "at": conflict.at.to_string(),
        "resolved_at": conflict.resolved_at.map(|at| at.to_string()),
        "resolution": conflict.resolution.map(Resolution::name),
    })
}
