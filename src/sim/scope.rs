//! What a query narrows down: which securities and which days a table has to look at at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::dataset::Points;
use crate::model::{ColumnType, Dataset, Day, Filter, Instant, Query, Result, Span};

use super::core::Core;
use super::holidays::FIRST_DAY;
use crate::read::rows::column_of;

/// The part of a dataset that a table shall produce. It may produce more: filters follow.
#[derive(Clone, Debug)]
pub struct Scope {
    pub dataset: Arc<Dataset>,
    pub stocks: Arc<Vec<u32>>,
    /// Bounds of date columns.
    spans: HashMap<String, Span>,
    /// Values that a text column may have.
    values: HashMap<String, Vec<String>>,
    pub now: Instant,
}

impl Scope {
    pub fn of(core: &Core, dataset: &Arc<Dataset>, query: &Query, now: Instant) -> Result<Scope> {
        let mut scope = Scope {
            dataset: dataset.clone(),
            stocks: Arc::new((0..core.stocks.len() as u32).collect()),
            spans: HashMap::new(),
            values: HashMap::new(),
            now,
        };
        for filter in &query.filters {
            scope.narrow(core, filter)?;
        }
        Ok(scope)
    }

    fn narrow(&mut self, core: &Core, filter: &Filter) -> Result<()> {
        let dataset = self.dataset.clone();
        let name = column_of(filter);
        let column = &dataset.columns[crate::read::rows::position(&dataset, name)?];
        match (column.kind, filter) {
            (ColumnType::Date, Filter::In { values, .. }) => {
                let days = values.iter().map(|text| Day::parse(text)).collect::<Result<Vec<Day>>>()?;
                let bounds = days.iter().min().zip(days.iter().max());
                let span = bounds.map_or(Span::new(Day::MAX, Day::MIN), |(from, to)| Span::new(*from, *to));
                self.narrow_span(name, span);
            }
            (ColumnType::Date, Filter::Between { from, to, .. }) => {
                let from = from.as_deref().map_or(Ok(Day::MIN), Day::parse)?;
                let to = to.as_deref().map_or(Ok(Day::MAX), Day::parse)?;
                self.narrow_span(name, Span::new(from, to));
            }
            (_, Filter::In { values, .. }) => {
                if dataset.security.as_deref() == Some(name) {
                    let known = |number: &u32| values.iter().any(|code| **code == *core.stock(*number).code);
                    let mut numbers: Vec<u32> = match values.len() {
                        0..=64 => values.iter().filter_map(|code| core.number_of(code)).collect(),
                        _ => self.stocks.iter().copied().filter(known).collect(),
                    };
                    numbers.sort_unstable();
                    numbers.dedup();
                    self.stocks = Arc::new(numbers);
                }
                self.values.insert(name.to_owned(), values.clone());
            }
            _ => {}
        }
        Ok(())
    }

    fn narrow_span(&mut self, column: &str, span: Span) {
        let narrower = self.span(column);
        let span = Span::new(narrower.from.max(span.from), narrower.to.min(span.to));
        self.spans.insert(column.to_owned(), span);
    }

    /// The bounds of a date column; may be empty.
    pub fn span(&self, column: &str) -> Span {
        self.spans.get(column).copied().unwrap_or(Span::ALL)
    }

    /// Whether the query can want rows with this value.
    pub fn wants(&self, column: &str, value: &str) -> bool {
        self.values.get(column).is_none_or(|values| values.iter().any(|wanted| wanted == value))
    }

    pub fn with_span(&self, column: &str, span: Span) -> Scope {
        let mut scope = self.clone();
        scope.narrow_span(column, span);
        scope
    }

    pub fn with_stocks(&self, stocks: &[u32]) -> Scope {
        Scope { stocks: Arc::new(stocks.to_vec()), ..self.clone() }
    }

    /// The sessions that the query wants, that the dataset has and that are published.
    pub fn sessions(&self, core: &Core) -> Range<u32> {
        let wanted = self.span("trade_date");
        let from = wanted.from.max(self.dataset.first_day()).max(core.days.from);
        let to = wanted.to.min(core.days.to);
        let sessions = core.sessions.numbers(Span::new(from, to));
        sessions.start..sessions.end.min(self.published(core)).max(sessions.start)
    }

    /// The first session that is not published yet.
    fn published(&self, core: &Core) -> u32 {
        let publish = &self.dataset.publish;
        let mut end = core.sessions.number_from(self.now.day().next());
        while end > 0 {
            let due = core.sessions.day(end - 1 + publish.days_later.max(0) as u32);
            if Instant::at(due, publish.minute().unwrap_or(0)) <= self.now {
                break;
            }
            end -= 1;
        }
        end
    }

    /// Whether something announced on `day` is out.
    pub fn announced(&self, day: Day) -> bool {
        let later = match self.dataset.expect.points {
            Points::QuarterEnd => 0,
            _ => self.dataset.publish.days_later,
        };
        Instant::at(day.plus(later), self.dataset.publish.minute().unwrap_or(0)) <= self.now
    }

    /// The wanted days of a column that the calendar knows.
    pub fn known_days(&self, core: &Core, column: &str) -> Span {
        let span = self.span(column);
        Span::new(span.from.max(FIRST_DAY), span.to.min(core.sessions.last()))
    }
}
