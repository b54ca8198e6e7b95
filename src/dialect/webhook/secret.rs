//! Secrets of signatures: made, read, and never shown.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::Form;
use crate::model::{Error, Result};

/// What stands before the base64 of a secret that both sides hold.
const SHARED: &str = "whsec_";
/// Before a pair's private half, and before its public one.
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// How many bytes a shared secret of the standard has, decoded.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How many bytes a secret has that is used as text.
const TEXT_BYTES: std::ops::RangeInclusive<usize> = 8..=512;

/// Base64 with or without its padding.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret as people write it. Nothing prints it but `expose`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one answer that shows it and for the store.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new secret for signing in a form, from the operating system's randomness.
    pub fn generate(form: Form) -> Result<Secret> {
        let mut seed = [0u8; 32];
        let none = |error: getrandom::Error| Error::bug(format!("the system gives no random numbers: {error}"));
        getrandom::fill(&mut seed).map_err(none)?;
        Ok(match form {
            Form::StandardEd25519 => Secret::from_seed(&seed)?,
            Form::Standard | Form::Mission | Form::Stripe | Form::Github => {
                Secret(format!("{SHARED}{}", STANDARD.encode(seed)))
            }
        })
    }

    fn from_seed(seed: &[u8; 32]) -> Result<Secret> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::bug("no key from a random seed"))?;
        let both = [seed.as_slice(), pair.public_key().as_ref()].concat();
        Ok(Secret(format!("{PRIVATE}{}", STANDARD.encode(both))))
    }

    /// Whether it is one of a pair of keys, by how it begins.
    pub(super) fn is_of_pair(&self) -> bool {
        self.0.starts_with(PRIVATE) || self.0.starts_with(PUBLIC)
    }

    /// The half of a pair that receivers are given; `None` for a shared secret.
    pub fn public(&self) -> Option<String> {
        match self.key(Form::StandardEd25519) {
            Ok(Key::Pair(pair)) => Some(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key()))),
            _ => None,
        }
    }

    /// Whether a form can sign with it; says what is wrong and never shows it.
    pub fn check_signs(&self, form: Form) -> Result<()> {
        match self.key(form)? {
            Key::Public(_) => {
                Err(Error::invalid("a public key cannot sign").hint("give the private one, which begins with whsk_"))
            }
            Key::Shared(_) | Key::Pair(_) => Ok(()),
        }
    }

    /// Whether a form can be checked with it.
    pub fn check_verifies(&self, form: Form) -> Result<()> {
        self.key(form).map(|_| ())
    }

    /// The key that a form makes of the text.
    pub(super) fn key(&self, form: Form) -> Result<Key> {
        match form {
            Form::Standard => Ok(mac(&self.decoded()?)),
            Form::StandardEd25519 => self.ed25519(),
            Form::Mission | Form::Stripe | Form::Github => match TEXT_BYTES.contains(&self.0.len()) {
                true => Ok(mac(self.0.as_bytes())),
                false => {
                    let (least, most) = (TEXT_BYTES.start(), TEXT_BYTES.end());
                    Err(Error::invalid(format!("a secret of the form {} has {least} to {most} bytes", form.name())))
                }
            },
        }
    }

    /// The bytes of a shared secret of the standard.
    fn decoded(&self) -> Result<Vec<u8>> {
        if self.0.starts_with(PRIVATE) || self.0.starts_with(PUBLIC) {
            let error = Error::invalid("this is a key of an Ed25519 pair, and the form standard takes a shared secret");
            return Err(error.hint("use the form standard_ed25519, or a secret that begins with whsec_"));
        }
        let bytes = base64_bytes(self.0.strip_prefix(SHARED).unwrap_or(&self.0));
        bytes.filter(|bytes| SHARED_BYTES.contains(&bytes.len())).ok_or_else(|| {
            Error::invalid("a secret of the form standard is whsec_ and the base64 of 24 to 64 bytes")
                .hint("leave it out, and one is made")
        })
    }

    fn ed25519(&self) -> Result<Key> {
        let broken = || {
            Error::invalid("a key of the form standard_ed25519 is whsk_ and the base64 of 64 bytes, or whpk_ and 32")
                .hint("leave it out, and one is made")
        };
        if let Some(public) = self.0.strip_prefix(PUBLIC) {
            let bytes = base64_bytes(public).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            return bytes.map(Key::Public).ok_or_else(broken);
        }
        let private = self.0.strip_prefix(PRIVATE).and_then(base64_bytes);
        let private = private.filter(|bytes| bytes.len() == 64).ok_or_else(broken)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&private[..32], &private[32..]);
        let pair = pair.map_err(|_| Error::invalid("the two halves of the whsk_ key do not belong to each other"))?;
        Ok(Key::Pair(pair))
    }
}

fn mac(bytes: &[u8]) -> Key {
    Key::Shared(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

/// Bytes from base64, padded or not.
pub(super) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    ANY_PADDING.decode(text).ok()
}

/// What signs or verifies.
pub(super) enum Key {
    Shared(hmac::Key),
    Pair(Ed25519KeyPair),
    Public([u8; 32]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown_by_debug() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }

    #[test]
    fn made_secrets_sign_in_their_form_and_differ() {
        for form in Form::ALL {
            let (one, other) = (Secret::generate(form).unwrap(), Secret::generate(form).unwrap());
            one.check_signs(form).unwrap();
            assert_ne!(one, other);
            let pair = form == Form::StandardEd25519;
            assert_eq!(one.expose().starts_with("whsk_"), pair, "{}", form.name());
            assert_eq!(one.public().is_some(), pair);
        }
    }

    #[test]
    fn secrets_that_cannot_work_are_refused_without_being_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7u8; 23]));
        let foreign = format!("whsk_{}", STANDARD.encode([7u8; 64]));
        for (form, text) in [
            (Form::Standard, "whsec_not base64"),
            (Form::Standard, ""),
            (Form::Standard, short.as_str()),
            (Form::Standard, "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
            (Form::StandardEd25519, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            (Form::StandardEd25519, "whsk_AAECAwQ="),
            (Form::StandardEd25519, foreign.as_str()),
            (Form::Mission, "short"),
            (Form::Github, ""),
        ] {
            let error = Secret::new(text).check_signs(form).unwrap_err();
            let told = format!("{error} {}", error.hint_text().unwrap_or_default());
            assert!(text.is_empty() || !told.contains(text), "{told}");
        }
        let public = Secret::new("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
        assert!(public.check_signs(Form::StandardEd25519).is_err());
        assert!(public.check_verifies(Form::StandardEd25519).is_ok());
    }
}
