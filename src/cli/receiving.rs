//! Receiving as commands and the service put it together from the configuration.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::feed::{Feed, FeedOptions};
use crate::model::{Error, Result};
use crate::notify::client::{Client, ClientOptions, SystemNames};
use crate::receive::{Control, ReceiveOptions, Receiver};
use crate::store::Store;

/// Connections without a request that are kept for one origin.
const IDLE_PER_ORIGIN: usize = 4;

pub fn options(context: &Context) -> ReceiveOptions {
    let receive = &context.options().receive;
    ReceiveOptions {
        limits: context.publish_options().limits,
        tolerance_seconds: receive.tolerance_seconds,
        queue: receive.queue,
        commit_messages: receive.commit_messages,
        items_max: receive.items_max,
        retry_first: Duration::from_millis(receive.retry_first_ms),
        retry_cap: Duration::from_secs(receive.retry_cap_seconds),
        attempts_max: receive.attempts_max,
        origin_timeout: Duration::from_secs(receive.origin_seconds),
        origin_events_max: receive.origin_events_max,
        kept_days: receive.kept_days,
    }
}

/// Definitions of inbound webhooks.
pub fn control(context: &Context, store: Arc<dyn Store>) -> Control {
    let options = options(context);
    Control::new(store, context.catalog.clone(), context.clock.clone(), options.limits, options.items_max)
}

/// What takes calls in.
pub async fn receiver(context: &Context, store: Arc<dyn Store>, feed: Feed) -> Result<Receiver> {
    let (catalog, clock) = (context.catalog.clone(), context.clock.clone());
    Receiver::start(store, catalog, clock, feed, client(context)?, options(context)).await
}

/// The same for one command.
pub async fn for_a_command(context: &Context, store: Arc<dyn Store>) -> Result<Receiver> {
    let feed = Feed::start(store.clone(), FeedOptions::default()).await?;
    receiver(context, store, feed).await
}

/// What origins are asked by: the addresses that are closed to deliveries are closed to it too.
fn client(context: &Context) -> Result<Client> {
    let (receive, notify) = (&context.options().receive, &context.options().notify);
    let read = |path: &std::path::Path| {
        let failed = |error| Error::invalid("notify.ca_file cannot be read").caused_by(error);
        std::fs::read(path).map_err(failed)
    };
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(notify.connect_seconds),
        keep_alive: Duration::from_secs(notify.keep_alive_seconds),
        idle_per_host: IDLE_PER_ORIGIN,
        answer_bytes_max: receive.origin_mb_max << 20,
        allow: notify.allow(),
        plain_http: notify.plain_http,
        ca: notify.ca_file().map(read).transpose()?,
    };
    Client::new(&options, Arc::new(SystemNames))
}
