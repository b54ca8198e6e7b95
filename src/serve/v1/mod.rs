//! `/api/v1`: everything that the commands can do, for programs and the dashboard.

mod attention;
mod bars;
mod chosen;
mod coverage;
mod datasets;
mod failures;
mod jobs;
mod kept_apart;
mod memory;
mod monitor;
mod objects;
mod overview;
pub mod page;
mod period;
mod plan;
mod reconciliations;
mod rows;
mod runs;
mod securities;
mod sources;
mod standings;
mod statements;
mod tasks;

use utoipa_axum::router::OpenApiRouter;

use super::Service;

pub use memory::Memory;

/// One line a module of routes.
pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .merge(overview::routes())
        .merge(datasets::routes())
        .merge(rows::routes())
        .merge(bars::routes())
        .merge(securities::routes())
        .merge(statements::routes())
        .merge(monitor::routes())
        .merge(coverage::routes())
        .merge(plan::routes())
        .merge(tasks::routes())
        .merge(runs::routes())
        .merge(jobs::routes())
        .merge(failures::routes())
        .merge(kept_apart::routes())
        .merge(sources::routes())
        .merge(reconciliations::routes())
}
