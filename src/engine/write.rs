//! The writer: gathers fetched slices and commits them in groups, one transaction each. While a group is being written
//! the next one gathers, so that sources and disk work at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::Engine;
use super::breaker::{Door, Heard};
use super::fetch::{Asker, Ended};
use super::rounds::Doubt;
use super::run::{Earlier, Queue, Work};
use crate::check;
use crate::model::dataset::Shape;
use crate::model::{
    Area, Change, Commit, Error, EventType, Evidence, Failure, Fence, Health, Result, RowsChange, Securities, Served,
    Slice, Totals,
};

/// How the work on a queue of slices ended.
#[derive(Debug)]
pub enum WorkEnd {
    /// Every slice was answered or failed.
    Done,
    /// Slices are left: a better source may have recovered, or one of several was set aside.
    Again,
    /// The source was set aside for this reason; slices are left.
    SetAside(Error),
    /// Stopped, or unable to go on; slices are left.
    Aborted(Error),
}

/// What a round led to.
#[derive(Debug)]
pub struct RoundEnd {
    pub end: WorkEnd,
    /// Slices that were given up.
    pub failed: u64,
    pub doubts: Vec<Doubt>,
    /// Sources that were set aside, with the reason.
    pub dismissed: Vec<String>,
    /// Slices of the plan that this round was not to work through.
    pub slices_left: usize,
    /// At least one slice was answered.
    pub answered: bool,
}

impl RoundEnd {
    pub fn nothing() -> RoundEnd {
        RoundEnd {
            end: WorkEnd::Done,
            failed: 0,
            doubts: Vec::new(),
            dismissed: Vec::new(),
            slices_left: 0,
            answered: false,
        }
    }

    /// Nothing of the plan is left for anybody else.
    pub fn is_whole(&self) -> bool {
        self.failed == 0 && self.doubts.is_empty() && self.slices_left == 0
    }
}

/// Changes that wait to be committed together.
#[derive(Default)]
struct Group {
    rows: Vec<RowsChange>,
    failures: Vec<Failure>,
    row_count: usize,
    totals: Totals,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.failures.is_empty()
    }
}

/// Receives what workers finished and commits it.
pub struct Writer<'a> {
    pub engine: &'a Engine,
    pub askers: Vec<Arc<Asker>>,
    pub queue: Arc<Queue>,
    pub fence: Fence,
    pub earlier: Earlier,
    /// The totals of the task so far, as the store has them.
    pub totals: Totals,
    group: Group,
    round: RoundEnd,
    /// Areas of which rows were refused for their units, by asker.
    suspect: Vec<(usize, Area)>,
    /// The last error of each source, until it is recorded.
    last_errors: BTreeMap<String, String>,
    /// Sources that were set aside: name, error kind, words.
    set_aside: Vec<(String, &'static str, String)>,
    writing: Option<JoinHandle<Result<Totals>>>,
    end: Option<WorkEnd>,
    /// Everything is held back, up to so many rows, and written in one commit once all of it is there.
    at_once: Option<u64>,
}

impl<'a> Writer<'a> {
    pub fn new(engine: &'a Engine, work: Work, fence: Fence, earlier: Earlier, totals: Totals) -> Writer<'a> {
        let Work { askers, queue } = work;
        Writer {
            engine,
            askers,
            queue,
            fence,
            earlier,
            totals,
            group: Group::default(),
            round: RoundEnd::nothing(),
            suspect: Vec::new(),
            last_errors: BTreeMap::new(),
            set_aside: Vec::new(),
            writing: None,
            end: None,
            at_once: None,
        }
    }

    pub fn at_once(self, rows_max: Option<u64>) -> Writer<'a> {
        Writer { at_once: rows_max, ..self }
    }

    /// Commits until every worker is gone, and says how the work ended and what the task's totals are now.
    pub async fn run(mut self, mut finished: Receiver<(usize, Ended)>) -> (RoundEnd, Totals) {
        if let Some(rows_max) = self.at_once {
            self.hold_back(&mut finished, rows_max).await;
            return self.ended();
        }
        while let Some((asker, ended)) = finished.recv().await {
            self.take(asker, ended);
            let full_at = tokio::time::Instant::now() + Duration::from_millis(self.engine.options.commit_linger_ms);
            while !self.is_full() {
                match timeout_at(full_at, finished.recv()).await {
                    Ok(Some((asker, ended))) => self.take(asker, ended),
                    Ok(None) | Err(_) => break,
                }
            }
            self.write_group().await;
        }
        self.wait_for_writing().await;
        self.record_rest().await;
        self.ended()
    }

