//! Bars: one security over a span, or every share on one day. BaoStock sends a row for a suspended day, which `daily` has
//! not: it is put together from suspensions and the close before.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::feeds::Feed;
use super::lists::number;
use super::{Answered, Mirror};
use crate::dialect::baostock::message::{BAR_FIELDS, DAY_FIELDS};
use crate::dialect::baostock::{Layout, Question, Refusal, Table, cells};
use crate::model::cell::Cells;
use crate::model::dataset::Universe;
use crate::model::{Day, Filter, Order, Query};
use crate::read::Adjust;

/// Whose bars, of which days.
struct Wanted {
    /// In the wire's form; `None`: every share.
    code: Option<String>,
    from: Day,
    to: Day,
    fields: Vec<&'static str>,
    is_index: bool,
    adjust: Option<Adjust>,
}

/// A listed share.
pub(super) struct Listed {
    /// In the wire's form.
    pub code: String,
    pub name: String,
}

/// Fields that have prices of the close before on a suspended day.
const PRICES: [&str; 5] = ["open", "high", "low", "close", "preclose"];

type Place = (String, Day);

impl Mirror {
    pub(super) async fn bars(&self, question: &Question) -> Answered<Table> {
        let wanted = self.wanted(question)?;
        let mut feeds: Vec<Feed> = self.feeds(&question.with("adjustflag", "3"));
        feeds.retain(|feed| (feed.dataset.universe == Universe::Index) == wanted.is_index);
        // The dataset with the prices says which rows there are; the others add fields, those first that hold what
        // BaoStock itself said.
        feeds.sort_by_key(|feed| (feed.column_of("open").is_none(), feed.is_partly_unproven()));
        let mut output = Table::new(wanted.fields.iter().map(|name| name.to_string()).collect());
        let Some((prices, others)) = feeds.split_first() else { return Ok(output) };
        let whole: Vec<&str> = DAY_FIELDS.iter().map(|field| field.name).collect();
        let base = self.rows_of(prices, question, &whole, &wanted).await?;
        let mut more = Vec::new();
        for feed in others {
            more.push(self.rows_of(feed, question, &whole, &wanted).await?);
        }
        let daily = !wanted.is_index && question.arg("frequency") != "w" && question.arg("frequency") != "m";
        let halted = if daily { self.halted(&wanted, &base, &more).await? } else { BTreeSet::new() };
        let mut places: Vec<Place> = base.places.keys().cloned().chain(halted.iter().cloned()).collect();
        places.sort_unstable_by(|left, right| (left.1, &left.0).cmp(&(right.1, &right.0)));
        let mut last_close: HashMap<String, String> = HashMap::new();
        for place in &places {
            let row = base.row(place);
            if row.is_none() && !last_close.contains_key(&place.0) {
                let close = self.close_before(prices, question, place, wanted.adjust).await?;
                last_close.insert(place.0.clone(), close);
            }
            for name in &wanted.fields {
                let cell = match row {
                    Some(row) => base.cell(row, name),
                    None => suspended(name, place, last_close.get(&place.0).map_or("", String::as_str)),
                };
                let cell = match cell.is_empty() {
                    true => filled(name, place, question, row.is_some(), &more),
                    false => cell,
                };
                output.push(&cell);
            }
            if let Some(row) = row {
                last_close.insert(place.0.clone(), base.cell(row, "close"));
            }
        }
        Ok(output)
    }

    /// What the arguments mean.
    fn wanted(&self, question: &Question) -> Result<Wanted, Refusal> {
        if question.message.layout == Layout::WholeDay {
            let day = self.day(question.arg("date"))?;
            let fields = DAY_FIELDS.iter().map(|field| field.name).collect();
            return Ok(Wanted { code: None, from: day, to: day, fields, is_index: false, adjust: None });
        }
        let code = question.arg("code").to_ascii_lowercase();
        let canonical = cells::canonical_code(&code).ok_or(Refusal::Code)?;
        let (from, to) = self.span(question)?;
        match question.arg("frequency") {
            "d" | "w" | "m" => {}
            "5" | "15" | "30" | "60" => return Err(Refusal::NotServed),
            _ => return Err(Refusal::Arguments),
        }
        let adjust = match question.arg("adjustflag") {
            "1" => Some(Adjust::Backward),
            "2" => Some(Adjust::Forward),
            "3" => None,
            _ => return Err(Refusal::Arguments),
        };
        let mut fields: Vec<&'static str> = Vec::new();
        for name in question.arg("fields").split(',').map(str::trim) {
            let known = BAR_FIELDS.iter().find(|field| field.name == name && name != "time").ok_or(Refusal::Field)?;
            if fields.contains(&known.name) {
                return Err(Refusal::FieldTwice);
            }
            fields.push(known.name);
        }
        let is_index = self.indices().any(|index| cells::canonical_code(&index).as_deref() == Some(&canonical));
        Ok(Wanted { code: Some(code), from, to, fields, is_index, adjust })
    }

