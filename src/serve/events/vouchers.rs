//! Vouchers: making, reading, correcting and reversing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::described::{self, NewVoucher, VoucherCorrection};
use super::{body, marked, once};
use crate::model::{
    AttemptOutcome, AttemptsWanted, Content, Dataset, Day, DeliveriesWanted, DeliveryState, Error, Filter, Order,
    Query, Result,
};
use crate::publish::Done;
use crate::publish::voucher::state::{Reached, sync_state};
use crate::publish::voucher::{Act, TABLE, Voucher, rows};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;
use crate::serve::v1::page::Page;

pub fn routes() -> OpenApiRouter<Service> {
    let whole = OpenApiRouter::new().routes(routes!(vouchers, create)).routes(routes!(voucher, correct));
    whole.routes(routes!(reverse))
}

/// A voucher that was written, with the event that tells of it.
#[derive(Debug, Serialize, ToSchema)]
struct VoucherWritten {
    /// The number of its event in the log.
    event: u64,
    #[schema(value_type = described::Voucher)]
    voucher: Box<RawValue>,
}

/// Which vouchers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VoucherParams {
    /// First day
    from: Option<String>,
    /// Last day
    to: Option<String>,
    source_system: Option<String>,
    source_module: Option<String>,
    source_type: Option<String>,
    source_id: Option<String>,
    source_reference_no: Option<String>,
    company_id: Option<String>,
    counterparty_id: Option<String>,
    direction: Option<String>,
    currency: Option<String>,
    status: Option<String>,
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Vouchers to pass over: `next` of the page before
    #[serde(default)]
    offset: u64,
    /// Whether the state of the deliveries is shown
    #[serde(default)]
    sync: bool,
}

impl VoucherParams {
    fn query(&self, limit: usize) -> Result<Query> {
        let equal = [
            ("source_system", &self.source_system),
            ("source_module", &self.source_module),
            ("source_type", &self.source_type),
            ("source_id", &self.source_id),
            ("source_reference_no", &self.source_reference_no),
            ("company_id", &self.company_id),
            ("counterparty_id", &self.counterparty_id),
            ("direction", &self.direction),
            ("currency", &self.currency),
            ("status", &self.status),
        ];
        let equal = equal.into_iter().filter_map(|(column, value)| {
            Some(Filter::In { column: column.to_string(), values: vec![value.clone()?] })
        });
        let mut filters: Vec<Filter> = equal.collect();
        let (from, to) = (day("from", self.from.as_deref())?, day("to", self.to.as_deref())?);
        if from.is_some() || to.is_some() {
            filters.push(Filter::Between { column: "voucher_date".to_string(), from, to });
        }
        let newest = |column: &str| Order { column: column.to_string(), descending: true };
        Ok(Query {
            filters,
            order: vec![newest("voucher_date"), newest("created_at"), newest("voucher_no")],
            limit: Some(limit as u64),
            offset: self.offset.min(i64::MAX as u64),
            ..Query::all(TABLE)
        })
    }
}

fn day(name: &str, text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let day = Day::parse(text).map_err(|error| error.while_doing(name).at_field(name))?;
    Ok(Some(day.to_string()))
}

/// Vouchers, newest first.
#[utoipa::path(get, path = "/api/v1/vouchers", tag = "events", params(VoucherParams), responses(
    (status = 200, body = Page<described::Voucher>)))]
async fn vouchers(
    State(service): State<Service>,
    Params(params): Params<VoucherParams>,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    service.voucher_table()?;
    let limit = service.options.limit(params.limit)?;
    let mut found = rows::all(&*service.store, &params.query(limit + 1)?).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let mut items = Vec::with_capacity(found.len());
    for voucher in &found {
        let sync = if params.sync { Some(service.sync(voucher).await?) } else { None };
        items.push(shown(voucher, sync)?);
    }
    let next = has_more.then(|| i64::try_from(params.offset.saturating_add(limit as u64)).unwrap_or(i64::MAX));
    Ok(Json(Page { items, next }))
}

/// One voucher at its newest version, and whether its targets have it.
#[utoipa::path(get, path = "/api/v1/vouchers/{voucher_no}", tag = "events", params(("voucher_no" = String, Path)),
    responses((status = 200, body = described::Voucher)))]
async fn voucher(State(service): State<Service>, Named(no): Named<String>) -> Result<Json<Box<RawValue>>, Problem> {
    let dataset = service.voucher_table()?;
    let found = rows::first(&*service.store, &rows::by_number(dataset, &no)).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("there is no voucher {no:?}")).at_field("voucher_no"))?;
    let sync = service.sync(&found).await?;
    Ok(Json(shown(&found, Some(sync))?))
}

/// Makes a voucher: its number, its row and its event are one commit, durable before the answer.
#[utoipa::path(post, path = "/api/v1/vouchers", tag = "events", request_body = NewVoucher,
    params(("idempotency-key" = Option<String>, Header, description = "the same request under the same key is answered as the first time")),
    responses((status = 201, body = VoucherWritten)))]
async fn create(State(service): State<Service>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let text = json_text(&headers, request).await?;
    let act = Act::create(&text, &caller.name)?;
    let once = once(&caller, "POST vouchers", &headers, &[text.as_bytes()])?;
    written(service.publisher.voucher(act, once).await?, StatusCode::CREATED)
}

