//! What a call of a function means: parameters -> a query to the store, and its rows -> the function's table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::StreamExt;

use crate::catalog::Catalog;
use crate::dialect::akshare::encode::{self, Table};
use crate::dialect::akshare::functions::{Field, Form, Function, Shape, function};
use crate::dialect::akshare::mapping::security;
use crate::dialect::akshare::{Refusal, query};
use crate::model::cell::Cells;
use crate::model::dataset::{Cut, Service, unit_shift};
use crate::model::{Column, ColumnType, Dataset, Day, Error, ErrorKind, Filter, Order, Query, Result, decimal};
use crate::read::{PARAMETERS, View};
use crate::store::Scan;

/// A call understood.
pub struct Call {
    dataset: Arc<Dataset>,
    service: Service,
    function: Option<&'static Function>,
    params: BTreeMap<String, String>,
    filters: Vec<Filter>,
    /// The call asks for something that exists nowhere: a code of no exchange.
    impossible: bool,
}

/// The parameter of bars that the functions and `crate::read` have in common.
const ADJUST: &str = "adjust";

/// Boards by which `stock_yysj_em` may be asked, with the codes that belong to them.
const BOARDS: [(&str, Belongs); 5] = [
    ("沪市A股", |code| code.ends_with(".SH")),
    ("科创板", |code| code.starts_with("68")),
    ("深市A股", |code| code.ends_with(".SZ")),
    ("创业板", |code| code.starts_with("30")),
    ("京市A股", |code| code.ends_with(".BJ")),
];

type Belongs = fn(&str) -> bool;

/// Reads a call. `name` is a function that some dataset's `[[akshare]]` entry names.
pub fn read(catalog: &Catalog, name: &str, query: &str) -> Result<Call, Refusal> {
    let services = |dataset: &Arc<Dataset>| {
        let named = dataset.akshare.iter().filter(|service| service.api == name).cloned();
        named.map(|service| (dataset.clone(), service)).collect::<Vec<_>>()
    };
    let served: Vec<(Arc<Dataset>, Service)> = catalog.datasets().iter().flat_map(services).collect();
    let (_, first) = served.first().ok_or(Refusal::UnknownFunction)?;
    let function = function(name);
    let mut params = query::read(query)?;
    let known = |name: &str| match function {
        Some(function) => function.parameters.iter().any(|(own, _)| *own == name),
        None => parameters(first).any(|own| own == name),
    };
    let ours = |name: &str| name != ADJUST && PARAMETERS.contains(&name);
    if !params.keys().all(|name| known(name) || ours(name)) {
        return Err(Refusal::Fault);
    }
    for (name, default) in function.map(|function| function.parameters).unwrap_or_default() {
        if let Some(default) = default {
            params.entry(name.to_string()).or_insert_with(|| default.to_string());
        }
    }
    match params.get(ADJUST).map_or("", String::as_str) {
        "" | "qfq" | "hfq" => {}
        other => return Err(Refusal::Key(other.to_string())),
    }
    // The boards are no dictionary there: an unknown one is the whole market.
    let fits = |service: &Service| {
        let mut always = service.always.iter().filter(|(parameter, _)| parameter.as_str() != "symbol");
        always.all(|(parameter, value)| params.get(parameter).is_none_or(|given| given == value))
    };
    let (dataset, service) = served.iter().find(|(_, service)| fits(service)).cloned().ok_or_else(|| {
        let wrong = first.always.keys().find_map(|parameter| params.get(parameter));
        wrong.map_or(Refusal::Fault, |value| Refusal::Key(value.clone()))
    })?;
    let mut call = Call { dataset, service, function, params, filters: Vec::new(), impossible: false };
    call.narrow()?;
    Ok(call)
}

/// The parameters that a service knows.
fn parameters(service: &Service) -> impl Iterator<Item = &str> {
    let cuts = service.cuts.iter().flat_map(|cut| match cut {
        Cut::Day { day } => vec![day.as_str()],
        Cut::Period { period } => vec![period.as_str()],
        Cut::Security { security, from, to } => {
            [Some(security), from.as_ref(), to.as_ref()].into_iter().flatten().map(String::as_str).collect()
        }
        Cut::Range { from, to } => vec![from.as_str(), to.as_str()],
        Cut::Whole => Vec::new(),
    });
    cuts.chain(service.always.keys().chain(service.facets.keys()).map(String::as_str))
}

