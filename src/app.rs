//! The program from its arguments to its exit code: configuration, log, runtime, command, error.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::catalog::Catalog;
use crate::cli::{self, Cli, Command, context::Context};
use crate::config::{Config, LoadOptions, LogFormat, Options};
use crate::model::{Clock, Error, Result};

/// Runs the program. Whatever goes wrong is told on stderr, once, with the remedy.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match start(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error, json);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn start(cli: Cli) -> Result<u8> {
    let Cli { config, set, json, quiet, command } = cli;
    if let Command::Completions(args) = command {
        return cli::configuration::completions(args);
    }
    let config = Config::load(&LoadOptions::of_process(config, set))?;
    log_to_stderr(&config.options);
    let catalog = Arc::new(Catalog::load(config.options.catalog.folder())?);
    let context = Context { config, catalog, clock: Clock::system(), json, quiet };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::bug("starting the runtime failed").caused_by(error))?;
    runtime.block_on(cli::run(context, command))
}

fn log_to_stderr(options: &Options) {
    let filter = EnvFilter::try_new(&options.log.level).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn report(error: &Error, json: bool) {
    if json {
        let value = serde_json::json!({
            "error": { "kind": error.kind().name(), "message": error.to_string(), "hint": error.hint_text() },
        });
        eprintln!("{value}");
        return;
    }
    eprintln!("error: {}", cli::describe_error(error));
}
