//! What each option may hold, beyond the type that its default shows.

use toml::Value;

use super::Secret;
use crate::model::{Day, Subnet};

/// A condition on a value of the right type.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Any,
    /// From, to.
    Integer(i64, i64),
    Float(f64, f64),
    OneOf(&'static [&'static str]),
    Path,
    /// A path that may not be empty.
    NamedPath,
    Url,
    Address,
    /// A date or nothing.
    Date,
    Secret,
    Accounts,
    /// A list of `name=address`, addresses of databases.
    Connections,
    /// A list of `name=address`, addresses of other Tidegates.
    Tidegates,
    /// A name that needs no quotes in SQL.
    Name,
    /// A list of names.
    Names,
    /// A list of subnets.
    Subnets,
    /// A list of seconds to wait.
    Waits,
    /// Three figures: from where on something is an info, a warning, severe.
    Levels,
    /// What a header may say: visible characters.
    Header,
    /// A list of some of these.
    ManyOf(&'static [&'static str]),
}

use Rule::*;

const WHEN: Rule = OneOf(&["auto", "always", "never"]);

/// Every option with its rule, in the order of `config.default.toml`.
pub const RULES: &[(&str, Rule)] = &[
    ("store.url", Rule::Secret),
    ("store.schema", Name),
    ("store.path", NamedPath),
    ("store.cache_mb", Integer(1, 65_536)),
    ("store.busy_timeout_ms", Integer(0, 3_600_000)),
    ("store.synchronous", OneOf(&["normal", "full"])),
    ("store.scan_batch_rows", Integer(1, 1_000_000)),
    ("store.shared", Any),
    ("store.postgres.connections", Integer(2, 1_000)),
    ("store.postgres.wait_seconds", Integer(1, 86_400)),
    ("store.postgres.connect_seconds", Integer(1, 3_600)),
    ("store.postgres.statement_seconds", Integer(0, 86_400)),
    ("store.postgres.lock_seconds", Integer(1, 86_400)),
    ("store.postgres.reconnect_seconds", Integer(0, 86_400)),
    ("catalog.folder", Path),
    ("sync.concurrency", Integer(1, 64)),
    ("sync.datasets_at_once", Integer(1, 16)),
    ("sync.commit_slices", Integer(1, 10_000)),
    ("sync.commit_rows", Integer(1, 10_000_000)),
    ("sync.commit_linger_ms", Integer(0, 60_000)),
    ("sync.retry_first_ms", Integer(1, 600_000)),
    ("sync.retry_cap_ms", Integer(1, 3_600_000)),
    ("sync.retry_jitter", Float(0.0, 1.0)),
    ("sync.throttles_max", Integer(0, 1_000)),
    ("sync.pages_max", Integer(1, 100_000)),
    ("sync.failed_in_a_row_max", Integer(1, 100_000)),
    ("sync.failure_attempts_max", Integer(1, 1_000)),
    ("sync.failure_retry_minutes", Integer(0, 100_000)),
    ("sync.quota_share", Float(0.01, 1.0)),
    ("sync.lease_seconds", Integer(1, 3_600)),
    ("sync.call_seconds_max", Integer(1, 3_600)),
    ("sync.range_days_max", Integer(1, 3_660)),
    ("sync.batch_size", Integer(1, 100_000)),
    ("sync.partitions", Integer(1, 64)),
    ("sync.statements_missing_days", Integer(0, 3_660)),
    ("sync.replace_rows_max", Integer(1, 100_000_000)),
    ("sync.default_from", Date),
    ("sync.skip", Names),
    ("failover.parallel_sources", Any),
    ("failover.cool_down_first_ms", Integer(1, 86_400_000)),
    ("failover.cool_down_cap_ms", Integer(1, 86_400_000)),
    ("failover.wait_ms", Integer(0, 86_400_000)),
    ("failover.probe_seconds", Integer(1, 600)),
    ("failover.better_after_hours", Integer(0, 8_760)),
    ("failover.wrong_share", Float(0.01, 1.0)),
    ("failover.wrong_rows_min", Integer(1, 1_000_000)),
    ("failover.demote_hours", Integer(1, 168)),
    ("failover.demote_calls_min", Integer(1, 1_000_000)),
    ("failover.demote_failed_share", Float(0.0, 1.0)),
    ("failover.demote_wrong_max", Integer(0, 1_000_000)),
    ("failover.demote_slow_ms", Integer(1, 86_400_000)),
    ("sources.tushare.enabled", Any),
    ("sources.tushare.url", Url),
    ("sources.tushare.token", Rule::Secret),
    ("sources.tushare.token_file", Path),
    ("sources.tushare.points", Integer(0, 1_000_000)),
    ("sources.tushare.rank", Integer(1, 255)),
    ("sources.tushare.timeout_seconds", Integer(1, 3_600)),
    ("sources.tushare.connect_timeout_seconds", Integer(1, 3_600)),
    ("sources.tushare.body_mb_max", Integer(1, 1_024)),
    ("sources.tushare.gzip", Any),
    ("sources.tushare.per_minute", Integer(0, 1_000_000)),
    ("sources.database.connections", Connections),
    ("sources.database.rank", Integer(1, 255)),
    ("sources.database.page_rows", Integer(1, 1_000_000)),
    ("sources.database.page_mb", Integer(1, 1_024)),
    ("sources.database.statement_timeout_seconds", Integer(1, 86_400)),
    ("sources.database.connect_timeout_seconds", Integer(1, 3_600)),
    ("sources.database.leaf_rows", Integer(1, 1_000_000)),
    ("sources.database.fan_out", Integer(2, 256)),
    ("sources.database.run_rows_max", Integer(0, 1_000_000_000_000)),
    ("sources.akshare.enabled", Any),
    ("sources.akshare.via", OneOf(&["aktools", "eastmoney"])),
    ("sources.akshare.url", Url),
    ("sources.akshare.token", Rule::Secret),
    ("sources.akshare.eastmoney_history_url", Url),
    ("sources.akshare.eastmoney_list_url", Url),
    ("sources.akshare.eastmoney_report_url", Url),
    ("sources.akshare.eastmoney_forecast_url", Url),
    ("sources.akshare.rank", Integer(1, 255)),
    ("sources.akshare.timeout_seconds", Integer(1, 3_600)),
    ("sources.akshare.connect_timeout_seconds", Integer(1, 3_600)),
    ("sources.akshare.body_mb_max", Integer(1, 1_024)),
    ("sources.akshare.rows_max", Integer(1, 10_000_000)),
    ("sources.akshare.calls_at_once", Integer(1, 64)),
    ("sources.akshare.per_minute", Integer(0, 1_000_000)),
    ("sources.akshare.proof_days", Integer(0, 36_500)),
    ("sources.tidegate.enabled", Any),
    ("sources.tidegate.url", Url),
    ("sources.tidegate.token", Rule::Secret),
    ("sources.tidegate.token_file", Path),
    ("sources.tidegate.points", Integer(0, 1_000_000)),
    ("sources.tidegate.rank", Integer(1, 255)),
    ("sources.tidegate.timeout_seconds", Integer(1, 3_600)),
    ("sources.tidegate.connect_timeout_seconds", Integer(1, 3_600)),
    ("sources.tidegate.body_mb_max", Integer(1, 1_024)),
    ("sources.tidegate.gzip", Any),
    ("sources.tidegate.per_minute", Integer(0, 1_000_000)),
    ("reconcile.tidegates", Tidegates),
    ("reconcile.leaf_rows", Integer(1, 1_000_000)),
    ("reconcile.fan_out", Integer(2, 4096)),
    ("reconcile.rows_max", Integer(1, 1_000_000_000_000)),
    ("reconcile.seconds_max", Integer(1, 604_800)),
    ("reconcile.differences_max", Integer(1, 1_000_000)),
    ("reconcile.settle_ms", Integer(0, 3_600_000)),
    ("reconcile.looks_max", Integer(1, 1_000)),
    ("reconcile.position_seconds", Integer(1, 86_400)),
    ("reconcile.alert_differences", Integer(0, 1_000_000_000)),
    ("reconcile.reports_kept", Integer(1, 1_000_000)),
    ("reconcile.repair_rows_max", Integer(1, 1_000_000_000)),
    ("reconcile.repair_batch_rows", Integer(1, 10_000)),
    ("reconcile.auto_rows_max", Integer(0, 1_000_000)),
    ("reconcile.undo_folder", NamedPath),
    ("reconcile.statement_timeout_seconds", Integer(1, 86_400)),
    ("reconcile.connect_timeout_seconds", Integer(1, 3_600)),
    ("reconcile.body_mb_max", Integer(1, 4_096)),
    ("read.sort_rows_max", Integer(1, 100_000_000)),
    ("sources.baostock.enabled", Any),
    ("sources.baostock.address", Address),
    ("sources.baostock.user", Any),
    ("sources.baostock.password", Rule::Secret),
    ("sources.baostock.api_key", Rule::Secret),
    ("sources.baostock.rank", Integer(1, 255)),
    ("sources.baostock.sessions", Integer(1, 64)),
    ("sources.baostock.timeout_seconds", Integer(1, 3_600)),
    ("sources.baostock.connect_timeout_seconds", Integer(1, 3_600)),
    ("sources.baostock.reply_mb_max", Integer(1, 1_024)),
    ("sources.baostock.rows_max", Integer(1, 1_000_000)),
    ("sources.baostock.page_rows", Integer(1, 20_000)),
    ("sources.baostock.whole_day", OneOf(&["auto", "never", "always"])),
    ("sources.baostock.per_minute", Integer(0, 1_000_000)),
    ("mirror.listen", Address),
    ("mirror.baostock_listen", Address),
    ("mirror.baostock_connections", Integer(1, 10_000)),
    ("mirror.baostock_idle_seconds", Integer(1, 86_400)),
    ("mirror.aktools_listen", Address),
    ("mirror.tokens", Accounts),
    ("mirror.enforce_points", Any),
    ("mirror.enforce_quota", Any),
    ("mirror.enforce_caps", Any),
    ("mirror.rows_max", Integer(1, 1_000_000)),
    ("mirror.body_kb_max", Integer(1, 1_048_576)),
    ("serve.listen", Address),
    ("serve.mirrors", ManyOf(&["tushare", "baostock", "aktools"])),
    ("serve.hosts", Names),
    ("serve.cors_origins", Names),
    ("serve.connections", Integer(1, 100_000)),
    ("serve.header_seconds", Integer(1, 3_600)),
    ("serve.request_seconds", Integer(1, 3_600)),
    ("serve.body_kb_max", Integer(1, 1_048_576)),
    ("serve.requests_per_minute", Integer(0, 10_000_000)),
    ("serve.logins_per_minute", Integer(1, 10_000)),
    ("serve.page_rows", Integer(1, 100_000)),
    ("serve.page_rows_max", Integer(1, 1_000_000)),
    ("serve.rows_max", Integer(1, 1_000_000_000)),
    ("serve.session_hours", Integer(1, 8_760)),
    ("serve.drain_seconds", Integer(0, 3_600)),
    ("serve.sockets", Integer(1, 100_000)),
    ("serve.socket_queue", Integer(1, 100_000)),
    ("serve.socket_channels", Integer(1, 10_000)),
    ("serve.socket_recover", Integer(1, 1_000_000)),
    ("serve.socket_recover_kb", Integer(1, 65_536)),
    ("serve.heartbeat_seconds", Integer(1, 3_600)),
    ("serve.poll_ms", Integer(10, 60_000)),
    ("events.body_kb_max", Integer(1, 1_048_576)),
    ("events.batch_max", Integer(1, 100_000)),
    ("events.content_kb_max", Integer(1, 262_144)),
    ("events.attribute_bytes_max", Integer(64, 65_536)),
    ("events.extensions_max", Integer(0, 1_000)),
    ("events.queue", Integer(1, 1_000_000)),
    ("events.commit_events", Integer(1, 100_000)),
    ("events.commit_kb", Integer(1, 1_048_576)),
    ("events.idempotency_hours", Integer(1, 8_760)),
    ("events.look_through", Integer(100, 10_000_000)),
    ("jobs.enabled", Any),
    ("jobs.catch_up", OneOf(&["once", "skip"])),
    ("jobs.attempts", Integer(0, 100)),
    ("jobs.retry_minutes", Integer(1, 10_000)),
    ("jobs.runs_at_once", Integer(1, 64)),
    ("jobs.polls_at_once", Integer(1, 64)),
    ("jobs.runs_kept", Integer(10, 1_000_000)),
    ("jobs.check_look_back", Integer(0, 1_000)),
    ("notify.allow", Subnets),
    ("notify.plain_http", Any),
    ("notify.ca_file", Path),
    ("notify.connect_seconds", Integer(1, 300)),
    ("notify.timeout_seconds", Integer(1, 300)),
    ("notify.keep_alive_seconds", Integer(0, 3_600)),
    ("notify.idle_connections", Integer(0, 10_000)),
    ("notify.answer_kb_max", Integer(1, 1_024)),
    ("notify.retry_seconds", Waits),
    ("notify.retry_jitter", Float(0.0, 1.0)),
    ("notify.retry_after_seconds_max", Integer(1, 2_592_000)),
    ("notify.warn_failures", Integer(1, 1_000_000)),
    ("notify.pause_failures", Integer(1, 1_000_000)),
    ("notify.probe_first_seconds", Integer(1, 86_400)),
    ("notify.probe_cap_seconds", Integer(1, 86_400)),
    ("notify.rotation_hours", Integer(0, 720)),
    ("notify.source_system", Header),
    ("notify.tolerance_seconds", Integer(1, 86_400)),
    ("notify.lease_seconds", Integer(1, 3_600)),
    ("notify.requests", Integer(1, 10_000)),
    ("notify.requests_per_subscription", Integer(1, 1_000)),
    ("notify.held", Integer(2, 1_000_000)),
    ("notify.held_per_key", Integer(1, 100_000)),
    ("notify.content_mb", Integer(0, 65_536)),
    ("notify.match_events", Integer(1, 10_000)),
    ("notify.commit_attempts", Integer(1, 10_000)),
    ("notify.detail_characters", Integer(0, 10_000)),
    ("notify.attempts_days", Integer(1, 36_500)),
    ("notify.watch_seconds", Integer(1, 86_400)),
    ("notify.watch_attempts_min", Integer(1, 1_000_000)),
    ("notify.alert_success_percent", Levels),
    ("notify.alert_delay_seconds", Levels),
    ("notify.alert_failures", Levels),
    ("notify.alert_backlog", Levels),
    ("notify.alert_failed_in_a_row", Levels),
    ("notify.alert_retries", Levels),
    ("receive.tolerance_seconds", Integer(1, 86_400)),
    ("receive.body_kb_max", Integer(1, 1_048_576)),
    ("receive.calls_per_minute", Integer(0, 10_000_000)),
    ("receive.queue", Integer(1_000, 1_000_000)),
    ("receive.commit_messages", Integer(1, 10_000)),
    ("receive.items_max", Integer(1, 1_000_000)),
    ("receive.retry_first_ms", Integer(10, 3_600_000)),
    ("receive.retry_cap_seconds", Integer(1, 604_800)),
    ("receive.attempts_max", Integer(1, 10_000)),
    ("receive.origin_seconds", Integer(1, 600)),
    ("receive.origin_mb_max", Integer(1, 1_024)),
    ("receive.origin_events_max", Integer(1, 100_000)),
    ("receive.kept_days", Integer(0, 36_500)),
    ("intakes.enabled", Any),
    ("intakes.batch", Integer(1, 100_000)),
    ("intakes.poll_ms", Integer(5, 3_600_000)),
    ("intakes.connect_seconds", Integer(1, 3_600)),
    ("intakes.answer_seconds", Integer(1, 3_600)),
    ("intakes.message_mb_max", Integer(1, 1_024)),
    ("intakes.retry_first_ms", Integer(1, 600_000)),
    ("intakes.retry_cap_ms", Integer(1, 86_400_000)),
    ("intakes.lease_seconds", Integer(1, 3_600)),
    ("intakes.lag_seconds", Integer(1, 3_600)),
    ("intakes.lag_rows", Integer(1, 1_000_000_000_000)),
    ("intakes.lag_mb", Integer(1, 1_048_576)),
    ("intakes.lag_entries", Integer(1, 1_000_000_000_000)),
    ("relay.redis", Rule::Secret),
    ("relay.prefix", Any),
    ("relay.streams", Integer(1, 1_024)),
    ("relay.types", Names),
    ("relay.entries_max", Integer(1, 1_000_000_000)),
    ("relay.batch", Integer(1, 10_000)),
    ("cache.mb", Integer(0, 1_048_576)),
    ("cache.answer_kb_max", Integer(1, 1_048_576)),
    ("cache.redis", Rule::Secret),
    ("cache.redis_prefix", Any),
    ("cache.redis_seconds", Integer(1, 2_592_000)),
    ("cache.redis_timeout_ms", Integer(1, 60_000)),
    ("import.field_kb_max", Integer(1, 1_048_576)),
    ("import.batch_rows", Integer(1, 1_000_000)),
    ("import.quarantine_max", Integer(0, 1_000_000_000)),
    ("log.level", OneOf(&["off", "error", "warn", "info", "debug", "trace"])),
    ("log.format", OneOf(&["text", "json"])),
    ("log.folder", Path),
    ("log.keep_days", Integer(1, 3_660)),
    ("log.store_level", OneOf(&["off", "error", "warn", "info"])),
    ("log.store_days", Integer(1, 3_660)),
    ("log.store_records_max", Integer(100, 10_000_000)),
    ("output.colour", WHEN),
    ("output.progress", WHEN),
    ("sim.securities", Integer(1, 20_000)),
    ("sim.seed", Integer(0, i64::MAX)),
];

