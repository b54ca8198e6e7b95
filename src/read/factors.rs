//! Factors of securities as steps in time, read when they are needed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type};
use arrow_array::{Array, RecordBatch};
use futures::TryStreamExt;

use crate::catalog::Catalog;
use crate::model::{ColumnType, Day, Error, Filter, Instant, Order, Query, Result, Span, dataset};
use crate::store::Scan;

/// Securities whose factors are asked for at once.
const CODES_AT_ONCE: usize = 1_000;

/// A table of factors as the catalogue has it.
#[derive(Clone, Debug)]
struct Table {
    dataset: Arc<str>,
    security: String,
    time: String,
    column: String,
    /// What 1 is at the scale of the column.
    one: i128,
    ex_dates_only: bool,
}

/// The factors of every security that was asked for so far.
pub(super) struct Factors {
    scan: Arc<dyn Scan>,
    tables: Vec<Table>,
    as_of: Option<Instant>,
    /// The days of the rows that are adjusted.
    days: Span,
    anchor: Option<Day>,
    known: HashMap<Arc<str>, Option<Steps>>,
}

/// The factors of one security: each holds from its day until the next one.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) table: Arc<str>,
    /// What 1 is.
    pub(super) one: i128,
    /// The factor before the first step.
    before: Option<i128>,
    steps: Vec<(Day, i128)>,
    pub(super) at_anchor: Option<i128>,
}

impl Steps {
    /// The last factor on or before the day; `None` when none is known.
    pub(super) fn on(&self, day: Day) -> Option<i128> {
        let after = self.steps.partition_point(|(from, _)| *from <= day);
        after.checked_sub(1).map_or(self.before, |last| Some(self.steps[last].1))
    }

    fn add(&mut self, day: Day, factor: i128) {
        if self.steps.last().is_none_or(|(_, last)| *last != factor) {
            self.steps.push((day, factor));
        }
    }
}

impl Factors {
    /// Tables that the catalogue does not have are passed over; `Invalid` when it has none of them.
    pub(super) fn new(
        scan: Arc<dyn Scan>,
        catalog: &Catalog,
        tables: &[dataset::Factors],
        as_of: Option<Instant>,
        days: Span,
        anchor: Option<Day>,
    ) -> Result<Factors> {
        let table = |declared: &dataset::Factors| {
            let dataset = catalog.get(&declared.dataset).ok()?;
            let column = dataset.column(&declared.column).filter(|column| column.kind == ColumnType::Decimal)?;
            Some(Table {
                dataset: Arc::from(dataset.name.as_str()),
                security: dataset.security.clone()?,
                time: dataset.time.clone()?,
                column: column.name.clone(),
                one: 10i128.checked_pow(u32::try_from(column.scale).ok()?)?,
                ex_dates_only: declared.ex_dates_only,
            })
        };
        let found: Vec<Table> = tables.iter().filter_map(table).collect();
        if found.is_empty() {
            let names = tables.iter().map(|table| table.dataset.as_str()).collect::<Vec<_>>().join(", ");
            let error = Error::invalid(format!("the catalogue has no table of factors among {names}"));
            return Err(error.hint("name a dataset with security, time and a decimal column under adjust.factors"));
        }
        Ok(Factors { scan, tables: found, as_of, days, anchor, known: HashMap::new() })
    }

    pub(super) fn get(&self, code: &str) -> Option<&Steps> {
        self.known.get(code)?.as_ref()
    }

    /// Reads the factors of the securities that are not known yet.
    pub(super) async fn load(&mut self, codes: Vec<Arc<str>>) -> Result<()> {
        let mut missing: Vec<Arc<str>> = codes.into_iter().filter(|code| !self.known.contains_key(code)).collect();
        for table in self.tables.clone() {
            let mut rest = Vec::new();
            for codes in missing.chunks(CODES_AT_ONCE) {
                let mut found = self.read(&table, codes).await?;
                for code in codes {
                    match found.remove(code) {
                        Some(steps) => drop(self.known.insert(code.clone(), Some(steps))),
                        None => rest.push(code.clone()),
                    }
                }
            }
            missing = rest;
        }
        self.known.extend(missing.into_iter().map(|code| (code, None)));
        Ok(())
    }

