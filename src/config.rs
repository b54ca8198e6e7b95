//! The configuration: `config.default.toml` under the user's file, the environment and `--set`, checked as a whole.
//!
//! Only `app` and `cli` read it; everything below is handed plain values.

pub mod edit;
mod layers;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::{Day, Error, Result, Subnet};
use layers::{Entry, Problem, Reader};

/// Every option with its default: the text is the manual and is compiled in.
pub const DEFAULT_TEXT: &str = include_str!("../config.default.toml");

/// The sentences above an option in the default file.
pub fn meaning(path: &str) -> String {
    let (mut section, mut above) = ("", Vec::new());
    for line in DEFAULT_TEXT.lines().map(str::trim) {
        if let Some(sentence) = line.strip_prefix("# ") {
            above.push(sentence);
            continue;
        }
        section = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(section);
        let key = line.split_once('=').map(|(key, _)| key.trim()).unwrap_or_default();
        if path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) == Some(key) {
            return above.join(" ");
        }
        above.clear();
    }
    String::new()
}

/// Text that is never shown: neither by `Debug` nor by `Display`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(not set)" } else { "(set)" })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sections; `config.default.toml` says what each option means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    pub store: Store,
    pub catalog: Catalog,
    pub sync: Sync,
    pub failover: Failover,
    pub sources: Sources,
    pub reconcile: Reconcile,
    pub read: Read,
    pub mirror: Mirror,
    pub serve: Serve,
    pub events: Events,
    pub jobs: Jobs,
    pub notify: Notify,
    pub receive: Receive,
    pub intakes: Intakes,
    pub relay: Relay,
    pub cache: Cache,
    pub import: Import,
    pub log: Log,
    pub output: Output,
    pub sim: Sim,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    url: Secret,
    pub schema: String,
    pub path: PathBuf,
    pub cache_mb: u32,
    pub busy_timeout_ms: u32,
    pub synchronous: Synchronous,
    pub scan_batch_rows: usize,
    /// Several processes run tasks on the file.
    pub shared: bool,
    pub postgres: Postgres,
}

impl Store {
    /// The address of the database with its password; `None` for the file.
    pub fn url(&self) -> Option<&Secret> {
        (!self.url.is_empty()).then_some(&self.url)
    }

    /// Whatever is configured, the store is the file.
    pub fn stay_in_file(&mut self) {
        self.url = Secret::default();
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    pub connections: usize,
    pub wait_seconds: u64,
    pub connect_seconds: u64,
    pub statement_seconds: u64,
    pub lock_seconds: u64,
    pub reconnect_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    Normal,
    Full,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    folder: PathBuf,
}

impl Catalog {
    /// The folder with the user's own dataset files.
    pub fn folder(&self) -> Option<&Path> {
        named(&self.folder)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    pub concurrency: usize,
    pub datasets_at_once: usize,
    pub commit_slices: usize,
    pub commit_rows: usize,
    pub commit_linger_ms: u64,
    pub retry_first_ms: u64,
    pub retry_cap_ms: u64,
    pub retry_jitter: f64,
    pub throttles_max: u32,
    pub pages_max: u32,
    pub failed_in_a_row_max: u32,
    pub failure_attempts_max: u32,
    pub failure_retry_minutes: u32,
    pub quota_share: f64,
    pub lease_seconds: u32,
    pub call_seconds_max: u32,
    pub range_days_max: u32,
    pub batch_size: u32,
    pub partitions: u32,
    pub statements_missing_days: u32,
    pub replace_rows_max: u64,
    default_from: String,
    /// Tables that `--all` leaves out.
    pub skip: Vec<String>,
}

impl Sync {
    /// The first day to fetch when a command names none; `None` for each dataset's own.
    pub fn default_from(&self) -> Option<Day> {
        Day::parse(&self.default_from).ok()
    }

