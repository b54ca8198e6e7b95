//! Coverage: how each day of a table stands.

use utoipa_axum::router::OpenApiRouter;

use crate::serve::Service;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
}