/// Corrects a voucher: what is absent stays, what is null is emptied. It gets its next version, and an event tells of it.
#[utoipa::path(put, path = "/api/v1/vouchers/{voucher_no}", tag = "events", request_body = VoucherCorrection,
    params(
        ("voucher_no" = String, Path),
        ("idempotency-key" = Option<String>, Header, description = "the same request under the same key is answered as the first time"),
    ),
    responses((status = 200, body = VoucherWritten)))]
async fn correct(
    State(service): State<Service>,
    caller: Caller,
    Named(no): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let text = json_text(&headers, request).await?;
    let act = Act::correct(&no, &text)?;
    let once = once(&caller, &format!("PUT vouchers/{no}"), &headers, &[text.as_bytes()])?;
    written(service.publisher.voucher(act, once).await?, StatusCode::OK)
}

/// What a reversal may say.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "says what a reversal looks like")]
#[serde(deny_unknown_fields)]
struct VoucherReversal {
    /// Why
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// The version that was read
    #[schema(minimum = 1)]
    version: Option<u64>,
    /// The type of the event; `voucher.<source_module>.reversed` by default
    event: Option<String>,
}

/// Reverses a voucher: its status becomes `reversed` in its next version, and an event tells of it.
#[utoipa::path(post, path = "/api/v1/vouchers/{voucher_no}/reverse", tag = "events",
    request_body(content = Option<VoucherReversal>, content_type = "application/json"),
    params(
        ("voucher_no" = String, Path),
        ("idempotency-key" = Option<String>, Header, description = "the same request under the same key is answered as the first time"),
    ),
    responses((status = 200, body = VoucherWritten)))]
async fn reverse(
    State(service): State<Service>,
    caller: Caller,
    Named(no): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let text = match headers.contains_key(header::CONTENT_TYPE) {
        true => json_text(&headers, request).await?,
        false => String::new(),
    };
    let act = Act::reverse(&no, &text)?;
    let once = once(&caller, &format!("reverse vouchers/{no}"), &headers, &[text.as_bytes()])?;
    written(service.publisher.voucher(act, once).await?, StatusCode::OK)
}

/// The text of a JSON body.
async fn json_text(headers: &HeaderMap, request: Request) -> Result<String, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim().to_ascii_lowercase().starts_with("application/json") {
        let problem =
            Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "the body is not said to be JSON");
        return Err(problem.hint("send the header Content-Type: application/json"));
    }
    let bytes = body(request).await?;
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| Error::invalid("the body is no UTF-8").at_field("body").into())
}

/// The answer: the content of the event, so that it is the same however often the same request comes.
fn written(done: Done, status: StatusCode) -> Result<Response, Problem> {
    let content = match done.message.map(|message| (message.event, message.content)) {
        Some((event, Content::Json(text))) => {
            RawValue::from_string(text).ok().map(|voucher| VoucherWritten { event, voucher })
        }
        _ => None,
    };
    let answer = content.ok_or_else(|| Error::bug("a voucher was written without its event"))?;
    Ok(marked((status, Json(answer)).into_response(), done.repeated))
}

/// The voucher as JSON, with the state of its deliveries.
fn shown(voucher: &Voucher, sync: Option<Value>) -> Result<Box<RawValue>> {
    let mut text = voucher.json();
    if let Some(sync) = sync {
        text.pop();
        text.push_str(&format!(",\"sync\":{sync}}}"));
    }
    RawValue::from_string(text).map_err(|error| Error::storage("a voucher holds what is no JSON").caused_by(error))
}

impl Service {
    fn voucher_table(&self) -> Result<&Arc<Dataset>> {
        self.catalog.get(TABLE)
    }

    /// Whether the targets have the newest version: a target is the subscription of its name.
    async fn sync(&self, voucher: &Voucher) -> Result<Value> {
        let mut reached = BTreeMap::new();
        let message = self.store.message(&voucher.source(), &voucher.event_id()).await?;
        if let Some(message) = message {
            for target in voucher.targets() {
                reached.insert(target.to_string(), self.reached(target, message.event).await?);
            }
        }
        let of = |target: &str| reached.get(target).copied().unwrap_or(Reached::Waiting);
        let targets: BTreeMap<&str, &str> =
            voucher.targets().into_iter().map(|target| (target, of(target).name())).collect();
        Ok(json!({ "state": sync_state(voucher, of).name(), "targets": targets }))
    }

    async fn reached(&self, target: &str, event: u64) -> Result<Reached> {
        let (subscription, event) = (Some(target.to_string()), Some(event));
        let wanted = DeliveriesWanted { subscription: subscription.clone(), event, limit: 1, ..Default::default() };
        if let Some(delivery) = self.store.deliveries(&wanted).await?.first() {
            return Ok(match delivery.state {
                DeliveryState::Waiting => Reached::Waiting,
                DeliveryState::Dead | DeliveryState::Parked => Reached::Failed,
            });
        }
        let wanted = AttemptsWanted { subscription, event, limit: 1, ..Default::default() };
        Ok(match self.store.attempts(&wanted).await?.first().map(|attempt| attempt.outcome) {
            Some(AttemptOutcome::Delivered) => Reached::Delivered,
            Some(_) => Reached::Failed,
            None => Reached::Waiting,
        })
    }
}
