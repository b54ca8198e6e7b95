//! `/api/scheduler`: the jobs with their next runs, and their control.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::job_id;
use super::progress::Status;
use crate::model::job::{On, Trigger};
use crate::model::{Error, ErrorKind, Run};
use crate::scheduler::JobStatus;
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::envelope::{Envelope, envelope};
use crate::serve::extract::{Body, MaybeBody, Named};
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(schedule))
        .routes(routes!(trigger))
}

/// Every job.
#[derive(Debug, Serialize, ToSchema)]
struct SchedulerStatus {
    /// Whether jobs fire by their triggers (`jobs.enabled`).
    running: bool,
    jobs: Vec<ScheduledJob>,
}

/// A job as it stands.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduledJob {
    #[schema(example = "daily")]
    id: String,
    name: String,
    /// `cron 0 18 * * *` (Beijing time), `every 600 s`, `when daily is whole`, `when daily is published`,
    /// `on days of disclosure` or `in trading hours`.
    #[schema(example = "cron 0 18 * * *")]
    trigger: String,
    /// Null: not by the clock.
    #[schema(example = "2025-01-03T18:00:00+08:00")]
    next_run_time: Option<String>,
    /// `active`, `paused` or `stopped`.
    state: &'static str,
    /// Why then, or why not.
    reason: String,
    last_run: Option<LastRun>,
}

/// A run of a job.
#[derive(Debug, Serialize, ToSchema)]
struct LastRun {
    #[schema(example = "sync_12")]
    run_id: String,
    status: Status,
    started_at: String,
    finished_at: Option<String>,
    message: Option<String>,
}

impl From<&Run> for LastRun {
    fn from(run: &Run) -> LastRun {
        LastRun {
            run_id: job_id(run),
            status: Status::of(run.state),
            started_at: run.started_at.unwrap_or(run.created_at).to_string(),
            finished_at: run.finished_at.map(|at| at.to_string()),
            message: run.note.clone(),
        }
    }
}

impl From<JobStatus> for ScheduledJob {
    fn from(status: JobStatus) -> ScheduledJob {
        ScheduledJob {
            id: status.job.id,
            name: status.job.title,
            trigger: trigger_text(&status.job.trigger),
            next_run_time: status.next.at.map(|at| at.to_string()),
            state: status.job.state.name(),
            reason: status.next.reason,
            last_run: status.last_run.as_ref().map(LastRun::from),
        }
    }
}

fn trigger_text(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Cron { expression } => format!("cron {expression}"),
        Trigger::Every { seconds } => format!("every {seconds} s"),
        Trigger::Event { on: On::Disclosure } => "on days of disclosure".to_string(),
        Trigger::Event { on: On::Whole { dataset } } => format!("when {dataset} is whole"),
        Trigger::Event { on: On::Published { dataset } } => format!("when {dataset} is published"),
        Trigger::Continuous { every_seconds: None } => "in trading hours".to_string(),
        Trigger::Continuous { every_seconds: Some(seconds) } => format!("in trading hours, every {seconds} s"),
    }
}

/// Every job, when it runs next and why, and how its last run went.
#[utoipa::path(get, path = "/api/scheduler/status", tag = "scheduler",
    responses((status = 200, body = Envelope<SchedulerStatus>)))]
async fn status(State(service): State<Service>) -> Result<Json<Envelope<SchedulerStatus>>, Problem> {
    let jobs = service.control.list().await?.into_iter().map(ScheduledJob::from).collect();
    let status = SchedulerStatus { running: service.control.is_on(), jobs };
    Ok(envelope("Scheduler status retrieved successfully", status))
}

/// How often the job shall run; without either as it did before.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"interval_minutes": 30}))]
struct Interval {
    #[schema(minimum = 10)]
    interval_seconds: Option<u32>,
    #[schema(minimum = 1)]
    interval_minutes: Option<u32>,
}

impl Interval {
    fn seconds(&self) -> Result<Option<u32>, Error> {
        match (self.interval_seconds, self.interval_minutes) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("interval_seconds and interval_minutes exclude each other").hint("name one of them"))
            }
            (Some(seconds), None) => Ok(Some(seconds)),
            (None, minutes) => Ok(minutes.map(|minutes| minutes.saturating_mul(60))),
        }
    }
}

/// Lets a job run again, at an interval if one is given. The name of a table without a job of its own makes one.
#[utoipa::path(post, path = "/api/scheduler/jobs/{id}/start", tag = "scheduler", request_body = Option<Interval>,
    params(("id" = String, Path, description = "A job, or a table without one")),
    responses(
        (status = 200, body = Envelope<ScheduledJob>),
        (status = 400, description = "No interval: less than 10 s, more than a year", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
    ))]
async fn start(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
    MaybeBody(body): MaybeBody<Interval>,
) -> Result<Json<Envelope<ScheduledJob>>, Problem> {
    let status = service.control.start(&id, body.seconds()?, &caller.name).await?;
    Ok(envelope(format!("job {id} is started"), status.into()))
}

/// Stops a job: it does not run again until it is started or scheduled. A run that is under way goes on.
#[utoipa::path(post, path = "/api/scheduler/jobs/{id}/stop", tag = "scheduler",
    params(("id" = String, Path, description = "A job")),
    responses(
        (status = 200, body = Envelope<ScheduledJob>),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
    ))]
