//! `tidegate init`: a configuration file to edit and an empty store.

use std::path::PathBuf;

use super::context::Context;
use crate::config::DEFAULT_TEXT;
use crate::model::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate init
  tidegate init --token YOUR_TUSHARE_TOKEN --points 2000")]
pub struct Args {
    /// Your Tushare token, written to the file (readable by you alone)
    #[arg(long)]
    token: Option<String>,
    /// The points of your Tushare account
    #[arg(long)]
    points: Option<u32>,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let file = PathBuf::from("tidegate.toml");
    if file.exists() {
        eprintln!("{} exists and is left as it is", file.display());
    } else {
        write_private(&file, &with_account(&args))?;
        eprintln!("wrote {}: every option with its default, commented out", file.display());
    }
    let store = context.open_store(true).await?;
    eprintln!("created {}", store.summary().await?.location);
    eprintln!("next: set sources.tushare.token in {}, then `tidegate plan stock_basic daily`", file.display());
    Ok(0)
}

/// The default file with every option commented out, and the account's options filled in.
fn with_account(args: &Args) -> String {
    let mut section = String::new();
    let mut text = String::new();
    for line in DEFAULT_TEXT.lines() {
        if line.starts_with('[') {
            section = line.trim().to_string();
        }
        let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.starts_with('#'));
        let line = match (section.as_str(), key) {
            ("[sources.tushare]", Some("token")) if args.token.is_some() => {
                format!("token = {:?}", args.token.as_deref().unwrap_or_default())
            }
            ("[sources.tushare]", Some("points")) if args.points.is_some() => {
                format!("points = {}", args.points.unwrap_or_default())
            }
            (_, Some(_)) => format!("# {line}"),
            (_, None) => line.to_string(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn write_private(file: &PathBuf, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let message = format!("writing {} failed: {}", file.display(), error.kind());
        Error::storage(message).caused_by(error).hint("choose a folder that you may write to")
    })
}