impl Call {
    fn shape(&self) -> Shape {
        self.function.map(|function| function.shape).unwrap_or_default()
    }

    /// What the parameters say of the rows.
    fn narrow(&mut self) -> Result<(), Refusal> {
        for cut in self.service.cuts.clone() {
            match cut {
                Cut::Day { day: name } | Cut::Period { period: name } => {
                    let day = self.day(&name)?.ok_or(Refusal::Fault)?;
                    self.equal(self.dataset.time.clone(), day.to_string());
                }
                Cut::Security { security: name, from, to } => {
                    let code = self.params.get(&name).cloned().unwrap_or_default();
                    match security(&code).filter(|_| code.len() == 6) {
                        Some(code) => self.equal(self.dataset.security.clone(), code),
                        None => self.impossible = true,
                    }
                    self.between(from.as_deref(), to.as_deref())?;
                }
                Cut::Range { from, to } => self.between(Some(&from), Some(&to))?,
                Cut::Whole => {}
            }
        }
        if let Some(year) = self.params.get("start_year").cloned() {
            match year.parse().ok().and_then(|year| Day::new(year, 1, 1)) {
                Some(first) => self.bound(Some(first.to_string()), None),
                None => self.impossible = true,
            }
        }
        if self.shape() == Shape::TradingDays {
            self.equal(Some("exchange".to_string()), "SSE".to_string());
            self.equal(Some("is_open".to_string()), "1".to_string());
        }
        Ok(())
    }

    fn day(&self, name: &str) -> Result<Option<Day>, Refusal> {
        let given = self.params.get(name).filter(|text| !text.is_empty());
        given.map(|text| Day::parse(text).map_err(|_| Refusal::Fault)).transpose()
    }

    fn between(&mut self, from: Option<&str>, to: Option<&str>) -> Result<(), Refusal> {
        let day = |name: Option<&str>| name.map_or(Ok(None), |name| self.day(name));
        let (from, to) = (day(from)?, day(to)?);
        self.bound(from.map(|day| day.to_string()), to.map(|day| day.to_string()));
        Ok(())
    }

    fn bound(&mut self, from: Option<String>, to: Option<String>) {
        if let (Some(column), true) = (self.dataset.time.clone(), from.is_some() || to.is_some()) {
            self.filters.push(Filter::Between { column, from, to });
        }
    }

    fn equal(&mut self, column: Option<String>, value: String) {
        self.filters.extend(column.map(|column| Filter::In { column, values: vec![value] }));
    }

    /// The fields of the answer.
    fn fields(&self) -> Vec<(String, Form)> {
        let listed: &[Field] = self.function.map(|function| function.fields).unwrap_or_default();
        if !listed.is_empty() {
            return listed.iter().map(|field| (field.name.to_string(), field.form)).collect();
        }
        let is_field = |field: &str| !field.contains(" - ") && !self.params.contains_key(field);
        let columns = self.dataset.columns.iter().filter_map(|column| {
            let served = self.service.columns.get(&column.name).filter(|served| is_field(&served.field))?;
            Some((served.field.clone(), form_of(column)))
        });
        columns.collect()
    }

    /// The column behind a field.
    fn column(&self, field: &str) -> Option<&Column> {
        let name = match (self.shape(), field) {
            (Shape::TradingDays, "trade_date") => self.dataset.time.as_ref()?,
            _ => self.service.columns.iter().find(|(_, served)| served.field == field)?.0,
        };
        self.dataset.column(name)
    }

    fn order(&self) -> Vec<Order> {
        let listed = self.function.map(|function| function.order).unwrap_or_default();
        let by = |(field, descending): &(&str, bool)| {
            Some(Order { column: self.column(field)?.name.clone(), descending: *descending })
        };
        let mut order: Vec<Order> = listed.iter().filter_map(by).collect();
        let rest = self.dataset.key.iter().filter(|name| !listed_in(&order, name)).cloned().collect::<Vec<_>>();
        order.extend(rest.into_iter().map(|column| Order { column, descending: false }));
        order
    }

