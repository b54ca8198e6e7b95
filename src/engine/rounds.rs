//! Failover: a task works in rounds, one source each (or several at once). What a round leaves unclaimed is planned from
//! the ledger with the next source; a source that has recovered is probed and takes the rest over again.

use std::sync::Arc;

use super::breaker::Door;
use super::progress::{Phase, Watcher};
use super::run::{Candidate, Earlier, Planned, Turn};
use super::standing::{Standing, standing};
use super::stop::Stop;
use super::write::{RoundEnd, WorkEnd};
use super::{Engine, knowledge};
use crate::model::dataset::{Cut, Shape};
use crate::model::{
    Area, Change, Claim, Coverage, Dataset, Error, Evidence, Exchanges, Failure, Fence, Instant, Result, Securities,
    Strategy, Task, task::Request,
};
use crate::plan::{self, Wanted};
use crate::source::Offer;

/// Rows of an area that should come from another source than the one that answered.
#[derive(Clone, Debug)]
pub struct Doubt {
    pub area: Area,
    pub source: String,
    /// Answered with far fewer rows than expected, and counted so in the totals.
    pub thin: bool,
}

/// What a task has been through with its sources.
#[derive(Debug)]
pub struct Rounds {
    /// Claims from before are not those of this task: `force` asks again for what they hold.
    since: Instant,
    force: bool,
    /// A round was worked through, or begun.
    began: bool,
    /// Sources that were asked for everything that was left.
    tried: Vec<String>,
    doubts: Vec<Doubt>,
    /// No more working side by side.
    alone: bool,
    /// Rounds that went through everything that was left.
    whole_rounds: u32,
    last_refusal: Option<Error>,
    blocked: Option<Error>,
    /// The source that counts most.
    pub best: Option<String>,
    /// What people should know of how it went.
    pub notes: Vec<String>,
}

impl Rounds {
    pub fn new(since: Instant, force: bool) -> Rounds {
        Rounds {
            since,
            force,
            began: false,
            tried: Vec::new(),
            doubts: Vec::new(),
            alone: false,
            whole_rounds: 0,
            last_refusal: None,
            blocked: None,
            best: None,
            notes: Vec::new(),
        }
    }

    fn has_tried(&self, source: &str) -> bool {
        self.tried.iter().any(|name| name == source)
    }

    /// A source was asked for everything but the securities that it has not: others may have them.
    fn left_out(&mut self, source: String, lacks: &Exchanges) {
        self.whole_rounds += 1;
        self.notes.push(format!("{source} has no securities of {lacks}"));
        self.tried.push(source);
    }

    /// Nobody is left to ask: done when somebody was asked for everything, else what the last one said.
    fn end(&mut self) -> Result<WorkEnd> {
        if self.whole_rounds > 0 {
            return Ok(WorkEnd::Done);
        }
        match (self.last_refusal.take(), self.blocked.take()) {
            (Some(refusal), _) => Ok(WorkEnd::SetAside(refusal)),
            (None, Some(blocked)) => Err(blocked),
            (None, None) => Err(Error::denied("every source that serves it was set aside")
                .hint("see what the earlier tables were told, and `tidegate sources`")),
        }
    }
}

impl Engine {
    /// The sources that serve `dataset` in the order in which they are asked: best first, demoted ones after them, and
    /// last those that lack a column without which its rows are of little use.
    pub async fn candidates(&self, dataset: &Dataset, only: Option<&str>) -> Result<Vec<Candidate>> {
        let mut candidates = self.offers(dataset, only)?;
        if candidates.len() > 1 {
            let (health, now) = (self.store.health().await?, self.clock.now());
            let demoted = |(source, _): &Candidate| {
                let hours: Vec<_> = health.iter().filter(|hour| hour.source == source.name()).cloned().collect();
                standing(&hours, now, &self.options.standing) != Standing::Good
            };
            let lacks = |(_, offer): &Candidate| dataset.needs.iter().any(|name| offer.lacks.contains(name));
            candidates.sort_by_key(|candidate| (lacks(candidate), demoted(candidate)));
        }
        Ok(candidates)
    }