/// The rule of an option; `None` when there is no such option.
pub fn rule_of(path: &str) -> Option<Rule> {
    RULES.iter().find(|(known, _)| *known == path).map(|(_, rule)| *rule)
}

impl Rule {
    pub fn is_secret(self) -> bool {
        matches!(self, Rule::Secret | Accounts | Connections | Tidegates)
    }

    pub fn is_path(self) -> bool {
        matches!(self, Path | NamedPath)
    }

    /// What is expected, where the value is not it.
    pub fn expectation(self, value: &Value) -> Option<String> {
        let text = value.as_str().unwrap_or_default();
        let expected = match (self, value) {
            (Integer(low, high), Value::Integer(number)) if *number < low || *number > high => {
                format!("a number from {low} to {high}")
            }
            (Float(low, high), Value::Float(number)) if !(low..=high).contains(number) => {
                format!("a number from {low} to {high}")
            }
            (OneOf(names), _) if !names.contains(&text) => format!("one of {}", quoted(names)),
            (Name, _) if !is_name(text) => "a name of small letters, digits and _, at most 40".to_owned(),
            (NamedPath, _) if text.is_empty() => "a path".to_owned(),
            (Url, _) if !is_url(text) => "an address that begins with http:// or https://".to_owned(),
            (Address, _) if !is_address(text) => "an address and a port such as 127.0.0.1:7878".to_owned(),
            (Date, _) if !text.is_empty() && Day::parse(text).is_err() => {
                "a date such as 2015-01-01, or nothing".to_owned()
            }
            (Accounts, Value::Array(entries)) if !entries.iter().all(is_account) => {
                "a list of \"token\" or \"token:points\"".to_owned()
            }
            (Connections, Value::Array(entries)) if !connections_fit(entries) => {
                "a list of \"name=postgres://...\", \"name=sqlite://...\" or \"name=file://...\", each name once"
                    .to_owned()
            }
            (Tidegates, Value::Array(entries)) if !tidegates_fit(entries) => {
                "a list of \"name=https://:KEY@host:port\", each name once".to_owned()
            }
            (ManyOf(known), Value::Array(names))
                if !names.iter().all(|name| name.as_str().is_some_and(|name| known.contains(&name))) =>
            {
                format!("a list of some of {}", quoted(known))
            }
            (Subnets, Value::Array(entries)) if !entries.iter().all(is_subnet) => {
                "a list of subnets such as \"10.1.0.0/16\"".to_owned()
            }
            (Waits, Value::Array(entries)) if entries.len() > WAITS_MAX || !entries.iter().all(is_wait) => {
                format!("a list in brackets of at most {WAITS_MAX} numbers from 0.1 to 604800")
            }
            (Levels, Value::Array(entries)) if entries.len() != 3 || !entries.iter().all(is_level) => {
                "three numbers from 0 on in brackets: for info, warning and severe".to_owned()
            }
            (Header, _) if !is_header(text) => "1 to 64 visible characters of ASCII".to_owned(),
            (Names, Value::Array(names)) if !names.iter().all(Value::is_str) => "a list of names".to_owned(),
            _ => return None,
        };
        Some(expected)
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

fn is_name(text: &str) -> bool {
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    !text.is_empty()
        && text.len() <= 40
        && text.chars().all(fits)
        && !text.starts_with(|first: char| first.is_ascii_digit())
}

fn is_url(text: &str) -> bool {
    let host = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace))
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Attempts of one delivery, but for the first.
const WAITS_MAX: usize = 50;

fn is_wait(entry: &Value) -> bool {
    let seconds = entry.as_float().or(entry.as_integer().map(|seconds| seconds as f64));
    seconds.is_some_and(|seconds| (0.1..=604_800.0).contains(&seconds))
}

fn is_level(entry: &Value) -> bool {
    let level = entry.as_float().or(entry.as_integer().map(|level| level as f64));
    level.is_some_and(|level| level.is_finite() && level >= 0.0)
}

fn is_subnet(entry: &Value) -> bool {
    entry.as_str().is_some_and(|text| Subnet::parse(text).is_ok())
}

fn is_header(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_account(entry: &Value) -> bool {
    match entry.as_str().map(|text| text.split_once(':').unwrap_or((text, "0"))) {
        Some((token, points)) => !token.is_empty() && points.parse::<u32>().is_ok(),
        None => false,
    }
}

fn connections_fit(entries: &[Value]) -> bool {
    let parted: Option<Vec<(String, Secret)>> = entries.iter().map(|entry| connection(entry.as_str()?)).collect();
    let once = |found: &[(String, Secret)]| {
        let names: std::collections::BTreeSet<&String> = found.iter().map(|(name, _)| name).collect();
        names.len() == found.len()
    };
    parted.is_some_and(|found| once(&found))
}

/// Splits `name=address`; `None` when it is something else.
pub fn connection(entry: &str) -> Option<(String, Secret)> {
    let (name, address) = entry.split_once('=')?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let schemes = ["postgres://", "postgresql://", "sqlite://", "file://"];
    let known = schemes.iter().any(|scheme| address.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    (named && known).then(|| (name.to_owned(), Secret::new(address)))
}

/// Splits `name=address` of another Tidegate.
pub fn tidegate(entry: &str) -> Option<(String, Secret)> {
    let (name, address) = entry.split_once('=')?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let known = ["http://", "https://"]
        .iter()
        .any(|scheme| address.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains('#')));
    (named && known).then(|| (name.to_owned(), Secret::new(address)))
}

fn tidegates_fit(entries: &[Value]) -> bool {
    let named: Option<Vec<String>> = entries.iter().map(|entry| Some(tidegate(entry.as_str()?)?.0)).collect();
    named.is_some_and(|names| {
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        unique.len() == names.len()
    })
}

/// Splits `token:points`.
pub fn account(entry: &str) -> (Secret, Option<u32>) {
    match entry.split_once(':') {
        Some((token, points)) => (Secret::new(token), points.parse().ok()),
        None => (Secret::new(entry), None),
    }
}