    /// Whatever is configured, nothing before this day is fetched by itself.
    pub fn begin_at(&mut self, day: Day) {
        self.default_from = day.to_string();
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    pub parallel_sources: bool,
    pub cool_down_first_ms: u64,
    pub cool_down_cap_ms: u64,
    pub wait_ms: u64,
    pub probe_seconds: u32,
    better_after_hours: i32,
    pub wrong_share: f64,
    pub wrong_rows_min: u64,
    pub demote_hours: u32,
    pub demote_calls_min: u64,
    pub demote_failed_share: f64,
    pub demote_wrong_max: u64,
    pub demote_slow_ms: u64,
}

impl Failover {
    /// Hours after which a better source is asked; `None` for each dataset's own.
    pub fn better_after_hours(&self) -> Option<i32> {
        (self.better_after_hours > 0).then_some(self.better_after_hours)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    pub tushare: Tushare,
    pub akshare: Akshare,
    /// Another Tidegate, which speaks Tushare's dialect.
    pub tidegate: Tushare,
    pub baostock: Baostock,
    pub database: Database,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tushare {
    pub enabled: bool,
    pub url: String,
    token: Secret,
    token_file: PathBuf,
    pub points: u32,
    pub rank: u8,
    pub timeout_seconds: u64,
    pub connect_timeout_seconds: u64,
    pub body_mb_max: u32,
    pub gzip: bool,
    per_minute: u32,
}

impl Sources {
    /// Only a simulated market: a server that speaks Tushare's dialect to this account, and an AKTools server.
    pub fn simulate(&mut self, tushare: String, token: Secret, points: u32, aktools: String) {
        self.tushare.enabled = true;
        (self.tushare.url, self.tushare.token, self.tushare.points) = (tushare, token, points);
        self.akshare.enabled = true;
        (self.akshare.via, self.akshare.url, self.akshare.token) = (AkshareVia::Aktools, aktools, Secret::default());
        (self.tidegate.enabled, self.baostock.enabled) = (false, false);
        self.database.connections.clear();
    }
}

impl Tushare {
    /// The token, from the configuration or from the token file; empty when none is set.
    pub fn token(&self) -> Result<Secret> {
        let Some(path) = named(&self.token_file).filter(|_| self.token.is_empty()) else {
            return Ok(self.token.clone());
        };
        let text = layers::read_text(path).map_err(|error| error.while_doing("reading the token file of a source"))?;
        let first_line = text.lines().next().unwrap_or_default().trim();
        if first_line.is_empty() {
            let message = format!("the token file {} has no token in its first line", path.display());
            return Err(
                Error::invalid(message).hint("write the token into it, or set the option `token` of the source")
            );
        }
        Ok(Secret::new(first_line))
    }

    /// Calls per minute and API; `None` for the figure of the points tier.
    pub fn per_minute(&self) -> Option<u32> {
        (self.per_minute > 0).then_some(self.per_minute)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    tidegates: Vec<Secret>,
    pub leaf_rows: u64,
    pub fan_out: u64,
    pub rows_max: u64,
    pub seconds_max: u64,
    pub differences_max: u64,
    pub settle_ms: u64,
    pub looks_max: u32,
    pub position_seconds: u64,
    pub alert_differences: u64,
    pub reports_kept: usize,
    pub repair_rows_max: u64,
    pub repair_batch_rows: usize,
    pub auto_rows_max: u64,
    pub undo_folder: PathBuf,
    pub statement_timeout_seconds: u64,
    pub connect_timeout_seconds: u64,
    pub body_mb_max: usize,
}

impl Reconcile {
    /// Names of other Tidegates with their addresses.
    pub fn tidegates(&self) -> Vec<(String, Secret)> {
        self.tidegates.iter().filter_map(|entry| rules::tidegate(entry.expose())).collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    connections: Vec<Secret>,
    pub rank: u8,
    pub page_rows: usize,
    pub page_mb: u64,
    pub statement_timeout_seconds: u64,
    pub connect_timeout_seconds: u64,
    pub leaf_rows: u64,
    pub fan_out: u64,
    pub run_rows_max: u64,
}

impl Database {
    /// Names with their addresses.
    pub fn connections(&self) -> Vec<(String, Secret)> {
        self.connections.iter().filter_map(|entry| rules::connection(entry.expose())).collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Akshare {
    pub enabled: bool,
    pub via: AkshareVia,
    pub url: String,
    pub token: Secret,
    pub eastmoney_history_url: String,
    pub eastmoney_list_url: String,
    pub eastmoney_report_url: String,
    pub eastmoney_forecast_url: String,
    pub rank: u8,
    pub timeout_seconds: u64,
    pub connect_timeout_seconds: u64,
    pub body_mb_max: u32,
    pub rows_max: usize,
    pub calls_at_once: u32,
    per_minute: u32,
    pub proof_days: u32,
}

impl Akshare {
    /// Calls per minute and function; `None` for no limit.
    pub fn per_minute(&self) -> Option<u32> {
        (self.per_minute > 0).then_some(self.per_minute)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AkshareVia {
    Aktools,
    Eastmoney,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    pub sort_rows_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baostock {
    pub enabled: bool,
    pub address: String,
    pub user: String,
    pub password: Secret,
    pub api_key: Secret,
    pub rank: u8,
    pub sessions: u32,
    pub timeout_seconds: u64,
    pub connect_timeout_seconds: u64,
    pub reply_mb_max: u32,
    pub rows_max: usize,
    pub page_rows: u32,
    pub whole_day: WholeDay,
    per_minute: u32,
}

impl Baostock {
    /// Calls per minute and query; `None` for as many as the sessions carry.
    pub fn per_minute(&self) -> Option<u32> {
        (self.per_minute > 0).then_some(self.per_minute)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WholeDay {
    Auto,
    Never,
    Always,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    pub listen: String,
    pub baostock_listen: String,
    pub baostock_connections: usize,
    pub baostock_idle_seconds: u64,
    pub aktools_listen: String,
    tokens: Vec<Secret>,
    pub enforce_points: bool,
    pub enforce_quota: bool,
    pub enforce_caps: bool,
    pub rows_max: usize,
    pub body_kb_max: u32,
}

impl Mirror {
    /// The tokens that may ask, with their points where given; empty when any token may.
    pub fn accounts(&self) -> Vec<(Secret, Option<u32>)> {
        self.tokens.iter().map(|entry| rules::account(entry.expose())).collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    pub listen: String,
    pub mirrors: Vec<String>,
    pub hosts: Vec<String>,
    pub cors_origins: Vec<String>,
    pub connections: usize,
    pub header_seconds: u64,
    pub request_seconds: u64,
    pub body_kb_max: u32,
    pub requests_per_minute: u32,
    pub logins_per_minute: u32,
    pub page_rows: usize,
    pub page_rows_max: usize,
    pub rows_max: u64,
    pub session_hours: u32,
    pub drain_seconds: u64,
    pub sockets: usize,
    pub socket_queue: usize,
    pub socket_channels: usize,
    pub socket_recover: usize,
    pub socket_recover_kb: usize,
    pub heartbeat_seconds: u64,
    pub poll_ms: u64,
}

/// How events are taken in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    pub body_kb_max: usize,
    pub batch_max: usize,
    pub content_kb_max: usize,
    pub attribute_bytes_max: usize,
    pub extensions_max: usize,
    pub queue: usize,
    pub commit_events: usize,
    pub commit_kb: usize,
    pub idempotency_hours: u32,
    pub look_through: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    pub enabled: bool,
    pub catch_up: CatchUp,
    pub attempts: u32,
    pub retry_minutes: u32,
    pub runs_at_once: usize,
    pub polls_at_once: usize,
    pub runs_kept: usize,
    pub check_look_back: u32,
}

/// What becomes of times of a schedule that were slept through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    Once,
    Skip,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    allow: Vec<String>,
    pub plain_http: bool,
    ca_file: PathBuf,
    pub connect_seconds: u64,
    pub timeout_seconds: u64,
    pub keep_alive_seconds: u64,
    pub idle_connections: usize,
    pub answer_kb_max: usize,
    pub retry_seconds: Vec<f64>,
    pub retry_jitter: f64,
    pub retry_after_seconds_max: u64,
    pub warn_failures: u32,
    pub pause_failures: u32,
    pub probe_first_seconds: u64,
    pub probe_cap_seconds: u64,
    pub rotation_hours: u32,
    pub source_system: String,
    pub tolerance_seconds: u32,
    pub lease_seconds: u64,
    pub requests: usize,
    pub requests_per_subscription: usize,
    pub held: usize,
    pub held_per_key: usize,
    pub content_mb: usize,
    pub match_events: usize,
    pub commit_attempts: usize,
    pub detail_characters: usize,
    pub attempts_days: u32,
    pub watch_seconds: u64,
    pub watch_attempts_min: u64,
    pub alert_success_percent: [f64; 3],
    pub alert_delay_seconds: [f64; 3],
    pub alert_failures: [f64; 3],
    pub alert_backlog: [f64; 3],
    pub alert_failed_in_a_row: [f64; 3],
    pub alert_retries: [f64; 3],
}

impl Notify {
    /// Closed subnets to which webhooks may go.
    pub fn allow(&self) -> Vec<Subnet> {
        self.allow.iter().filter_map(|text| Subnet::parse(text).ok()).collect()
    }

    /// The file of certificates that are trusted beside the usual ones.
    pub fn ca_file(&self) -> Option<&Path> {
        named(&self.ca_file)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    pub tolerance_seconds: u32,
    pub body_kb_max: u32,
    pub calls_per_minute: u32,
    pub queue: usize,
    pub commit_messages: usize,
    pub items_max: usize,
    pub retry_first_ms: u64,
    pub retry_cap_seconds: u64,
    pub attempts_max: u32,
    pub origin_seconds: u64,
    pub origin_mb_max: usize,
    pub origin_events_max: usize,
    pub kept_days: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intakes {
    pub enabled: bool,
    pub batch: usize,
    pub poll_ms: u64,
    pub connect_seconds: u64,
    pub answer_seconds: u64,
    pub message_mb_max: usize,
    pub retry_first_ms: u64,
    pub retry_cap_ms: u64,
    pub lease_seconds: u64,
    pub lag_seconds: u64,
    pub lag_rows: u64,
    pub lag_mb: u64,
    pub lag_entries: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    pub redis: Secret,
    pub prefix: String,
    pub streams: u32,
    pub types: Vec<String>,
    pub entries_max: u64,
    pub batch: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub mb: u64,
    pub answer_kb_max: u32,
    pub redis: Secret,
    pub redis_prefix: String,
    pub redis_seconds: u64,
    pub redis_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    pub field_kb_max: u32,
    pub batch_rows: usize,
    pub quarantine_max: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level's name or `off`.
    pub level: String,
    pub format: LogFormat,
    pub folder: PathBuf,
    pub keep_days: u32,
    pub store_level: String,
    pub store_days: u32,
    pub store_records_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub colour: When,
    pub progress: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Whether it is on, given whether the output is a terminal.
    pub fn is_on(self, terminal: bool) -> bool {
        match self {
            When::Auto => terminal,
            When::Always => true,
            When::Never => false,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sim {
    pub securities: usize,
    pub seed: u64,
}

fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Where options may come from, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--config`; without it the usual places are looked at.
    pub file: Option<PathBuf>,
    /// `--set section.key=value`, in order; later ones win.
    pub sets: Vec<String>,
    /// The environment, normally `std::env::vars()`.
    pub environment: Vec<(String, String)>,
    /// The folder in which `tidegate.toml` is looked for.
    pub folder: PathBuf,
}

impl LoadOptions {
    /// The process's own environment and folder.
    pub fn of_process(file: Option<PathBuf>, sets: Vec<String>) -> LoadOptions {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        LoadOptions { file, sets, environment, folder: PathBuf::new() }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// The file to read: the named one, else the first usual place that exists.
    fn file(&self) -> Option<PathBuf> {
        let home = || self.variable("HOME").map(|home| Path::new(home).join(".config"));
        let user = self.variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
        let usual = [Some(self.folder.join("tidegate.toml")), user.map(|folder| folder.join("tidegate/config.toml"))];
        self.file.clone().or_else(|| usual.into_iter().flatten().find(|path| path.exists()))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    Environment {
        variable: String,
    },
    Set,
    /// The demo brings its own, whatever is configured.
    Demo,
}

impl Origin {
    fn line(&self) -> Option<usize> {
        match self {
            Origin::File { line, .. } => Some(*line),
            Origin::Default | Origin::Environment { .. } | Origin::Set | Origin::Demo => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment { variable } => write!(f, "environment {variable}"),
            Origin::Set => f.write_str("--set"),
            Origin::Demo => f.write_str("the demo"),
        }
    }
}

/// One option as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// `sources.tushare.url`.
    pub path: String,
    /// As TOML; a secret is `(set)` or `(not set)`.
    pub value: String,
    pub origin: Origin,
}

/// The options in force, and where each of them comes from.
#[derive(Clone, Debug)]
pub struct Config {
    pub options: Options,
    /// The file that was read, when there was one.
    pub file: Option<PathBuf>,
    explained: Vec<Explained>,
}

impl std::ops::Deref for Config {
    type Target = Options;

    fn deref(&self) -> &Options {
        &self.options
    }
}

impl Config {
    /// Reads and checks all layers; an error names every problem at once.
    pub fn load(from: &LoadOptions) -> Result<Config> {
        let file = from.file();
        let mut reader = Reader::new(from.variable("HOME"));
        if let Some(path) = &file {
            reader.read_file(path)?;
        }
        reader.read_environment(&from.environment);
        from.sets.iter().for_each(|text| reader.read_set(text));
        let (entries, problems) = reader.finish();
        match report(&problems) {
            Some(error) => Err(error),
            None => Config::build(entries, file),
        }
    }

    fn build(entries: BTreeMap<String, Entry>, file: Option<PathBuf>) -> Result<Config> {
        let explained = entries.iter().map(|(path, entry)| entry.explain(path)).collect();
        let unfit = |cause| Error::bug("a checked configuration does not fit its types").caused_by(cause);
        let options = Options::deserialize(layers::nested(entries)).map_err(unfit)?;
        Ok(Config { options, file, explained })
    }

    /// Every option with its value and origin, by path.
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }

    /// Shows options as the demo has set them: a secret as `(set)`, others as TOML.
    pub fn explain_demo(&mut self, options: &[(&str, String)]) {
        for (path, value) in options {
            if let Some(known) = self.explained.iter_mut().find(|known| known.path == *path) {
                (known.value, known.origin) = (value.clone(), Origin::Demo);
            }
        }
    }
}

/// One error for all problems; `None` when there is none.
fn report(problems: &[Problem]) -> Option<Error> {
    let general = "`tidegate config show` lists every option with its value and origin";
    match problems {
        [] => None,
        [one] => Some(Error::invalid(one.to_string()).hint(one.remedy.clone().unwrap_or_else(|| general.to_owned()))),
        many => {
            let line = |problem: &Problem| match &problem.remedy {
                Some(remedy) => format!("\n  {problem}; {remedy}"),
                None => format!("\n  {problem}"),
            };
            let lines: String = many.iter().map(line).collect();
            Some(Error::invalid(format!("{} problems in the configuration:{lines}", many.len())).hint(general))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_lines() -> Vec<(usize, &'static str)> {
        DEFAULT_TEXT.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).collect()
    }

    #[test]
    fn every_default_has_a_rule_and_passes_it_and_every_rule_has_a_default() {
        let config = Config::load(&LoadOptions { folder: "/nowhere".into(), ..LoadOptions::default() }).unwrap();
        let mut ruled: Vec<&str> = rules::RULES.iter().map(|(path, _)| *path).collect();
        ruled.sort_unstable();
        let explained: Vec<&str> = config.explain().iter().map(|option| option.path.as_str()).collect();
        assert_eq!(explained, ruled, "config.default.toml and RULES in src/config/rules.rs name different options");

        let mut reader = Reader::new(None);
        reader.read_file(Path::new("config.default.toml")).unwrap();
        assert_eq!(reader.finish().1.iter().map(Problem::to_string).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_option_of_the_default_file_has_a_sentence_above_it() {
        for pair in default_lines().windows(2) {
            let ((_, above), (number, line)) = (pair[0], pair[1]);
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let is_sentence = above.starts_with("# ") && above.ends_with('.') && above.len() > 20;
            assert!(is_sentence, "config.default.toml:{number}: write a sentence above `{line}`");
        }
        let config = Config::load(&LoadOptions { folder: "/nowhere".into(), ..LoadOptions::default() }).unwrap();
        for option in config.explain() {
            assert!(meaning(&option.path).ends_with('.'), "{}: {:?}", option.path, meaning(&option.path));
        }
    }
}
