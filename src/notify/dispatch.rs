//! The dispatcher: takes the duty, matches what comes with subscriptions, and keeps their lanes; gives the duty back when it
//! is asked to stop, after what is under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::DispatchOptions;
use super::attempt::Carrier;
use super::client::Client;
use super::content::Contents;
use super::index::Index;
use super::lanes::Lanes;
use super::matching::Matcher;
use super::record::Book;
use super::replay::Replays;
use super::subscribers::{Subscribers, changes_subscriptions};
use super::term::{DUTY, Term};
use super::watch::Watch;
use crate::engine::Stop;
use crate::feed::{Feed, Follower};
use crate::model::definition::Kind;
use crate::model::{Change, Clock, Decision, ErrorKind, Event, EventType, FiguresSince, Result};
use crate::store::{Store, death};

/// How often the duty is asked for while another process has it.
const DUTY_EVERY: Duration = Duration::from_millis(500);
/// After an error.
const AGAIN: Duration = Duration::from_secs(1);
/// Events that nobody wants are passed in such steps, or after such a time.
const PASSED_MAX: u64 = 10_000;
const PASSED_EVERY: Duration = Duration::from_secs(5);

/// Carries events to the receivers of subscriptions. Clones share everything.
#[derive(Clone)]
pub struct Dispatcher {
    pub store: Arc<dyn Store>,
    pub feed: Feed,
    pub client: Client,
    pub clock: Clock,
    pub options: Arc<DispatchOptions>,
}

