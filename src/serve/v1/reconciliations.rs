//! Reconciliations: definitions, reports with their differences, running and repairing; and the questions of another
//! Tidegate that compares its rows with ours.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::engine::Stop;
use crate::model::reconciliation::{
    Difference, DifferenceKind, DifferencesWanted, KIND, Report, ReportsWanted, Wanted, Window,
};
use crate::model::{Action, Error, Result, Work};
use crate::reconcile::StoreSide;
use crate::reconcile::plan::Choice;
use crate::reconcile::repair::{Repaired, Sides};
use crate::reconcile::wire::{self, Ask};
use crate::serve::Service;
use crate::serve::caller::{Caller, Role};
use crate::serve::extract::{Body, MaybeBody, Named, Params};
use crate::serve::problem::Problem;
use crate::serve::views::RunView;

/// What of a file is read at once.
const PART_BYTES: usize = 65_536;

pub fn routes() -> OpenApiRouter<Service> {
    let definitions = OpenApiRouter::new().routes(routes!(definitions)).routes(routes!(define, undefine));
    let reports = definitions.routes(routes!(reports)).routes(routes!(report)).routes(routes!(differences));
    reports.routes(routes!(run)).routes(routes!(repair)).routes(routes!(undo_file)).routes(routes!(digests))
}

/// A reconciliation as it is defined.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationItem {
    name: String,
    /// Source, target and how they are compared.
    #[schema(value_type = Object)]
    definition: Value,
    /// Five fields in Beijing time; `null`: only by hand.
    schedule: Option<String>,
    revision: u64,
    last: Option<ReportItem>,
}

/// What a run came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationReport)]
struct ReportItem {
    report: i64,
    name: Option<String>,
    source: String,
    target: String,
    /// `equal`, `different` or `unfinished`.
    outcome: &'static str,
    differences: u64,
    /// Rows, ranges and differences by kind.
    #[schema(value_type = Object)]
    counts: Value,
    started_at: String,
    finished_at: String,
    note: Option<String>,
    /// The columns that were compared, the key first.
    columns: Vec<String>,
    key_columns: usize,
}

impl ReportItem {
    fn new(report: &Report) -> ReportItem {
        ReportItem {
            report: report.id,
            name: report.name.clone(),
            source: report.wanted.source.clone(),
            target: report.wanted.target.clone(),
            outcome: report.outcome.name(),
            differences: report.counts.differences(),
            counts: serde_json::to_value(report.counts).unwrap_or_default(),
            started_at: report.started_at.to_string(),
            finished_at: report.finished_at.to_string(),
            note: report.note.clone(),
            columns: report.columns.iter().map(|column| column.name.clone()).collect(),
            key_columns: report.key,
        }
    }
}

/// A row that differs.
#[derive(Debug, Serialize, ToSchema)]
struct DifferenceItem {
    number: u64,
    /// `missing`, `extra`, `different` or `duplicate`.
    kind: &'static str,
    key: Vec<Option<String>>,
    /// The columns that differ.
    fields: Vec<String>,
    /// The rows of the key at the source, in the report's columns.
    source: Vec<Vec<Option<String>>>,
    target: Vec<Vec<Option<String>>>,
    /// A word for what it most likely comes from.
    cause: &'static str,
    /// The same for people.
    cause_text: &'static str,
    /// The last event about the row.
    event: Option<u64>,
    /// What became of its delivery.
    delivery: Option<String>,
    /// The number of the last attempt to deliver it.
    attempt: Option<i64>,
    repaired_at: Option<String>,
}

impl DifferenceItem {
    fn new(report: &Report, difference: Difference) -> DifferenceItem {
        let shown = |rows: Vec<Vec<Option<String>>>| {
            let row = |values: Vec<Option<String>>| {
                let cells = report.columns.iter().zip(values);
                cells.map(|(column, text)| text.map(|text| column.shown(&text))).collect()
            };
            rows.into_iter().map(row).collect()
        };
        let fields = difference.fields.iter().filter_map(|at| report.columns.get(*at));
        DifferenceItem {
            number: difference.number,
            kind: difference.kind.name(),
            fields: fields.map(|column| column.name.clone()).collect(),
            key: difference.key,
            source: shown(difference.source),
            target: shown(difference.target),
            cause: difference.cause.name(),
            cause_text: difference.cause.text(),
            event: difference.event,
            delivery: difference.delivery,
            attempt: difference.attempt,
            repaired_at: difference.repaired_at.map(|at| at.to_string()),
        }
    }
}

/// Every definition, by name, with its last report.
#[utoipa::path(get, path = "/api/v1/reconciliations/definitions", tag = "reconciliation", responses(
    (status = 200, body = Page<ReconciliationItem>)))]
