//! Reading in two times and two price bases, the same for commands and mirrors: as of an instant (what the store
//! believed then), as known on a day (which versions had been announced), and with adjusted prices.

mod adjust;
pub mod choice;
mod factors;
mod gather;
pub mod rows;
mod versions;
mod view;
pub mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};

use crate::catalog::Catalog;
use crate::model::dataset::Versions;
use crate::model::{Clock, Column, ColumnType, Dataset, Day, Error, Filter, Order, Query, Result, Span};
use crate::store::{BatchStream, Scan};

use adjust::Adjuster;
use factors::Factors;
use rows::{column_of, filtered, ordered, position, projected};

pub use view::{Adjust, PARAMETERS, View};

/// How much a reader may keep.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Rows that are kept at once to be put in order.
    pub sort_rows_max: usize,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { sort_rows_max: 500_000 }
    }
}

/// Anything that can be scanned, seen through a [`View`].
#[derive(Clone)]
pub struct Reader {
    scan: Arc<dyn Scan>,
    catalog: Arc<Catalog>,
    clock: Clock,
    options: ReadOptions,
    view: View,
}

/// The column that names the day to which forward adjusted prices are anchored.
pub const ANCHOR: &str = "adjust_anchor";
/// The column that names the dataset whose factor adjusted the row.
pub const FACTORS: &str = "adjust_factors";

impl Reader {
    /// A reader that changes nothing; see [`Reader::with`].
    pub fn new(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, clock: Clock, options: ReadOptions) -> Reader {
        Reader { scan, catalog, clock, options, view: View::default() }
    }

