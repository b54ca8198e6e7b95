//! The program from its arguments to its exit code: configuration, log, runtime, command, error.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::catalog::Catalog;
use crate::cli::{self, Cli, Command, context::Context};
use crate::config::{Config, LoadOptions, LogFormat, Options};
use crate::log::{Flush, Least, Log, LogOptions};
use crate::model::{Clock, Error, Result};

/// Runs the program. Whatever goes wrong is told on stderr, once, with the remedy.
pub fn main() -> ExitCode {
    let (arguments, set) = settings_apart(std::env::args_os());
    let cli = Cli { set, ..Cli::parse_from(arguments) };
    let json = cli.json;
    match start(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error, json);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Takes every `--set KEY=VALUE` out of the arguments, in order: the parser would keep only those of one place, before or
/// after the command.
fn settings_apart(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut rest, mut set) = (Vec::new(), Vec::new());
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            rest.push(argument);
            break;
        }
        match (text.strip_prefix("--set="), text == "--set" && arguments.peek().is_some()) {
            (Some(value), _) => set.push(value.to_string()),
            (None, true) => set.extend(arguments.next().map(|value| value.to_string_lossy().into_owned())),
            (None, false) => rest.push(argument),
        }
    }
    rest.extend(arguments);
    (rest, set)
}

fn start(cli: Cli) -> Result<u8> {
    let Cli { config, set, json, quiet, command } = cli;
    if let Command::Completions(args) = command {
        return cli::configuration::completions(args);
    }
    if matches!(command, Command::Serve(_)) {
        give_memory_back();
    }
    let config = Config::load(&LoadOptions::of_process(config, set))?;
    let clock = Clock::system();
    // What waits for a file is written when everything else has ended.
    let (log, _flush) = start_log(&config.options, &command, &clock)?;
    let catalog = Arc::new(Catalog::load(config.options.catalog.folder())?);
    let context = Context { config, catalog, clock, log, json, quiet };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::bug("starting the runtime failed").caused_by(error))?;
    runtime.block_on(cli::run(context, command))
}

/// The console, and daily files where the configuration or a service wants them.
fn start_log(options: &Options, command: &Command, clock: &Clock) -> Result<(Log, Flush)> {
    let level = |name: &str| Least::from_name(name).unwrap_or(Least::INFO);
    let log = LogOptions {
        level: level(&options.log.level),
        json: options.log.format == LogFormat::Json,
        colour: options.output.colour.is_on(std::io::stderr().is_terminal()),
        folder: log_folder(options, command),
        keep_days: options.log.keep_days,
        store_level: level(&options.log.store_level),
    };
    Log::start(log, clock.clone())
}

/// `log.folder`; of a service that names none, `logs` beside the store, if that can be written.
fn log_folder(options: &Options, command: &Command) -> Option<PathBuf> {
    let named = &options.log.folder;
    if !named.as_os_str().is_empty() {
        return Some(named.clone());
    }
    if !matches!(command, Command::Serve(_)) {
        return None;
    }
    let beside = match options.store.url() {
        None => options.store.path.parent().map(Path::to_path_buf).unwrap_or_default(),
        Some(_) => PathBuf::new(),
    };
    let folder = beside.join("logs");
    std::fs::create_dir_all(&folder).is_ok().then_some(folder)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator {
    unsafe extern "C" {
        /// Sets numbers of the C library's allocator. It takes any two numbers and touches no memory of ours.
        pub safe fn mallopt(parameter: i32, value: i32) -> i32;
    }
    pub const TRIM_THRESHOLD: i32 = -1;
    pub const MMAP_THRESHOLD: i32 = -3;
    pub const ARENA_MAX: i32 = -8;
}

/// A service lives for months. The allocator of the GNU C library keeps a pool for almost every thread, and in each of them
/// what was freed: with few pools, and large pieces given back at once, it stays at what is in use. Called before there
/// are threads; where it has no effect, the service takes more memory.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE_BYTES: i32 = 256 * 1024;
        allocator::mallopt(allocator::ARENA_MAX, 2);
        allocator::mallopt(allocator::MMAP_THRESHOLD, LARGE_BYTES);
        allocator::mallopt(allocator::TRIM_THRESHOLD, LARGE_BYTES);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_count_wherever_they_stand() {
        let arguments = ["tidegate", "--set", "a=1", "sync", "--set=b=2", "daily", "--", "--set", "c=3"];
        let (rest, set) = settings_apart(arguments.into_iter().map(OsString::from));
        assert_eq!(set, ["a=1", "b=2"]);
        assert_eq!(rest, ["tidegate", "sync", "daily", "--", "--set", "c=3"]);
        assert_eq!(settings_apart(["tidegate", "--set"].into_iter().map(OsString::from)).0.len(), 2);
    }
}
