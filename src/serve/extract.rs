//! What requests carry: bodies and parameters, refused as problems when they cannot be read.

use axum::Json;
use axum::body::HttpBody;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::model::Error;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let mut value = match Json::<Value>::from_request(request, state).await {
            Ok(Json(value)) => value,
            Err(rejection) => return Err(refused_body(&rejection)),
        };
        if !value.is_object() {
            return Err(Error::invalid("the body is not a JSON object").into());
        }
        whole_numbers(&mut value);
        let unfit = |error: serde_json::Error| Error::invalid(format!("the body does not fit: {error}"));
        serde_json::from_value(value).map(Body).map_err(|error| unfit(error).into())
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

/// JSON knows one kind of number: 3.0 is 3.
fn whole_numbers(value: &mut Value) {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|it| number.is_f64() && it.fract() == 0.0 && it.abs() < EXACT_MAX);
            if let Some(whole) = whole {
                *number = (whole as i64).into();
            }
        }
        _ => {}
    }
}

/// Reads a field that is an object: a list of its values without their names is not one.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let fields = Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(fields)).map_err(serde::de::Error::custom)
}

/// Takes a field that is a text out of a body; absent and null are none.
///
/// # Errors
///
/// Any other value.
pub fn take_text(body: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Error> {
    match body.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("{field} is no text")).at_field(field)),
    }
}

/// Takes out of a body which revision the caller has seen; absent and null are none.
///
/// # Errors
///
/// Any value but a whole number.
pub fn take_revision(body: &mut Map<String, Value>) -> Result<Option<u64>, Error> {
    let no_number = || Error::invalid("revision is no whole number").at_field("revision");
    let given = body.remove("revision").filter(|value| !value.is_null());
    given.map(|value| value.as_u64().ok_or_else(no_number)).transpose()
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