    /// The steps of those of the securities that have factors in this table.
    async fn read(&self, table: &Table, codes: &[Arc<str>]) -> Result<HashMap<Arc<str>, Steps>> {
        let mut found: HashMap<Arc<str>, Steps> = HashMap::new();
        let mut batches = self.scan.scan(&self.query(table, codes, self.days, false)).await?;
        while let Some(batch) = batches.try_next().await? {
            for_each(&batch, |code, day, factor| {
                if !found.contains_key(code) {
                    found.insert(Arc::from(code), self.empty(table));
                }
                if let Some(steps) = found.get_mut(code) {
                    steps.add(day, factor);
                }
            });
        }
        for code in codes {
            let begins =
                found.get(code).and_then(|steps| steps.steps.first()).is_some_and(|(day, _)| *day == self.days.from);
            let before = match begins || self.days.from == Day::MIN {
                true => None,
                false => self.last(table, code, self.days.from.previous()).await?,
            };
            if let Some(factor) = before {
                found.entry(code.clone()).or_insert_with(|| self.empty(table)).before = Some(factor);
            }
            // Its first ex-date may lie behind the days that are read.
            let later = table.ex_dates_only && !found.contains_key(code);
            if later && self.last(table, code, Day::MAX).await?.is_some() {
                found.insert(code.clone(), self.empty(table));
            }
            let Some(anchor) = self.anchor else { continue };
            let inside = self.days.contains(anchor);
            let at_anchor = if inside { None } else { self.last(table, code, anchor).await? };
            if let Some(steps) = found.get_mut(code) {
                let unstepped = table.ex_dates_only.then_some(table.one);
                steps.at_anchor = if inside { steps.on(anchor) } else { at_anchor.or(unstepped) };
            }
        }
        Ok(found)
    }

    fn empty(&self, table: &Table) -> Steps {
        let before = table.ex_dates_only.then_some(table.one);
        Steps { table: table.dataset.clone(), one: table.one, before, steps: Vec::new(), at_anchor: None }
    }

    fn query(&self, table: &Table, codes: &[Arc<str>], span: Span, newest_first: bool) -> Query {
        let bound = |day: Day, open: Day| (day != open).then(|| day.to_string());
        let values = codes.iter().map(|code| code.to_string()).collect();
        let mut filters = vec![Filter::In { column: table.security.clone(), values }];
        if !span.is_all() {
            let (from, to) = (bound(span.from, Day::MIN), bound(span.to, Day::MAX));
            filters.push(Filter::Between { column: table.time.clone(), from, to });
        }
        let order = [(&table.security, false), (&table.time, newest_first)];
        let order = order.map(|(column, descending)| Order { column: column.clone(), descending });
        Query {
            columns: vec![table.security.clone(), table.time.clone(), table.column.clone()],
            filters,
            order: order.to_vec(),
            as_of: self.as_of,
            ..Query::all(&*table.dataset)
        }
    }

    /// The last factor of a security on or before a day.
    async fn last(&self, table: &Table, code: &Arc<str>, day: Day) -> Result<Option<i128>> {
        let query = self.query(table, std::slice::from_ref(code), Span::new(Day::MIN, day), true);
        let mut batches = self.scan.scan(&Query { limit: Some(LOOKED_BACK_MAX), ..query }).await?;
        let mut last = None;
        while let Some(batch) = batches.try_next().await? {
            for_each(&batch, |_, _, factor| last = last.or(Some(factor)));
        }
        Ok(last)
    }
}

/// Rows that are looked at for the last factor: some may hold none.
const LOOKED_BACK_MAX: u64 = 10;

/// Every factor that is one: present and above zero.
fn for_each(batch: &RecordBatch, mut take: impl FnMut(&str, Day, i128)) {
    let codes = batch.column(0).as_string::<i32>();
    let days = batch.column(1).as_primitive::<Date32Type>();
    let factors = batch.column(2).as_primitive::<Decimal128Type>();
    for row in 0..batch.num_rows() {
        if !factors.is_null(row) && factors.value(row) > 0 {
            take(codes.value(row), Day(days.value(row)), factors.value(row));
        }
    }
}
