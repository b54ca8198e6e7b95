//! `POST /api/v1/events`: CloudEvents in binary, structured and batch mode, answered when they are durable.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::described::CloudEvent;
use super::{body, list, marked, once};
use crate::dialect::cloudevents::{self, Header, Read};
use crate::model::{Error, Message, Offered, Published, Result};
use crate::publish::Once;
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list::events, publish)).routes(routes!(list::event))
}

/// An event that is in the log.
#[derive(Debug, Serialize, ToSchema)]
struct Accepted {
    /// Its number in the log.
    event: u64,
    id: String,
    source: String,
    /// `new`, or `same`: it was in the log already with the same content.
    status: &'static str,
}

impl Accepted {
    fn of(message: &Message, published: Published) -> Accepted {
        let (id, source) = (message.id.clone(), message.source.clone());
        Accepted { event: published.event, id, source, status: published.was.name() }
    }
}

/// What became of one event of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchItem {
    /// Its place in the batch, from 0.
    index: usize,
    /// `new`, `same` (it was in the log already), `different` (its source and id are in the log with another content) or
    /// `refused`.
    status: &'static str,
    /// Its number in the log; of the known one where it is `different`.
    event: Option<u64>,
    id: Option<String>,
    source: Option<String>,
    /// What is wrong with it.
    problem: Option<Problem>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchAccepted {
    /// In the order of the batch.
    items: Vec<BatchItem>,
    new: usize,
    same: usize,
    /// Neither new nor the same.
    refused: usize,
}

/// Publishes an event, or a batch. The answer comes when what was accepted is durable; whoever gets none sends the same
/// again: an event with the same source and id is one event.
#[utoipa::path(post, path = "/api/v1/events", tag = "events",
    params(
        ("ce-specversion" = Option<String>, Header, description = "binary mode: `1.0`"),
        ("ce-id" = Option<String>, Header, description = "binary mode: unique within its source"),
        ("ce-source" = Option<String>, Header, description = "binary mode: who says it, a URI reference"),
        ("ce-type" = Option<String>, Header, description = "binary mode: what happened"),
        ("idempotency-key" = Option<String>, Header, description = "the same request under the same key is answered as the first time"),
    ),
    request_body(
        description = "Structured mode: one event. Batch mode: a list of them. Binary mode: the content, with attributes as `ce-` headers.",
        content(
            (CloudEvent = "application/cloudevents+json"),
            (Vec<serde_json::Value> = "application/cloudevents-batch+json"),
            (serde_json::Value = "application/json"),
        )),
    responses(
        (status = 200, description = "it was in the log already; of a batch everything was", content((Accepted = "application/json"), (BatchAccepted = "application/json"))),
        (status = 202, description = "it is in the log; of a batch everything is", content((Accepted = "application/json"), (BatchAccepted = "application/json"))),
        (status = 207, description = "of a batch some events were refused", body = BatchAccepted),
    ))]
async fn publish(State(service): State<Service>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let body = body(request).await?;
    let list = header_list(&headers);
    let read = cloudevents::read(&list, &body, &service.publisher.options().limits).map_err(problem)?;
    let once = once(&caller, "events", &headers, &[&said(&list), &body])?;
    match read {
        Read::One(message) => one(&service, *message, once).await,
        Read::Batch(events) => batch(&service, events, once).await,
    }
}

/// A format that nobody reads is a media type of its own kind of problem.
fn problem(error: Error) -> Problem {
    if error.field() != Some("content-type") {
        return error.into();
    }
    let problem = Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", error.message());
    Problem { hint: error.hint_text().map(str::to_string), field: error.field().map(Box::from), ..problem }
}

fn header_list(headers: &HeaderMap) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// The headers that belong to what is said, in an order of their own.
fn said(headers: &[Header]) -> Vec<u8> {
    let mut said: Vec<&Header> =
        headers.iter().filter(|(name, _)| *name == "content-type" || name.starts_with("ce-")).collect();
    said.sort_unstable();
    let lines = said.into_iter().flat_map(|(name, value)| [name.as_bytes(), b":", value, b"\n"]);
    lines.flatten().copied().collect()
}

async fn one(service: &Service, message: Message, once: Option<Once>) -> Result<Response, Problem> {
    let done = service.publisher.offer(vec![message.clone()], once).await?;
    let published = *done.published.first().ok_or_else(|| Error::bug("an event was published without a number"))?;
    let status = match published.was {
        Offered::New => StatusCode::ACCEPTED,
        Offered::Same => StatusCode::OK,
        Offered::Different => return Err(different(published).into()),
    };
    let mut response = (status, Json(Accepted::of(&message, published))).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/events/{}", published.event)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(marked(response, done.repeated))
}

fn different(published: Published) -> Error {
    let message = format!("event {} has this source and id and says something else", published.event);
    Error::conflict(message).at_field("id").hint("give each event an id of its own; a correction is another event")
}

/// Whatever can be published is, in one commit; the rest is told what is wrong with it.
async fn batch(service: &Service, events: Vec<Result<Message>>, once: Option<Once>) -> Result<Response, Problem> {
    let checked = |event: Result<Message>| {
        let message = event?;
        service.publisher.check(&message)?;
        Ok(message)
    };
    let events: Vec<Result<Message>> = events.into_iter().map(checked).collect();
    let good: Vec<Message> = events.iter().filter_map(|event| event.as_ref().ok()).cloned().collect();
    let done = service.publisher.offer(good, once).await?;
    let mut published = done.published.into_iter();
    let mut answer = BatchAccepted { items: Vec::with_capacity(events.len()), new: 0, same: 0, refused: 0 };
    for (index, event) in events.into_iter().enumerate() {
        let item = match event {
            Err(error) => {
                let problem = Some(error.into());
                BatchItem { index, status: "refused", event: None, id: None, source: None, problem }
            }
            Ok(message) => {
                let published = published.next().ok_or_else(|| Error::bug("an event has no number"))?;
                let problem = (published.was == Offered::Different).then(|| different(published).into());
                let (event, id, source) = (Some(published.event), Some(message.id), Some(message.source));
                BatchItem { index, status: published.was.name(), event, id, source, problem }
            }
        };
        match item.status {
            "new" => answer.new += 1,
            "same" => answer.same += 1,
            _ => answer.refused += 1,
        }
        answer.items.push(item);
    }
    let status = match (answer.refused, answer.new) {
        (0, 0) => StatusCode::OK,
        (0, _) => StatusCode::ACCEPTED,
        _ => StatusCode::MULTI_STATUS,
    };
    Ok(marked((status, Json(answer)).into_response(), done.repeated))
}
