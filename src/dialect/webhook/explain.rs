//! Why a signature does not match: the usual mistakes are tried out, one after the other.

use ring::hmac;

use super::Form;
use super::canonical::{CANONICAL, Numbers, Style, print};
use super::json;
use super::keyring::Keyring;
use super::secret::{Key, Secret, base64_bytes};
use super::sign::signed_bytes;
use super::verify::{Claimed, Incoming, Matched, Reason, keys, matches, verify};

/// What there is to say of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Present when it counts.
    pub matched: Option<Matched>,
    /// Everything that is wrong, the first thing to mend first; empty when it counts.
    pub reasons: Vec<Reason>,
}

/// Checks a signature, and where it does not count, looks for the reason among the usual ones. The secrets are those of a
/// keyring, so that one that ended is recognised.
pub fn explain(form: Form, keyring: &Keyring, incoming: &Incoming<'_>) -> Explanation {
    let secrets = keyring.counting(incoming.now);
    let first = match verify(form, &secrets, incoming) {
        Ok(matched) => return Explanation { matched: Some(matched), reasons: Vec::new() },
        Err(reason) => reason,
    };
    let reasons = match Claimed::of(form, incoming.headers) {
        Err(reason) => match other_form(form, incoming) {
            Some(other) => vec![Reason::OtherForm(other)],
            None => vec![reason],
        },
        Ok(claimed) => {
            let mut reasons: Vec<Reason> = claimed.fresh(incoming).err().into_iter().collect();
            let case = Case { form, keyring, secrets: &secrets, incoming, claimed: &claimed };
            reasons.extend(case.signature());
            if reasons.is_empty() { vec![first] } else { reasons }
        }
    };
    Explanation { matched: None, reasons }
}

/// The form whose signature header is there instead.
fn other_form(form: Form, incoming: &Incoming<'_>) -> Option<Form> {
    let has = |name: &str| incoming.headers.get(name).is_some();
    let standard = has("webhook-signature") || has("svix-signature");
    let found =
        Form::ALL.into_iter().find(|other| has(other.signature_header()) || (*other == Form::Standard && standard));
    let same = matches!(form, Form::Standard | Form::StandardEd25519) && standard;
    found.filter(|other| *other != form && !same)
}

struct Case<'a> {
    form: Form,
    keyring: &'a Keyring,
    secrets: &'a [Secret],
    incoming: &'a Incoming<'a>,
    claimed: &'a Claimed,
}