    async fn rows_of(&self, feed: &Feed, question: &Question, fields: &[&str], wanted: &Wanted) -> Answered<Rows> {
        let mut query = Query::all(&feed.dataset.name);
        query.filters.extend(feed.between(wanted.from, wanted.to));
        if let (Some(code), Some(security)) = (&wanted.code, &feed.dataset.security) {
            query.filters.push(feed.equals(security, code));
        }
        Ok(Rows::new(self.read(feed, question.message, fields, query, wanted.adjust).await?))
    }

    /// Days on which a share was listed and did not trade, as far as the store knows.
    async fn halted(&self, wanted: &Wanted, base: &Rows, more: &[Rows]) -> Answered<BTreeSet<Place>> {
        let halts = self.halts(wanted.code.as_deref(), wanted.from, wanted.to).await?;
        let stated = more.iter().flat_map(|rows| {
            let status = |place: &&Place| rows.row(place).is_some_and(|row| rows.cell(row, "tradestatus") == "0");
            rows.places.keys().filter(status).cloned()
        });
        Ok(halts.into_iter().chain(stated).filter(|place| base.row(place).is_none()).collect())
    }

    /// The last close before a day; empty when there is none.
    async fn close_before(
        &self,
        feed: &Feed,
        question: &Question,
        place: &Place,
        adjust: Option<Adjust>,
    ) -> Answered<String> {
        let (Some(security), Some(time)) = (&feed.dataset.security, feed.dataset.time.clone()) else {
            return Ok(String::new());
        };
        let mut query = Query::all(&feed.dataset.name);
        query.filters = vec![
            feed.equals(security, &place.0),
            Filter::Between { column: time.clone(), from: None, to: Some(place.1.previous().to_string()) },
        ];
        query.order = vec![Order { column: time, descending: true }];
        query.limit = Some(1);
        let table = self.read(feed, question.message, &["close"], query, adjust).await?;
        Ok(table.cell(0, 0).to_string())
    }

    /// Securities and days of suspensions that last the whole day.
    pub(super) async fn halts(&self, code: Option<&str>, from: Day, to: Day) -> Answered<HashSet<Place>> {
        let mut filters = vec![
            Filter::In { column: "suspend_type".into(), values: vec!["S".into()] },
            Filter::In { column: "suspend_timing".into(), values: vec![String::new()] },
            Filter::Between { column: "trade_date".into(), from: Some(from.to_string()), to: Some(to.to_string()) },
        ];
        if let Some(code) = code.and_then(cells::canonical_code) {
            filters.push(Filter::In { column: "ts_code".into(), values: vec![code] });
        }
        let rows = self.texts("suspend_d", ["ts_code", "trade_date"], filters).await?;
        let place = |[code, day]: [String; 2]| Some((cells::wire_code(&code)?, Day::parse(&day).ok()?));
        Ok(rows.into_iter().filter_map(place).collect())
    }

    /// The shares that are listed on a day.
    pub(super) async fn listed(&self, day: Day) -> Answered<Vec<Listed>> {
        let rows = self.texts("stock_basic", ["ts_code", "name", "list_date", "delist_date"], Vec::new()).await?;
        let on_the_day = |[code, name, listed, delisted]: [String; 4]| {
            let lives = Day::parse(&listed).is_ok_and(|listed| listed <= day)
                && Day::parse(&delisted).map_or(true, |delisted| day < delisted);
            lives.then(|| Some(Listed { code: cells::wire_code(&code)?, name })).flatten()
        };
        Ok(rows.into_iter().filter_map(on_the_day).collect())
    }

