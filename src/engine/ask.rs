//! From work to requests: the same for commands, the service and the scheduler. Tables are named as the catalogue has
//! them, codes as people mean them, days as of the day on which the work was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Engine, knowledge};
use crate::catalog::Catalog;
use crate::model::dataset::{Cut, Points};
use crate::model::{Action, Dataset, Day, Error, Result, Securities, SecurityList, Strategy, Work, task::Request};
use crate::source::Source;
use crate::store::Store;

/// Datasets, codes and sources that one piece of work may name.
const NAMES_MAX: usize = 10_000;
/// Days that `days_back` may go back.
const DAYS_BACK_MAX: u32 = 36_525;

/// The work in canonical words, or what is wrong with it, as far as that is known before it begins.
pub async fn checked(store: &dyn Store, catalog: &Catalog, mut work: Work) -> Result<Work> {
    let reconciliations = ("reconciliations", &work.reconciliations);
    let named = [("datasets", &work.datasets), ("codes", &work.codes), ("sources", &work.sources), reconciliations];
    for (what, names) in named {
        if names.len() > NAMES_MAX {
            return Err(Error::invalid(format!("more than {NAMES_MAX} {what}")));
        }
    }
    work.datasets = names(catalog, &work.datasets)?;
    if !work.codes.is_empty() {
        let known = knowledge::securities(store).await?;
        if let Securities::Some(codes) = known.chosen_by(&work.codes)? {
            work.codes = codes.iter().map(|code| code.to_string()).collect();
        }
    }
    (work.from, work.to) = (day_text(work.from.as_deref(), "from")?, day_text(work.to.as_deref(), "to")?);
    check_days(&work)?;
    Ok(work)
}

fn check_days(work: &Work) -> Result<()> {
    if let (Some(from), Some(to)) = (&work.from, &work.to)
        && from > to
    {
        return Err(Error::invalid(format!("from {from} lies after to {to}")).hint("swap the two"));
    }
    let begins = [work.from.is_some(), work.days_back.is_some(), work.all_history];
    if begins.iter().filter(|named| **named).count() > 1 {
        let error = Error::invalid("from, days_back and all_history exclude each other");
        return Err(error.hint("name one of them"));
    }
    if work.days_back.is_some_and(|days| days > DAYS_BACK_MAX) {
        return Err(Error::invalid(format!("days_back goes back at most {DAYS_BACK_MAX} days")));
    }
    Ok(())
}

/// A day in its canonical form; `what` names it in errors.
fn day_text(text: Option<&str>, what: &str) -> Result<Option<String>> {
    let parse = |text| Day::parse(text).map(|day| day.to_string()).map_err(|error| error.while_doing(what));
    text.map(parse).transpose()
}

/// The names as the catalogue has them, each once, in the order in which they are named.
fn names(catalog: &Catalog, named: &[String]) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let fresh = named.iter().filter(|name| seen.insert(name.as_str()));
    fresh.map(|name| Ok(catalog.get(name)?.name.clone())).collect()
}

impl Engine {
    /// Every table that a source serves, without those that are left out unless they are named.
    pub fn all_datasets(&self) -> Vec<String> {
        // A table beyond the points of an account is named all the same: the answer says what it takes.
        let speaks_tushare = |source: &Arc<dyn Source>| matches!(source.name(), "tushare" | "tidegate");
        let speaks_tushare = self.sources.is_empty() || self.sources.iter().any(speaks_tushare);
        let served = |dataset: &&Arc<Dataset>| {
            let by_tushare = dataset.tushare.is_some() && speaks_tushare;
            let by_any = || self.sources.iter().any(|source| source.offer(dataset).is_some());
            (by_tushare || dataset.database.is_some() || by_any()) && !self.options.skip.contains(&dataset.name)
        };
        self.catalog.datasets().iter().filter(served).map(|dataset| dataset.name.clone()).collect()
    }

    /// The tables that a piece of work is about.
    pub fn datasets_of(&self, work: &Work) -> Result<Vec<String>> {
        if !work.datasets.is_empty() {
            return names(&self.catalog, &work.datasets);
        }
        let mut all = self.all_datasets();
        if work.action == Action::Poll {
            let is_realtime = |name: &String| {
                self.catalog.get(name).is_ok_and(|dataset| dataset.policy.strategy == Strategy::Realtime)
            };
            all.retain(is_realtime);
        }
        Ok(all)
    }

    /// One request a table. `asked_on`: the day on which the
    /// work was asked for, so that the same work is the same requests whenever it goes on. The sources of the work are
    /// those of the engine: see `asking`.
    pub fn requests(&self, work: &Work, known: &SecurityList, asked_on: Day) -> Result<Vec<(String, Request)>> {
        check_days(work)?;
        let from = match (&work.from, work.days_back, work.all_history) {
            (Some(from), ..) => Some(from.clone()),
            (None, Some(days), _) => {
                Some(asked_on.plus(-i32::try_from(days.min(DAYS_BACK_MAX)).unwrap_or(0)).to_string())
            }
            (None, None, true) => None,
            (None, None, false) => self.options.default_from.map(|day| day.to_string()),
        };
        let request = Request {
            securities: known.chosen_by(&work.codes)?,
            from: day_text(from.as_deref(), "from")?,
            to: day_text(work.to.as_deref(), "to")?,
            force: work.force,
            source: None,
            how: work.how.clone(),
        };
        let of = |name: String| {
            let dataset = self.catalog.get(&name)?;
            let mut request = request.clone();
            if work.action == Action::Check {
                request.how.look_back = request.how.look_back.or(self.look_back_of_checks(dataset));
            }
            Ok((name, request))
        };
        self.datasets_of(work)?.into_iter().map(of).collect()
    }

    /// The last points are asked for again where that takes a call each, not one for each security.
    fn look_back_of_checks(&self, dataset: &Dataset) -> Option<u32> {
        let by_market = |cut: &Cut| matches!(cut, Cut::Day { .. } | Cut::Range { .. });
        let offer = self.sources.iter().find_map(|source| source.offer(dataset))?;
        let cheap = offer.cuts.iter().any(by_market) && dataset.expect.points != Points::QuarterEnd;
        cheap.then_some(self.options.check_look_back.max(dataset.policy.look_back))
    }
}
