//! A second level that several processes share. It costs speed at worst: an answer from it is used only if the log, as
//! far as this process knows it, has nothing later about its tables; and whoever does not answer in time is not waited for.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::Answer;
use super::fresh::{Fresh, MadeFrom};
use crate::model::hex;
use crate::model::{Clock, Error, Result};

/// Where the second level is; from `[cache]` in the configuration.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://:password@host:6379/0`
    pub url: String,
    /// What keys begin with.
    pub prefix: String,
    /// That an answer stays at most.
    pub kept: Duration,
    /// That an answer may take.
    pub timeout: Duration,
}

pub(super) struct Second {
    connection: ConnectionManager,
    options: RedisOptions,
    clock: Clock,
    /// Not asked before this instant.
    away_until: AtomicI64,
}

/// How long a server that did not answer is left alone.
const AWAY_MS: i64 = 1_000;
/// The forms of an answer, by the first byte of what is kept.
const MEDIA_TYPES: [&str; 1] = ["application/json"];

impl Second {
    /// Connects when it is asked for the first time.
    pub(super) fn new(options: RedisOptions, clock: Clock) -> Result<Second> {
        let unusable = |error: redis::RedisError| {
            let error = Error::invalid("cache.redis is no address of a Redis").caused_by(error);
            error.hint("write redis://:password@host:6379/0")
        };
        let client = redis::Client::open(options.url.as_str()).map_err(unusable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.timeout.max(Duration::from_millis(200))))
            .set_response_timeout(Some(options.timeout))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(unusable)?;
        Ok(Second { connection, options, clock, away_until: AtomicI64::new(0) })
    }

    fn key(&self, epoch: &str, text: &str) -> String {
        let digest = Sha256::digest(format!("{} {text}", env!("CARGO_PKG_VERSION")).as_bytes());
        format!("{}{epoch}:{}", self.options.prefix, hex(&digest))
    }

    /// The answer, if it is there and nothing later is known about its tables.
    pub(super) async fn get(&self, fresh: &Fresh, text: &str, from: &MadeFrom) -> Option<Answer> {
        let key = self.key(fresh.epoch(), text);
        let kept: Option<Vec<u8>> = self.ask(redis::cmd("GET").arg(key)).await?;
        let (event, answer) = unpacked(kept?)?;
        if event > fresh.cursor() {
            // Another process is ahead: what it knows is in the log.
            fresh.settled(from).await.ok()?;
        }
        let is_fresh = fresh.seen(from).await.ok()? <= event && event <= fresh.cursor();
        is_fresh.then_some(answer)
    }

    /// Keeps an answer that holds up to this event.
    pub(super) async fn put(&self, fresh: &Fresh, text: &str, event: u64, answer: &Answer) {
        let Some(packed) = packed(event, answer) else { return };
        let (key, seconds) = (self.key(fresh.epoch(), text), self.options.kept.as_secs().max(1));
        let _: Option<()> = self.ask(redis::cmd("SET").arg(key).arg(packed).arg("EX").arg(seconds)).await;
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        if self.clock.now().0 < self.away_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut connection = self.connection.clone();
        let answered = timeout(self.options.timeout, command.query_async::<T>(&mut connection)).await;
        let error = match answered {
            Ok(Ok(value)) => {
                self.away_until.store(0, Ordering::Relaxed);
                return Some(value);
            }
            Ok(Err(error)) => error.category().to_string(),
            Err(_) => "no answer in time".to_string(),
        };
        let until = self.clock.now().plus_millis(AWAY_MS).0;
        if self.away_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(error, "the shared cache does not answer; it is left alone and tried again");
        }
        None
    }
}

/// The event, the form, the body.
fn packed(event: u64, answer: &Answer) -> Option<Vec<u8>> {
    let form = MEDIA_TYPES.iter().position(|known| *known == answer.media_type)?;
    let mut packed = Vec::with_capacity(9 + answer.body.len());
    packed.extend_from_slice(&event.to_be_bytes());
    packed.push(u8::try_from(form).ok()?);
    packed.extend_from_slice(&answer.body);
    Some(packed)
}

fn unpacked(kept: Vec<u8>) -> Option<(u64, Answer)> {
    let (event, rest) = kept.split_first_chunk::<8>()?;
    let event = u64::from_be_bytes(*event);
    let media_type = MEDIA_TYPES.get(usize::from(*rest.first()?))?;
    Some((event, Answer { body: Bytes::from(kept).slice(9..), media_type, is_zipped: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_being_kept_and_anything_else_is_none() {
        let answer = Answer::json("{\"a\":1}");
        assert_eq!(unpacked(packed(258, &answer).unwrap()), Some((258, answer)));
        for foreign in [&b""[..], b"12345678", b"12345678\xff{}"] {
            assert_eq!(unpacked(foreign.to_vec()), None, "{foreign:?}");
        }
    }
}
