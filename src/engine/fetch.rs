//! Fetches one slice: every facet and page through the gate, with retries, checked and judged on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Moment};

use arrow_array::{RecordBatch, new_null_array};

use super::breaker::Heard;
use super::gate::{Gate, Limits};
use super::places::{self, Sharing};
use super::progress::Watcher;
use super::retry::{Decision, RetryPolicy, Tried, decide};
use super::stop::Stop;
use crate::check::{self, Checked, Rounding};
use crate::model::{
    Clock, Dataset, Error, ErrorKind, Evidence, Instant, Quarantined, Result, RowsChange, Slice, Strategy, Totals,
};
use crate::plan::{self, Knowledge};
use crate::source::{Call, Offer, Page, Source};

/// What became of a slice.
#[derive(Debug)]
pub enum Ended {
    /// Ready to be written.
    Answered { change: Box<RowsChange>, totals: Totals },
    /// Gave up; the task goes on without it.
    Failed { slice: Slice, error: Error, attempts: u32, totals: Totals },
    /// The source is of no use for this dataset now.
    SetAside { error: Error, heard: Heard, totals: Totals },
    /// The run cannot go on, or was asked to stop.
    Aborted { error: Error, totals: Totals },
}

/// Asks one source about one dataset.
pub struct Asker {
    pub source: Arc<dyn Source>,
    pub offer: Offer,
    pub dataset: Arc<Dataset>,
    /// How the dataset is kept in this run.
    pub strategy: Strategy,
    pub knowledge: Arc<Knowledge>,
    pub gate: Arc<Gate>,
    /// The places of calls that other processes count, too.
    pub sharing: Option<Sharing>,
    pub policy: RetryPolicy,
    pub pages_max: u32,
    pub clock: Clock,
    pub stop: Stop,
    pub watcher: Watcher,
    /// Another source can be asked instead: a refusal that lasts longer than this is not waited out.
    pub throttle_wait_max: Option<Duration>,
    /// A better source exists, and is asked for the same rows after so many hours.
    pub better_after_hours: Option<i32>,
    pub wrong: WrongUnits,
    /// The cut of this source for each cut of the source that made the plan.
    pub cuts: Vec<Option<usize>>,
    /// Calls that no commit has recorded yet.
    pub calls_unrecorded: AtomicU64,
    /// The source was set aside: its workers take no further slice.
    pub dismissed: AtomicBool,
    pub random: Random,
}

/// Counts the rows of a source that break the rules of units, to tell bad rows from a lying source.
#[derive(Debug, Default)]
pub struct WrongUnits {
    /// Share of the rows from which the source is refused.
    pub share: f64,
    /// Rows that prove it, at least.
    pub rows_min: u64,
    rows: AtomicU64,
    wrong: AtomicU64,
}

impl WrongUnits {
    pub fn new(share: f64, rows_min: u64) -> WrongUnits {
        WrongUnits { share, rows_min, ..WrongUnits::default() }
    }

    /// Judges an answer by its own rows, and small ones by all small ones so far; an error when the source is wrong.
    fn count(&self, source: &str, rows: u64, wrong: u64) -> Result<()> {
        let (rows, wrong) = if rows >= self.rows_min {
            (rows, wrong)
        } else {
            let before = (self.rows.fetch_add(rows, Ordering::Relaxed), self.wrong.fetch_add(wrong, Ordering::Relaxed));
            (before.0 + rows, before.1 + wrong)
        };
        if rows < self.rows_min || wrong as f64 <= self.share * rows as f64 {
            return Ok(());
        }
        let message =
            format!("{wrong} of {rows} rows of {source} break the rules of units: its answers are not believed");
        Err(Error::invalid(message).hint("`tidegate compare` shows by which factor; see docs/guide/sources.md"))
    }
}

/// Jitter: a counter through a mixing function, seeded once.
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    pub fn seeded(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    /// Uniform in 0..1 (splitmix64).
    pub fn next(&self) -> f64 {
        let mut mixed = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}

/// The pages of one slice.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) batches: Vec<RecordBatch>,
    unreadable: Vec<Quarantined>,
}

/// Why a slice has no answer.
pub(super) struct GaveUp {
    decision: Decision,
    pub(super) error: Error,
    attempts: u32,
}

