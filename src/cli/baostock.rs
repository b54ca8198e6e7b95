//! BaoStock as the configuration describes it: the source, and the mirror in its dialect.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::config;
use crate::engine::Tokens;
use crate::mirror::baostock::{BaostockMirrorOptions, Mirror};
use crate::model::Result;
use crate::source::baostock::{BaostockOptions, BaostockSource, WholeDay};
use crate::store::Store;

const MB: usize = 1024 * 1024;

pub fn source(context: &Context, tokens: &Tokens) -> Result<BaostockSource> {
    let secret = |name: &str, configured: &config::Secret| {
        tokens.get(name).map_or_else(|| configured.expose().to_string(), String::clone)
    };
    let options = &context.options().sources.baostock;
    let options = BaostockOptions {
        address: options.address.clone(),
        user: options.user.clone(),
        password: secret("baostock_password", &options.password),
        api_key: secret("baostock", &options.api_key),
        rank: options.rank,
        sessions: options.sessions,
        connect_timeout: Duration::from_secs(options.connect_timeout_seconds),
        timeout: Duration::from_secs(options.timeout_seconds),
        reply_bytes_max: options.reply_mb_max as usize * MB,
        rows_max: options.rows_max,
        page_rows: options.page_rows,
        whole_day: match options.whole_day {
            config::WholeDay::Auto => WholeDay::Auto,
            config::WholeDay::Never => WholeDay::Never,
            config::WholeDay::Always => WholeDay::Always,
        },
        per_minute: options.per_minute(),
    };
    BaostockSource::new(options, context.clock.clone())
}

pub fn mirror(context: &Context, store: Arc<dyn Store>) -> Arc<Mirror> {
    let mirror = &context.options().mirror;
    let options = BaostockMirrorOptions {
        tokens: mirror.accounts().into_iter().map(|(token, _)| token.expose().to_string()).collect(),
        rows_max: mirror.rows_max,
        request_bytes_max: mirror.body_kb_max as usize * 1024,
        connections_max: mirror.baostock_connections,
        idle: Duration::from_secs(mirror.baostock_idle_seconds),
        read: context.read_options(),
        ..BaostockMirrorOptions::default()
    };
    Arc::new(Mirror::new(store, context.catalog.clone(), options, context.clock.clone()))
}