async fn definitions(State(service): State<Service>) -> Result<Json<Page<ReconciliationItem>>, Problem> {
    let mut items = Vec::new();
    for definition in service.store.definitions(KIND).await? {
        let wanted = Wanted::of(&definition)?;
        let newest = ReportsWanted { name: Some(definition.name.clone()), before: None, limit: 1 };
        let last = service.store.reconciliations(&newest).await?.pop();
        items.push(ReconciliationItem {
            schedule: wanted.schedule().map(str::to_owned),
            definition: wanted.body()?,
            revision: definition.revision,
            last: last.as_ref().map(ReportItem::new),
            name: definition.name,
        });
    }
    Ok(Json(Page::whole(items)))
}

/// Defines a reconciliation, or changes it: `source`, `target` and what else it takes. Sides are `store:DATASET` or tables
/// of configured connections.
#[utoipa::path(put, path = "/api/v1/reconciliations/definitions/{name}", tag = "reconciliation",
    params(("name" = String, Path)), request_body = Object, responses(
    (status = 204, description = "it is kept, with the job that runs it")))]
async fn define(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Body(wanted): Body<Wanted>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    service.reconciler.define(&name, &wanted, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a definition and its job; its reports stay.
#[utoipa::path(delete, path = "/api/v1/reconciliations/definitions/{name}", tag = "reconciliation",
    params(("name" = String, Path)), responses(
    (status = 204, description = "it is gone")))]
async fn undefine(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    service.reconciler.undefine(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which reports.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReportsParams {
    /// Of this definition
    name: Option<String>,
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only those with a smaller number
    before: Option<i64>,
}

/// Reports, newest first.
#[utoipa::path(get, path = "/api/v1/reconciliations", tag = "reconciliation", params(ReportsParams), responses(
    (status = 200, body = Page<ReportItem>)))]
async fn reports(
    State(service): State<Service>,
    Params(params): Params<ReportsParams>,
) -> Result<Json<Page<ReportItem>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let wanted = ReportsWanted { name: params.name, before: params.before, limit: limit + 1 };
    let found = service.store.reconciliations(&wanted).await?;
    Ok(Json(Page::of(found, limit, |report| report.id, |report| ReportItem::new(&report))))
}

/// One report.
#[utoipa::path(get, path = "/api/v1/reconciliations/{report}", tag = "reconciliation",
    params(("report" = i64, Path)), responses(
    (status = 200, body = ReportItem)))]
async fn report(State(service): State<Service>, Named(id): Named<i64>) -> Result<Json<ReportItem>, Problem> {
    Ok(Json(ReportItem::new(&service.reconciler.report(id).await?)))
}

/// Which differences.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DifferencesParams {
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only those with a greater number
    after: Option<u64>,
}

/// A page of rows that differ.
#[derive(Debug, Serialize, ToSchema)]
struct DifferencesPage {
    items: Vec<DifferenceItem>,
    /// What to ask for as `after` to get the next page; absent on the last one.
    next: Option<u64>,
}

/// The rows of a report that differ, by number.
#[utoipa::path(get, path = "/api/v1/reconciliations/{report}/differences", tag = "reconciliation",
    params(("report" = i64, Path), DifferencesParams), responses(
    (status = 200, body = DifferencesPage)))]
async fn differences(
    State(service): State<Service>,
    Named(id): Named<i64>,
    Params(params): Params<DifferencesParams>,
) -> Result<Json<DifferencesPage>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let report = service.reconciler.report(id).await?;
    let wanted = DifferencesWanted { report: id, after: params.after.unwrap_or(0), limit: limit + 1 };
    let mut found = service.store.differences(&wanted).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|difference| difference.number);
    let items = found.into_iter().map(|difference| DifferenceItem::new(&report, difference)).collect();
    Ok(Json(DifferencesPage { items, next }))
}

/// Runs a definition now.
#[utoipa::path(post, path = "/api/v1/reconciliations/definitions/{name}/run", tag = "reconciliation",
    params(("name" = String, Path)), responses(
    (status = 202, body = RunView)))]
async fn run(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    service.reconciler.defined(&name).await?;
    let work = Work { action: Action::Reconcile, reconciliations: vec![name], ..Work::default() };
    let run = service.control.ask(work, None, &caller.name, "asked for by hand").await?;
    Ok((StatusCode::ACCEPTED, Json(RunView::new(&run))))
}

/// What is mended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RepairBody {
    /// Do it; else it is only said what would be done
    apply: bool,
    /// Only these differences
    numbers: Vec<u64>,
    /// Only `missing`, `extra`, `different` or `duplicate` ones
    kinds: Vec<String>,
    /// Only rows with these keys, their values parted by commas
    keys: Vec<String>,
    /// Only rows with a value of `column` between `from` and `to`
    #[schema(value_type = Option<Object>)]
    only: Option<Window>,
    /// The number of rows that the dry run has named, to change more than `reconcile.repair_rows_max`
    confirmed: Option<u64>,
}

