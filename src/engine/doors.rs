//! Doors: every source that can be configured, as people see it: switched on or not, whose token, what is left of its
//! quotas, how it has behaved, and whether it answers now.

use std::time::{Duration, Instant as Moment};

use super::Engine;
use super::standing::{Standing, StandingPolicy, standing};
use crate::catalog::Catalog;
use crate::model::{Definition, Error, ErrorKind, Health, Instant, Result, definition::Kind};
use crate::source::Source;

/// A source as the configuration describes it, switched on or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    pub name: String,
    /// 1 is best.
    pub rank: u8,
    pub enabled: bool,
    /// What it is, in one sentence without a full stop.
    pub about: &'static str,
    /// Where it answers; `None` where the address is a secret.
    pub address: Option<String>,
    pub token: Token,
}

/// Whether a source has the token that it needs. Never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    NotNeeded,
    NotSet,
    /// Set; where, in words: `environment TUSHARE_TOKEN`, `the file token.txt`, `tidegate.toml:4`, `the store`.
    From(String),
}

impl Token {
    /// For people.
    pub fn text(&self) -> &str {
        match self {
            Token::NotNeeded => "needs none",
            Token::NotSet => "not set",
            Token::From(origin) => origin,
        }
    }
}

/// The sources with the tokens that are set in the store, which count more than configured ones.
pub fn with_secrets(mut configured: Vec<Configured>, secrets: &[Definition]) -> Vec<Configured> {
    let set = |name: &str| secrets.iter().any(|secret| secret.kind == Kind::Secret && secret.name == name);
    for source in configured.iter_mut().filter(|source| set(&source.name)) {
        source.token = Token::From("the store".to_string());
    }
    configured
}

/// What the ledger has of one source.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Calls of this Beijing day, by API.
    pub used: Vec<(String, u64)>,
    /// Of every source, by hour.
    pub health: Vec<Health>,
}

/// A source as it stands.
#[derive(Clone, Debug)]
pub struct Seen {
    pub configured: Configured,
    /// Tables that it serves; none while it is switched off.
    pub datasets: usize,
    pub calls_today: u64,
    /// APIs with a limit by day, the one with the fewest calls left first.
    pub quotas: Vec<Quota>,
    /// The smallest limit of any API; `None` without limits.
    pub per_minute: Option<u32>,
    /// Of the last 24 hours.
    pub day: Health,
    pub standing: Standing,
    /// This process leaves it alone until then, and why.
    pub aside: Option<(Instant, Option<String>)>,
    /// The newest calls that are known were all of no use.
    pub failing: bool,
}

/// The day's calls of one API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub api: String,
    pub used: u64,
    pub per_day: u64,
}

impl Quota {
    pub fn left(&self) -> u64 {
        self.per_day.saturating_sub(self.used)
    }
}

impl Seen {
    /// Looks at what is known; asks nobody. `source`: the client, when it is switched on.
    pub fn look(
        configured: Configured,
        source: Option<&dyn Source>,
        catalog: &Catalog,
        recorded: &Recorded,
        now: Instant,
        policy: &StandingPolicy,
    ) -> Seen {
        let own: Vec<Health> = recorded.health.iter().filter(|hour| hour.source == configured.name).cloned().collect();
        let yesterday = now.plus_seconds(-86_400);
        let mut day = Health::default();
        own.iter().filter(|hour| hour.hour > yesterday).for_each(|hour| day.add(hour));
        let newest = own.iter().filter(|hour| hour.calls > 0 && hour.hour > yesterday).max_by_key(|hour| hour.hour);
        let datasets = catalog.datasets().iter();
        let offers: Vec<_> = datasets.filter_map(|dataset| source.and_then(|source| source.offer(dataset))).collect();
        let used_of = |api: &str| recorded.used.iter().find(|(used, _)| used == api).map_or(0, |(_, calls)| *calls);
        let limited = offers.iter().filter_map(|offer| Some((offer.api.clone(), offer.per_day?)));
        let mut quotas: Vec<Quota> =
            limited.map(|(api, per_day)| Quota { used: used_of(&api), api, per_day }).collect();
        quotas.sort_by(|a, b| (a.left(), &a.api).cmp(&(b.left(), &b.api)));
        quotas.dedup_by(|a, b| a.api == b.api);
        Seen {
            datasets: offers.len(),
            calls_today: recorded.used.iter().map(|(_, calls)| calls).sum(),
            quotas,
            per_minute: offers.iter().filter_map(|offer| offer.per_minute).min(),
            failing: newest.is_some_and(|hour| hour.failed == hour.calls),
            day,
            standing: standing(&own, now, policy),
            aside: None,
            configured,
        }
    }

