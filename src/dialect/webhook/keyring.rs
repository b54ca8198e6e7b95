//! The secrets of one sender or receiver over time: the one that signs now, and those that still count beside it.

use serde_json::{Value, json};

use super::Form;
use super::secret::Secret;
use crate::model::{Error, Instant, Result};

/// How many secrets may count at once.
const COUNTING_MAX: usize = 4;
/// The longest overlap of two secrets, in hours.
const OVERLAP_HOURS_MAX: u32 = 720;
/// How many that ended are remembered, to be recognised.
const ENDED_MAX: usize = 4;

/// From when until when a secret counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub secret: Secret,
    pub since: Instant,
    /// `None` for the newest.
    pub until: Option<Instant>,
}

impl Term {
    fn counts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Secrets, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    terms: Vec<Term>,
}

impl Keyring {
    pub fn new(secret: Secret, now: Instant) -> Keyring {
        Keyring { terms: vec![Term { secret, since: now, until: None }] }
    }

    /// All that are kept, the newest first, those that ended among them.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The secrets that count, the newest first.
    pub fn counting(&self, now: Instant) -> Vec<Secret> {
        self.terms.iter().filter(|term| term.counts(now)).map(|term| term.secret.clone()).collect()
    }

    /// A new secret comes, and those before it count so many hours longer, or less if they end sooner.
    pub fn rotate(&mut self, secret: Secret, now: Instant, overlap_hours: u32) -> Result<()> {
        if overlap_hours > OVERLAP_HOURS_MAX {
            let message = format!("two secrets count side by side for 0 to {OVERLAP_HOURS_MAX} hours");
            return Err(Error::invalid(message).at_field("overlap_hours"));
        }
        if self.terms.iter().any(|term| term.secret == secret) {
            return Err(Error::conflict("this secret is or was in use already").hint("choose another, or none"));
        }
        let end = now.plus_seconds(i64::from(overlap_hours) * 3_600);
        if self.terms.iter().filter(|term| term.counts(now) && end > now).count() >= COUNTING_MAX {
            let error = Error::conflict(format!("{COUNTING_MAX} secrets count at this time already"));
            return Err(error.hint("wait until one ends, or rotate with an overlap of 0"));
        }
        for term in &mut self.terms {
            term.until = Some(term.until.map_or(end, |until| until.min(end)));
        }
        self.terms.insert(0, Term { secret, since: now, until: None });
        let mut ended = 0;
        self.terms.retain(|term| {
            ended += usize::from(!term.counts(now));
            term.counts(now) || ended <= ENDED_MAX
        });
        Ok(())
    }

    /// Whether every secret that counts can sign in a form.
    pub fn check_signs(&self, form: Form, now: Instant) -> Result<()> {
        self.counting(now).iter().try_for_each(|secret| secret.check_signs(form))
    }

    /// As it is kept in the store.
    pub fn to_json(&self) -> Value {
        let term = |term: &Term| {
            let until = term.until.map(|until| until.to_string());
            json!({ "secret": term.secret.expose(), "since": term.since.to_string(), "until": until })
        };
        Value::Array(self.terms.iter().map(term).collect())
    }

    /// From what the store has; `None` when it is something else.
    pub fn from_json(value: &Value) -> Option<Keyring> {
        let instant = |value: &Value| value.as_str().and_then(Instant::parse);
        let term = |value: &Value| {
            let secret = Secret::new(value["secret"].as_str()?);
            let until = match &value["until"] {
                Value::Null => None,
                other => Some(instant(other)?),
            };
            Some(Term { secret, since: instant(&value["since"])?, until })
        };
        let terms = value.as_array()?.iter().map(term).collect::<Option<_>>()?;
        Some(Keyring { terms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Instant {
        Instant::parse("2026-01-02T00:00:00Z").unwrap().plus_seconds(hour * 3600)
    }

    fn texts(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(Secret::expose).collect()
    }

    #[test]
    fn both_secrets_count_during_the_overlap_and_the_old_one_ends_by_itself() {
        let mut ring = Keyring::new(Secret::new("first-secret"), at(0));
        ring.rotate(Secret::new("second-secret"), at(1), 24).unwrap();
        for (hour, expected) in [
            (1, vec!["second-secret", "first-secret"]),
            (24, vec!["second-secret", "first-secret"]),
            (25, vec!["second-secret"]),
            (1000, vec!["second-secret"]),
        ] {
            assert_eq!(texts(&ring.counting(at(hour))), expected, "hour {hour}");
        }
        assert_eq!(Keyring::from_json(&ring.to_json()), Some(ring.clone()));
        assert!(!format!("{ring:?}").contains("first-secret"));
    }

    #[test]
    fn rotating_again_never_lengthens_a_term_and_the_number_of_secrets_is_bounded() {
        let mut ring = Keyring::new(Secret::new("secret-0"), at(0));
        ring.rotate(Secret::new("secret-1"), at(0), 1).unwrap();
        ring.rotate(Secret::new("secret-2"), at(0), 2).unwrap();
        assert_eq!(ring.terms()[2].until, Some(at(1)));
        assert!(ring.rotate(Secret::new("secret-1"), at(0), 1).is_err(), "an old secret does not come back");
        ring.rotate(Secret::new("secret-3"), at(0), 2).unwrap();
        assert!(ring.rotate(Secret::new("secret-4"), at(0), 2).is_err());
        ring.rotate(Secret::new("secret-4"), at(0), 0).unwrap();
        assert_eq!(texts(&ring.counting(at(0))), ["secret-4"]);
        let error = ring.rotate(Secret::new("secret-5"), at(0), 721).unwrap_err();
        assert_eq!(error.field(), Some("overlap_hours"));
        for index in 5..20 {
            ring.rotate(Secret::new(format!("secret-{index}")), at(index), 0).unwrap();
        }
        assert_eq!(ring.terms().len(), 1 + ENDED_MAX);
    }

    #[test]
    fn what_is_no_keyring_is_not_read_as_one() {
        for value in [json!(null), json!([{}]), json!([{ "secret": "a", "since": "now" }]), json!("token")] {
            assert_eq!(Keyring::from_json(&value), None, "{value}");
        }
    }
}