impl Case<'_> {
    /// What is wrong with the signature itself; `None` when it is right but old.
    fn signature(&self) -> Option<Reason> {
        let keys = match keys(self.form, self.secrets) {
            Ok(keys) => keys,
            Err(reason) => return Some(reason),
        };
        let signed = self.signed(self.incoming.body);
        if self.made(&keys, &signed) || self.canonical_matches(&keys) {
            return None;
        }
        if let Some(reason) = self.under_another_version(&keys, &signed) {
            return Some(reason);
        }
        if self.claimed.signatures.is_empty() {
            let versions = self.claimed.versions.clone();
            return Some(match versions.is_empty() {
                true => Reason::SignatureUnreadable,
                false => Reason::UnknownVersion(versions),
            });
        }
        let reason = self.another_body(&keys).or_else(|| self.another_key(&signed));
        reason.or_else(|| self.ended(&signed)).or_else(|| self.another_join(&keys)).or(Some(Reason::NoMatch))
    }

    /// The mission's form counts over the canonical text, whatever text came.
    fn canonical_matches(&self, keys: &[Key]) -> bool {
        let text = std::str::from_utf8(self.incoming.body).ok().filter(|_| self.form == Form::Mission);
        let value = text.and_then(|text| json::read(text).ok());
        value.is_some_and(|value| self.made(keys, print(&value, CANONICAL).as_bytes()))
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        let id = self.claimed.id.as_deref().unwrap_or_default();
        signed_bytes(self.form, id, &self.claimed.timestamp_text, body)
    }

    fn made(&self, keys: &[Key], signed: &[u8]) -> bool {
        keys.iter().any(|key| self.claimed.signatures.iter().any(|signature| matches(key, signed, signature)))
    }

    /// The right code, under `v1a` instead of `v1` or the other way round.
    fn under_another_version(&self, keys: &[Key], signed: &[u8]) -> Option<Reason> {
        let (other, version) = match self.form {
            Form::Standard => (Form::StandardEd25519, "v1a"),
            Form::StandardEd25519 => (Form::Standard, "v1"),
            Form::Mission | Form::Stripe | Form::Github => return None,
        };
        let claimed = Claimed::of(other, self.incoming.headers).ok()?;
        let right = |signature: &Vec<u8>| keys.iter().any(|key| matches(key, signed, signature));
        claimed.signatures.iter().any(right).then_some(Reason::WrongVersion(version))
    }

    fn another_body(&self, keys: &[Key]) -> Option<Reason> {
        let body = self.incoming.body;
        let trimmed = body.trim_ascii();
        let ended = [body, b"\n"].concat();
        let plain = [
            (trimmed, "the body without the blanks around it"),
            (ended.as_slice(), "the body with a line end behind it"),
            (b"".as_slice(), "an empty body: it was signed before it was there"),
        ];
        if let Some((_, how)) = plain.into_iter().find(|(text, _)| *text != body && self.made(keys, &self.signed(text)))
        {
            return Some(Reason::BodyChanged(how));
        }
        let value = json::read(std::str::from_utf8(body).ok()?).ok()?;
        let printed = styles().find(|(style, _)| self.made(keys, &self.signed(print(&value, *style).as_bytes())));
        printed.map(|(_, how)| Reason::BodyChanged(how))
    }

    fn another_key(&self, signed: &[u8]) -> Option<Reason> {
        self.secrets.iter().find_map(|secret| {
            let text = secret.expose();
            let bare = text.strip_prefix("whsec_").unwrap_or(text);
            let is_standard = self.form == Form::Standard;
            let others = [
                (Some(text.as_bytes().to_vec()), Reason::SecretAsText, is_standard),
                (Some(bare.as_bytes().to_vec()), Reason::SecretAsText, is_standard),
                (base64_bytes(bare), Reason::SecretDecoded, !is_standard),
                (Some(bare.as_bytes().to_vec()), Reason::SecretWithoutPrefix, !is_standard && bare != text),
            ];
            let mut others = others.into_iter().filter(|(.., wanted)| *wanted && self.form != Form::StandardEd25519);
            others.find_map(|(bytes, reason, _)| {
                let key = Key::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes?));
                self.made(&[key], signed).then_some(reason)
            })
        })
    }

    fn ended(&self, signed: &[u8]) -> Option<Reason> {
        self.keyring.terms().iter().find_map(|term| {
            let until = term.until.filter(|until| *until <= self.incoming.now)?;
            let key = term.secret.key(self.form).ok()?;
            self.made(&[key], signed).then_some(Reason::SecretEnded(until))
        })
    }

    fn another_join(&self, keys: &[Key]) -> Option<Reason> {
        let (body, id) = (self.incoming.body, self.claimed.id.as_deref().unwrap_or_default());
        let timestamp = &self.claimed.timestamp_text;
        if matches!(self.form, Form::Standard | Form::StandardEd25519 | Form::Stripe) && self.made(keys, body) {
            return Some(Reason::BodyAlone);
        }
        let before = [
            format!("{timestamp}."),
            format!("{id}."),
            format!("{timestamp}.{id}."),
            format!("{id}{timestamp}"),
            timestamp.clone(),
            format!("{id}.{timestamp}."),
            format!("{timestamp}\n"),
        ];
        let joined = |before: &String| self.made(keys, &[before.as_bytes(), body].concat());
        before.iter().any(joined).then_some(Reason::WrongJoin)
    }
}

/// How programs print JSON that they have read, most frequent first.
fn styles() -> impl Iterator<Item = (Style, &'static str)> {
    let python = Style { sorted: false, ..CANONICAL };
    let javascript = Style { sorted: false, spaced: false, ascii: false, numbers: Numbers::JavaScript };
    let written = Numbers::AsWritten;
    [
        (javascript, "the same JSON as JavaScript's JSON.stringify prints it"),
        (python, "the same JSON as Python's json.dumps prints it"),
        (CANONICAL, "the same JSON as Python's json.dumps with sort_keys=True prints it"),
        (Style { ascii: false, ..python }, "the same JSON as Python's json.dumps with ensure_ascii=False prints it"),
        (Style { ascii: false, ..CANONICAL }, "the same JSON, sorted by Python with ensure_ascii=False"),
        (Style { spaced: false, ..python }, "the same JSON as Python prints it without blanks"),
        (Style { spaced: false, ..CANONICAL }, "the same JSON, sorted by Python and without blanks"),
        (Style { numbers: written, ..javascript }, "the same JSON without blanks"),
        (Style { numbers: written, sorted: true, ..javascript }, "the same JSON, sorted and without blanks"),
        (Style { numbers: written, ascii: true, ..javascript }, "the same JSON without blanks, in ASCII"),
        (Style { numbers: written, ..CANONICAL }, "the same JSON, sorted"),
    ]
    .into_iter()
}