    pub fn with(&self, view: View) -> Reader {
        Reader { view, ..self.clone() }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// The dataset with the columns that this view adds.
    pub fn dataset(&self, dataset: &Arc<Dataset>) -> Arc<Dataset> {
        if self.view.adjust.is_none() || !self.view.told {
            return dataset.clone();
        }
        let mut told = (**dataset).clone();
        told.columns.extend(added_columns());
        Arc::new(told)
    }

    /// The view with forward adjusted prices anchored to the newest day there is, whatever days are asked for; an anchor
    /// that is named stays.
    pub fn anchored_to_the_newest(&self, view: View) -> View {
        let newest = view.as_of.map_or_else(|| self.clock.now(), |as_of| as_of.min(self.clock.now())).day();
        let forward = view.adjust == Some(Adjust::Forward);
        View { anchor: view.anchor.or(forward.then_some(newest)), ..view }
    }

    /// The day whose factor leaves prices as they are, where prices are forward adjusted: the one asked for, or the last
    /// day of the question, or the day as of which is read, or today.
    pub fn anchor(&self, query: &Query) -> Option<Day> {
        if self.view.adjust != Some(Adjust::Forward) {
            return None;
        }
        let dataset = self.catalog.get(&query.dataset).ok()?;
        let last = Some(days_of(dataset, query).to).filter(|day| *day < Day::MAX);
        let as_of = query.as_of.or(self.view.as_of).map(|instant| instant.day());
        self.view.anchor.or(last).or(as_of).or_else(|| Some(self.clock.now().day()))
    }
}

fn added_columns() -> [Column; 2] {
    let column = |name: &str, kind, meaning: &str, meaning_zh: &str| Column {
        name: name.to_owned(),
        kind,
        scale: 0,
        digits: 15,
        unit: if kind == ColumnType::Date { "date" } else { "text" }.to_owned(),
        unit_inferred: false,
        meaning: meaning.to_owned(),
        meaning_zh: meaning_zh.to_owned(),
        nullable: true,
        on_request: false,
        tushare_unit: None,
        tushare_form: None,
        derived: None,
    };
    [
        column(ANCHOR, ColumnType::Date, "prices of this day are unadjusted", "前复权基准日"),
        column(FACTORS, ColumnType::Text, "the table of the factor", "复权因子来源"),
    ]
}

/// The days between which a query's rows lie.
fn days_of(dataset: &Dataset, query: &Query) -> Span {
    let mut span = Span::ALL;
    for filter in query.filters.iter().filter(|filter| Some(column_of(filter)) == dataset.time.as_deref()) {
        let (from, to) = match filter {
            Filter::In { values, .. } => {
                let days = || values.iter().filter_map(|text| Day::parse(text).ok());
                (days().min(), days().max())
            }
            Filter::Between { from, to, .. } => {
                let day = |text: &Option<String>| text.as_deref().and_then(|text| Day::parse(text).ok());
                (day(from), day(to))
            }
        };
        let given = Span::new(from.unwrap_or(span.from), to.unwrap_or(span.to));
        span = Span::new(span.from.max(given.from), span.to.min(given.to));
    }
    span
}

#[async_trait]
impl Scan for Reader {
    async fn scan(&self, query: &Query) -> Result<BatchStream> {
        let query = Query { as_of: query.as_of.or(self.view.as_of), ..query.clone() };
        if self.view.known_on.is_none() && self.view.adjust.is_none() {
            return self.scan.scan(&query).await;
        }
        let dataset = self.catalog.get(&query.dataset)?.clone();
        let (inner, gathers, steps) = self.plan(dataset, query)?;
        let scanned = self.scan.scan(&inner).await?;
        let batches = match gathers {
            Some(by) => gather::gather(scanned, by, self.options.sort_rows_max),
            None => scanned,
        };
        let next = |(mut batches, mut steps): (BatchStream, Steps)| async {
            while steps.left > 0 {
                let Some(batch) = batches.try_next().await? else { break };
                let batch = steps.apply(batch).await?;
                if batch.num_rows() > 0 {
                    return Ok(Some((batch, (batches, steps))));
                }
            }
            Ok(None)
        };
        Ok(stream::try_unfold((batches, steps), next).boxed())
    }
}

/// What happens to the rows of a scan, batch by batch.
struct Steps {
    dataset: Arc<Dataset>,
    known: Option<(Versions, Day)>,
    adjust: Option<Adjuster>,
    filters: Vec<Filter>,
    /// Empty: the rows are in order already.
    order: Vec<Order>,
    skip: u64,
    left: u64,
    columns: Vec<String>,
}

impl Steps {
    async fn apply(&mut self, mut batch: RecordBatch) -> Result<RecordBatch> {
        if let Some((versions, day)) = &self.known {
            batch = versions::known(&self.dataset, versions, *day, batch)?;
        }
        if let Some(adjuster) = &mut self.adjust {
            batch = adjuster.adjust(batch).await?;
        }
        batch = filtered(&self.dataset, batch, &self.filters)?;
        if !self.order.is_empty() {
            batch = ordered(&self.dataset, batch, &self.order)?;
        }
        let rows = batch.num_rows();
        let skip = usize::try_from(self.skip).map_or(rows, |skip| skip.min(rows));
        let take = usize::try_from(self.left).map_or(rows, |left| left.min(rows)).min(rows - skip);
        (self.skip, self.left) = (self.skip - skip as u64, self.left - take as u64);
        projected(&batch.slice(skip, take), &self.columns)
    }
}

impl Reader {
    /// What is asked of the store, whether its rows are gathered (and by which column), and what follows.
    fn plan(&self, dataset: Arc<Dataset>, query: Query) -> Result<(Query, Option<Option<String>>, Steps)> {
        let known = match self.view.known_on {
            Some(day) => Some((versions_of(&dataset)?.clone(), day)),
            None => None,
        };
        let adjust = self.adjuster(&dataset, &query)?;
        let added = [ANCHOR, FACTORS];
        let is_added = |name: &str| adjust.is_some() && self.view.told && added.contains(&name);
        for name in query.columns.iter().filter(|name| !is_added(name)) {
            position(&dataset, name)?;
        }
        // A column that is the same before and after the steps: filters on it may be answered by the store.
        let base = known.as_ref().map(|(versions, _)| base_of(&dataset, versions));
        let unchanged = |name: &str| {
            let is_base = base.as_ref().is_none_or(|base| base.iter().any(|column| column == name));
            is_base && !adjust.as_ref().is_some_and(|adjuster| adjuster.changes(name))
        };
        let (early, late): (Vec<Filter>, Vec<Filter>) =
            query.filters.iter().cloned().partition(|filter| unchanged(column_of(filter)));
        let sorts = base.is_some() || !query.order.iter().all(|order| unchanged(&order.column));
        let pages_late = sorts || !late.is_empty();
        let mut order = Vec::new();
        if sorts {
            order.clone_from(&query.order);
            let ordered = |name: &String| query.order.iter().any(|order| order.column == *name);
            order.extend(dataset.key.iter().filter(|name| !ordered(name)).cloned().map(ascending));
        }
        let gathers = sorts.then(|| base.as_ref().and_then(|base| group(base, &query, &early, &order)));
        let inner = Query {
            columns: self.columns(
                &dataset,
                &query,
                &late,
                &order,
                known.as_ref().map(|(versions, _)| versions),
                &adjust,
            ),
            filters: early,
            order: match (&base, sorts) {
                (Some(base), _) => base.iter().cloned().map(ascending).collect(),
                (None, true) => Vec::new(),
                (None, false) => query.order.clone(),
            },
            limit: if pages_late { None } else { query.limit },
            offset: if pages_late { 0 } else { query.offset },
            ..Query { dataset: query.dataset.clone(), as_of: query.as_of, ..Query::default() }
        };
        let columns = match query.columns.is_empty() {
            true => self.dataset(&dataset).columns.iter().map(|column| column.name.clone()).collect(),
            false => query.columns,
        };
        let left = if pages_late { query.limit.unwrap_or(u64::MAX) } else { u64::MAX };
        let skip = if pages_late { query.offset } else { 0 };
        Ok((inner, gathers, Steps { dataset, known, adjust, filters: late, order, skip, left, columns }))
    }

