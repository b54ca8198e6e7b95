//! Making signatures: the headers of one request.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::Form;
use super::canonical;
use super::secret::{Key, Secret};
use crate::model::hex;
use crate::model::{Error, Result};

/// A request that is about to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The same at every attempt: receivers know a message by it. Without a full stop.
    pub id: &'a str,
    /// Of this attempt, in seconds since 1970.
    pub timestamp: i64,
    /// As it is sent, byte for byte.
    pub body: &'a [u8],
    /// Who sends, for the form that says so.
    pub source_system: &'a str,
}

/// The text that is sent in a form for a JSON text. In the mission's form it is the canonical one, so that receivers that
/// check the bytes and receivers that read and print them again see the same.
pub fn body_to_send(form: Form, text: &str) -> Result<Cow<'_, str>> {
    match form {
        Form::Mission => canonical::canonical(text).map(Cow::Owned),
        Form::Standard | Form::StandardEd25519 | Form::Stripe | Form::Github => Ok(Cow::Borrowed(text)),
    }
}

/// The headers of a request, signed with each secret; the newest comes first. Where a form has room for one signature
/// the newest secret makes it, and the mission's form says that of the one before in `X-Signature-Previous`.
pub fn sign(form: Form, secrets: &[Secret], outgoing: &Outgoing<'_>) -> Result<Vec<(&'static str, String)>> {
    if secrets.is_empty() {
        return Err(Error::invalid("there is no secret to sign with").hint("rotate the secret of the subscription"));
    }
    if outgoing.id.is_empty() || !outgoing.id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.') {
        return Err(Error::bug(
            "the id of a webhook is empty or has other than visible characters without a full stop",
        ));
    }
    let signed = signed_bytes(form, outgoing.id, &outgoing.timestamp.to_string(), outgoing.body);
    let signatures = secrets.iter().map(|secret| signature(form, secret, &signed)).collect::<Result<Vec<_>>>()?;
    let (id, timestamp) = (outgoing.id.to_string(), outgoing.timestamp.to_string());
    Ok(match form {
        Form::Standard | Form::StandardEd25519 => {
            vec![("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signatures.join(" "))]
        }
        Form::Mission => {
            let mut headers = vec![("x-timestamp", timestamp), ("x-source-system", outgoing.source_system.to_string())];
            let names = ["x-signature", "x-signature-previous"];
            headers.extend(names.into_iter().zip(signatures));
            headers.push(("webhook-id", id));
            headers
        }
        Form::Stripe => {
            vec![("stripe-signature", format!("t={timestamp},{}", signatures.join(","))), ("webhook-id", id)]
        }
        Form::Github => {
            let newest = signatures.into_iter().next().unwrap_or_default();
            vec![("x-hub-signature-256", newest), ("x-github-delivery", id.clone()), ("webhook-id", id)]
        }
    })
}

/// The bytes over which a form's signature is made.
pub(super) fn signed_bytes(form: Form, id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    let before = match form {
        Form::Standard | Form::StandardEd25519 => format!("{id}.{timestamp}."),
        Form::Stripe => format!("{timestamp}."),
        Form::Mission | Form::Github => String::new(),
    };
    [before.as_bytes(), body].concat()
}

/// One signature as it stands in the header.
fn signature(form: Form, secret: &Secret, signed: &[u8]) -> Result<String> {
    let bytes = match secret.key(form)? {
        Key::Shared(key) => hmac::sign(&key, signed).as_ref().to_vec(),
        Key::Pair(pair) => pair.sign(signed).as_ref().to_vec(),
        Key::Public(_) => return Err(Error::invalid("a public key cannot sign")),
    };
    Ok(match form {
        Form::Standard => format!("v1,{}", STANDARD.encode(bytes)),
        Form::StandardEd25519 => format!("v1a,{}", STANDARD.encode(bytes)),
        Form::Mission => format!("sha256:{}", hex(&bytes)),
        Form::Stripe => format!("v1={}", hex(&bytes)),
        Form::Github => format!("sha256={}", hex(&bytes)),
    })
}