impl Dispatcher {
    /// Carries events until stopping is asked for; what is under way then is finished and written down. While another
    /// process does it, this one waits.
    pub async fn serve(&self, stop: &Stop) -> Result<()> {
        let mut told = false;
        while !stop.asked() {
            if !self.is_wanted(stop).await {
                return Ok(());
            }
            let worker = &self.options.worker;
            match Term::take(self.store.clone(), self.clock.clone(), worker, self.options.lease).await {
                Ok(term) => {
                    told = false;
                    if let Err(error) = self.serve_term(term, stop).await {
                        tracing::warn!(%error, "carrying events begins anew");
                        stop.sleep(AGAIN).await;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(%error, "another process carries events");
                    }
                    stop.sleep(DUTY_EVERY.min(self.options.lease / 2)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the duty of carrying events cannot be taken; trying again");
                    stop.sleep(AGAIN).await;
                }
            }
        }
        Ok(())
    }

    /// Waits for the first subscription: without any, nothing is written. Whether there is one.
    async fn is_wanted(&self, stop: &Stop) -> bool {
        loop {
            let seen = self.feed.head();
            match self.store.definitions(Kind::Subscription).await {
                Ok(found) if !found.is_empty() => return true,
                Ok(_) => {
                    let mut events = self.feed.follow(seen);
                    let changed = async {
                        while let Ok(events) = events.next(self.options.match_events).await {
                            if events.iter().any(|event| changes_subscriptions(event)) {
                                return;
                            }
                        }
                        tokio::time::sleep(AGAIN).await;
                    };
                    tokio::select! {
                        () = changed => {}
                        () = stop.wait() => return false,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the subscriptions cannot be read; trying again");
                    if !stop.sleep(AGAIN).await {
                        return false;
                    }
                }
            }
        }
    }

    async fn serve_term(&self, term: Term, stop: &Stop) -> Result<()> {
        tracing::info!("this process carries events");
        let subscribers = Subscribers::read(self.store.clone()).await?;
        let (book, writing) = Book::open(term.clone(), self.options.commit_attempts);
        let mut background = JoinSet::new();
        background.spawn(writing);
        let keeping = term.clone();
        background.spawn(async move { keeping.keep().await });
        let carrier = Arc::new(Carrier {
            store: self.store.clone(),
            clock: self.clock.clone(),
            contents: Contents::new(self.store.clone(), self.feed.clone(), self.options.content_bytes),
            client: self.client.clone(),
            term: term.clone(),
            book,
            slots: Arc::new(Semaphore::new(self.options.requests.max(1))),
            options: self.options.clone(),
        });
        let ending = Stop::default();
        let lanes = Arc::new(Lanes::new(carrier.clone(), subscribers.clone(), ending.clone()));
        let work = self.work(&carrier, &subscribers, &lanes, &ending);
        let asked = async {
            stop.wait().await;
            ending.ask();
            // The end of the work comes by itself; what takes longer than this is broken off and goes out again.
            tokio::time::sleep(self.options.drain).await;
        };
        let worked = tokio::select! {
            worked = work => worked,
            () = term.lost().wait() => Ok(()),
            () = asked => Ok(()),
        };
        ending.ask();
        // What is still under way is broken off before anybody else begins.
        drop((lanes, carrier));
        background.shutdown().await;
        term.leave().await;
        worked
    }

    /// Matching, lanes, replays and the watch, until the end is asked for.
    async fn work(
        &self,
        carrier: &Arc<Carrier>,
        subscribers: &Subscribers,
        lanes: &Arc<Lanes>,
        ending: &Stop,
    ) -> Result<()> {
        let replays = Replays::new(carrier.clone(), subscribers.clone(), lanes.clone(), self.feed.clone());
        let watch = Watch::new(carrier.clone());
        let (followed, (), ()) = tokio::join!(
            async {
                let followed = self.follow(carrier, subscribers, lanes, ending).await;
                ending.ask();
                followed
            },
            replays.run(ending),
            watch.run(ending),
        );
        lanes.ended().await;
        followed
    }

    async fn follow(
        &self,
        carrier: &Arc<Carrier>,
        subscribers: &Subscribers,
        lanes: &Lanes,
        ending: &Stop,
    ) -> Result<()> {
        let mut cursor = self.store.cursor(DUTY).await?;
        let mut index = subscribers.index();
        let first = index.all().map(|subscriber| subscriber.subscription.after.unwrap_or(0)).min().unwrap_or(0);
        if cursor < first {
            // What came before the first subscription is for nobody.
            let first = first.min(self.feed.head());
            carrier.term.commit(vec![advance(cursor, first.max(cursor))]).await?;
            cursor = first.max(cursor);
        }
        self.begin(carrier, &index, cursor).await?;
        self.forget_gone(carrier, &index).await?;
        lanes.update(&index, &[]);
        let mut events = self.feed.follow(cursor);
        let mut seen = cursor;
        loop {
            let Some(taken) = next(&mut events, self.options.match_events, ending).await? else {
                if seen > cursor {
                    carrier.term.commit(vec![advance(cursor, seen)]).await?;
                    cursor = seen;
                }
                match ending.asked() {
                    true => return Ok(()),
                    false => continue,
                }
            };
            if taken.iter().any(|event| changes_subscriptions(event)) {
                index = subscribers.refresh().await?;
                self.begin(carrier, &index, seen).await?;
                self.changed(carrier, lanes, &index, &taken).await?;
            }
            let matcher = Matcher { store: &*self.store, contents: &carrier.contents, clock: &self.clock };
            let deliveries = matcher.deliveries(&index, &taken).await?;
            seen = taken.last().map_or(seen, |event| event.id);
            if !deliveries.is_empty() || seen - cursor >= PASSED_MAX {
                carrier.term.commit(vec![advance(cursor, seen), Change::Deliver(deliveries.clone())]).await?;
                cursor = seen;
                death::point();
                lanes.matched(&deliveries, seen);
            }
            for event in taken.iter().filter(|event| event.kind == EventType::DeliveryDecided) {
                let subscription = event.data["subscription"].as_str().unwrap_or_default();
                lanes.reread(subscription, event.data["decision"] == Decision::Retry.name());
            }
        }
    }

    /// What waits for subscriptions that were removed while nobody carried events.
    async fn forget_gone(&self, carrier: &Carrier, index: &Index) -> Result<()> {
        let now = self.clock.now();
        let known = self.store.delivery_figures(FiguresSince { success: now, delay: now, failures: now }).await?;
        let gone = known.into_iter().map(|figures| figures.subscription).filter(|name| index.get(name).is_none());
        let changes: Vec<_> = gone.map(|subscription| Change::ForgetDeliveries { subscription }).collect();
        if !changes.is_empty() {
            carrier.term.commit(changes).await?;
        }
        Ok(())
    }

    async fn changed(&self, carrier: &Carrier, lanes: &Lanes, index: &Index, taken: &[Arc<Event>]) -> Result<()> {
        let secrets = taken.iter().filter(|event| changes_subscriptions(event));
        let secrets = secrets.filter_map(|event| event.data["name"].as_str()?.strip_prefix("subscription:"));
        let secrets: BTreeSet<String> = secrets.map(str::to_owned).collect();
        let gone = lanes.update(index, &secrets.into_iter().collect::<Vec<_>>());
        let forget = |subscription| Change::ForgetDeliveries { subscription };
        if !gone.is_empty() {
            carrier.term.commit(gone.into_iter().map(forget).collect()).await?;
        }
        Ok(())
    }

    /// Subscriptions that are seen for the first time, and begin before the cursor, are brought up to it by a replay of their
    /// own: `cursor` is the last event that was matched.
    async fn begin(&self, carrier: &Carrier, index: &Index, cursor: u64) -> Result<()> {
        for subscriber in index.all() {
            let after = subscriber.subscription.after.unwrap_or(0);
            let mark = format!("{DUTY}:{}:{after}", subscriber.name);
            if self.store.cursor(&mark).await? > 0 {
                continue;
            }
            let mut changes = vec![Change::Advance { cursor: mark, from: 0, to: cursor.max(1) }];
            if after < cursor && subscriber.subscription.after.is_some() {
                changes.extend(super::replay::beginning(&*self.store, subscriber, cursor, self.clock.now()).await?);
            }
            carrier.term.commit(changes).await?;
        }
        Ok(())
    }
}

fn advance(from: u64, to: u64) -> Change {
    Change::Advance { cursor: DUTY.to_owned(), from, to }
}

/// The next events; `None`: none came for a while, or the end is asked for.
async fn next(events: &mut Follower, limit: usize, ending: &Stop) -> Result<Option<Vec<Arc<Event>>>> {
    tokio::select! {
        taken = events.next(limit) => taken.map(Some),
        () = ending.wait() => Ok(None),
        () = tokio::time::sleep(PASSED_EVERY) => Ok(None),
    }
}
