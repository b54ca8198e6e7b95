//! `tidegate config` and `tidegate completions`.

use clap::CommandFactory;
use serde_json::json;

use super::Cli;
use super::context::{Context, print};
use super::list::List;
use crate::config::DEFAULT_TEXT;
use crate::model::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate config show              every option, its value and where it came from
  tidegate config show --manual     the default file with a sentence on every option
  tidegate config check")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print every option with its value and origin; secrets are never shown
    Show {
        /// Print the commented default file instead
        #[arg(long)]
        manual: bool,
    },
    /// Check the configuration and the catalogue, offline
    Check,
}

#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    shell: clap_complete::Shell,
}

pub fn run(context: &Context, args: Args) -> Result<u8> {
    match args.action {
        Action::Show { manual: true } => print(DEFAULT_TEXT)?,
        Action::Show { manual: false } => show(context)?,
        Action::Check => {
            let file = context.config.file.as_ref().map_or("no file".to_string(), |file| file.display().to_string());
            eprintln!("configuration ({file}) and catalogue ({} tables) are valid", context.catalog.datasets().len());
        }
    }
    Ok(0)
}

fn show(context: &Context) -> Result<()> {
    if context.json {
        let value = |option: &crate::config::Explained| json!({ "option": option.path, "value": option.value, "origin": option.origin.to_string() });
        return context.print_json(&context.config.explain().iter().map(value).collect());
    }
    let mut list = List::new(["option", "value", "from"]);
    for option in context.config.explain() {
        list.push([option.path.clone(), option.value.clone(), option.origin.to_string()]);
    }
    print(&list.render())
}

pub fn completions(args: CompletionArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
