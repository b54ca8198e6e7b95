//! Answers that are lists of one dataset: calendar, securities, industries, factors, reports, members of an index.

use super::feeds::Feed;
use super::{Answered, Mirror};
use crate::dialect::baostock::{Form, Question, Refusal, Table, cells};
use crate::model::{Day, Filter, Order, Query};

/// Where spans begin when a question names no day.
const DEFAULT_START: &str = "2015-01-01";

impl Mirror {
    /// The rows of the dataset behind a query.
    pub(super) async fn list(&self, question: &Question) -> Answered<Table> {
        let message = question.message;
        let fields: Vec<&str> = message.fields.iter().map(|field| field.name).collect();
        let Some(feed) = self.feed_of(question) else { return Err(Refusal::UnknownType.into()) };
        let mut query = Query::all(&feed.dataset.name);
        query.filters = feed.facet_filters(message);
        for name in message.params {
            self.narrow(&feed, question, name, &mut query).await?;
        }
        let ordered_by_time = !question.arg("code").is_empty() || message.param("start_date").is_some();
        if ordered_by_time && let Some(time) = &feed.dataset.time {
            query.order = vec![Order { column: time.clone(), descending: false }];
        }
        let table = self.read(&feed, message, &fields, query, None).await?;
        Ok(if ordered_by_time { table } else { by_code(&table) })
    }

    /// The dataset that answers. Dividends are kept by the year of announcement and can be asked for by either year.
    fn feed_of(&self, question: &Question) -> Option<Feed> {
        self.feeds(&question.with("yearType", "report")).into_iter().next()
    }

    /// What one argument asks for.
    async fn narrow(&self, feed: &Feed, question: &Question, name: &str, query: &mut Query) -> Answered<()> {
        let value = question.arg(name);
        match name {
            "code" if value.is_empty() => {}
            "code" => {
                let column = feed.dataset.security.as_deref().unwrap_or("ts_code");
                cells::canonical_code(value).ok_or(Refusal::Code)?;
                query.filters.push(feed.equals(column, value));
            }
            "end_date" | "yearType" | "quarter" => {}
            "start_date" => {
                let (from, to) = self.span(question)?;
                query.filters.extend(feed.between(from, to));
            }
            "year" => self.narrow_year(feed, question, query)?,
            "date" | "day" => {
                let day = self.day(value)?;
                match (feed.column_of(name), feed.dataset.time.as_deref()) {
                    // The newest list up to the day.
                    (Some(column), _) => {
                        let newest = self.newest(feed, day).await?.unwrap_or(day);
                        query.filters.push(feed.equals(column, &newest.to_string()));
                    }
                    (None, Some(time)) => query.filters.push(feed.equals(time, &day.to_string())),
                    // One state of everything.
                    (None, None) => {}
                }
            }
            _ if value.is_empty() => {}
            other => {
                let column = feed.column_of(other).ok_or(Refusal::Arguments)?;
                query.filters.push(feed.equals(column, value));
            }
        }
        Ok(())
    }

    fn narrow_year(&self, feed: &Feed, question: &Question, query: &mut Query) -> Answered<()> {
        let year: i16 = question.arg("year").parse().map_err(|_| Refusal::Arguments)?;
        if question.message.param("quarter").is_some() {
            let quarter: i8 = question.arg("quarter").parse().map_err(|_| Refusal::Arguments)?;
            let end = (1..=4).contains(&quarter).then(|| Day::new(year, quarter * 3, 1)).flatten();
            let end = end.ok_or(Refusal::Arguments)?.month_end();
            query.filters.extend(feed.between(end, end));
            return Ok(());
        }
        match question.arg("yearType") {
            "report" => {
                let column = feed.column_of("year").ok_or(Refusal::Arguments)?;
                query.filters.push(feed.equals(column, question.arg("year")));
            }
            "operate" => {
                let column = feed.column_of("dividOperateDate").ok_or(Refusal::Arguments)?.to_string();
                let (from, to) = (Some(format!("{year:04}-01-01")), Some(format!("{year:04}-12-31")));
                query.filters.push(Filter::Between { column, from, to });
            }
            _ => return Err(Refusal::Arguments.into()),
        }
        Ok(())
    }

    /// The days that `start_date` and `end_date` bound.
    pub(super) fn span(&self, question: &Question) -> Result<(Day, Day), Refusal> {
        let text = |name: &str, default: String| match question.arg(name) {
            "" => default,
            given => given.to_string(),
        };
        let from = Day::parse(&text("start_date", DEFAULT_START.to_string())).map_err(|_| Refusal::StartDate)?;
        let today = self.clock.now().day().to_string();
        let to = Day::parse(&text("end_date", today)).map_err(|_| Refusal::EndDate)?;
        if from > to { Err(Refusal::Backwards) } else { Ok((from, to)) }
    }

    pub(super) fn day(&self, text: &str) -> Result<Day, Refusal> {
        match text {
            "" => Ok(self.clock.now().day()),
            text => Day::parse(text).map_err(|_| Refusal::Date),
        }
    }

    /// Every security of a day with its status: the list as it was fetched, or worked out from listings, suspensions
    /// and the calendar.
    pub(super) async fn all_stock(&self, question: &Question) -> Answered<Table> {
        let day = self.day(question.arg("day"))?;
        if let Some(feed) = self.feeds(question).into_iter().next() {
            let mut query = Query::all(&feed.dataset.name);
            query.filters.extend(feed.between(day, day));
            let table = self.read(&feed, question.message, &["code", "tradeStatus", "code_name"], query, None).await?;
            if !table.is_empty() {
                return Ok(by_code(&table));
            }
        }
        let mut table = Table::new(question.message.fields.iter().map(|field| field.name.to_string()).collect());
        if !self.is_open(day).await? {
            return Ok(table);
        }
        let halted = self.halts(None, day, day).await?;
        for stock in self.listed(day).await? {
            let status = if halted.contains(&(stock.code.clone(), day)) { "0" } else { "1" };
            [stock.code.as_str(), status, &stock.name].into_iter().for_each(|cell| table.push(cell));
        }
        for code in self.indices() {
            [code.as_str(), "1", ""].into_iter().for_each(|cell| table.push(cell));
        }
        Ok(by_code(&table))
    }
}

/// The rows in the order of their codes, Shanghai first, as the service lists them.
pub(super) fn by_code(table: &Table) -> Table {
    let Some(code) = table.column("code") else { return table.clone() };
    let mut rows: Vec<usize> = (0..table.rows()).collect();
    rows.sort_by(|left, right| table.cell(*left, code).cmp(table.cell(*right, code)));
    let mut sorted = Table::new(table.fields.clone());
    for row in rows {
        (0..table.fields.len()).for_each(|column| sorted.push(table.cell(row, column)));
    }
    sorted
}

/// A number as the field writes it.
pub(super) fn number(form: Form, text: &str) -> String {
    match form {
        Form::Fixed(places) => cells::fixed(text, places),
        _ => text.to_string(),
    }
}
