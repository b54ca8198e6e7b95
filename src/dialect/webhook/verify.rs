//! Checking signatures: fresh, known in version, and made with one of the secrets.

use std::fmt;

use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Form;
use super::canonical;
use super::secret::{Key, Secret, base64_bytes};
use super::sign::signed_bytes;
use crate::model::Instant;

/// The headers of a request; names in any case.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(String, String)>);

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Headers {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into().to_ascii_lowercase(), value.into()));
        Headers(pairs.collect())
    }
}

impl Headers {
    /// The first header of a name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// One of the standard's headers, or the same under Svix's name.
    fn standard(&self, name: &str) -> Option<&str> {
        self.get(&format!("webhook-{name}")).or_else(|| self.get(&format!("svix-{name}")))
    }
}

/// A request whose signature is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub headers: &'a Headers,
    pub body: &'a [u8],
    pub now: Instant,
    /// How far its timestamp may be away from now.
    pub tolerance_seconds: i64,
}

/// What a signature that matches says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The message's id, where the headers have one.
    pub id: Option<String>,
    pub timestamp: Option<i64>,
    /// Which of the secrets made it.
    pub secret: usize,
}

/// Why a signature does not count. It never holds a secret, nor a signature that would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    MissingHeader(&'static str),
    /// The headers are those of another form.
    OtherForm(Form),
    TimestampUnreadable,
    /// The timestamp counts milliseconds.
    TimestampInMilliseconds,
    /// Older than the tolerance, by the age.
    TimestampOld {
        seconds: i64,
        tolerance_seconds: i64,
    },
    TimestampAhead {
        seconds: i64,
        tolerance_seconds: i64,
    },
    /// The header has signatures of these versions only.
    UnknownVersion(Vec<String>),
    /// No signature of the header can be read.
    SignatureUnreadable,
    /// There is no secret to check with.
    NoSecret,
    /// A secret cannot be used in this form.
    SecretUnreadable(String),
    /// The signature is right, under the name of another version.
    WrongVersion(&'static str),
    /// The secret's text was the key, and its decoded bytes should have been.
    SecretAsText,
    /// The secret's decoded bytes were the key, and its text should have been.
    SecretDecoded,
    /// It was made with the secret without its prefix.
    SecretWithoutPrefix,
    /// It was made with a secret that counts no more.
    SecretEnded(Instant),
    /// It was made over the body alone.
    BodyAlone,
    /// It was made over the id, timestamp and body without what stands between them.
    WrongJoin,
    /// It was made over the same JSON in another text.
    BodyChanged(&'static str),
    /// It matches another secret's or another body's signature: nothing that is known explains it.
    NoMatch,
}

impl Reason {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::MissingHeader(_) => "missing_header",
            Reason::OtherForm(_) => "other_form",
            Reason::TimestampUnreadable => "timestamp_unreadable",
            Reason::TimestampInMilliseconds => "timestamp_in_milliseconds",
            Reason::TimestampOld { .. } => "timestamp_old",
            Reason::TimestampAhead { .. } => "timestamp_ahead",
            Reason::UnknownVersion(_) => "unknown_version",
            Reason::SignatureUnreadable => "signature_unreadable",
            Reason::NoSecret => "no_secret",
            Reason::SecretUnreadable(_) => "secret_unreadable",
            Reason::WrongVersion(_) => "wrong_version",
            Reason::SecretAsText => "secret_as_text",
            Reason::SecretDecoded => "secret_decoded",
            Reason::SecretWithoutPrefix => "secret_without_prefix",
            Reason::SecretEnded(_) => "secret_ended",
            Reason::BodyAlone => "body_alone",
            Reason::WrongJoin => "wrong_join",
            Reason::BodyChanged(_) => "body_changed",
            Reason::NoMatch => "no_match",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::MissingHeader(name) => write!(f, "the header {name} is missing"),
            Reason::OtherForm(form) => write!(f, "the headers are those of the form {}", form.name()),
            Reason::TimestampUnreadable => f.write_str("the timestamp is no whole number of seconds since 1970"),
            Reason::TimestampInMilliseconds => f.write_str("the timestamp counts milliseconds instead of seconds"),
            Reason::TimestampOld { seconds, tolerance_seconds } => {
                write!(f, "the timestamp is {seconds} s old, and {tolerance_seconds} s are allowed")
            }
            Reason::TimestampAhead { seconds, tolerance_seconds } => {
                write!(f, "the timestamp is {seconds} s ahead of this clock, and {tolerance_seconds} s are allowed")
            }
            Reason::UnknownVersion(versions) => {
                write!(f, "the header has no signature of a known version, only of {}", versions.join(", "))
            }
            Reason::SignatureUnreadable => f.write_str("the header has no signature that can be read"),
            Reason::NoSecret => f.write_str("there is no secret that counts at this time"),
            Reason::SecretUnreadable(why) => write!(f, "the secret cannot be used: {why}"),
            Reason::WrongVersion(version) => {
                write!(f, "the signature is right, but stands under the version {version}")
            }
            Reason::SecretAsText => f.write_str(
                "the text of the secret was used as the key; the key is what the base64 behind whsec_ decodes to",
            ),
            Reason::SecretDecoded => {
                f.write_str("the decoded secret was used as the key; in this form the key is the secret's text")
            }
            Reason::SecretWithoutPrefix => {
                f.write_str("the secret was used without its prefix; in this form the prefix belongs to the key")
            }
            Reason::SecretEnded(until) => write!(f, "it was made with a secret that ended at {until}"),
            Reason::BodyAlone => f.write_str("only the body was signed; this form signs more than the body"),
            Reason::WrongJoin => {
                f.write_str("id, timestamp and body were not joined by a full stop, or in another order")
            }
            Reason::BodyChanged(how) => write!(f, "the body was changed after signing: the signature is over {how}"),
            Reason::NoMatch => f.write_str("another secret, or another body, id or timestamp, was signed"),
        }
    }
}