    fn ended(self) -> (RoundEnd, Totals) {
        let left = !self.queue.is_empty() || !self.set_aside.is_empty();
        let end = self.end.unwrap_or(if left { WorkEnd::Again } else { WorkEnd::Done });
        (RoundEnd { end, ..self.round }, self.totals)
    }

    /// Gathers every slice before anything is written. One that failed leaves the table as it was.
    async fn hold_back(&mut self, finished: &mut Receiver<(usize, Ended)>, rows_max: u64) {
        while let Some((asker, ended)) = finished.recv().await {
            self.take(asker, ended);
            if self.group.row_count as u64 > rows_max {
                let message = format!("more than {rows_max} rows cannot be replaced in one step");
                let hint = "keep the table by another strategy, or raise sync.replace_rows_max";
                self.stop_work(WorkEnd::Aborted(Error::invalid(message).hint(hint)));
                self.group.rows.clear();
            }
        }
        if self.end.is_some() || !self.group.failures.is_empty() {
            self.group.totals.slices_done = 0;
            self.group.totals.by_source.values_mut().for_each(|served| (served.slices, served.rows) = (0, 0));
            self.group.rows.clear();
        }
        self.write_group().await;
        self.wait_for_writing().await;
        self.record_rest().await;
    }

    fn is_full(&self) -> bool {
        let options = &self.engine.options;
        self.group.rows.len() >= options.commit_slices || self.group.row_count >= options.commit_rows
    }

    fn take(&mut self, asker: usize, ended: Ended) {
        match ended {
            Ended::Answered { change, totals } => self.take_answer(asker, *change, totals),
            Ended::Failed { slice, error, attempts, totals } => {
                self.askers[asker].watcher.ended(&slice.area, true, &totals);
                self.count_totals(asker, totals, Served::default(), Some(&error));
                self.group.totals.slices_failed += 1;
                self.round.failed += 1;
                self.group.failures.push(self.failure(asker, &slice, &error, attempts));
                if let Door::AsideUntil(_) = self.hear(asker, Heard::SliceFailed, false) {
                    let message = format!("slices failed one after the other, the last: {error}");
                    let remedy =
                        error.hint_text().unwrap_or("see whether the source can be reached: `tidegate sources`");
                    let hint = remedy.to_string();
                    self.dismiss(asker, Error::new(error.kind(), message).hint(hint).caused_by(error));
                }
            }
            // The refusal taught the source what it has not got: it is asked in another way.
            Ended::SetAside { error, totals, .. } if !error.whole_source() && self.offers_otherwise(asker) => {
                self.count_totals(asker, totals, Served::default(), Some(&error));
                self.stop_work(WorkEnd::Again);
            }
            Ended::SetAside { error, heard, totals } => {
                let wrong = u64::from(heard == Heard::Wrong);
                self.count_totals(asker, totals, Served { wrong, ..Served::default() }, Some(&error));
                self.hear(asker, heard, error.whole_source());
                if heard == Heard::Wrong {
                    self.doubt_suspects(asker);
                }
                self.dismiss(asker, error);
            }
            Ended::Aborted { error, totals } => {
                self.count_totals(asker, totals, Served::default(), None);
                self.stop_work(WorkEnd::Aborted(error));
            }
        }
    }

    /// Whether the source offers something else now than when the round was planned.
    fn offers_otherwise(&self, asker: usize) -> bool {
        let asker = &self.askers[asker];
        asker.source.offer(&asker.dataset).is_some_and(|now| now != asker.offer)
    }

