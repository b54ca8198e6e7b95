//! The envelope of the routes that older programs know: `success`, `message`, `data`.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer with its data. Errors come as problems and never in an envelope.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Always true.
    pub success: bool,
    /// What was done, for people.
    pub message: String,
    pub data: T,
}

/// Wraps `data` for the answer.
pub fn envelope<T>(message: impl Into<String>, data: T) -> Json<Envelope<T>> {
    Json(Envelope { success: true, message: message.into(), data })
}
