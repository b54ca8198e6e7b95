//! Rows of any table: chosen, ordered, seen in two times and price bases, as a page of JSON or as a download.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::TryStreamExt;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::chosen::Chosen;
use crate::model::{Dataset, Error, Query, Result};
use crate::read::write::{Format, JsonArrays, RowWriter, Units, writer};
use crate::read::{Adjust, Reader, View};
use crate::serve::Service;
use crate::serve::cache::{Answer, MadeFrom, Question};
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;
use crate::store::{BatchStream, Scan};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(rows))
}

/// A page of rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "pages are written straight from Arrow; this says how they look")]
struct Rows {
    dataset: String,
    /// The names of the cells of each row.
    columns: Vec<String>,
    #[schema(value_type = Vec<Vec<Option<serde_json::Value>>>)]
    rows: Vec<Vec<serde_json::Value>>,
    /// The `offset` of the next page; absent on the last one.
    next_offset: Option<u64>,
}

/// A question to the store, ready to be asked.
#[derive(Clone)]
pub struct Asked {
    pub dataset: Arc<Dataset>,
    pub reader: Reader,
    pub query: Query,
}

impl Asked {
    /// Everything that the answer depends on beside the store.
    fn text(&self) -> String {
        // What forward adjustment is anchored to changes from day to day.
        let anchor = self.reader.anchor(&self.query);
        format!("rows {:?} {:?} {anchor:?}", self.query, self.reader.view())
    }

    pub fn made_from(&self) -> MadeFrom {
        made_from(&self.dataset, self.reader.view())
    }
}

/// The tables that rows seen through a view are made from.
pub fn made_from(dataset: &Dataset, view: &View) -> MadeFrom {
    let factors = dataset.adjust.iter().filter(|_| view.adjust.is_some()).flat_map(|adjusted| &adjusted.factors);
    let factors = factors.map(|factors| factors.dataset.clone());
    MadeFrom::Tables(std::iter::once(dataset.name.clone()).chain(factors).collect())
}

/// Rows of a table: a page of JSON, or all of them as CSV, Arrow or Parquet.
#[utoipa::path(get, path = "/api/v1/datasets/{name}/rows", tag = "data",
    params(
        ("name" = String, Path, description = "a table"),
        ("columns" = Option<String>, Query, description = "columns with commas, in this order"),
        ("codes" = Option<String>, Query, description = "securities with commas; six digits where they are unambiguous"),
        ("from" = Option<String>, Query, description = "first day"),
        ("to" = Option<String>, Query, description = "last day"),
        ("where" = Option<Vec<String>>, Query, description = "`column:value[,value]` or `column:from..to`; may be repeated"),
        ("order" = Option<String>, Query, description = "columns with commas; a leading - is descending"),
        ("limit" = Option<u64>, Query, minimum = 1),
        ("offset" = Option<u64>, Query, minimum = 0),
        ("as_of" = Option<String>, Query, description = "the table as it was believed at an instant, or at the end of a day"),
        ("known_on" = Option<String>, Query, description = "of each statement the version that was announced last on a day"),
        ("adjust" = inline(Option<Adjusting>), Query, description = "prices adjusted forward (qfq) or backward (hfq)"),
        ("anchor" = Option<String>, Query, description = "the day whose prices qfq leaves as they are"),
        ("format" = inline(Option<RowsFormat>), Query),
    ),
    responses(
        (status = 200, content(
            (Rows = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 304, description = "the rows are those of the entity tag"),
    ))]
async fn rows(
    State(service): State<Service>,
    Named(name): Named<String>,
    headers: HeaderMap,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let chosen = Chosen::read(&parameters)?;
    let asked = service.asked(&name, &chosen).await?;
    match chosen.download {
        Some(format) => download(&service, asked, format).await,
        None => page(&service, &headers, asked).await,
    }
}

/// The formats of rows.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "says which words there are")]
enum RowsFormat {
    Json,
    Csv,
    Arrow,
    Parquet,
}

/// Ways to adjust prices.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "says which words there are")]
enum Adjusting {
    None,
    Qfq,
    Hfq,
}