    fn take_answer(&mut self, asker: usize, change: RowsChange, totals: Totals) {
        let rows = change.batch.num_rows() as u64;
        self.askers[asker].watcher.ended(&change.area, false, &totals);
        self.count_totals(asker, totals, Served { slices: 1, rows, ..Served::default() }, None);
        self.hear(asker, Heard::Answered, false);
        if let Some(thin) = self.thin(asker, &change) {
            self.round.doubts.push(thin);
        }
        if change.quarantined.iter().any(|row| check::proves_units(&row.rule)) {
            self.suspect.push((asker, change.area.clone()));
        }
        self.round.answered = true;
        self.group.totals.slices_done += 1;
        self.group.row_count += change.batch.num_rows();
        self.group.rows.push(change);
    }

    /// An answer with far fewer rows than expected, which another source may give in full.
    fn thin(&self, asker: usize, change: &RowsChange) -> Option<Doubt> {
        let claim = change.claim?;
        let day = change.area.securities == Securities::All && change.area.span.from == change.area.span.to;
        let dense_day = day && change.dataset.shape == Shape::Dense;
        let unpublished = claim.evidence == Evidence::Empty && claim.stale_at.is_some() && dense_day;
        let thin = claim.evidence == Evidence::Partial;
        let source = self.askers[asker].source.name().to_string();
        (thin || unpublished).then(|| Doubt { area: change.area.clone(), source, thin })
    }