    /// Whether a row with this code is asked for.
    fn wants(&self, code: Option<&str>) -> bool {
        let board = self.params.get("symbol").filter(|_| self.service.always.contains_key("symbol"));
        let test = board.and_then(|board| BOARDS.iter().find(|(name, _)| name == board));
        test.is_none_or(|(_, belongs)| code.is_some_and(belongs))
    }

    /// In which times and price base the rows are wanted.
    pub fn view(&self, seen: &[(&str, &str)]) -> Result<View, Refusal> {
        let header = |name: &str| seen.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        View::asked(|name| self.params.get(name).map(String::as_str).or_else(|| header(name)))
            .map_err(|_| Refusal::Fault)
    }

    /// The table that answers the call; what other tables know is read from `beside`.
    pub async fn answer(&self, scan: &dyn Scan, beside: &dyn Scan, rows_max: usize) -> Result<Table, Refusal> {
        let fields = self.fields();
        let mut table = Table::new(fields.iter().map(|(name, _)| name.as_str()));
        if !self.impossible {
            let read = self.read_rows(scan, beside, rows_max).await;
            let (batches, extras) = read.map_err(|error| refused(&self.service.api, &error))?;
            for batch in &batches {
                self.write(batch, &fields, &extras, &mut table).map_err(|error| refused(&self.service.api, &error))?;
            }
        }
        match self.shape() {
            Shape::Table | Shape::TradingDays => Ok(table),
            // The functions fail over a page without data.
            _ if table.rows.is_empty() => Err(Refusal::Fault),
            Shape::Items => Ok(table.into_items()),
            Shape::Periods => Ok(table.into_periods()),
        }
    }

    async fn read_rows(
        &self,
        scan: &dyn Scan,
        beside: &dyn Scan,
        rows_max: usize,
    ) -> Result<(Vec<RecordBatch>, Extras)> {
        let query = Query {
            filters: self.filters.clone(),
            order: self.order(),
            limit: Some(rows_max as u64 + 1),
            ..Query::all(&self.dataset.name)
        };
        let batches = collect(scan, &query).await?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > rows_max {
            return Err(Error::invalid(format!("{} has more than {rows_max} rows", self.dataset.name))
                .hint("raise mirror.rows_max"));
        }
        let mut extras = Extras::default();
        if self.fields().iter().any(|(field, _)| field == "股票简称" && self.column(field).is_none()) {
            extras.names = pairs(beside, Query::all("stock_basic"), "ts_code", "name").await?;
        }
        if self.dataset.name == "daily" && self.service.api == "stock_zh_a_hist" {
            let query = Query { filters: self.filters.clone(), ..Query::all("daily_basic") };
            extras.turnover = pairs(beside, query, "trade_date", "turnover_rate").await?;
        }
        Ok((batches, extras))
    }

