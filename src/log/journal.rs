//! The journal of the log: records that matter, kept in the store for a while, where every process and the API find them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant as Moment, sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};

use super::levels::Least;
use crate::model::{Change, Clock, Commit, Journal, JournalEntry, JournalWanted, Level, Result};
use crate::store::Store;

/// Modules whose records matter later.
const MODULES: [&str; 3] = ["tidegate::engine", "tidegate::scheduler", "tidegate::serve"];
/// Records that may wait to be written.
const WAITING_MAX: usize = 2_048;
/// Records of one commit.
const TOGETHER_MAX: usize = 256;
/// How long records wait for others to be written with.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait after the store refused.
const AGAIN: Duration = Duration::from_secs(5);
/// How often old records are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
const FIELDS_MAX: usize = 32;
const CHARACTERS_MAX: usize = 2_000;
const HIDDEN: &str = "(hidden)";

/// Where records go, once somebody keeps them.
#[derive(Clone, Default)]
pub struct Slot(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    keeper: RwLock<Option<mpsc::Sender<JournalEntry>>>,
    /// Records that nobody could take.
    dropped: AtomicU64,
}

/// Which records are kept.
pub fn targets(least: Least) -> Targets {
    Targets::new().with_targets(MODULES.map(|module| (module, least.filter())))
}

/// Hands records to whoever keeps them. Never waits.
pub struct JournalLayer {
    slot: Slot,
    clock: Clock,
}

impl JournalLayer {
    pub fn new(slot: Slot, clock: Clock) -> JournalLayer {
        JournalLayer { slot, clock }
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let keeper = self.slot.0.keeper.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keeper) = keeper.as_ref() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = event.metadata().target();
        let entry = JournalEntry {
            id: 0,
            at: self.clock.now(),
            journal: Journal::Log,
            level: level_of(event.metadata().level()),
            who: String::new(),
            target: target.strip_prefix("tidegate::").unwrap_or(target).to_string(),
            text: fields.text,
            task: fields.task,
            data: Value::Object(fields.data),
        };
        if keeper.try_send(entry).is_err() {
            self.slot.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn level_of(level: &tracing::Level) -> Level {
    match *level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// The fields of a record: its text, its task, and the rest.
#[derive(Default)]
struct Fields {
    text: String,
    task: Option<i64>,
    data: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if self.data.len() >= FIELDS_MAX {
            return;
        }
        let secret = ["token", "secret", "password"].iter().any(|word| name.contains(word));
        let value = if secret { HIDDEN.into() } else { value };
        match (name, &value) {
            ("message", Value::String(text)) => self.text.clone_from(text),
            ("task", Value::Number(number)) => self.task = number.as_i64(),
            _ => drop(self.data.insert(name.to_string(), value)),
        }
    }
}

fn cut(text: &str) -> Value {
    text.chars().take(CHARACTERS_MAX).collect::<String>().into()
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
}

/// For how long, and how many.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    pub days: u32,
    pub records_max: usize,
}

/// Takes the records that matter and writes them into a store.
pub struct Keeper {
    slot: Slot,
    entries: mpsc::Receiver<JournalEntry>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.slot.0.keeper.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Keeper {
    pub(super) fn new(slot: &Slot) -> Keeper {
        let (sender, entries) = mpsc::channel(WAITING_MAX);
        *slot.0.keeper.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Keeper { slot: slot.clone(), entries }
    }

    /// Keeps records until `end`, and then those that are left.
    pub async fn run(
        mut self,
        store: Arc<dyn Store>,
        clock: Clock,
        options: JournalOptions,
        end: impl Future<Output = ()>,
    ) {
        let mut end = std::pin::pin!(end);
        let mut forget_at = Moment::now();
        loop {
            if forget_at <= Moment::now() {
                forget_at = Moment::now() + FORGET_EVERY;
                if let Err(error) = forget(&*store, &clock, options).await {
                    tracing::warn!(%error, "old records of the log are not forgotten now");
                }
            }
            let mut together = Vec::new();
            let ended = tokio::select! {
                () = &mut end => true,
                () = self.gather(&mut together) => false,
                () = tokio::time::sleep_until(forget_at) => false,
            };
            if ended {
                while let Ok(entry) = self.entries.try_recv() {
                    together.push(entry);
                }
            }
            let written = self.write(&*store, &clock, together).await;
            if ended {
                return;
            }
            if let Err(error) = written {
                tracing::warn!(%error, "records of the log are not kept in the store");
                sleep(AGAIN).await;
            }
        }
    }

    /// At least one record, and what follows soon.
    async fn gather(&mut self, together: &mut Vec<JournalEntry>) {
        if self.entries.recv_many(together, TOGETHER_MAX).await == 0 {
            return std::future::pending().await;
        }
        let more = async {
            while together.len() < TOGETHER_MAX {
                let room = TOGETHER_MAX - together.len();
                self.entries.recv_many(together, room).await;
            }
        };
        // What comes later comes with the next ones.
        drop(timeout(LINGER, more).await);
    }

    async fn write(&self, store: &dyn Store, clock: &Clock, mut together: Vec<JournalEntry>) -> Result<()> {
        let dropped = self.slot.0.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            together.push(left_out(dropped, clock));
        }
        if together.is_empty() {
            return Ok(());
        }
        let count = together.len() as u64;
        let changes = together.into_iter().map(Change::Journal).collect();
        let written = store.commit(Commit { at: clock.now(), fence: None, changes }).await;
        if written.is_err() {
            self.slot.0.dropped.fetch_add(count, Ordering::Relaxed);
        }
        written.map(|_| ())
    }
}

fn left_out(count: u64, clock: &Clock) -> JournalEntry {
    JournalEntry {
        id: 0,
        at: clock.now(),
        journal: Journal::Log,
        level: Level::Warn,
        who: String::new(),
        target: "log".to_string(),
        text: format!("{count} records could not be kept"),
        task: None,
        data: json!({ "records": count }),
    }
}

/// Forgets what is older than so many days, and all but the newest so many.
async fn forget(store: &dyn Store, clock: &Clock, options: JournalOptions) -> Result<()> {
    let now = clock.now();
    let mut before = now.plus_seconds(-i64::from(options.days) * 86_400);
    let newest =
        JournalWanted { journal: Journal::Log, level: Level::Trace, task: None, text: None, before: None, limit: 1 };
    if let Some(last) = store.journal(&newest).await?.first() {
        // Numbers are shared with the other journal: what is kept is never more than allowed.
        let beyond = Some(last.id.saturating_sub(options.records_max as i64).saturating_add(1));
        let surplus = store.journal(&JournalWanted { before: beyond, ..newest }).await?;
        if let Some(surplus) = surplus.first() {
            before = before.max(surplus.at.plus_millis(1));
        }
    }
    let changes = vec![Change::ForgetJournal { journal: Journal::Log, before }];
    store.commit(Commit { at: now, fence: None, changes }).await.map(|_| ())
}