impl Service {
    /// What a request chooses, as a question that the catalogue and the list of securities know how to read.
    async fn asked(&self, name: &str, chosen: &Chosen) -> Result<Asked> {
        let reader = self.reader.with(View { told: true, ..chosen.view.clone() });
        let dataset = reader.dataset(self.catalog.get(name)?);
        let securities = self.known_securities().await?;
        let mut query = chosen.choice.query(&dataset, &securities)?;
        query.limit = match chosen.download {
            None => {
                Some(self.options.limit(query.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))? as u64)
            }
            Some(_) => Some(query.limit.unwrap_or(u64::MAX).min(self.options.rows_max + 1)),
        };
        if dataset.adjust.is_none() && matches!(chosen.view.adjust, Some(Adjust::Forward | Adjust::Backward)) {
            let error = Error::invalid(format!("{} has no prices that could be adjusted", dataset.name));
            return Err(error.hint("`adjusts` in /api/v1/datasets says which tables have"));
        }
        Ok(Asked { dataset, reader, query })
    }
}

async fn page(service: &Service, headers: &HeaderMap, asked: Asked) -> Result<Response, Problem> {
    let question = Question { text: asked.text(), from: asked.made_from() };
    service.cache.answer(headers, question, || async { Ok(Answer::json(page_of(&asked).await?)) }).await
}

/// Reads one row more than the page holds, to see whether there is a next one.
async fn page_of(asked: &Asked) -> Result<Vec<u8>> {
    let limit = asked.query.limit.unwrap_or(u64::MAX);
    let query = Query { limit: Some(limit.saturating_add(1)), ..asked.query.clone() };
    let names: Vec<&str> = match query.columns.is_empty() {
        true => asked.dataset.columns.iter().map(|column| column.name.as_str()).collect(),
        false => query.columns.iter().map(String::as_str).collect(),
    };
    let written = |error| Error::bug("writing JSON").caused_by(error);
    let (name, names) = (serde_json::to_string(&asked.dataset.name), serde_json::to_string(&names));
    let head = format!("{{\"dataset\":{},\"columns\":{},\"rows\":", name.map_err(written)?, names.map_err(written)?);
    let mut rows = JsonArrays::new(&asked.dataset, &query.columns, head.into_bytes())?;
    let mut batches = asked.reader.scan(&query).await?;
    let (mut left, mut has_more) = (limit, false);
    while let Some(batch) = batches.try_next().await? {
        let taken = batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX));
        rows.write(&batch, 0..taken)?;
        left -= taken as u64;
        has_more |= taken < batch.num_rows();
    }
    let mut body = rows.finish();
    let next = if has_more { (query.offset + limit).to_string() } else { "null".to_string() };
    body.extend_from_slice(format!(",\"next_offset\":{next}}}").as_bytes());
    Ok(body)
}

/// Where a writer puts what the client has not got yet.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Rows on their way into a file of the client.
struct Download {
    batches: BatchStream,
    /// `None` when the end is written.
    writer: Option<Box<dyn RowWriter>>,
    buffer: Buffer,
    left: u64,
}

async fn download(service: &Service, asked: Asked, format: Format) -> Result<Response, Problem> {
    let buffer = Buffer::default();
    let writer = writer(format, &asked.dataset, &asked.query.columns, Units::Canonical, buffer.clone())?;
    let batches = asked.reader.scan(&asked.query).await?;
    let started = Download { batches, writer: Some(writer), buffer, left: service.options.rows_max };
    let next = |download: Download| async { download.next().await.map_err(std::io::Error::other) };
    let mut response = Response::new(Body::from_stream(futures::stream::try_unfold(started, next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let file = format!("attachment; filename=\"{}.{}\"", asked.dataset.name, format.ending());
    if let Ok(file) = HeaderValue::from_str(&file) {
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

impl Download {
    /// The next piece; an error breaks the transfer off, so that nobody takes a part for the whole.
    async fn next(mut self) -> Result<Option<(Bytes, Download)>> {
        while let Some(mut writer) = self.writer.take() {
            let batch = self.batches.try_next().await?;
            let rows = batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            let Some(left) = self.left.checked_sub(rows) else {
                return Err(Error::invalid("more rows than one download may have").hint("serve.rows_max is the limit"));
            };
            self.left = left;
            let step = move || match batch {
                Some(batch) => writer.write(&batch).map(|()| Some(writer)),
                None => writer.finish().map(|()| None),
            };
            let done = tokio::task::spawn_blocking(step).await;
            self.writer = done.map_err(|error| Error::bug("writing rows broke off").caused_by(error))??;
            let bytes = self.buffer.take();
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), self)));
            }
        }
        Ok(None)
    }
}