    fn write(&self, batch: &RecordBatch, fields: &[(String, Form)], extras: &Extras, table: &mut Table) -> Result<()> {
        let cells = |name: &str| batch.column_by_name(name).map(|array| Cells::of(array.as_ref())).transpose();
        let code = self.dataset.security.as_deref().map_or(Ok(None), cells)?;
        let time = self.dataset.time.as_deref().map_or(Ok(None), cells)?;
        let status = cells("list_status")?.filter(|_| self.service.api == "stock_info_a_code_name");
        let [high, low, before] = [cells("high")?, cells("low")?, cells("pre_close")?];
        let mut columns = Vec::with_capacity(fields.len());
        for (field, form) in fields {
            columns.push((self.source(field, batch)?, *form, field.as_str()));
        }
        for row in 0..batch.num_rows() {
            let text = |cells: &Option<Cells<'_>>| cells.as_ref().and_then(|cells| text(cells, row));
            let of = text(&code);
            if text(&status).as_deref() == Some("D") || !self.wants(of.as_deref()) {
                continue;
            }
            let number = table.rows.len() + 1;
            let cell = |(source, form, field): &(Option<(Cells<'_>, i8)>, Form, &str)| match (source, *field) {
                (_, "序号") => number.to_string(),
                (Some((cells, shift)), _) => self.worded(field, encode::cell(cells, row, *shift, *form)),
                (None, "振幅") => amplitude(&text(&high), &text(&low), &text(&before)),
                (None, "换手率") => found(&extras.turnover, text(&time)).map_or(null(), |text| encode::number(text)),
                (None, "股票简称") => found(&extras.names, of.clone()).map_or(null(), |text| encode::quoted(text)),
                (None, _) => null(),
            };
            table.rows.push(columns.iter().map(cell).collect());
        }
        Ok(())
    }

    /// The source's word for the column's.
    fn worded(&self, field: &str, cell: String) -> String {
        let served = self.service.columns.values().find(|served| served.field == field);
        let words = served.map(|served| &served.values).filter(|words| !words.is_empty());
        let mut words = words.into_iter().flatten();
        words.find(|(_, value)| encode::quoted(value) == cell).map_or(cell, |(word, _)| encode::quoted(word))
    }

    /// The cells behind a field and the powers of ten from the wire's unit to the column's.
    fn source<'b>(&self, field: &str, batch: &'b RecordBatch) -> Result<Option<(Cells<'b>, i8)>> {
        let Some(column) = self.column(field) else { return Ok(None) };
        let served = self.service.columns.get(&column.name);
        let unit = served.and_then(|served| served.unit.as_deref()).unwrap_or(&column.unit);
        let shift = unit_shift(unit, &column.unit).unwrap_or(0);
        let Some(array) = batch.column_by_name(&column.name) else { return Ok(None) };
        Ok(Some((Cells::of(array.as_ref())?, shift)))
    }
}

fn listed_in(order: &[Order], name: &str) -> bool {
    order.iter().any(|part| part.column == name)
}

fn null() -> String {
    "null".to_string()
}

fn form_of(column: &Column) -> Form {
    match column.kind {
        ColumnType::Text | ColumnType::Datetime => Form::Text,
        ColumnType::Date => Form::Date,
        ColumnType::Int => Form::Integer,
        ColumnType::Decimal | ColumnType::Float => Form::Number,
    }
}

/// What other tables know about the rows.
#[derive(Default)]
struct Extras {
    /// Code -> name.
    names: HashMap<String, String>,
    /// Day -> turnover rate.
    turnover: HashMap<String, String>,
}

fn found(known: &HashMap<String, String>, key: Option<String>) -> Option<&String> {
    known.get(&key?)
}

fn text(cells: &Cells<'_>, row: usize) -> Option<String> {
    let mut out = Vec::new();
    cells.write(row, 0, &mut out);
    String::from_utf8(out).ok().filter(|text| !text.is_empty())
}

/// High less low in per cent of the close before, with two decimals.
fn amplitude(high: &Option<String>, low: &Option<String>, before: &Option<String>) -> String {
    let fen = |text: &Option<String>| decimal::parse(text.as_deref()?, 4, 0);
    let (Some(high), Some(low), Some(before)) = (fen(high), fen(low), fen(before).filter(|before| *before > 0)) else {
        return null();
    };
    let hundredths = (2 * (high - low) * 10_000 + before) / (2 * before);
    encode::number(&decimal::to_text(hundredths, 2))
}

async fn collect(scan: &dyn Scan, query: &Query) -> Result<Vec<RecordBatch>> {
    let mut stream = scan.scan(query).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await.transpose()? {
        batches.push(batch);
    }
    Ok(batches)
}

/// Two columns of a table as a map; empty when the table is not known.
async fn pairs(scan: &dyn Scan, query: Query, key: &str, value: &str) -> Result<HashMap<String, String>> {
    let query = Query { columns: vec![key.to_string(), value.to_string()], ..query };
    let batches = match collect(scan, &query).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        batches => batches?,
    };
    let mut known = HashMap::new();
    for batch in &batches {
        let (keys, values) = (Cells::of(batch.column(0).as_ref())?, Cells::of(batch.column(1).as_ref())?);
        known.extend((0..batch.num_rows()).filter_map(|row| Some((text(&keys, row)?, text(&values, row)?))));
    }
    Ok(known)
}

fn refused(api: &str, error: &Error) -> Refusal {
    tracing::warn!(api, %error, "the mirror cannot answer");
    Refusal::Fault
}
