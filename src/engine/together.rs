//! Several datasets in one go: what plans depend on first, then the rest, a few at a time.

use std::time::Instant as Moment;

use futures::StreamExt;
use tokio::sync::watch;

use super::days::{self, DayReport};
use super::progress::{Progress, Watcher};
use super::stop::Stop;
use super::{Engine, knowledge};
use crate::model::{Error, ErrorKind, How, Result, Securities, Strategy, Task, task::Request};

/// How the sync of one dataset went.
#[derive(Debug)]
pub struct Synced {
    pub dataset: String,
    /// The task as it stands now; absent when it could not even be created.
    pub task: Option<Task>,
    pub error: Option<Error>,
    /// Day by day, where the strategy is `range`.
    pub days: Option<DayReport>,
}

impl Synced {
    pub fn failed(dataset: String, error: Error) -> Synced {
        Synced { dataset, task: None, error: Some(error), days: None }
    }

    /// How a task went, or stands now.
    pub fn of(task: Task) -> Synced {
        Synced { dataset: task.dataset.clone(), task: Some(task), error: None, days: None }
    }
}

impl Engine {
    /// Requests for what plans depend on and is not fresh: calendar, list, code changes.
    pub async fn prerequisites(&self, source: Option<&str>) -> Result<Vec<(String, Request)>> {
        let mut stale = Vec::new();
        for name in knowledge::PREREQUISITES {
            let served = self.catalog.get(name).is_ok_and(|dataset| self.offers(dataset, source).is_ok());
            let request = Request { source: source.map(str::to_string), ..Request::everything() };
            if served && !self.plan(name, &request, &[]).await?.plan.slices.is_empty() {
                stale.push((name.to_string(), request));
            }
        }
        Ok(stale)
    }

    /// The requests in the order in which they have to run, with what they depend on in front, whether that was asked
    /// for or not.
    pub async fn with_prerequisites(&self, wanted: Vec<(String, Request)>) -> Result<Vec<(String, Request)>> {
        let source = wanted.first().and_then(|(_, request)| request.source.clone());
        let (mut first, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_prerequisite);
        let of_market =
            |(name, _): &(String, Request)| self.catalog.get(name).is_ok_and(|dataset| dataset.database.is_none());
        if rest.iter().any(of_market) {
            let stale = self.prerequisites(source.as_deref()).await?;
            let asked: Vec<String> = first.iter().map(|(dataset, _)| dataset.clone()).collect();
            first.extend(stale.into_iter().filter(|(dataset, _)| !asked.contains(dataset)));
        }
        first.sort_by_key(|(dataset, _)| knowledge::PREREQUISITES.iter().position(|known| known == dataset));
        Ok(first.into_iter().chain(rest).collect())
    }

    /// Runs every request to its end. `watch` is told of each dataset before its work begins.
    pub async fn sync(
        &self,
        wanted: Vec<(String, Request)>,
        stop: &Stop,
        watch: &(dyn Fn(&str, watch::Receiver<Progress>) + Sync),
    ) -> Result<Vec<Synced>> {
        if self.store.shares_tasks() {
            return self.sync_beside(wanted, stop, watch).await;
        }
        let wanted = self.with_prerequisites(wanted).await?;
        let (first, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_prerequisite);
        let mut synced = Vec::new();
        for (dataset, request) in first {
            synced.push(self.sync_one(dataset, request, stop, watch).await);
        }
        let work = rest.into_iter().map(|(dataset, request)| self.sync_one(dataset, request, stop, watch));
        let mut working = futures::stream::iter(work).buffered(self.options.datasets_at_once);
        while let Some(one) = working.next().await {
            synced.push(one);
        }
        Ok(synced)
    }

    /// As `sync`, beside others who may want the same: in other processes, or in this one.
    pub async fn sync_beside(
        &self,
        wanted: Vec<(String, Request)>,
        stop: &Stop,
        watch: &(dyn Fn(&str, watch::Receiver<Progress>) + Sync),
    ) -> Result<Vec<Synced>> {
        let wanted = self.with_prerequisites(wanted).await?;
        let (first, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_prerequisite);
        let left = self.left_behind(&first).await?;
        let mut synced = Vec::new();
        for one in first.into_iter().chain(left) {
            synced.extend(self.sync_shared(vec![one], stop, watch).await);
        }
        synced.extend(self.sync_shared(rest, stop, watch).await);
        Ok(synced)
    }

    async fn sync_one(
        &self,
        dataset: String,
        request: Request,
        stop: &Stop,
        watch: &(dyn Fn(&str, watch::Receiver<Progress>) + Sync),
    ) -> Synced {
        if stop.asked() {
            return Synced::failed(dataset, Error::new(ErrorKind::Interrupted, "stopped before it began"));
        }
        let task = match self.submit(&dataset, request.clone()).await {
            Ok(task) => task,
            Err(error) => return Synced::failed(dataset, error),
        };
        let (watcher, receiver) = Watcher::new(&dataset, task.id);
        let watcher = watcher.remembering();
        watch(&dataset, receiver);
        let started = Moment::now();
        let mut synced = match self.run(task.id, stop, &watcher).await {
            Ok(task) => Synced::of(task),
            Err(error) => Synced { task: self.task(task.id).await.ok(), ..Synced::failed(dataset.clone(), error) },
        };
        match self.days_of_run(&dataset, &request, &watcher, started).await {
            Ok(days) => synced.days = days,
            Err(error) => synced.error = synced.error.or(Some(error)),
        }
        synced
    }

    /// The days of a range run, written down; nothing for other strategies.
    pub(super) async fn days_of_run(
        &self,
        dataset: &str,
        request: &Request,
        watcher: &Watcher,
        started: Moment,
    ) -> Result<Option<DayReport>> {
        let dataset = self.catalog.get(dataset)?.clone();
        if self.kept(&dataset, request)?.strategy != Strategy::Range {
            return Ok(None);
        }
        let span = days::span_of(request)?;
        let standing = self.standing(&dataset, span).await?;
        let millis = started.elapsed().as_millis() as u64;
        let report = days::report_of_run(&dataset, standing, span, &watcher.asked(), millis);
        self.record_range(&report).await?;
        Ok(Some(report))
    }
}

fn is_prerequisite((dataset, _): &(String, Request)) -> bool {
    knowledge::PREREQUISITES.contains(&dataset.as_str())
}

impl Request {
    /// All securities over all time, as far as it is due and not claimed.
    pub fn everything() -> Request {
        Request { securities: Securities::All, from: None, to: None, force: false, source: None, how: How::default() }
    }
}
