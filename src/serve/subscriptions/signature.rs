//! Why a signature does not match: a request as a receiver saw it, checked with a secret or with those of a subscription.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dialect::webhook::{Explanation, Headers, Incoming, Keyring, Secret, explain, form_of};
use crate::model::{Error, Instant, Result, SignatureForm};
use crate::serve::Service;
use crate::serve::extract::Body;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(check))
}

/// A request as it arrived.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignatureCheck {
    /// Those of the request, by name in any case.
    headers: BTreeMap<String, String>,
    /// The body as text, exactly as it arrived.
    #[serde(default)]
    body: Option<String>,
    /// The body in base64, where it is no text.
    #[serde(default)]
    body_base64: Option<String>,
    /// What to verify with: this, or the name of a subscription.
    #[serde(default)]
    #[schema(write_only)]
    secret: Option<String>,
    /// The secrets of this subscription, and its form.
    #[serde(default)]
    subscription: Option<String>,
    /// `standard`, `standard_ed25519`, `mission`, `stripe` or `github`; absent: by the headers.
    #[serde(default)]
    form: Option<String>,
    /// The time at which it arrived, RFC 3339; absent: now.
    #[serde(default)]
    at: Option<String>,
}

/// What is to be said of a signature.
#[derive(Debug, Serialize, ToSchema)]
struct SignatureVerdict {
    matches: bool,
    form: &'static str,
    /// What is wrong, the first thing to mend first; empty when it matches.
    reasons: Vec<SignatureReason>,
    /// Which secret made it, the newest is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_with: Option<usize>,
}

/// Something that is wrong with a signature.
#[derive(Debug, Serialize, ToSchema)]
struct SignatureReason {
    /// `missing_header`, `other_form`, `timestamp_unreadable`, `timestamp_in_milliseconds`, `timestamp_old`, `timestamp_ahead`,
    /// `unknown_version`, `signature_unreadable`, `no_secret`, `secret_unreadable`, `wrong_version`, `secret_as_text`,
    /// `secret_decoded`, `secret_without_prefix`, `secret_ended`, `body_alone`, `wrong_join`, `body_changed`, `no_match`.
    code: &'static str,
    /// The same for people.
    text: String,
}

impl SignatureVerdict {
    fn of(form: SignatureForm, explanation: &Explanation) -> SignatureVerdict {
        let reason = |reason: &crate::dialect::webhook::Reason| SignatureReason {
            code: reason.code(),
            text: reason.to_string(),
        };
        SignatureVerdict {
            matches: explanation.matched.is_some(),
            form: form.name(),
            reasons: explanation.reasons.iter().map(reason).collect(),
            made_with: explanation.matched.as_ref().map(|matched| matched.secret),
        }
    }
}

/// Checks the signature of a request and says why it does not match. Nothing is kept, and no signature that would be right
/// is shown.
#[utoipa::path(post, path = "/api/v1/signatures/check", tag = "events", request_body = SignatureCheck, responses(
    (status = 200, body = SignatureVerdict)))]
async fn check(
    State(service): State<Service>,
    Body(asked): Body<SignatureCheck>,
) -> Result<Json<SignatureVerdict>, Problem> {
    let body = asked.body_bytes()?;
    let headers: Headers = asked.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let now = asked.at(service.clock.now())?;
    let tolerance_seconds = service.subscriptions.tolerance_seconds();
    let incoming = Incoming { headers: &headers, body: &body, now, tolerance_seconds };
    let (form, explanation) = match (&asked.secret, &asked.subscription) {
        (Some(secret), None) => {
            let form = asked.form()?.unwrap_or_else(|| form_of(&headers, Some(&Secret::new(secret.as_str()))));
            let ring = Keyring::new(Secret::new(secret.as_str()), Instant(0));
            (form, explain(form, &ring, &incoming))
        }
        (None, Some(name)) => {
            if asked.form.is_some() {
                let error = Error::invalid("form: the subscription has one").at_field("form");
                return Err(error.hint("leave it out").into());
            }
            service.subscriptions.explain(name, &incoming).await?
        }
        _ => {
            let error = Error::invalid("secret: a check takes a secret or the name of a subscription, not both");
            return Err(error.at_field("secret").into());
        }
    };
    Ok(Json(SignatureVerdict::of(form, &explanation)))
}

impl SignatureCheck {
    fn body_bytes(&self) -> Result<Vec<u8>> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => {
                let unfit = |_| Error::invalid("body_base64: this is no base64").at_field("body_base64");
                STANDARD.decode(text).map_err(unfit)
            }
            (None, None) => Ok(Vec::new()),
            (Some(_), Some(_)) => Err(Error::invalid("body: there is one body, as text or in base64").at_field("body")),
        }
    }

    fn form(&self) -> Result<Option<SignatureForm>> {
        let Some(name) = &self.form else { return Ok(None) };
        let known = SignatureForm::from_name(name);
        let names = SignatureForm::ALL.map(SignatureForm::name).join(", ");
        known.map(Some).ok_or_else(|| Error::invalid(format!("form: there are {names}")).at_field("form"))
    }

    fn at(&self, now: Instant) -> Result<Instant> {
        let Some(text) = &self.at else { return Ok(now) };
        let unfit = || Error::invalid("at: this is no time as 2026-01-02T03:04:05Z").at_field("at");
        Instant::parse(text).ok_or_else(unfit)
    }
}