    /// Works through the sources until everything is claimed or nobody is left to ask.
    pub async fn run_rounds(
        &self,
        task: &mut Task,
        fence: Fence,
        rounds: &mut Rounds,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<WorkEnd> {
        let dataset = self.catalog.get(&task.dataset)?.clone();
        let mut candidates = self.candidates(&dataset, task.request.source.as_deref()).await?;
        rounds.best =
            candidates.iter().min_by_key(|(source, _)| source.rank()).map(|(best, _)| best.name().to_string());
        loop {
            watcher.tell(|progress| progress.phase = Phase::Planning);
            for (source, offer) in &mut candidates {
                // What a source has learnt since, it offers no longer.
                *offer = source.offer(&dataset).unwrap_or_else(|| offer.clone());
            }
            let Some(turn) = self.turn(&dataset, &candidates, rounds) else { return rounds.end() };
            if !rounds.began {
                rounds.notes.extend(self.left_alone(&dataset, &candidates[..turn.candidate]));
            }
            let source = candidates[turn.candidate].0.name().to_string();
            let planned = match self.plan_with(&dataset, &task.request, &candidates[turn.candidate], rounds).await {
                Ok(planned) => planned,
                Err(error) if candidates.len() == 1 => return Err(error),
                Err(error) => {
                    rounds.blocked.get_or_insert(error);
                    rounds.tried.push(source);
                    continue;
                }
            };
            let lacks = planned.offer.lacks_exchanges.clone();
            let leaves_out = planned.leaves_out;
            if planned.plan.slices.is_empty() && rounds.began {
                match leaves_out {
                    true => rounds.left_out(source, &lacks),
                    false => return Ok(WorkEnd::Done),
                }
                continue;
            }
            rounds.began = true;
            let partners = self.partners(&dataset, &candidates, &turn, &planned, rounds);
            let several = !partners.is_empty();
            let round = self.work(task, fence, planned, &turn, partners, stop, watcher).await?;
            rounds.doubts.extend(round.doubts.iter().cloned());
            for note in &round.dismissed {
                tracing::info!(task = task.id, dataset = dataset.name, note, "a source is set aside");
                watcher.tell(|progress| progress.note = Some(note.clone()));
                rounds.notes.push(note.clone());
            }
            if leaves_out && matches!(round.end, WorkEnd::Done) && round.is_whole() {
                rounds.left_out(source, &lacks);
                continue;
            }
            match self.after_round(source, round, turn.probe, several, rounds) {
                Some(end) => return Ok(end),
                None => continue,
            }
        }
    }

    /// Why better sources are not asked at all.
    fn left_alone(&self, dataset: &Dataset, better: &[Candidate]) -> Vec<String> {
        let now = self.clock.now();
        let told = |(source, _): &Candidate| match self.breakers.door(source.name(), &dataset.name, now) {
            Door::AsideUntil(until) => {
                let reason = self.breakers.reason(source.name()).unwrap_or_default();
                Some(format!("{} is left alone until {until}: {reason}", source.name()))
            }
            Door::Usable | Door::Probe => None,
        };
        better.iter().filter_map(told).collect()
    }

    /// What follows from a round: the end of the work, or one more round.
    fn after_round(
        &self,
        source: String,
        round: RoundEnd,
        probed: bool,
        several: bool,
        rounds: &mut Rounds,
    ) -> Option<WorkEnd> {
        let whole = round.is_whole();
        match round.end {
            WorkEnd::Done if whole => Some(WorkEnd::Done),
            // Recovered: it takes over what is left. A probe without a slice that may be tried proves nothing.
            WorkEnd::Done if probed && round.answered => None,
            // What one of several failed to answer, another may answer alone.
            WorkEnd::Done if several => {
                rounds.alone = true;
                None
            }
            WorkEnd::Done => {
                rounds.whole_rounds += 1;
                rounds.tried.push(source);
                None
            }
            WorkEnd::SetAside(error) => {
                rounds.last_refusal = Some(error);
                None
            }
            WorkEnd::Again => None,
            aborted @ WorkEnd::Aborted(_) => Some(aborted),
        }
    }

    /// Whose turn it is: the first whose door is open, and until when, if a better one may recover.
    fn turn(&self, dataset: &Dataset, candidates: &[Candidate], rounds: &Rounds) -> Option<Turn> {
        let now = self.clock.now();
        let open = |(source, _): &Candidate| self.breakers.door(source.name(), &dataset.name, now);
        let untried: Vec<usize> =
            (0..candidates.len()).filter(|index| !rounds.has_tried(candidates[*index].0.name())).collect();
        let usable = |index: &&usize| !matches!(open(&candidates[**index]), Door::AsideUntil(_));
        let others = untried.iter().filter(usable).count() > 1;
        let mut until: Option<Instant> = None;
        for candidate in &untried {
            match open(&candidates[*candidate]) {
                Door::AsideUntil(aside) => until = Some(until.map_or(aside, |soonest| soonest.min(aside))),
                door => return Some(Turn { candidate: *candidate, probe: door == Door::Probe, until, others }),
            }
        }
        let last = |(source, _): &Candidate| self.breakers.door_of_last(source.name(), &dataset.name, now);
        let candidate = untried.into_iter().find(|index| last(&candidates[*index]) == Door::Usable)?;
        Some(Turn { candidate, probe: false, until: None, others: false })
    }

    /// The other sources that can take slices of the same plan, where several may work at once.
    fn partners(
        &self,
        dataset: &Dataset,
        candidates: &[Candidate],
        turn: &Turn,
        planned: &Planned,
        rounds: &Rounds,
    ) -> Vec<Candidate> {
        if !self.options.parallel_sources || turn.probe || rounds.alone {
            return Vec::new();
        }
        let now = self.clock.now();
        let (lead, offer) = &candidates[turn.candidate];
        let fits = |(source, other): &&Candidate| {
            source.name() != lead.name()
                && !rounds.has_tried(source.name())
                && self.breakers.door(source.name(), &dataset.name, now) == Door::Usable
                && other.lacks == offer.lacks
                && other.lacks_exchanges == offer.lacks_exchanges
                && planned.plan.slices.iter().all(|slice| same_cut(offer, slice.cut, other).is_some())
        };
        candidates.iter().filter(fits).cloned().collect()
    }

    /// What a round with `candidate` would ask.
    pub(super) async fn plan_with(
        &self,
        dataset: &Arc<Dataset>,
        request: &Request,
        candidate: &Candidate,
        rounds: &Rounds,
    ) -> Result<Planned> {
        let (source, offer) = candidate.clone();
        // Later rounds ask again only for what this task has not answered: `coverage_for` sees to that.
        let wanted = self.wanted(dataset, request)?;
        let wanted = Wanted { force: wanted.force && !rounds.began, ..wanted };
        let now = self.clock.now();
        let mut knowledge = knowledge::read_for(&*self.store, dataset, &wanted, source.name(), now).await?;
        let leaves_out = leaves_out(dataset, &wanted.securities, &knowledge, &offer.lacks_exchanges);
        if leaves_out {
            knowledge = knowledge.without(&offer.lacks_exchanges);
        }
        let knowledge = Arc::new(knowledge);
        let coverage = self.coverage_for(dataset, &candidate.0, rounds).await?;
        let input =
            plan::Input { dataset, offer: &offer, knowledge: &knowledge, coverage: &coverage, wanted: &wanted, now };
        let plan = plan::plan(&input);
        if let Some(reason) = &plan.blocked {
            let message = format!("{} cannot be planned: {reason}", dataset.name);
            return Err(Error::invalid(message).hint(match wanted.kept.strategy {
                Strategy::FewestCalls => "the list of securities comes first: `tidegate sync stock_basic`",
                _ => "choose another strategy with --strategy, or sync stock_basic first",
            }));
        }
        Ok(Planned { source, offer, knowledge, plan, leaves_out })
    }

    /// The claims that keep `source` from being asked. Not among them: what this task doubts, what a worse source
    /// served while this one could not, once its time is over, and with `force` everything from before the task.
    async fn coverage_for(
        &self,
        dataset: &Dataset,
        source: &Arc<dyn crate::source::Source>,
        rounds: &Rounds,
    ) -> Result<Coverage> {
        let now = self.clock.now();
        let rank_of = |name: &str| self.sources.iter().find(|known| known.name() == name).map(|known| known.rank());
        let holds = |claim: &Claim| {
            let worse = rank_of(&claim.source).is_some_and(|rank| rank > source.rank());
            let doubted = |doubt: &Doubt| {
                doubt.source == *claim.source
                    && doubt.source != source.name()
                    && claim.at >= rounds.since
                    && overlap(&doubt.area, &claim.area)
            };
            let old = rounds.force && claim.at < rounds.since;
            let given_way = worse && !claim.holds_at(now);
            !(old || given_way || rounds.doubts.iter().any(doubted))
        };
        let mut coverage = self.store.coverage(&dataset.name).await?;
        coverage.market.retain(holds);
        coverage.security.values_mut().for_each(|claims| claims.retain(holds));
        Ok(coverage)
    }

    /// Settles what another source has answered in the meantime, and counts what is left.
    pub(super) async fn settle(&self, task: &mut Task, fence: Fence, rounds: &mut Rounds) -> Result<()> {
        let dataset = self.catalog.get(&task.dataset)?.clone();
        let earlier = self.earlier_failures(&task.dataset).await?;
        let of_this_task = |failure: &&Failure| failure.task == task.id;
        let doubtful = earlier.values().any(|failure| of_this_task(&failure)) || !rounds.doubts.is_empty();
        let served = task.totals.by_source.values().any(|served| served.slices > 0);
        let ledger = if doubtful && served { Some(self.ledger(&dataset).await?) } else { None };
        let mut changes = Vec::new();
        let mut open = 0;
        for failure in earlier.values().filter(of_this_task) {
            match ledger.as_ref().and_then(|ledger| ledger.answered_by(&failure.area, &failure.source, rounds.since)) {
                Some(by) => {
                    let resolution = format!("answered by {by}");
                    changes.push(Change::ResolveFailure { id: failure.id, resolution });
                }
                None => open += 1,
            }
        }
        let mut thin = 0;
        for doubt in std::mem::take(&mut rounds.doubts).iter().filter(|doubt| doubt.thin) {
            match ledger.as_ref().and_then(|ledger| ledger.answered_by(&doubt.area, &doubt.source, rounds.since)) {
                Some(by) => rounds.notes.push(format!("{}: thin from {}, whole from {by}", doubt.area, doubt.source)),
                None => thin += 1,
            }
        }
        task.totals.slices_failed = open;
        task.totals.slices_planned = task.totals.slices_done + open;
        task.totals.slices_partial = thin;
        if !changes.is_empty() {
            self.commit(Some(fence), changes).await?;
        }
        Ok(())
    }

    async fn ledger(&self, dataset: &Arc<Dataset>) -> Result<Ledger> {
        let offer = self.offers(dataset, None)?.swap_remove(0).1;
        let coverage = self.store.coverage(&dataset.name).await?;
        let knowledge = knowledge::read(&*self.store).await?;
        Ok(Ledger { dataset: dataset.clone(), offer, coverage, knowledge, now: self.clock.now() })
    }
}

/// The ledger as it stands after the rounds.
struct Ledger {
    dataset: Arc<Dataset>,
    offer: Offer,
    coverage: Coverage,
    knowledge: plan::Knowledge,
    now: Instant,
}

impl Ledger {
    /// Who, other than `source`, has answered everything in `area` since the task began.
    fn answered_by(&self, area: &Area, source: &str, since: Instant) -> Option<String> {
        let counts = |claim: &&Claim| {
            let whole = claim.evidence != Evidence::Partial && *claim.source != *source;
            whole && claim.at >= since && overlap(area, &claim.area)
        };
        let all = self.coverage.market.iter().chain(self.coverage.security.values().flatten());
        let claims: Vec<Claim> = all.filter(counts).cloned().collect();
        let by = claims.first()?.source.to_string();
        let bounded = !area.span.is_all();
        let wanted = Wanted {
            securities: area.securities.clone(),
            from: bounded.then_some(area.span.from),
            to: bounded.then_some(area.span.to),
            force: false,
            kept: plan::Kept::default(),
        };
        let left = plan::plan(&plan::Input {
            dataset: &self.dataset,
            offer: &self.offer,
            knowledge: &self.knowledge,
            coverage: &Coverage::from_claims(claims, Vec::new()),
            wanted: &wanted,
            now: self.now,
        });
        (left.slices.is_empty() && left.blocked.is_none()).then_some(by)
    }
}

/// The cut of `other` that asks for the same areas as cut `cut` of `offer`.
pub fn same_cut(offer: &Offer, cut: usize, other: &Offer) -> Option<usize> {
    let bounded = |cut: &Cut| match cut {
        Cut::Security { from, to, .. } => from.is_some() && to.is_some(),
        _ => true,
    };
    let wanted = offer.cuts.get(cut)?;
    other.cuts.iter().position(|cut| cut.name() == wanted.name() && bounded(cut) == bounded(wanted))
}

fn overlap(one: &Area, other: &Area) -> bool {
    let securities = match (&one.securities, &other.securities) {
        (Securities::Some(one), Securities::Some(other)) => !one.is_disjoint(other),
        _ => true,
    };
    securities && one.span.intersect(other.span).is_some()
}

/// Whether something wanted lies outside of what a source without these exchanges can be asked for. Whom a list misses
/// is not known before another source was asked.
fn leaves_out(dataset: &Dataset, wanted: &Securities, knowledge: &plan::Knowledge, lacks: &Exchanges) -> bool {
    let is_list = dataset.shape == Shape::Whole;
    match wanted {
        _ if lacks.is_empty() || dataset.security.is_none() => false,
        Securities::Some(codes) => codes.iter().any(|code| lacks.contains(code)),
        Securities::All => {
            is_list || knowledge.knows_any_of(lacks) || dataset.codes.iter().any(|code| lacks.contains(code))
        }
    }
}

/// Failures by area, as the rounds look at them.
pub(super) fn may_try(earlier: &Earlier, area: &Area, source: &str, now: Instant) -> bool {
    earlier.get(area).is_none_or(|failure| {
        let others = failure.source != source && failure.attempts < failure.attempts_max;
        others || failure.may_retry(now)
    })
}
