//! The reconciler as the configuration describes it, and how reports are told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::Context;
use super::list::grouped;
use crate::model::reconciliation::{Counts, Difference, Report};
use crate::reconcile::address::Names;
use crate::reconcile::{ReconcileOptions, Reconciler, RemoteOptions};
use crate::source::database::DatabaseOptions;
use crate::store::Store;

pub fn reconciler(context: &Context, store: Arc<dyn Store>) -> Reconciler {
    let (options, sources) = (&context.options().reconcile, &context.options().sources);
    let named = |connections: Vec<(String, crate::config::Secret)>| {
        connections.into_iter().map(|(name, url)| (name, url.expose().to_string())).collect()
    };
    let names = Names { databases: named(sources.database.connections()), tidegates: named(options.tidegates()) };
    let connect_timeout = Duration::from_secs(options.connect_timeout_seconds);
    let limits = ReconcileOptions {
        leaf_rows: options.leaf_rows,
        fan_out: options.fan_out,
        rows_max: options.rows_max,
        seconds_max: options.seconds_max,
        differences_max: options.differences_max,
        settle: Duration::from_millis(options.settle_ms),
        looks_max: options.looks_max,
        position_wait: Duration::from_secs(options.position_seconds),
        alert_differences: options.alert_differences,
        reports_kept: options.reports_kept,
        repair_rows_max: options.repair_rows_max,
        repair_batch_rows: options.repair_batch_rows,
        auto_rows_max: options.auto_rows_max,
        undo_folder: options.undo_folder.clone(),
        database: DatabaseOptions {
            statement_timeout: Duration::from_secs(options.statement_timeout_seconds),
            connect_timeout,
            ..DatabaseOptions::default()
        },
        remote: RemoteOptions {
            timeout: Duration::from_secs(options.statement_timeout_seconds),
            connect_timeout,
            body_bytes_max: options.body_mb_max << 20,
        },
    };
    Reconciler::new(store, context.catalog.clone(), context.clock.clone(), names, limits)
}

/// A report for programs.
pub fn report_json(report: &Report) -> Value {
    json!({
        "report": report.id, "name": report.name, "source": report.wanted.source, "target": report.wanted.target,
        "outcome": report.outcome.name(), "differences": report.counts.differences(), "counts": report.counts,
        "started_at": report.started_at.to_string(), "finished_at": report.finished_at.to_string(),
        "millis": report.finished_at.millis_since(report.started_at), "note": report.note,
        "columns": report.columns, "key": report.key,
    })
}

/// A difference for programs.
pub fn difference_json(report: &Report, difference: &Difference) -> Value {
    let names = difference.fields.iter().filter_map(|at| report.columns.get(*at)).map(|column| column.name.as_str());
    let row = |values: &Vec<Option<String>>| -> Value {
        let cells = report.columns.iter().zip(values);
        let cells =
            cells.map(|(column, text)| (column.name.clone(), json!(text.as_deref().map(|it| column.shown(it)))));
        Value::Object(cells.collect())
    };
    json!({
        "number": difference.number, "kind": difference.kind.name(), "key": difference.key,
        "fields": names.collect::<Vec<_>>(), "source": difference.source.iter().map(row).collect::<Vec<_>>(),
        "target": difference.target.iter().map(row).collect::<Vec<_>>(), "cause": difference.cause.name(),
        "event": difference.event, "delivery": difference.delivery, "attempt": difference.attempt,
        "repaired_at": difference.repaired_at.map(|at| at.to_string()),
    })
}

/// `3 missing, 1 extra, 2 different`.
pub fn counted(counts: &Counts) -> String {
    let parts = [
        (counts.missing, "missing"),
        (counts.extra, "extra"),
        (counts.different, "different"),
        (counts.duplicate, "duplicate"),
        (counts.unsettled, "unsettled"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", grouped(*count)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "no differences".to_string() } else { parts.join(", ") }
}