impl Asker {
    pub async fn fetch(&self, slice: Slice) -> Ended {
        let mut totals = Totals::default();
        let own_cut = self.cuts.get(slice.cut).copied().flatten().unwrap_or(slice.cut);
        let asked = Slice { cut: own_cut, ..slice.clone() };
        let pages = match self.all_pages(&asked, &mut totals).await {
            Ok(pages) => pages,
            Err(gave_up) => return gave_up.ended(slice, totals),
        };
        match self.ready(&slice, pages, &mut totals) {
            Ok(change) => Ended::Answered { change: Box::new(change), totals },
            Err(Unready::Wrong(error)) => {
                totals.calls_failed += 1;
                Ended::SetAside { error, heard: Heard::Wrong, totals: without_rows(totals) }
            }
            Err(Unready::Failed(error)) => GaveUp { decision: Decision::Fail, error, attempts: 1 }.ended(slice, totals),
        }
    }

    pub(super) async fn all_pages(&self, slice: &Slice, totals: &mut Totals) -> Result<Pages, GaveUp> {
        let mut pages = Pages::default();
        let mut pages_left = self.pages_max;
        for facet in 0..self.offer.calls_per_slice {
            let mut offset = 0;
            loop {
                pages_left = pages_left.checked_sub(1).ok_or_else(|| self.too_long(slice))?;
                let call = Call { dataset: self.dataset.clone(), slice: slice.clone(), facet, offset };
                let page = self.ask(&call, totals).await?;
                let rows = (page.batch.num_rows() + page.unreadable.len()) as u64;
                offset += rows;
                pages.batches.push(page.batch);
                pages.unreadable.extend(page.unreadable);
                if !page.more || rows == 0 {
                    break;
                }
                if self.offer.offset_max.is_some_and(|offset_max| offset > offset_max) {
                    return Err(self.too_long(slice));
                }
            }
        }
        Ok(pages)
    }

    fn too_long(&self, slice: &Slice) -> GaveUp {
        let message = format!("{slice}: the answer has more pages than one question may have");
        let error = Error::invalid(message).hint("ask for a shorter span, or raise sync.pages_max");
        GaveUp { decision: Decision::Fail, error, attempts: 1 }
    }

    /// One page, retried as its errors allow.
    async fn ask(&self, call: &Call, totals: &mut Totals) -> Result<Page, GaveUp> {
        let mut tried = Tried::default();
        loop {
            let error = match self.ask_once(call, totals).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            self.count_error(&error, &mut tried, totals);
            let decision = decide(error.kind(), tried, &self.policy, self.random.next());
            let goes_on = match decision {
                Decision::Again { after_ms } => {
                    self.watcher.tell(|progress| progress.note = Some(format!("trying again: {error}")));
                    self.stop.sleep(Duration::from_millis(after_ms)).await
                }
                Decision::AgainAt { at } if self.throttle_wait_max.is_some_and(|most| self.until(at) > most) => {
                    return Err(GaveUp { decision: Decision::SetAside, error, attempts: tried.attempts.max(1) });
                }
                Decision::AgainAt { at } => {
                    self.watcher.tell(|progress| progress.note = Some(format!("waiting: {error}")));
                    self.gate.close_for(self.until(at));
                    true
                }
                Decision::Fail | Decision::SetAside | Decision::Abort => false,
            };
            if !goes_on {
                return Err(GaveUp { decision, error, attempts: tried.attempts.max(1) });
            }
        }
    }

    async fn ask_once(&self, call: &Call, totals: &mut Totals) -> Result<Page> {
        let permit = tokio::select! {
            permit = places::pass(&self.gate, self.sharing.as_ref(), self.clock.now()) => permit?,
            () = self.stop.wait() => return Err(interrupted()),
        };
        totals.quota_wait_ms += permit.waited.as_millis() as u64;
        totals.calls += 1;
        self.calls_unrecorded.fetch_add(u64::from(!permit.counted), Ordering::Relaxed);
        let asked = Moment::now();
        let page = tokio::select! {
            page = self.call(call) => page,
            () = self.stop.wait() => return Err(interrupted()),
        };
        drop(permit);
        match &page {
            Ok(page) => {
                totals.rows_answered += (page.batch.num_rows() + page.unreadable.len()) as u64;
                totals.bytes += page.bytes;
                totals.network_ms += page.network.as_millis() as u64;
                totals.decode_ms += page.decode.as_millis() as u64;
            }
            Err(_) => totals.network_ms += asked.elapsed().as_millis() as u64,
        }
        page
    }

    async fn call(&self, call: &Call) -> Result<Page> {
        match &self.sharing {
            Some(sharing) => sharing.in_time(self.source.fetch(call)).await,
            None => self.source.fetch(call).await,
        }
    }

