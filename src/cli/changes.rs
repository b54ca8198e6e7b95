//! `tidegate changes`: who changed what through the API, and who was refused.

use serde_json::json;

use super::context::{Context, print};
use super::list::List;
use crate::model::{Journal, JournalEntry, JournalWanted, Level, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate changes
  tidegate changes --text secrets --limit 5
  tidegate changes --json")]
pub struct Args {
    /// At most so many, the newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only those that hold this text, whatever the case
    #[arg(long)]
    text: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let wanted = JournalWanted {
        journal: Journal::Audit,
        level: Level::Trace,
        task: None,
        text: args.text,
        before: None,
        limit: args.limit,
    };
    let entries = context.store().await?.journal(&wanted).await?;
    if context.json {
        let value = |entry: &JournalEntry| {
            json!({
                "id": entry.id,
                "at": entry.at.to_string(),
                "who": entry.who,
                "what": entry.target,
                "text": entry.text,
                "refused": entry.level > Level::Info,
                "data": entry.data,
            })
        };
        return context.print_json(&entries.iter().map(value).collect()).map(|()| 0);
    }
    if entries.is_empty() {
        eprintln!("nobody has changed anything through the API");
        return Ok(0);
    }
    let mut list = List::new(["at", "who", "what", ">status", "path", "address", "why"]);
    for entry in &entries {
        let text = |name: &str| entry.data[name].as_str().unwrap_or_default().to_string();
        let status = entry.data["status"].to_string();
        list.push([
            entry.at.to_string(),
            entry.who.clone(),
            entry.target.clone(),
            status,
            text("path"),
            text("address"),
            entry.data["parameters"]["reason"].as_str().unwrap_or_default().to_string(),
        ]);
    }
    print(&list.render())?;
    Ok(0)
}
