//! The simulated market as something that answers queries.

use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use crate::catalog::Catalog;
use crate::dialect::row_hash::fill_row_hash;
use crate::model::dataset::{Points, Universe};
use crate::model::{
    Area, Clock, Dataset, Day, Error, Instant, Order, Query, Result, SecurityList, Span, TradingCalendar,
};
use crate::store::{BatchStream, Scan};

use super::core::Core;
use super::rows::Rows;
use super::scope::Scope;
use super::tables;
use crate::read::rows::{filtered, needed, ordered, projected};

/// What a market is made from. The same options give the same rows.
#[derive(Clone, Debug)]
pub struct MarketOptions {
    pub seed: u64,
    /// Rows exist from this day on (the calendar and the list of securities reach back to 1990).
    pub first_day: Day,
    pub last_day: Day,
    pub securities: usize,
    pub catalog: Arc<Catalog>,
    /// Rows appear when this clock passes their time of publication.
    pub clock: Clock,
}

impl MarketOptions {
    /// A whole market over the given days, at a moment when the last of them is published.
    pub fn new(catalog: Arc<Catalog>, first_day: Day, last_day: Day) -> MarketOptions {
        let clock = Clock::fixed(Instant::at(last_day, 23 * 60 + 30));
        MarketOptions { seed: 1, first_day, last_day, securities: 5450, catalog, clock }
    }
}

/// A whole A-share market computed from a seed. Answers depend only on the options and on the clock, never on what was
/// asked before.
#[derive(Clone)]
pub struct Market {
    core: Arc<Core>,
}

/// Rows in one batch of an answer.
const BATCH_ROWS: usize = 16_384;

/// Rows that one step of an answer computes, about.
const PART_ROWS: f64 = 40_000.0;

impl Market {
    pub fn new(options: MarketOptions) -> Market {
        let days = Span::new(options.first_day, options.last_day.max(options.first_day));
        let core = Core::new(options.seed, options.catalog, days, options.securities, options.clock);
        Market { core: Arc::new(core) }
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.core.catalog
    }

    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    pub fn days(&self) -> Span {
        self.core.days
    }

    pub fn calendar(&self) -> TradingCalendar {
        self.core.sessions.calendar()
    }

    pub fn securities(&self) -> SecurityList {
        let security = |stock: &super::securities::Stock| crate::model::Security {
            code: stock.code.clone(),
            name: stock.name.name.clone(),
            listed: stock.listed,
            delisted: stock.delisted,
            former: stock.former.iter().cloned().collect(),
        };
        SecurityList::new(self.core.stocks.iter().map(security).collect())
    }

    /// Every row of an area as it is published now, in the order of the key.
    pub fn truth(&self, dataset: &str, area: &Area) -> Result<RecordBatch> {
        let dataset = self.core.catalog.get(dataset)?.clone();
        self.collect(&Query::area(&dataset, area))
    }

    /// The whole answer to a query in one batch.
    pub fn collect(&self, query: &Query) -> Result<RecordBatch> {
        let answer = Answer::new(self.core.clone(), query)?;
        let schema = projected(&Rows::new(&answer.dataset, &answer.positions)?.finish()?, &query.columns)?.schema();
        let batches = answer.collect::<Result<Vec<RecordBatch>>>()?;
        arrow_select::concat::concat_batches(&schema, &batches)
            .map_err(|error| Error::bug("cannot put batches together").caused_by(error))
    }
}

/// The market as of an instant is what it would have answered then.
#[async_trait]
impl Scan for Market {
    async fn scan(&self, query: &Query) -> Result<BatchStream> {
        Ok(stream::iter(Answer::new(self.core.clone(), query)?).boxed())
    }
}

/// The parts of an answer, computed one after the other in the order of the query.
struct Answer {
    core: Arc<Core>,
    dataset: Arc<Dataset>,
    query: Query,
    order: Vec<Order>,
    positions: Vec<usize>,
    parts: Box<dyn Iterator<Item = Scope> + Send>,
    /// Rows of the current part that are still to be sent.
    rest: Option<RecordBatch>,
    skip: u64,
    left: u64,
}

impl Answer {
    fn new(core: Arc<Core>, query: &Query) -> Result<Answer> {
        let dataset = core.catalog.get(&query.dataset)?.clone();
        let positions = needed(&dataset, query)?;
        let order = match query.order.is_empty() {
            true => dataset.key.iter().map(|key| Order { column: key.clone(), descending: false }).collect(),
            false => query.order.clone(),
        };
        for part in &order {
            crate::read::rows::position(&dataset, &part.column)?;
        }
        let now = query.as_of.map_or(core.now(), |as_of| as_of.min(core.now()));
        let scope = Scope::of(&core, &dataset, query, now)?;
        let parts = parts(&core, scope, order.first());
        let (skip, left) = (query.offset, query.limit.unwrap_or(u64::MAX));
        Ok(Answer { core, dataset, query: query.clone(), order, positions, parts, rest: None, skip, left })
    }

