//! What the service logged, and how much it logs: records by level, task and text; levels of modules.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, Params};
use super::problem::Problem;
use super::v1::page::Page;
use crate::log::{Levels, SETTING};
use crate::model::definition::Kind;
use crate::model::{Change, Commit, Error, ErrorKind, Journal, JournalEntry, JournalWanted, Level, Result};

/// Attempts to change levels while somebody else does.
const ATTEMPTS_MAX: usize = 5;

const TEXT_CHARACTERS_MAX: usize = 200;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(logs)).routes(routes!(levels, set_levels))
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The least level: `trace`, `debug`, `info`, `warn` or `error`; all without it.
    #[param(inline)]
    level: Option<LeastLevel>,
    /// Only records of this task; empty: of all.
    #[param(value_type = Option<i64>)]
    task: Option<String>,
    /// Only records that hold this text, whatever the case.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Only records before this one: `next` of the page before.
    before: Option<i64>,
    /// Records of one page; by default `serve.page_rows`.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LeastLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LeastLevel {
    fn level(self) -> Level {
        match self {
            LeastLevel::Trace => Level::Trace,
            LeastLevel::Debug => Level::Debug,
            LeastLevel::Info => Level::Info,
            LeastLevel::Warn => Level::Warn,
            LeastLevel::Error => Level::Error,
        }
    }
}

/// One record of the log.
#[derive(Debug, Serialize, ToSchema)]
struct Record {
    id: i64,
    at: String,
    /// `info`, `warn` or `error`; more where the configuration keeps more.
    level: &'static str,
    /// The module.
    target: String,
    text: String,
    task: Option<i64>,
    /// Its fields, by name.
    #[schema(value_type = Object)]
    data: Value,
}

impl From<JournalEntry> for Record {
    fn from(entry: JournalEntry) -> Record {
        let JournalEntry { id, at, level, target, text, task, data, .. } = entry;
        Record { id, at: at.to_string(), level: level.name(), target, text, task, data }
    }
}

/// Records of the log, newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "logs", params(Wanted), responses((status = 200, body = Page<Record>)))]
async fn logs(State(service): State<Service>, Params(wanted): Params<Wanted>) -> Result<Json<Page<Record>>, Problem> {
    let limit = service.options.limit(wanted.limit)?;
    if wanted.q.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARACTERS_MAX) {
        return Err(Error::invalid(format!("q has at most {TEXT_CHARACTERS_MAX} characters")).into());
    }
    let task = match wanted.task.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| Error::invalid(format!("{text:?} is not the number of a task")))?),
        None => None,
    };
    let wanted = JournalWanted {
        journal: Journal::Log,
        level: wanted.level.unwrap_or(LeastLevel::Trace).level(),
        task,
        text: wanted.q.filter(|text| !text.is_empty()),
        before: wanted.before,
        limit: limit + 1,
    };
    let found = service.store.journal(&wanted).await?;
    Ok(Json(Page::of(found, limit, |entry| entry.id, Record::from)))
}

/// The level of a module.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LevelName {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Levels of modules to set, by name; null takes a module's own level away.
#[derive(Debug, Deserialize)]
struct LevelChanges(BTreeMap<String, Option<LevelName>>);

impl PartialSchema for LevelChanges {
    fn schema() -> RefOr<Schema> {
        let names = ["off", "error", "warn", "info", "debug", "trace"];
        let level = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .enum_values(Some(names.map(Some).into_iter().chain([None])));
        let module = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9_]+(::[a-z0-9_]+)*$"));
        let changes = ObjectBuilder::new()
            .description(Some("Levels of modules, by name; null takes a module's own level away"))
            .property_names(Some(Schema::Object(module.max_length(Some(100)).build())))
            .additional_properties(Some(Schema::Object(level.build())));
        RefOr::T(Schema::Object(changes.build()))
    }
}

impl ToSchema for LevelChanges {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("LevelChanges")
    }
}

/// How much is logged.
#[derive(Debug, Serialize, ToSchema)]
struct LevelsView {
    /// The level of modules that have none of their own.
    default: String,
    /// Modules with a level of their own.
    #[schema(value_type = BTreeMap<String, LevelName>)]
    levels: Value,
}

impl LevelsView {
    fn of(service: &Service) -> LevelsView {
        let (default, levels) = service.log.levels();
        LevelsView { default: default.name(), levels: levels.as_json() }
    }
}

/// How much is logged, by module.
#[utoipa::path(get, path = "/api/v1/log-levels", tag = "logs", responses((status = 200, body = LevelsView)))]
async fn levels(State(service): State<Service>) -> Json<LevelsView> {
    Json(LevelsView::of(&service))
}

/// Sets the levels of modules, in every process on the store; null takes a module's own level away. Others stay.
#[utoipa::path(put, path = "/api/v1/log-levels", tag = "logs", request_body = LevelChanges,
    responses((status = 200, body = LevelsView)))]
async fn set_levels(
    State(service): State<Service>,
    caller: Caller,
    Body(LevelChanges(wanted)): Body<LevelChanges>,
) -> Result<Json<LevelsView>, Problem> {
    caller.must(Role::Admin)?;
    let wanted = serde_json::to_value(&wanted).map_err(|error| Error::bug("levels cannot be read").caused_by(error))?;
    for attempt in 1.. {
        let stored = service.store.definition(Kind::Setting, SETTING).await?;
        let (levels, revision) = match &stored {
            Some(stored) => (Levels::from_json(&stored.body).unwrap_or_default(), stored.revision),
            None => (Levels::default(), 0),
        };
        let levels = levels.changed(&wanted)?;
        let (name, body) = (SETTING.to_string(), levels.as_json());
        let change = Change::Define { kind: Kind::Setting, name, body, expect: Some(revision) };
        let commit = Commit { at: service.clock.now(), fence: None, changes: vec![change] };
        match service.store.commit(commit).await {
            Ok(_) => {
                service.log.set_levels(levels);
                break;
            }
            // Somebody else was quicker.
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(LevelsView::of(&service)))
}
