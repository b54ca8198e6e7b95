//! Who changed what, and who was refused: the audit journal, newest first.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::extract::Params;
use super::problem::Problem;
use crate::model::{Error, Journal, JournalEntry, JournalWanted, Level};

const TEXT_CHARACTERS_MAX: usize = 200;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(changes))
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only records before this one: `next` of the page before.
    before: Option<i64>,
    /// Records of one page; by default `serve.page_rows`.
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only records that hold this text, whatever the case.
    #[param(max_length = 200)]
    q: Option<String>,
}

/// Something that somebody did, or was refused.
#[derive(Debug, Serialize, ToSchema)]
struct Deed {
    id: i64,
    at: String,
    /// The name of the key; `local` where no key exists; empty when nobody is known.
    who: String,
    /// Method and route, or what was changed: `inbound:NAME`.
    what: String,
    text: String,
    /// Whether it was refused or failed.
    refused: bool,
    /// Status, path, parameters without secrets, request id and address.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl From<JournalEntry> for Deed {
    fn from(entry: JournalEntry) -> Deed {
        Deed {
            id: entry.id,
            at: entry.at.to_string(),
            who: entry.who,
            what: entry.target,
            text: entry.text,
            refused: entry.level > Level::Info,
            data: entry.data,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Changes {
    items: Vec<Deed>,
    /// `before` of the next page; null on the last one.
    next: Option<i64>,
}

/// Who changed what.
#[utoipa::path(get, path = "/api/v1/changes", tag = "access", params(Wanted),
    responses((status = 200, body = Changes)))]
async fn changes(State(service): State<Service>, Params(wanted): Params<Wanted>) -> Result<Json<Changes>, Problem> {
    let limit = service.options.limit(wanted.limit)?;
    if wanted.q.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARACTERS_MAX) {
        return Err(Error::invalid(format!("q has at most {TEXT_CHARACTERS_MAX} characters")).into());
    }
    let wanted = JournalWanted {
        journal: Journal::Audit,
        level: Level::Trace,
        task: None,
        text: wanted.q,
        before: wanted.before,
        limit,
    };
    let entries = service.store.journal(&wanted).await?;
    let next = (entries.len() == limit).then(|| entries.last().map(|entry| entry.id)).flatten();
    Ok(Json(Changes { items: entries.into_iter().map(Deed::from).collect(), next }))
}