    fn adjuster(&self, dataset: &Arc<Dataset>, query: &Query) -> Result<Option<Adjuster>> {
        let Some(adjust) = self.view.adjust else { return Ok(None) };
        let Some(adjusted) = &dataset.adjust else {
            let error = Error::invalid(format!("{} has no prices that could be adjusted", dataset.name));
            return Err(error.hint("daily, weekly and monthly have; see `adjust` in docs/guide/catalogue.md"));
        };
        let anchor = self.anchor(query);
        let factors = Factors::new(
            self.scan.clone(),
            &self.catalog,
            &adjusted.factors,
            query.as_of,
            days_of(dataset, query),
            anchor,
        )?;
        Adjuster::new(dataset.clone(), adjust, factors, anchor.filter(|_| self.view.told), self.view.told).map(Some)
    }

    /// The columns that the steps need; empty when the question is for all of them.
    fn columns(
        &self,
        dataset: &Dataset,
        query: &Query,
        late: &[Filter],
        order: &[Order],
        versions: Option<&Versions>,
        adjust: &Option<Adjuster>,
    ) -> Vec<String> {
        if query.columns.is_empty() {
            return Vec::new();
        }
        let mut needed: BTreeSet<&str> = query.columns.iter().map(String::as_str).collect();
        needed.extend(late.iter().map(column_of));
        needed.extend(order.iter().map(|order| order.column.as_str()));
        needed.extend(dataset.key.iter().map(String::as_str));
        needed.extend(versions.iter().flat_map(|versions| versions.announced.iter().map(String::as_str)));
        needed.extend(adjust.iter().flat_map(|adjuster| adjuster.needs()));
        let kept = dataset.columns.iter().filter(|column| needed.contains(column.name.as_str()));
        kept.map(|column| column.name.clone()).collect()
    }
}

fn ascending(column: String) -> Order {
    Order { column, descending: false }
}

fn versions_of(dataset: &Dataset) -> Result<&Versions> {
    dataset.versions.as_ref().ok_or_else(|| {
        Error::invalid(format!("{} has no versions that were announced on days of their own", dataset.name))
            .hint("statements have; what the store held at a past time is read with --as-of")
    })
}

/// The columns of the key that say what the versions are versions of; the security first.
fn base_of(dataset: &Dataset, versions: &Versions) -> Vec<String> {
    let mut base: Vec<String> = dataset.key.iter().filter(|name| !versions.columns.contains(name)).cloned().collect();
    base.sort_by_key(|name| Some(name) != dataset.security.as_ref());
    base
}

/// The column by which rows need to be gathered to be put in order; `None` when all of them have to be.
fn group(base: &[String], query: &Query, early: &[Filter], order: &[Order]) -> Option<String> {
    let first = base.first()?;
    let single =
        |filter: &Filter| matches!(filter, Filter::In { column, values } if column == first && values.len() == 1);
    let leads = match query.order.first() {
        Some(asked) => asked.column == *first && !asked.descending,
        None => order.first().is_some_and(|order| order.column == *first),
    };
    (leads || early.iter().any(single)).then(|| first.clone())
}