    /// Why it is of no use at the moment, as far as is known without asking; `None`: it may be asked.
    pub fn closed(&self) -> Option<String> {
        if !self.configured.enabled {
            return Some("not enabled".to_string());
        }
        if self.configured.token == Token::NotSet {
            return Some("no token is set".to_string());
        }
        if let Some((until, why)) = &self.aside {
            let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            return Some(format!("left alone until {until}{why}"));
        }
        let last = self.day.last_error.as_deref().unwrap_or("its last calls failed");
        self.failing.then(|| last.to_string())
    }
}

/// The answer to a probe.
#[derive(Debug)]
pub struct Probed {
    pub name: String,
    /// What was asked; empty when nothing was.
    pub asked: &'static str,
    /// Milliseconds until the answer.
    pub latency_ms: Option<u64>,
    /// Why the door did not open.
    pub error: Option<Error>,
}

/// Asks a source whether it answers, for so long at most.
pub async fn probe(source: &dyn Source, limit: Duration) -> Probed {
    let asked = Moment::now();
    let (name, question) = (source.name().to_string(), source.probe_question());
    let answered = tokio::time::timeout(limit, source.probe()).await.unwrap_or_else(|_| {
        let message = format!("{name} did not answer within {} s", limit.as_secs());
        Err(Error::transient(message).hint("see whether its address is right and can be reached"))
    });
    let latency_ms = u64::try_from(asked.elapsed().as_millis()).ok();
    Probed { name, asked: question, latency_ms, error: answered.err() }
}

impl Engine {
    /// Every configured source as it stands, best first; asks nobody.
    pub async fn doors(&self, configured: &[Configured]) -> Result<Vec<Seen>> {
        let (now, health) = (self.clock.now(), self.store.health().await?);
        let secrets = self.store.definitions(Kind::Secret).await?;
        let mut seen = Vec::new();
        for one in with_secrets(configured.to_vec(), &secrets) {
            let used = self.store.quota_used(&one.name, now.day()).await?;
            let recorded = Recorded { used, health: health.clone() };
            let source = self.sources.iter().find(|source| source.name() == one.name);
            let source = source.map(|source| &**source);
            let mut look = Seen::look(one, source, &self.catalog, &recorded, now, &self.options.standing);
            look.aside = self.breakers.aside(&look.configured.name, now);
            seen.push(look);
        }
        seen.sort_by_key(|seen| seen.configured.rank);
        Ok(seen)
    }

    /// Probes these configured sources side by side. One that is not open is told so and not asked.
    pub async fn probe(&self, configured: &[Configured]) -> Vec<Probed> {
        let limit = Duration::from_secs(u64::from(self.options.probe_seconds));
        let one = |configured: &Configured| {
            let source = self.sources.iter().find(|source| source.name() == configured.name).cloned();
            let name = configured.name.clone();
            async move {
                match source {
                    Some(source) => probe(&*source, limit).await,
                    None => Probed { error: Some(switched_off(&name)), name, asked: "", latency_ms: None },
                }
            }
        };
        futures::future::join_all(configured.iter().map(one)).await
    }
}

fn switched_off(name: &str) -> Error {
    let message = format!("the source {name} is not enabled");
    Error::new(ErrorKind::NotFound, message).hint(format!("set sources.{name}.enabled = true"))
}