    /// Whether the exchange trades on a day; as long as the calendar is not known, on weekdays.
    pub(super) async fn is_open(&self, day: Day) -> Answered<bool> {
        let filters = vec![
            Filter::In { column: "exchange".into(), values: vec!["SSE".into()] },
            Filter::In { column: "cal_date".into(), values: vec![day.to_string()] },
        ];
        let rows = self.texts("trade_cal", ["is_open"], filters).await?;
        Ok(rows.first().map_or(!day.is_weekend(), |[open]| open == "1"))
    }

    /// The indices that the catalogue follows, in the wire's form.
    pub(super) fn indices(&self) -> impl Iterator<Item = String> {
        let indices = self.catalog.datasets().iter().filter(|dataset| dataset.universe == Universe::Index);
        indices.flat_map(|dataset| dataset.codes.iter()).filter_map(|code| cells::wire_code(code))
    }

    /// Columns of a dataset as canonical texts; none when the catalogue has no such dataset.
    async fn texts<const N: usize>(
        &self,
        dataset: &str,
        columns: [&str; N],
        filters: Vec<Filter>,
    ) -> Answered<Vec<[String; N]>> {
        let known =
            self.catalog.get(dataset).is_ok_and(|dataset| columns.iter().all(|name| dataset.column(name).is_some()));
        if !known {
            return Ok(Vec::new());
        }
        let query =
            Query { columns: columns.iter().map(|name| name.to_string()).collect(), filters, ..Query::all(dataset) };
        let mut rows = Vec::new();
        for batch in self.batches(query, None).await? {
            let mut cells = Vec::with_capacity(N);
            for name in columns {
                let array = batch.column_by_name(name);
                cells.push(array.map(|array| Cells::of(array.as_ref())).transpose()?);
            }
            rows.extend((0..batch.num_rows()).map(|row| {
                std::array::from_fn(|at| {
                    let mut text = Vec::new();
                    if let Some(Some(cells)) = cells.get(at) {
                        cells.write(row, 0, &mut text);
                    }
                    String::from_utf8(text).unwrap_or_default()
                })
            }));
        }
        Ok(rows)
    }
}

/// A table whose rows are found by security and day.
struct Rows {
    table: Table,
    places: HashMap<Place, usize>,
}

impl Rows {
    fn new(table: Table) -> Rows {
        let (code, date) = (table.column("code"), table.column("date"));
        let place = |row: usize| {
            let day = Day::parse(table.cell(row, date?)).ok()?;
            Some(((table.cell(row, code?).to_string(), day), row))
        };
        let places = (0..table.rows()).filter_map(place).collect();
        Rows { table, places }
    }

    fn row(&self, place: &Place) -> Option<usize> {
        self.places.get(place).copied()
    }

    fn cell(&self, row: usize, name: &str) -> String {
        self.table.column(name).map(|column| self.table.cell(row, column).to_string()).unwrap_or_default()
    }
}

/// What a suspended day has in a field, when no dataset says.
fn suspended(name: &str, place: &Place, close: &str) -> String {
    match name {
        "date" => place.1.to_string(),
        "code" => place.0.clone(),
        "tradestatus" => "0".to_string(),
        "volume" => "0".to_string(),
        name if PRICES.contains(&name) => close.to_string(),
        "amount" | "pctChg" => {
            let form = BAR_FIELDS.iter().find(|field| field.name == name).map(|field| field.form);
            form.map_or_else(String::new, |form| number(form, "0"))
        }
        _ => String::new(),
    }
}

/// A field that the prices have not: what the question says itself, or what another dataset knows.
fn filled(name: &str, place: &Place, question: &Question, traded: bool, more: &[Rows]) -> String {
    match name {
        "adjustflag" => match question.arg("adjustflag") {
            "" => "3".to_string(),
            flag => flag.to_string(),
        },
        "tradestatus" => if traded { "1" } else { "0" }.to_string(),
        name => {
            let known = more.iter().filter_map(|rows| Some(rows.cell(rows.row(place)?, name)));
            known.into_iter().find(|cell| !cell.is_empty()).unwrap_or_default()
        }
    }
}
