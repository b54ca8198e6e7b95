//! What requests carry: bodies and parameters, refused as problems when they cannot be read.

use axum::Json;
use axum::body::HttpBody;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Body(value)),
            Err(rejection) => Err(refused_body(&rejection)),
        }
    }
}

/// A JSON body that may be left out: nothing at all is the default.
pub struct MaybeBody<T>(pub T);

impl<T, S> FromRequest<S> for MaybeBody<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<MaybeBody<T>, Problem> {
        if request.body().size_hint().exact() == Some(0) {
            return Ok(MaybeBody(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(value)| MaybeBody(value))
    }
}

fn refused_body(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large")
                .hint("serve.body_kb_max is the limit")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let detail = "the body is not said to be JSON";
            Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
                .hint("send the header Content-Type: application/json")
        }
        _ => Problem::of_status(StatusCode::BAD_REQUEST, "invalid", rejection.body_text()),
    }
}

/// Parameters after the question mark.
pub struct Params<T>(pub T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        let found: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let refused =
            |rejection: QueryRejection| Problem::of_status(StatusCode::BAD_REQUEST, "invalid", rejection.body_text());
        found.map(|Query(value)| Params(value)).map_err(refused)
    }
}

/// Parts of the path.
pub struct Named<T>(pub T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Problem> {
        let found: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        let refused =
            |rejection: PathRejection| Problem::of_status(StatusCode::BAD_REQUEST, "invalid", rejection.body_text());
        found.map(|Path(value)| Named(value)).map_err(refused)
    }
}
