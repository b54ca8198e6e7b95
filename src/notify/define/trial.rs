//! A test event: sent now to one subscription, and shown with what came back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DefineOptions, Status};
use crate::dialect::cloudevents::OWN_SOURCE;
use crate::dialect::webhook::{Outgoing, sign};
use crate::model::hex;
use crate::model::{Content, Error, Instant, Message, Result, SignatureForm};
use crate::notify::client::{Client, Exchange, Request};
use crate::notify::letter::Letter;

/// The type of test events.
pub const TEST_TYPE: &str = "tidegate.test";

/// What went out and what came back.
#[derive(Debug)]
pub struct Trial {
    pub form: SignatureForm,
    pub url: String,
    /// As they were sent, the signature among them.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub exchange: Exchange,
}

pub(super) async fn send(client: &Client, options: &DefineOptions, status: &Status, now: Instant) -> Result<Trial> {
    let subscription = &status.subscription;
    let form = subscription.form;
    let id = test_id()?;
    let Letter { content_type, body } = Letter::write(form, &[&event(&id, &status.name, now)], false)?;
    let source_system = subscription.source_system.as_deref().unwrap_or(&options.source_system);
    let outgoing = Outgoing { id: &id, timestamp: now.0.div_euclid(1_000_000), body: body.as_bytes(), source_system };
    let signed = sign(form, &status.keyring.counting(now), &outgoing)?;
    let mut headers = vec![("content-type".to_string(), content_type.to_string())];
    headers.extend(signed.into_iter().map(|(name, value)| (name.to_string(), value)));
    let seconds = subscription.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let (url, timeout) = (subscription.url.clone(), seconds.unwrap_or(options.timeout));
    let request = Request { url: url.clone(), headers: headers.clone(), body: body.clone().into(), timeout };
    let exchange = client.post(request).await;
    Ok(Trial { form, url, headers, body, exchange })
}

fn test_id() -> Result<String> {
    let mut bytes = [0u8; 12];
    let none = |error: getrandom::Error| Error::bug(format!("the system gives no random numbers: {error}"));
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(format!("test_{}", hex(&bytes)))
}

/// The test event.
fn event(id: &str, subscription: &str, now: Instant) -> Message {
    let data = serde_json::json!({ "subscription": subscription, "note": "a test of this webhook" });
    Message {
        event: 0,
        at: now,
        id: id.to_string(),
        source: OWN_SOURCE.to_string(),
        kind: TEST_TYPE.to_string(),
        time: Some(now.to_string()),
        subject: Some(subscription.to_string()),
        key: None,
        schema: None,
        content_type: Some("application/json".to_string()),
        extensions: BTreeMap::new(),
        content: Content::Json(data.to_string()),
    }
}
