//! The log of events, page by page: what was published with its content, and what Tidegate says of itself.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::model::{Content, Error, Event, Message, Result};
use crate::publish::cloud_event;
use crate::serve::Service;
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;

/// Entries that are read from the store in one step.
const STEP: usize = 1_000;

/// An entry of the log as an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventItem {
    /// Its place in the log; numbers have no gap.
    number: u64,
    /// When it was accepted.
    at: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: Option<String>,
    subject: Option<String>,
    /// Its `partitionkey`: events of one key keep their order.
    key: Option<String>,
    dataschema: Option<String>,
    datacontenttype: Option<String>,
    /// Further attributes.
    extensions: BTreeMap<String, String>,
    /// Its content, when it is JSON: exactly as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// Its content, when it is anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl EventItem {
    fn new(number: u64, message: Message, with_content: bool) -> Result<EventItem> {
        let (mut data, mut data_base64) = (None, None);
        match message.content {
            Content::Json(text) if with_content => {
                let unreadable =
                    |error: serde_json::Error| Error::storage("the content of an event is no JSON").caused_by(error);
                data = Some(RawValue::from_string(text).map_err(unreadable)?);
            }
            Content::Bytes(bytes) if with_content => data_base64 = Some(STANDARD.encode(bytes)),
            _ => {}
        }
        Ok(EventItem {
            number,
            at: message.at.to_string(),
            id: message.id,
            source: message.source,
            kind: message.kind,
            time: message.time,
            subject: message.subject,
            key: message.key,
            dataschema: message.schema,
            datacontenttype: message.content_type,
            extensions: message.extensions,
            data,
            data_base64,
        })
    }
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    items: Vec<EventItem>,
    /// `after` (or `before`) of the next page; null when there is no more. A page with filters may be short, or empty, and
    /// have a next one: each looks through `events.look_through` entries at most.
    next: Option<u64>,
    /// The last number of the log.
    last: u64,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Only those with a greater number, oldest first
    after: Option<u64>,
    /// Only those with a smaller number, newest first
    before: Option<u64>,
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only of this type, or of all that begin so: `contract.*`
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    subject: Option<String>,
    key: Option<String>,
    /// Whether contents are shown
    #[serde(default = "yes")]
    #[param(default = true)]
    content: bool,
}

fn yes() -> bool {
    true
}

impl EventParams {
    fn wants(&self, message: &Message) -> bool {
        let kind = self.kind.as_deref().is_none_or(|wanted| match wanted.strip_suffix('*') {
            Some(begins) => message.kind.starts_with(begins),
            None => message.kind == wanted,
        });
        let same = |wanted: &Option<String>, has: Option<&str>| wanted.is_none() || wanted.as_deref() == has;
        kind && same(&self.source, Some(&message.source))
            && same(&self.subject, message.subject.as_deref())
            && same(&self.key, message.key.as_deref())
    }
}

/// The log of events, oldest first after a number, or newest first. What Tidegate says of itself is among them, its source
/// is `/tidegate`.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventParams), responses(
    (status = 200, body = EventPage)))]
pub async fn events(
    State(service): State<Service>,
    Params(params): Params<EventParams>,
) -> Result<Json<EventPage>, Problem> {
    let limit = service.options.limit(params.limit)?;
    if params.after.is_some() && params.before.is_some() {
        return Err(Error::invalid("after and before exclude each other").at_field("before").into());
    }
    let last = service.last_event();
    let page = match params.after {
        Some(after) => service.forwards(after.min(last), limit, &params).await?,
        None => service.backwards(params.before.unwrap_or(u64::MAX).min(last + 1), limit, &params).await?,
    };
    Ok(Json(EventPage { last, ..page }))
}

/// One event with its content.
#[utoipa::path(get, path = "/api/v1/events/{number}", tag = "events", params(("number" = u64, Path)), responses(
    (status = 200, body = EventItem)))]
pub async fn event(State(service): State<Service>, Named(number): Named<u64>) -> Result<Json<EventItem>, Problem> {
    let wrong = || Error::not_found(format!("there is no event {number}")).hint("GET /api/v1/events lists them");
    let before = number.checked_sub(1).filter(|before| *before < i64::MAX as u64).ok_or_else(wrong)?;
    let found = service.as_messages(service.store.events(before, 1).await?).await?;
    let (number, message) = found.into_iter().next().ok_or_else(wrong)?;
    Ok(Json(EventItem::new(number, message, true)?))
}

impl Service {
    /// The newest event that this process knows of: what it has committed itself at once.
    fn last_event(&self) -> u64 {
        self.feed.head().max(*self.store.committed().borrow())
    }

    /// Entries of the log as messages, each with its number.
    async fn as_messages(&self, events: Vec<Event>) -> Result<Vec<(u64, Message)>> {
        let numbers: Vec<u64> = events.iter().map(|event| event.id).collect();
        let published = self.store.messages(&numbers).await?;
        let mut published: BTreeMap<u64, Message> =
            published.into_iter().map(|message| (message.event, message)).collect();
        let epoch = self.feed.epoch();
        let as_message = |event: &Event| Some((event.id, cloud_event(event, published.remove(&event.id), epoch)?));
        Ok(events.iter().filter_map(as_message).collect())
    }

    async fn forwards(&self, after: u64, limit: usize, params: &EventParams) -> Result<EventPage> {
        let (mut page, mut cursor, mut looked) = (empty(), after, 0);
        while looked < self.options.event_look_through {
            let events = self.store.events(cursor, STEP.min(limit.max(100))).await?;
            let Some(newest) = events.last().map(|event| event.id) else { return Ok(page) };
            looked += events.len();
            for (number, message) in self.as_messages(events).await? {
                if page.items.len() == limit {
                    page.next = Some(cursor);
                    return Ok(page);
                }
                cursor = number;
                if params.wants(&message) {
                    page.items.push(EventItem::new(number, message, params.content)?);
                }
            }
            cursor = newest;
        }
        page.next = Some(cursor);
        Ok(page)
    }

    async fn backwards(&self, before: u64, limit: usize, params: &EventParams) -> Result<EventPage> {
        let (mut page, mut cursor, mut looked) = (empty(), before, 0);
        while looked < self.options.event_look_through && cursor > 1 {
            // Numbers have no gap.
            let step = (STEP.min(limit.max(100)) as u64).min(cursor - 1);
            let from = cursor - 1 - step;
            let events = self.store.events(from, step as usize).await?;
            looked += step as usize;
            for (number, message) in self.as_messages(events).await?.into_iter().rev() {
                if page.items.len() == limit {
                    page.next = Some(cursor);
                    return Ok(page);
                }
                cursor = number;
                if params.wants(&message) {
                    page.items.push(EventItem::new(number, message, params.content)?);
                }
            }
            cursor = from + 1;
        }
        page.next = (cursor > 1).then_some(cursor);
        Ok(page)
    }
}

fn empty() -> EventPage {
    EventPage { items: Vec::new(), next: None, last: 0 }
}
