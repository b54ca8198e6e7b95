//! Asking for runs: what a body may name, checked before anything starts, and the slot that keeps a second run out.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::{Engine, knowledge};
use crate::model::{Day, Error, ErrorKind, Result, Run, RunState, RunsWanted, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::problem::Problem;
use crate::serve::random;

/// Bars of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = AskedPeriod)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Daily,
    Weekly,
    Monthly,
}

impl Period {
    pub const ALL: [Period; 3] = [Period::Daily, Period::Weekly, Period::Monthly];

    /// The table of its bars is called as the period.
    pub fn dataset(self) -> &'static str {
        match self {
            Period::Daily => "daily",
            Period::Weekly => "weekly",
            Period::Monthly => "monthly",
        }
    }
}

/// Those named, each once; all of them when none is.
pub fn periods(named: Vec<Period>) -> Vec<Period> {
    let mut periods = if named.is_empty() { Period::ALL.to_vec() } else { named };
    periods.sort_unstable();
    periods.dedup();
    periods
}

/// The slot of whatever brings bars up to date: one run at a time.
pub const SYNC: &str = "sync";
/// The slot of ranges of days.
pub const BATCH: &str = "batch";

/// Seconds after which somebody who was told to wait may ask again.
const RETRY_SECONDS: u32 = 10;

/// The name of a run in these routes: `sync_12`.
pub fn job_id(run: &Run) -> String {
    format!("sync_{}", run.id)
}

/// The sources that a request names, as far as they are switched on, in its order. A name that no source has, or that
/// none of them is switched on, is `Invalid`.
pub fn named_sources(service: &Service, engine: &Engine, named: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = named.iter().find(|name| !service.sources.iter().any(|source| source.name == **name)) {
        let known: Vec<&str> = service.sources.iter().map(|source| source.name.as_str()).collect();
        return Err(
            Error::invalid(format!("there is no source {unknown:?}")).hint(format!("there are {}", known.join(", ")))
        );
    }
    let mut open: Vec<String> = Vec::new();
    for name in named {
        if engine.sources.iter().any(|source| source.name() == name) && !open.contains(name) {
            open.push(name.clone());
        }
    }
    match named.first() {
        Some(first) if open.is_empty() => Err(Error::invalid(format!("{} is not enabled", named.join(", ")))
            .hint(format!("set sources.{first}.enabled = true, or name another source"))),
        _ => Ok(open),
    }
}

/// The preferred sources first, then the others as they are ranked; none when nobody is preferred.
pub fn preferring(engine: &Engine, preferred: &[String]) -> Vec<String> {
    if preferred.is_empty() {
        return Vec::new();
    }
    let others = engine.sources.iter().map(|source| source.name().to_string());
    preferred.iter().cloned().chain(others.filter(|name| !preferred.contains(name))).collect()
}

/// Codes as people write them, as canonical ones, each once. One that names no known security, or several, is `Invalid`.
pub async fn symbols(service: &Service, named: &[String]) -> Result<Vec<String>> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let known = knowledge::securities(&*service.store).await?;
    let mut codes: Vec<String> = Vec::new();
    for symbol in named {
        let code = known.meant_by(symbol).map_err(|error| {
            let refused = Error::invalid(error.message());
            error.hint_text().map(str::to_string).into_iter().fold(refused, Error::hint)
        })?;
        let code = match known.get(&code) {
            Some(security) => security.code.to_string(),
            None if known.is_empty() => code.to_string(),
            None => {
                return Err(Error::invalid(format!("no security has the code {code}"))
                    .hint("`GET /api/v1/securities?q=` finds securities by code and name"));
            }
        };
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    Ok(codes)
}

/// A day of a request, canonical; the error names the field.
pub fn day(text: &str, field: &str) -> Result<Day> {
    Day::parse(text).map_err(|error| error.while_doing(field))
}

/// What shall be done, and in which slot.
pub struct Asked {
    pub slot: &'static str,
    /// Start beside a run that is under way.
    pub force: bool,
    pub reason: String,
    pub work: Work,
}

/// Creates the run; a worker of this process or another carries it out. 429 while another one holds the slot.
pub async fn start(service: &Service, caller: &Caller, asked: Asked) -> Result<Run, Problem> {
    let slot = if asked.force { beside(asked.slot)? } else { asked.slot.to_string() };
    match service.control.ask(asked.work, Some(&slot), &caller.name, &asked.reason).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Err(taken(service, asked.slot).await?),
        asked => Ok(asked?),
    }
}

/// A slot of its own, which is found as one of `slot`.
fn beside(slot: &str) -> Result<String> {
    Ok(format!("{slot}:{}", random::hex::<8>()?))
}

/// Names the run that is under way.
async fn taken(service: &Service, slot: &str) -> Result<Problem> {
    let wanted = RunsWanted { open: true, slot: Some(slot.to_string()), limit: 100, ..RunsWanted::default() };
    let open = service.store.runs(&wanted).await?;
    let holder = open.iter().find(|run| run.slot.as_deref() == Some(slot));
    let detail = holder.map_or_else(|| "a run is under way".to_string(), how_it_stands);
    Ok(too_many(&detail))
}

fn how_it_stands(run: &Run) -> String {
    match (run.state, run.attempt) {
        (RunState::Pending, 1..) => format!("{} waits until {} to be tried again", job_id(run), run.not_before),
        _ => format!("{} is under way since {}", job_id(run), run.created_at),
    }
}

/// 429: a run is under way, and a second one has to wait.
pub fn too_many(detail: &str) -> Problem {
    let problem = Problem::of_status(StatusCode::TOO_MANY_REQUESTS, "running", detail)
        .hint("wait until it ends, or cancel it with `POST /api/v1/runs/{id}/cancel`");
    Problem { retry_after: Some(RETRY_SECONDS), ..problem }
}