    fn part(&self, scope: &Scope) -> Result<RecordBatch> {
        let mut rows = Rows::new(&self.dataset, &self.positions)?;
        tables::produce(&self.core, scope, &mut rows);
        let whole = fill_row_hash(&self.dataset, rows.finish()?);
        let mut batch = filtered(&self.dataset, whole, &self.query.filters)?;
        if let Some(time) = &self.dataset.time {
            let span = scope.span(time);
            let (from, to) = (Some(span.from.to_string()), Some(span.to.to_string()));
            if !span.is_all() {
                let bounds = crate::model::Filter::Between { column: time.clone(), from, to };
                batch = filtered(&self.dataset, batch, &[bounds])?;
            }
        }
        ordered(&self.dataset, batch, &self.order)
    }

    /// The next rows of `rest`, after offset and limit.
    fn cut(&mut self) -> Option<RecordBatch> {
        let batch = self.rest.take()?;
        let rows = batch.num_rows();
        let skip = usize::try_from(self.skip).map_or(rows, |skip| skip.min(rows));
        self.skip -= skip as u64;
        let take = (rows - skip).min(BATCH_ROWS).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= take as u64;
        if take == 0 {
            return None;
        }
        if skip + take < rows {
            self.rest = Some(batch.slice(skip + take, rows - skip - take));
        }
        Some(batch.slice(skip, take))
    }
}

impl Iterator for Answer {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.left == 0 {
                return None;
            }
            if let Some(batch) = self.cut() {
                return Some(projected(&batch, &self.query.columns));
            }
            let scope = self.parts.next()?;
            match self.part(&scope) {
                Ok(batch) => self.rest = Some(batch),
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Cuts a scope so that its parts, one after the other, are in the order of their first column.
fn parts(core: &Core, scope: Scope, first: Option<&Order>) -> Box<dyn Iterator<Item = Scope> + Send> {
    let dataset = scope.dataset.clone();
    let column = first.map(|order| order.column.as_str());
    let descending = first.is_some_and(|order| order.descending);
    let is_by_stock = dataset.universe == Universe::Stock && column == dataset.security.as_deref();
    let cut: Vec<Scope> = if column.is_some() && is_by_stock {
        let step = securities_a_part(core, &scope);
        scope.stocks.chunks(step).map(|stocks| scope.with_stocks(stocks)).collect()
    } else if let Some(time) = dataset.time.as_deref().filter(|time| column == Some(time)) {
        let days = if time == "trade_date" { session_days(core, &scope) } else { scope.known_days(core, time) };
        let step = days_a_part(core, &scope);
        let starts = (days.from.0..=days.to.0).step_by(step as usize);
        starts.map(|start| scope.with_span(time, Span::new(Day(start), Day(start + step - 1)))).collect()
    } else {
        vec![scope]
    };
    if descending { Box::new(cut.into_iter().rev()) } else { Box::new(cut.into_iter()) }
}

/// From the first to the last wanted session; no day at all when there is none.
fn session_days(core: &Core, scope: &Scope) -> Span {
    let sessions = scope.sessions(core);
    match sessions.is_empty() {
        true => Span::new(Day::MAX, Day::MIN),
        false => Span::new(core.sessions.day(sessions.start), core.sessions.day(sessions.end - 1)),
    }
}

/// Rows that one security has at one point of time, about.
fn density(scope: &Scope, securities: usize) -> f64 {
    let expect = &scope.dataset.expect;
    match expect.rows_per_point > 0.0 {
        true => expect.rows_per_point / securities.max(1) as f64,
        false => expect.rows_per_security,
    }
}

fn securities_a_part(core: &Core, scope: &Scope) -> usize {
    let days = match scope.dataset.time.as_deref() {
        None => 1,
        Some("trade_date") => scope.sessions(core).len(),
        Some(time) => {
            let span = scope.known_days(core, time);
            let days = (span.to.0 - span.from.0 + 1).max(1) as usize;
            if scope.dataset.expect.points == Points::QuarterEnd { days.div_ceil(91) } else { days }
        }
    };
    let rows = days.max(1) as f64 * density(scope, core.stocks.len());
    ((PART_ROWS / rows.max(0.001)) as usize).clamp(1, 10_000)
}

fn days_a_part(core: &Core, scope: &Scope) -> i32 {
    let days = match scope.dataset.expect.points {
        Points::QuarterEnd => 92.0,
        _ => PART_ROWS / (density(scope, core.stocks.len()) * scope.stocks.len() as f64).max(1.0),
    };
    (days as i32).clamp(1, 366)
}