    fn count_error(&self, error: &Error, tried: &mut Tried, totals: &mut Totals) {
        if let ErrorKind::Throttled { .. } = error.kind() {
            tried.throttles += 1;
            totals.refusals += 1;
        } else if error.kind() != ErrorKind::Interrupted {
            tried.attempts += 1;
            totals.calls_failed += 1;
        }
        if let Some(learned) = error.learned_limit() {
            self.gate.learn(Limits { per_minute: learned.per_minute, per_day: learned.per_day.map(u64::from) });
        }
    }

    fn until(&self, at: Instant) -> Duration {
        Duration::from_millis(at.millis_since(self.clock.now()).max(0) as u64)
    }

    /// Checks the rows and says what the ledger shall claim.
    fn ready(&self, slice: &Slice, pages: Pages, totals: &mut Totals) -> Result<RowsChange, Unready> {
        let started = Moment::now();
        let batch = arrow_select::concat::concat_batches(&self.dataset.schema(), &pages.batches)
            .map_err(|error| Error::bug(format!("{slice}: joining pages failed")).caused_by(error))
            .map_err(Unready::Failed)?;
        let batch = without(&self.dataset, batch, &self.offer.lacks).map_err(Unready::Failed)?;
        let (rows, rounding) = (batch.num_rows() as u64, Rounding::of(&self.dataset, self.source.name()));
        let Checked { batch, duplicates, quarantined, warnings } =
            check::check_rounded(&self.dataset, &slice.area, rounding, batch);
        let wrong = quarantined.iter().filter(|row| check::proves_units(&row.rule)).count() as u64;
        self.wrong.count(self.source.name(), rows, wrong).map_err(Unready::Wrong)?;
        for warning in warnings {
            tracing::warn!(slice = %slice, warning, "rows deserve a look");
        }
        let now = self.clock.now();
        let mut claim = plan::judge(&self.dataset, &self.knowledge, &slice.area, batch.num_rows() as u64, now);
        if let Some(hours) = self.better_after_hours {
            let better_at = now.plus_seconds(i64::from(hours) * 3_600);
            claim.stale_at = Some(claim.stale_at.map_or(better_at, |stale_at| stale_at.min(better_at)));
        }
        totals.rows_duplicate += duplicates;
        totals.slices_partial += u64::from(claim.evidence == Evidence::Partial);
        totals.check_ms += started.elapsed().as_millis() as u64;
        Ok(RowsChange {
            dataset: self.dataset.clone(),
            area: slice.area.clone(),
            batch,
            lacks: self.dataset.positions(&self.offer.lacks),
            lacks_exchanges: self.offer.lacks_exchanges.clone(),
            write: self.dataset.write_by(self.strategy),
            source: self.source.name().into(),
            rank: self.source.rank(),
            fetched_at: now,
            claim: Some(claim),
            quarantined: pages.unreadable.into_iter().chain(quarantined).collect(),
        })
    }
}

/// The batch with nothing in the columns that a source lacks: sources read what is not proven equal too.
fn without(dataset: &Dataset, batch: RecordBatch, lacks: &[String]) -> Result<RecordBatch> {
    let positions = dataset.positions(lacks);
    if positions.is_empty() {
        return Ok(batch);
    }
    let (schema, mut columns, rows) = batch.into_parts();
    for position in positions.into_iter().filter(|position| schema.field(*position).is_nullable()) {
        columns[position] = new_null_array(schema.field(position).data_type(), rows);
    }
    RecordBatch::try_new(schema, columns).map_err(|error| Error::bug("emptying columns failed").caused_by(error))
}

/// Why the rows of a slice are not written.
enum Unready {
    Failed(Error),
    /// The units are wrong throughout.
    Wrong(Error),
}

/// Rows of an answer that is not used do not count as answered.
fn without_rows(totals: Totals) -> Totals {
    Totals { rows_answered: 0, ..totals }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped").hint("run the same command again to go on")
}

impl GaveUp {
    fn ended(self, slice: Slice, totals: Totals) -> Ended {
        let totals = without_rows(totals);
        match self.decision {
            Decision::SetAside => {
                Ended::SetAside { heard: Heard::Refused(self.error.kind()), error: self.error, totals }
            }
            Decision::Abort => Ended::Aborted { error: self.error, totals },
            Decision::Fail => Ended::Failed { slice, error: self.error, attempts: self.attempts, totals },
            // A wait that was cut short: stopping was asked for.
            Decision::Again { .. } | Decision::AgainAt { .. } => Ended::Aborted { error: interrupted(), totals },
        }
    }
}