/// What was mended, or would be.
#[derive(Debug, Serialize, ToSchema)]
struct RepairResult {
    report: i64,
    target: String,
    applied: bool,
    rows: u64,
    inserted: u64,
    updated: u64,
    deleted: u64,
    repaired_before: u64,
    not_chosen: u64,
    equal_already: u64,
    /// Differences that are refused, because their rows have changed since the report.
    changed_since: Vec<u64>,
    mended: u64,
    /// Events that were sent again, where that is the way to mend the target.
    replayed: u64,
    /// Rows that were compared again and are equal.
    verified: u64,
    still_different: u64,
    /// On the machine that serves.
    undo_file: Option<String>,
}

/// Mends the target of a report, or says what would be done. Takes the role `operate`, and `admin` to do it.
#[utoipa::path(post, path = "/api/v1/reconciliations/{report}/repair", tag = "reconciliation",
    params(("report" = i64, Path)), request_body = RepairBody, responses(
    (status = 200, body = RepairResult)))]
async fn repair(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<i64>,
    MaybeBody(body): MaybeBody<RepairBody>,
) -> Result<Json<RepairResult>, Problem> {
    let apply = body.apply;
    let kind = |name: &String| {
        DifferenceKind::from_name(name).ok_or_else(|| {
            Error::invalid(format!("{name:?} is no kind of difference")).hint("missing, extra, different, duplicate")
        })
    };
    let kinds = body.kinds.iter().map(kind).collect::<Result<_>>()?;
    let (numbers, keys) = (body.numbers, body.keys);
    let choice = Choice { numbers, kinds, keys, only: body.only, rows_max: None, confirmed: body.confirmed };
    if !apply {
        let planned = service.reconciler.dry_run(id, &choice, Sides::default()).await?;
        return Ok(Json(result(planned, None)));
    }
    caller.must(Role::Admin)?;
    let stamp = service.clock.now().0;
    let file = service.reconciler.options().undo_folder.join(format!("report-{id}-{stamp}.undo.jsonl"));
    let reconciler = service.reconciler.clone();
    // It goes on to its end when whoever asked goes away.
    let shown = file.display().to_string();
    let work =
        tokio::spawn(async move { reconciler.repair(id, &choice, Sides::default(), &file, &Stop::default()).await });
    let done = work.await.map_err(|error| Error::bug("a repair broke off").caused_by(error))??;
    let undo_file = (done.mended > 0).then_some(shown);
    Ok(Json(result(done, Some(undo_file))))
}

/// The undo file of a repair that was made over this service: a line a row that was changed. Takes the role admin.
#[utoipa::path(get, path = "/api/v1/reconciliations/{report}/undo/{file}", tag = "reconciliation",
    params(("report" = i64, Path), ("file" = String, Path, description = "its name, as the repair told it")), responses(
    (status = 200, content_type = "application/x-ndjson", body = String)))]
async fn undo_file(
    State(service): State<Service>,
    caller: Caller,
    Named((report, file)): Named<(i64, String)>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let missing = || Error::not_found(format!("report {report} has no undo file {file:?}"));
    let stamp = file.strip_prefix(&format!("report-{report}-")).and_then(|rest| rest.strip_suffix(".undo.jsonl"));
    let is_own = stamp.is_some_and(|stamp| !stamp.is_empty() && stamp.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_own {
        return Err(missing().hint("a repair says the name of its file").into());
    }
    let path = service.reconciler.options().undo_folder.join(&file);
    let opened = tokio::fs::File::open(&path).await.map_err(|_| missing())?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
        (header::CACHE_CONTROL, "no-store".to_string()),
    ];
    let next = |mut file: tokio::fs::File| async move {
        let mut part = vec![0; PART_BYTES];
        let read = file.read(&mut part).await?;
        part.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then_some((part, file)))
    };
    Ok((headers, axum::body::Body::from_stream(futures::stream::try_unfold(opened, next))).into_response())
}

fn result(repaired: Repaired, applied: Option<Option<String>>) -> RepairResult {
    let counts = repaired.counts;
    RepairResult {
        report: repaired.report,
        target: repaired.target,
        applied: applied.is_some(),
        rows: counts.rows(),
        inserted: counts.inserted,
        updated: counts.updated,
        deleted: counts.deleted,
        repaired_before: counts.repaired_before,
        not_chosen: counts.not_chosen,
        equal_already: repaired.equal_already,
        changed_since: repaired.changed_since,
        mended: repaired.mended,
        replayed: repaired.replayed,
        verified: repaired.verified,
        still_different: repaired.still_different,
        undo_file: applied.flatten(),
    }
}

/// What another Tidegate wants to know of a table: its columns, digests of key ranges, keys that part them, rows.
#[utoipa::path(post, path = "/api/v1/digests", tag = "reconciliation", request_body = Object, responses(
    (status = 200, body = Object)))]
async fn digests(State(service): State<Service>, Body(ask): Body<Ask>) -> Result<Json<wire::Answer>, Problem> {
    let dataset = service.catalog.get(&ask.dataset)?.clone();
    let side = StoreSide::new(service.store.clone(), dataset, service.clock.clone());
    Ok(Json(wire::answer(&side, &ask, service.options.page_rows_max as u64).await?))
}
