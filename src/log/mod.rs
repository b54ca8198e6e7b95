//! The log: what the program says of itself, to the console, to daily files and, where it matters, into the store.
//!
//! Each place has its own least level; levels of single modules go over those of console and files and may change while
//! the program runs. Nothing waits for the log: what cannot be taken is counted and left out.

mod daily;
mod journal;
mod levels;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

use self::daily::Daily;
use self::journal::{JournalLayer, Slot};
use crate::feed::{Feed, Follower};
use crate::model::definition::Kind;
use crate::model::{Clock, Error, Event, EventType, Result};
use crate::store::Store;

pub use self::journal::{JournalOptions, Keeper};
pub use self::levels::{Least, Levels, SETTING};

/// Lines that may wait to be written to a file.
const LINES_WAITING_MAX: usize = 8_192;
/// Events that are looked at in one step.
const EVENTS_AT_ONCE: usize = 256;
/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Of the console.
    pub level: Least,
    /// Lines for machines.
    pub json: bool,
    pub colour: bool,
    /// Where daily files are written; `None`: nowhere.
    pub folder: Option<PathBuf>,
    pub keep_days: u32,
    /// Of what is kept in the store.
    pub store_level: Least,
}

/// The log of this process. Clones share it.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    options: LogOptions,
    levels: Mutex<Levels>,
    /// Puts levels into force.
    console: Box<dyn Fn(Targets) + Send + Sync>,
    files: Box<dyn Fn(Targets) + Send + Sync>,
    slot: Slot,
}

/// Writes what still waits for a file when it is dropped.
pub struct Flush(#[expect(dead_code, reason = "it is there to be dropped")] Option<WorkerGuard>);

/// Instants as everywhere else.
struct Beijing(Clock);

impl FormatTime for Beijing {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}

impl Log {
    /// Begins to log, for the whole process.
    pub fn start(options: LogOptions, clock: Clock) -> Result<(Log, Flush)> {
        let none = Levels::default();
        let (console_filter, console_handle) = reload::Layer::new(none.targets(options.level));
        let (file_filter, file_handle) = reload::Layer::new(none.targets(options.file_level()));
        let console = match options.json {
            true => fmt::layer().json().with_writer(std::io::stderr).boxed(),
            false => fmt::layer().with_ansi(options.colour).with_writer(std::io::stderr).boxed(),
        };
        let (files, guard) = match &options.folder {
            Some(folder) => {
                let daily = Daily::open(folder, options.keep_days, clock.clone())?;
                let lines = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING_MAX);
                let (writer, guard) = lines.thread_name("log").finish(daily);
                (Some(file_layer(writer, clock.clone())), Some(guard))
            }
            None => (None, None),
        };
        let slot = Slot::default();
        let journal = JournalLayer::new(slot.clone(), clock).with_filter(journal::targets(options.store_level));
        let subscriber = registry()
            .with(console.with_filter(console_filter))
            .with(files.map(|files| files.with_filter(file_filter)))
            .with(journal);
        subscriber.try_init().map_err(|error| Error::bug("the log cannot be set up").caused_by(error))?;
        let inner = Inner {
            options,
            levels: Mutex::default(),
            // A process that is about to end has no log to change.
            console: Box::new(move |targets| drop(console_handle.reload(targets))),
            files: Box::new(move |targets| drop(file_handle.reload(targets))),
            slot,
        };
        Ok((Log(Arc::new(inner)), Flush(guard)))
    }

    /// The level of the console, and of modules that have their own.
    pub fn levels(&self) -> (Least, Levels) {
        let levels = self.0.levels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.0.options.level, levels)
    }

    /// Puts the levels of modules into force.
    pub fn set_levels(&self, levels: Levels) {
        let mut held = self.0.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if *held == levels {
            return;
        }
        (self.0.console)(levels.targets(self.0.options.level));
        (self.0.files)(levels.targets(self.0.options.file_level()));
        *held = levels;
    }

    /// Puts levels into force as they are set in the store, by whichever process.
    pub async fn follow(self, feed: Feed, store: Arc<dyn Store>) {
        let mut follower = feed.follow(feed.head());
        loop {
            let read = self.read_levels(&*store).await;
            let changed = match read {
                Ok(()) => wait_for_change(&mut follower).await,
                Err(error) => Err(error),
            };
            if let Err(error) = changed {
                tracing::warn!(%error, "the levels of the log cannot be read; those that are in force stay");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn read_levels(&self, store: &dyn Store) -> Result<()> {
        let stored = store.definition(Kind::Setting, SETTING).await?;
        self.set_levels(stored.map_or_else(|| Ok(Levels::default()), |stored| Levels::from_json(&stored.body))?);
        Ok(())
    }

    /// From now on records that matter are handed out, to be kept in a store.
    pub fn keeper(&self) -> Keeper {
        Keeper::new(&self.0.slot)
    }
}

impl LogOptions {
    /// Files tell what people look for later.
    fn file_level(&self) -> Least {
        self.level.max(Least::INFO)
    }
}

/// Returns when levels were set.
async fn wait_for_change(follower: &mut Follower) -> Result<()> {
    let sets = |event: &Arc<Event>| {
        let kind = event.kind == EventType::DefinitionChanged && event.data["kind"] == Kind::Setting.name();
        kind && event.data["name"] == SETTING
    };
    while !follower.next(EVENTS_AT_ONCE).await?.iter().any(sets) {}
    Ok(())
}

fn file_layer<S, W>(writer: W, clock: Clock) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    fmt::layer().json().flatten_event(true).with_span_list(false).with_timer(Beijing(clock)).with_writer(writer).boxed()
}