/// Checks a request against every secret that counts. The first reason ends it.
pub fn verify(form: Form, secrets: &[Secret], incoming: &Incoming<'_>) -> Result<Matched, Reason> {
    let claimed = Claimed::of(form, incoming.headers)?;
    claimed.fresh(incoming)?;
    if claimed.signatures.is_empty() {
        return Err(match claimed.versions.is_empty() {
            true => Reason::SignatureUnreadable,
            false => Reason::UnknownVersion(claimed.versions),
        });
    }
    let keys = keys(form, secrets)?;
    // Their signature may be over the text that comes, or over the canonical one of a body that was sent otherwise.
    let canonical = std::str::from_utf8(incoming.body).ok().filter(|_| form == Form::Mission);
    let canonical = canonical.and_then(|text| canonical::canonical(text).ok());
    for body in [Some(incoming.body), canonical.as_deref().map(str::as_bytes)].into_iter().flatten() {
        let signed = signed_bytes(form, claimed.id.as_deref().unwrap_or_default(), &claimed.timestamp_text, body);
        let made = |key: &Key| claimed.signatures.iter().any(|signature| matches(key, &signed, signature));
        if let Some(secret) = keys.iter().position(made) {
            return Ok(Matched { id: claimed.id, timestamp: claimed.timestamp, secret });
        }
    }
    Err(Reason::NoMatch)
}

pub(super) fn keys(form: Form, secrets: &[Secret]) -> Result<Vec<Key>, Reason> {
    if secrets.is_empty() {
        return Err(Reason::NoSecret);
    }
    let key = |secret: &Secret| secret.key(form).map_err(|error| Reason::SecretUnreadable(error.to_string()));
    secrets.iter().map(key).collect()
}

/// Whether a key made a signature, in a time that does not tell how much of it is right.
pub(super) fn matches(key: &Key, signed: &[u8], signature: &[u8]) -> bool {
    match key {
        Key::Shared(key) => hmac::verify(key, signed, signature).is_ok(),
        Key::Pair(pair) => {
            use ring::signature::KeyPair as _;
            UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).verify(signed, signature).is_ok()
        }
        Key::Public(public) => UnparsedPublicKey::new(&ED25519, public).verify(signed, signature).is_ok(),
    }
}

/// What the headers of a form claim.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub id: Option<String>,
    pub timestamp: Option<i64>,
    /// As it was written: that is what was signed.
    pub timestamp_text: String,
    /// Those of the form's version, decoded.
    pub signatures: Vec<Vec<u8>>,
    /// Other versions of which there are signatures.
    pub versions: Vec<String>,
}

impl Claimed {
    pub(super) fn of(form: Form, headers: &Headers) -> Result<Claimed, Reason> {
        match form {
            Form::Standard => Claimed::standard(headers, "v1"),
            Form::StandardEd25519 => Claimed::standard(headers, "v1a"),
            Form::Mission => Claimed::mission(headers),
            Form::Stripe => Claimed::stripe(headers),
            Form::Github => Claimed::github(headers),
        }
    }

