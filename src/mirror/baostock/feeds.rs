//! Which datasets feed an answer, read off the catalogue's `[[baostock]]` entries backwards: columns become fields,
//! arguments become filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Answered, Mirror};
use crate::dialect::baostock::{Form, Message, Question, Table, cells};
use crate::model::cell::Cells;
use crate::model::dataset::{Agreement, Service, unit_shift};
use crate::model::{ColumnType, Dataset, Day, Error, Filter, Query};
use crate::read::Adjust;

/// One dataset that has fields of an answer.
#[derive(Clone, Debug)]
pub struct Feed {
    pub dataset: Arc<Dataset>,
    pub service: Service,
}

/// A field of the wire and the column that it comes from.
struct Source<'f> {
    column: &'f str,
    form: Form,
    shift: i8,
    values: &'f BTreeMap<String, String>,
}

impl Feed {
    /// The column that a field comes from, unchanged.
    pub fn column_of(&self, field: &str) -> Option<&str> {
        self.service.columns.iter().find(|(_, served)| served.field == field).map(|(column, _)| column.as_str())
    }

    /// Whether some of its columns only resemble the fields.
    pub fn is_partly_unproven(&self) -> bool {
        self.service.columns.values().any(|served| served.agrees == Agreement::Unproven)
    }

    /// Rows where the column has the value, given in the wire's words.
    pub fn equals(&self, column: &str, value: &str) -> Filter {
        let value = match self.dataset.column(column).map(|column| column.kind) {
            Some(ColumnType::Date) => Day::parse(value).map_or_else(|_| value.to_string(), |day| day.to_string()),
            _ if self.dataset.security.as_deref() == Some(column) => {
                cells::canonical_code(value).unwrap_or_else(|| value.to_string())
            }
            _ => value.to_string(),
        };
        Filter::In { column: column.to_string(), values: vec![value] }
    }

    /// Rows whose time lies between the days.
    pub fn between(&self, from: Day, to: Day) -> Option<Filter> {
        let column = self.dataset.time.clone()?;
        Some(Filter::Between { column, from: Some(from.to_string()), to: Some(to.to_string()) })
    }

    /// Facets that are no arguments are values of a column: one of them stands for all.
    pub fn facet_filters(&self, message: &Message) -> Vec<Filter> {
        let hidden = self.service.facets.iter().filter(|(name, _)| message.param(name).is_none());
        hidden.filter_map(|(name, values)| Some(self.equals(self.column_of(name)?, values.first()?))).collect()
    }

    fn source(&self, message: &Message, field: &str) -> Option<Source<'_>> {
        let form = message.field(field)?.form;
        let (column, served) = self.service.columns.iter().find(|(_, served)| served.field == field)?;
        let unit = &self.dataset.column(column)?.unit;
        let shift = unit_shift(served.unit.as_deref().unwrap_or(unit), unit)?;
        Some(Source { column, form, shift, values: &served.values })
    }
}

impl Mirror {
    /// The datasets that say of themselves that this query answers them with these arguments, in the order of their
    /// names.
    pub(super) fn feeds(&self, question: &Question) -> Vec<Feed> {
        let message = question.message;
        let fits = |service: &&Service| {
            let agrees =
                |(name, value): (&String, &String)| message.param(name).is_none() || question.arg(name) == value;
            service.api == message.api && service.always.iter().all(agrees)
        };
        let feed = |dataset: &Arc<Dataset>| {
            let service = dataset.baostock.iter().find(fits)?.clone();
            Some(Feed { dataset: dataset.clone(), service })
        };
        self.catalog.datasets().iter().filter_map(feed).collect()
    }

    /// The rows of a feed as the wire writes them, with `fields`; those that the feed has not are empty. Securities for
    /// which BaoStock has no code are left out. Prices are adjusted where the dataset has some.
    pub(super) async fn read(
        &self,
        feed: &Feed,
        message: &Message,
        fields: &[&str],
        mut query: Query,
        adjust: Option<Adjust>,
    ) -> Answered<Table> {
        let sources: Vec<Option<Source>> = fields.iter().map(|field| feed.source(message, field)).collect();
        query.columns = sources.iter().flatten().map(|source| source.column.to_string()).collect();
        query.columns.sort_unstable();
        query.columns.dedup();
        let mut table = Table::new(fields.iter().map(|field| field.to_string()).collect());
        if query.columns.is_empty() {
            return Ok(table);
        }
        for batch in self.batches(query, adjust.filter(|_| feed.dataset.adjust.is_some())).await? {
            let mut columns = Vec::with_capacity(sources.len());
            for source in &sources {
                let array = source.as_ref().and_then(|source| batch.column_by_name(source.column));
                columns.push(array.map(|array| Cells::of(array.as_ref())).transpose()?);
            }
            for row in 0..batch.num_rows() {
                let written: Vec<String> = sources
                    .iter()
                    .zip(&columns)
                    .zip(fields)
                    .map(|((source, cells), field)| match (source, cells) {
                        (Some(source), Some(cells)) => {
                            cells::write(cells, row, source.form, source.shift, source.values)
                        }
                        _ => feed.service.only.get(*field).cloned().unwrap_or_default(),
                    })
                    .collect();
                let code = fields.iter().position(|field| *field == "code").and_then(|at| written.get(at));
                if code.is_none_or(|code| cells::canonical_code(code).is_some()) {
                    written.iter().for_each(|cell| table.push(cell));
                }
            }
        }
        Ok(table)
    }

    /// The day of the newest row of `feed` up to `day`.
    pub(super) async fn newest(&self, feed: &Feed, day: Day) -> Answered<Option<Day>> {
        let Some(time) = feed.dataset.time.clone() else { return Ok(None) };
        let up_to = Filter::Between { column: time.clone(), from: None, to: Some(day.to_string()) };
        let order = vec![crate::model::Order { column: time.clone(), descending: true }];
        let query = Query {
            columns: vec![time],
            filters: vec![up_to],
            order,
            limit: Some(1),
            ..Query::all(&feed.dataset.name)
        };
        let batches = self.batches(query, None).await?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let mut text = Vec::new();
        Cells::of(batch.column(0).as_ref())?.write(0, 0, &mut text);
        let text = String::from_utf8(text).map_err(|error| Error::bug("a day is no text").caused_by(error))?;
        Ok(Day::parse(&text).ok())
    }
}
