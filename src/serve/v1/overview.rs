//! The overview: what is fresh, late or missing, what runs, what needs a person.

use utoipa_axum::router::OpenApiRouter;

use crate::serve::Service;

#[derive(Default)]
pub struct Standings;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
}