    /// What a source answered before its units were known to be wrong is asked of the next one.
    fn doubt_suspects(&mut self, asker: usize) {
        let source = self.askers[asker].source.name();
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.suspect).into_iter().partition(|(suspect, _)| *suspect == asker);
        let doubt = |(_, area)| Doubt { area, source: source.to_string(), thin: false };
        self.round.doubts.extend(own.into_iter().map(doubt));
        self.suspect = others;
    }

    fn count_totals(&mut self, asker: usize, mut totals: Totals, served: Served, error: Option<&Error>) {
        let name = self.askers[asker].source.name().to_string();
        if let Some(error) = error {
            self.last_errors.insert(name.clone(), error.to_string());
        }
        let calls_failed = totals.calls_failed + totals.refusals;
        let served = Served { calls: totals.calls, calls_failed, network_ms: totals.network_ms, ..served };
        totals.by_source.insert(name, served);
        self.group.totals.add(&totals);
    }

    fn hear(&self, asker: usize, heard: Heard, whole: bool) -> Door {
        let asker = &self.askers[asker];
        let (now, policy) = (self.engine.clock.now(), &self.engine.options.breaker);
        self.engine.breakers.hear(asker.source.name(), &asker.dataset.name, heard, whole, now, policy)
    }

    /// A source that is set aside is not asked for thousands of slices one by one; its partners go on.
    fn dismiss(&mut self, asker: usize, error: Error) {
        if self.askers[asker].dismissed.swap(true, Ordering::Relaxed) {
            return;
        }
        let name = self.askers[asker].source.name().to_string();
        self.engine.breakers.explain(&name, error.to_string());
        self.round.dismissed.push(format!("{name} set aside: {error}"));
        self.set_aside.push((name, error.kind().name(), error.to_string()));
        if self.askers.iter().all(|asker| asker.dismissed.load(Ordering::Relaxed)) {
            self.stop_work(WorkEnd::SetAside(error));
        }
    }

    /// The first reason counts; workers see the end and take no further slice.
    fn stop_work(&mut self, end: WorkEnd) {
        self.queue.clear();
        self.end.get_or_insert(end);
    }

    fn failure(&self, asker: usize, slice: &Slice, error: &Error, attempts: u32) -> Failure {
        let now = self.engine.clock.now();
        let earlier = self.earlier.get(&slice.area);
        Failure {
            id: 0,
            dataset: slice.dataset.to_string(),
            area: slice.area.clone(),
            source: self.askers[asker].source.name().to_string(),
            task: self.fence.task,
            kind: error.kind().name().to_string(),
            message: error.to_string(),
            attempts: attempts + earlier.map_or(0, |failure| failure.attempts),
            attempts_max: self.engine.options.failure_attempts_max,
            next_attempt_at: now.plus_seconds(i64::from(self.engine.options.failure_retry_minutes) * 60),
            first_at: earlier.map_or(now, |failure| failure.first_at),
            last_at: now,
            resolved_at: None,
            resolution: None,
        }
    }

    /// Starts committing the group after the one before is durable.
    async fn write_group(&mut self) {
        self.wait_for_writing().await;
        if self.group.is_empty() || matches!(self.end, Some(WorkEnd::Aborted(ref error)) if !is_stop(error)) {
            return;
        }
        let group = std::mem::take(&mut self.group);
        let mut totals = group.totals.clone();
        let sources: Vec<Arc<str>> = group.rows.iter().map(|rows| rows.source.clone()).collect();
        let commit = self.commit_of(group);
        let store = self.engine.store.clone();
        self.writing = Some(tokio::spawn(async move {
            let started = Moment::now();
            let receipt = store.commit(commit).await?;
            totals.write_ms = started.elapsed().as_millis() as u64;
            for (source, counts) in sources.iter().zip(receipt.rows) {
                totals.add(&Totals::of_rows(source, counts));
            }
            Ok(totals)
        }));
    }

    fn commit_of(&mut self, group: Group) -> Commit {
        let mut changes: Vec<Change> = group.rows.into_iter().map(Change::Rows).collect();
        changes.extend(group.failures.into_iter().map(Change::Failure));
        changes.extend(self.calls_made(&group.totals));
        changes.push(Change::Progress(group.totals));
        Commit { at: self.engine.clock.now(), fence: Some(self.fence), changes }
    }

    /// Quota used, and how each source behaved.
    fn calls_made(&mut self, totals: &Totals) -> Vec<Change> {
        let now = self.engine.clock.now();
        let mut changes = Vec::new();
        for asker in &self.askers {
            let calls = asker.calls_unrecorded.swap(0, Ordering::Relaxed);
            let (source, api) = (asker.source.name().to_string(), asker.offer.api.clone());
            changes.extend((calls > 0).then(|| Change::QuotaUsed { source, api, day: now.day(), calls }));
        }
        for (source, served) in totals.by_source.iter().filter(|(_, served)| served.calls > 0) {
            let last_error = self.last_errors.remove(source);
            changes.push(Change::SourceHealth(Health {
                source: source.clone(),
                hour: Health::hour_of(now),
                calls: served.calls,
                failed: served.calls_failed,
                wrong: served.wrong,
                network_ms: served.network_ms,
                last_error_at: last_error.is_some().then_some(now),
                last_error,
            }));
        }
        changes
    }

    async fn wait_for_writing(&mut self) {
        let Some(writing) = self.writing.take() else { return };
        match writing.await {
            Ok(Ok(totals)) => self.count(&totals),
            Ok(Err(error)) => self.stop_work(WorkEnd::Aborted(error)),
            Err(error) => self.stop_work(WorkEnd::Aborted(Error::bug("writing ended early").caused_by(error))),
        }
    }

    fn count(&mut self, totals: &Totals) {
        self.totals.add(totals);
        let (_, quota_left) = self.askers[0].gate.usage();
        let totals = self.totals.clone();
        self.askers[0].watcher.tell(|progress| {
            progress.totals = totals;
            progress.quota_left = quota_left;
        });
    }

    /// Calls that led to no rows, and a source that was set aside, are recorded too.
    async fn record_rest(&mut self) {
        let mut changes = Vec::new();
        for (source, kind, message) in &self.set_aside {
            let data = serde_json::json!({ "source": source, "kind": kind, "message": message });
            let dataset = Some(self.askers[0].dataset.name.clone());
            changes.push(Change::Event { kind: EventType::SourceSetAside, dataset, data });
        }
        let totals = std::mem::take(&mut self.group).totals;
        changes.extend(self.calls_made(&totals));
        if totals != Totals::default() {
            changes.push(Change::Progress(totals.clone()));
        }
        if changes.is_empty() {
            return;
        }
        let commit = Commit { at: self.engine.clock.now(), fence: Some(self.fence), changes };
        match self.engine.store.commit(commit).await {
            Ok(_) => self.count(&totals),
            Err(error) => self.stop_work(WorkEnd::Aborted(error)),
        }
    }
}

/// Whether the work ended because somebody asked for it.
pub fn is_stop(error: &Error) -> bool {
    error.kind() == crate::model::ErrorKind::Interrupted
}