async fn stop(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Envelope<ScheduledJob>>, Problem> {
    let status = service.control.stop(&id, &caller.name).await?;
    Ok(envelope(format!("job {id} is stopped"), status.into()))
}

/// One field of a cron line: a number or text.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum Field {
    Number(u32),
    Text(String),
}

/// A cron line in Beijing time: as a whole, or by its fields. A field that is left out is `*`; those smaller than the
/// smallest that is given (other than the weekday) are 0.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"expression": "30 18 * * 1-5"}))]
struct CronFields {
    /// Minute, hour, day, month and weekday.
    #[schema(example = "30 18 * * 1-5")]
    expression: Option<String>,
    minute: Option<Field>,
    hour: Option<Field>,
    day: Option<Field>,
    month: Option<Field>,
    /// 0 or 7 is Sunday, `mon` to `sun` are understood.
    day_of_week: Option<Field>,
}

impl CronFields {
    fn line(self) -> Result<String, Error> {
        let fields = [self.minute, self.hour, self.day, self.month, self.day_of_week];
        match (self.expression, fields.iter().any(Option::is_some)) {
            (Some(_), true) => {
                Err(Error::invalid("expression and single fields exclude each other").hint("send one of the two"))
            }
            (Some(expression), false) => Ok(expression),
            (None, false) => Err(Error::invalid("no schedule is named")
                .hint("send {\"expression\": \"0 18 * * *\"}, or fields such as {\"hour\": 18}")),
            (None, true) => joined(fields),
        }
    }
}

fn joined(fields: [Option<Field>; 5]) -> Result<String, Error> {
    let (mut line, mut larger_given) = (Vec::new(), false);
    // From the largest to the smallest; the weekday stands beside the day and is as large.
    let [minute, hour, day, month, weekday] = fields;
    for (name, field, least) in [
        ("month", month, "*"),
        ("day", day, "1"),
        ("day_of_week", weekday, "*"),
        ("hour", hour, "0"),
        ("minute", minute, "0"),
    ] {
        let text = match field {
            Some(Field::Number(number)) => number.to_string(),
            Some(Field::Text(text)) if !text.is_empty() && !text.contains(char::is_whitespace) => text,
            Some(Field::Text(text)) => return Err(Error::invalid(format!("{name} cannot be {text:?}"))),
            None => {
                line.push(if larger_given { least } else { "*" }.to_string());
                continue;
            }
        };
        larger_given = true;
        line.push(text);
    }
    let [month, day, weekday, hour, minute] = [0, 1, 2, 3, 4].map(|index: usize| line[index].clone());
    Ok(format!("{minute} {hour} {day} {month} {weekday}"))
}

/// Lets a job run by a cron line. The name of a table without a job of its own makes one.
#[utoipa::path(post, path = "/api/scheduler/jobs/{id}/schedule", tag = "scheduler", request_body = CronFields,
    params(("id" = String, Path, description = "A job, or a table without one")),
    responses(
        (status = 200, body = Envelope<ScheduledJob>),
        (status = 400, description = "No cron line", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
    ))]
async fn schedule(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
    Body(body): Body<CronFields>,
) -> Result<Json<Envelope<ScheduledJob>>, Problem> {
    let status = service.control.schedule(&id, &body.line()?, &caller.name).await?;
    Ok(envelope(format!("job {id} is scheduled"), status.into()))
}

/// A run of a job that was asked for by hand.
#[derive(Debug, Serialize, ToSchema)]
struct Triggered {
    #[schema(example = "daily")]
    id: String,
    #[schema(example = "sync_12")]
    run_id: String,
    status: Status,
    started_at: String,
}

/// Runs a job now, whatever its state and its schedule.
#[utoipa::path(post, path = "/api/scheduler/jobs/{id}/trigger", tag = "scheduler",
    params(("id" = String, Path, description = "A job")),
    responses(
        (status = 200, body = Envelope<Triggered>),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "A run of the job is under way", body = Problem, content_type = "application/problem+json"),
    ))]
async fn trigger(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Envelope<Triggered>>, Problem> {
    let run = service.control.trigger(&id, &caller.name).await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => super::asking::too_many(error.message()),
        _ => error.into(),
    })?;
    let triggered = Triggered {
        run_id: job_id(&run),
        status: Status::of(run.state),
        started_at: run.created_at.to_string(),
        id: id.clone(),
    };
    Ok(envelope(format!("job {id} is triggered"), triggered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_left_out_are_any_or_the_least() {
        for (fields, line) in [
            (serde_json::json!({"hour": 18}), "0 18 * * *"),
            (serde_json::json!({"minute": "*/5"}), "*/5 * * * *"),
            (serde_json::json!({"hour": 2, "minute": 30, "day_of_week": "mon"}), "30 2 * * mon"),
            (serde_json::json!({"day": 1}), "0 0 1 * *"),
            (serde_json::json!({"month": 5}), "0 0 1 5 *"),
            (serde_json::json!({"day_of_week": "1-5"}), "0 0 * * 1-5"),
            (serde_json::json!({"expression": "1 2 3 4 5"}), "1 2 3 4 5"),
        ] {
            let fields: CronFields = serde_json::from_value(fields).unwrap();
            assert_eq!(fields.line().unwrap(), line);
        }
        for fields in [
            serde_json::json!({}),
            serde_json::json!({"hour": ""}),
            serde_json::json!({"hour": "1 2"}),
            serde_json::json!({"expression": "0 18 * * *", "hour": 1}),
        ] {
            let fields: CronFields = serde_json::from_value(fields).unwrap();
            assert!(fields.line().is_err());
        }
    }
}