    fn standard(headers: &Headers, version: &str) -> Result<Claimed, Reason> {
        let part = |name: &str, full| headers.standard(name).ok_or(Reason::MissingHeader(full));
        let id = part("id", "webhook-id")?;
        let timestamp_text = part("timestamp", "webhook-timestamp")?;
        let header = part("signature", "webhook-signature")?;
        let (signatures, versions) = versioned(header.split(' '), ',', version, base64_bytes);
        let timestamp = Some(whole_seconds(timestamp_text)?);
        let timestamp_text = timestamp_text.to_string();
        Ok(Claimed { id: Some(id.to_string()), timestamp, timestamp_text, signatures, versions })
    }

    fn mission(headers: &Headers) -> Result<Claimed, Reason> {
        let header = headers.get("x-signature").ok_or(Reason::MissingHeader("X-Signature"))?;
        let timestamp_text = headers.get("x-timestamp").ok_or(Reason::MissingHeader("X-Timestamp"))?;
        let both = [Some(header), headers.get("x-signature-previous")];
        let (signatures, versions) = versioned(both.into_iter().flatten(), ':', "sha256", hex_bytes);
        let timestamp = Some(whole_seconds(timestamp_text)?);
        let id = headers.standard("id").map(str::to_string);
        Ok(Claimed { id, timestamp, timestamp_text: timestamp_text.to_string(), signatures, versions })
    }

    fn stripe(headers: &Headers) -> Result<Claimed, Reason> {
        let header = headers.get("stripe-signature").ok_or(Reason::MissingHeader("Stripe-Signature"))?;
        let parts = || header.split(',').map(str::trim);
        let timestamp_text = parts().find_map(|part| part.strip_prefix("t="));
        let timestamp_text = timestamp_text.ok_or(Reason::TimestampUnreadable)?.to_string();
        let others = parts().filter(|part| !part.starts_with("t="));
        let (signatures, versions) = versioned(others, '=', "v1", hex_bytes);
        let timestamp = Some(whole_seconds(&timestamp_text)?);
        let id = headers.standard("id").map(str::to_string);
        Ok(Claimed { id, timestamp, timestamp_text, signatures, versions })
    }

    fn github(headers: &Headers) -> Result<Claimed, Reason> {
        let header = headers.get("x-hub-signature-256").ok_or(Reason::MissingHeader("X-Hub-Signature-256"))?;
        let (signatures, versions) = versioned(std::iter::once(header), '=', "sha256", hex_bytes);
        let id = headers.get("x-github-delivery").or_else(|| headers.standard("id")).map(str::to_string);
        Ok(Claimed { id, timestamp: None, timestamp_text: String::new(), signatures, versions })
    }

    /// Whether the timestamp is near enough to now; forms without one are always fresh.
    pub(super) fn fresh(&self, incoming: &Incoming<'_>) -> Result<(), Reason> {
        let Some(timestamp) = self.timestamp else { return Ok(()) };
        let tolerance_seconds = incoming.tolerance_seconds;
        let seconds = incoming.now.0.div_euclid(1_000_000).saturating_sub(timestamp);
        match seconds {
            _ if seconds.unsigned_abs() <= tolerance_seconds.unsigned_abs() => Ok(()),
            _ if (1_000_000_000_000..100_000_000_000_000).contains(&timestamp) => Err(Reason::TimestampInMilliseconds),
            0.. => Err(Reason::TimestampOld { seconds, tolerance_seconds }),
            _ => Err(Reason::TimestampAhead { seconds: seconds.saturating_neg(), tolerance_seconds }),
        }
    }
}

/// Of signatures with a version before them: those of the wanted one that can be read, and the names of the others.
fn versioned<'a>(
    items: impl Iterator<Item = &'a str>,
    between: char,
    wanted: &str,
    read: impl Fn(&str) -> Option<Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<String>) {
    const ITEMS_MAX: usize = 32;
    let (mut signatures, mut others) = (Vec::new(), Vec::new());
    for item in items.filter(|item| !item.is_empty()).take(ITEMS_MAX) {
        let (version, text) = item.split_once(between).unwrap_or(("", item));
        match version == wanted {
            true => signatures.extend(read(text)),
            false if version.is_empty() => {}
            false => others.push(version.chars().take(16).collect()),
        }
    }
    (signatures, others)
}

fn whole_seconds(text: &str) -> Result<i64, Reason> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Reason::TimestampUnreadable)
}

/// Bytes from hexadecimal digits in either case.
pub(super) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
