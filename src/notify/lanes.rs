//! The lanes of a term: one for each subscription, begun and ended as subscriptions come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use super::attempt::Carrier;
use super::index::{Index, Subscriber};
use super::lane::{Lane, News};
use super::matching::by_subscription;
use super::queue::Entry;
use super::subscribers::Subscribers;
use crate::engine::Stop;
use crate::model::Delivery;

#[derive(Default)]
struct Open {
    news: HashMap<String, (Arc<News>, Arc<Subscriber>)>,
    running: JoinSet<()>,
}

pub struct Lanes {
    carrier: Arc<Carrier>,
    subscribers: Subscribers,
    ending: Stop,
    open: Mutex<Open>,
}

impl Lanes {
    pub fn new(carrier: Arc<Carrier>, subscribers: Subscribers, ending: Stop) -> Lanes {
        Lanes { carrier, subscribers, ending, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins and ends lanes, so that there is one for each subscription. The names of those that ended come back.
    pub fn update(&self, index: &Index, secrets_of: &[String]) -> Vec<String> {
        let mut open = self.open();
        while open.running.try_join_next().is_some() {}
        for subscriber in index.all() {
            match open.news.get_mut(&subscriber.name) {
                Some((news, known)) => {
                    if known.revision != subscriber.revision || secrets_of.contains(&subscriber.name) {
                        *known = subscriber.clone();
                        news.changed(subscriber.clone());
                    }
                }
                None => {
                    let news = Arc::new(News::default());
                    let lane =
                        Lane::new(self.carrier.clone(), self.subscribers.clone(), subscriber.clone(), news.clone());
                    open.running.spawn(lane.run(self.ending.clone()));
                    open.news.insert(subscriber.name.clone(), (news, subscriber.clone()));
                }
            }
        }
        let gone: Vec<String> = open.news.keys().filter(|name| index.get(name).is_none()).cloned().collect();
        for name in &gone {
            if let Some((news, _)) = open.news.remove(name) {
                news.ends();
            }
        }
        gone
    }

    /// Tells lanes what was written down for them; `to`: the last event that was looked at.
    pub fn matched(&self, deliveries: &[Delivery], to: u64) {
        let open = self.open();
        for (subscription, deliveries) in by_subscription(deliveries) {
            if let Some((news, _)) = open.news.get(subscription) {
                news.matched(deliveries.into_iter().map(Entry::of).collect(), to);
            }
        }
    }

    /// Something about the deliveries of a subscription was changed in the store; `at_once`: a person wants it tried now.
    pub fn reread(&self, subscription: &str, at_once: bool) {
        if let Some((news, _)) = self.open().news.get(subscription) {
            news.reread(at_once);
        }
    }

    /// Waits until every lane has ended.
    pub async fn ended(&self) {
        let mut running = std::mem::take(&mut self.open().running);
        while running.join_next().await.is_some() {}
    }
}
