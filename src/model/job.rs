//! Jobs: work that is done again and again, when, and on which days. A job is the body of a `Definition` of kind `Job`;
//! that it fired is a `Run` and nothing else, so that nothing is kept twice.

use serde::{Deserialize, Serialize};

use super::clock::Instant;
use super::definition::{Definition, Kind};
use super::error::{Error, Result};
use super::work::Work;

/// The longest identifier of a job.
const ID_CHARS_MAX: usize = 64;
/// The shortest and the longest interval of a job, in seconds.
pub const EVERY_SECONDS: std::ops::RangeInclusive<u32> = 10..=31_622_400;

/// Work, when it is done, and what a person has decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The name of its definition: lower-case letters, digits, `_` and `-`.
    pub id: String,
    pub title: String,
    pub title_zh: String,
    pub origin: Origin,
    pub state: JobState,
    pub trigger: Trigger,
    pub days: Days,
    pub work: Work,
    /// What becomes of times that were slept through; `None`: `jobs.catch_up`.
    pub catch_up: Option<CatchUp>,
    /// Attempts after a failed run; `None`: `jobs.attempts`.
    pub attempts: Option<u32>,
    /// A person changed it: the catalogue and the defaults leave it alone from then on.
    pub changed_by_user: bool,
    /// Times before this one do not count: when it was created, resumed, or got another schedule.
    #[serde(with = "instant")]
    pub since: Instant,
}

/// Who wants the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `policy.schedule` of a dataset.
    Catalog,
    /// Tidegate itself.
    Default,
    User,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Catalog => "catalog",
            Origin::Default => "default",
            Origin::User => "user",
        }
    }
}

/// Whether the job fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Active,
    /// Not for now: to be resumed.
    Paused,
    /// Not any more, until it is started again.
    Stopped,
}

impl JobState {
    pub fn name(self) -> &'static str {
        match self {
            JobState::Active => "active",
            JobState::Paused => "paused",
            JobState::Stopped => "stopped",
        }
    }
}

/// When a job fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Five fields, in Asia/Shanghai.
    Cron {
        expression: String,
    },
    Every {
        seconds: u32,
    },
    Event {
        #[serde(flatten)]
        on: On,
    },
    /// Once at the beginning of each trading session; what it does goes on until the session ends.
    Continuous {
        /// Seconds between polls; `None`: each table at its own pace.
        #[serde(default)]
        every_seconds: Option<u32>,
    },
}

impl Trigger {
    pub fn kind(&self) -> &'static str {
        match self {
            Trigger::Cron { .. } => "cron",
            Trigger::Every { .. } => "every",
            Trigger::Event { .. } => "event",
            Trigger::Continuous { .. } => "continuous",
        }
    }
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum On {
    /// The evening of each day on which reports are announced, by `disclosure_date`.
    Disclosure,
    /// Another dataset became whole up to a later day.
    Whole { dataset: String },
    /// The rows of a dataset are published, as past days have taught.
    Published { dataset: String },
}

/// On which days the times of a job count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    #[default]
    Any,
    /// On trading days; the times of other days pass.
    Trading,
    /// On trading days; the times of another day move to the next trading day.
    NextTrading,
    /// On days after a trading day: in the night that follows it.
    AfterTrading,
}

impl Days {
    pub const ALL: [Days; 4] = [Days::Any, Days::Trading, Days::NextTrading, Days::AfterTrading];

    pub fn name(self) -> &'static str {
        match self {
            Days::Any => "any",
            Days::Trading => "trading",
            Days::NextTrading => "next_trading",
            Days::AfterTrading => "after_trading",
        }
    }

    pub fn from_name(name: &str) -> Option<Days> {
        Days::ALL.into_iter().find(|days| days.name() == name)
    }
}

/// What becomes of times that were slept through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run for all of them.
    #[default]
    Once,
    /// None: the next time counts.
    Skip,
}

impl CatchUp {
    pub fn name(self) -> &'static str {
        match self {
            CatchUp::Once => "once",
            CatchUp::Skip => "skip",
        }
    }

    pub fn from_name(name: &str) -> Option<CatchUp> {
        [CatchUp::Once, CatchUp::Skip].into_iter().find(|catch_up| catch_up.name() == name)
    }
}

impl Job {
    /// A job of a user, active from `now` on.
    pub fn new(id: impl Into<String>, trigger: Trigger, days: Days, work: Work, now: Instant) -> Job {
        let id = id.into();
        Job {
            title: id.clone(),
            title_zh: id.clone(),
            id,
            origin: Origin::User,
            state: JobState::Active,
            trigger,
            days,
            work,
            catch_up: None,
            attempts: None,
            changed_by_user: false,
            since: now,
        }
    }

    /// The slot of its runs: one at a time.
    pub fn slot(&self) -> String {
        slot_of(&self.id)
    }

    /// Reads the body of a definition.
    pub fn of(definition: &Definition) -> Result<Job> {
        let job = Job::deserialize(&definition.body).map_err(|error| {
            let message = format!("job {} cannot be read: {error}", definition.name);
            Error::invalid(message).hint("another version wrote it; remove it with `tidegate jobs remove`")
        })?;
        Ok(Job { id: definition.name.clone(), ..job })
    }

    /// What its definition says.
    pub fn body(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::bug("writing a job").caused_by(error))
    }

    pub const KIND: Kind = Kind::Job;
}

/// Instants as RFC 3339 text.
mod instant {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Instant;

    pub fn serialize<S: Serializer>(instant: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(instant)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        let text = String::deserialize(deserializer)?;
        Instant::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no instant")))
    }
}

/// The slot of a job's runs.
pub fn slot_of(job: &str) -> String {
    format!("job:{job}")
}

/// Refuses what is no identifier of a job.
pub fn check_id(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.len() <= ID_CHARS_MAX && id.bytes().all(plain) {
        return Ok(());
    }
    let hint = format!("use at most {ID_CHARS_MAX} lower-case letters, digits, `_` and `-`");
    Err(Error::invalid(format!("{id:?} is no name for a job")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_written_as_the_api_shows_them_and_read_back() {
        let triggers = [
            (Trigger::Cron { expression: "0 18 * * 1-5".into() }, r#"{"kind":"cron","expression":"0 18 * * 1-5"}"#),
            (Trigger::Every { seconds: 60 }, r#"{"kind":"every","seconds":60}"#),
            (Trigger::Event { on: On::Disclosure }, r#"{"kind":"event","on":"disclosure"}"#),
            (
                Trigger::Event { on: On::Whole { dataset: "daily".into() } },
                r#"{"kind":"event","on":"whole","dataset":"daily"}"#,
            ),
            (Trigger::Continuous { every_seconds: Some(30) }, r#"{"kind":"continuous","every_seconds":30}"#),
        ];
        for (trigger, text) in triggers {
            let job = Job::new("one", trigger, Days::Trading, Work::sync(["daily"]), Instant(5_000_000));
            let body = job.body().unwrap();
            assert_eq!(body["trigger"], serde_json::from_str::<serde_json::Value>(text).unwrap());
            let definition =
                Definition { kind: Kind::Job, name: "one".into(), body, revision: 1, at: Instant(5_000_000) };
            assert_eq!(Job::of(&definition).unwrap(), job);
        }
    }

    #[test]
    fn identifiers_are_plain() {
        for id in ["daily", "full-history_2"] {
            check_id(id).unwrap();
        }
        for id in ["", "Daily", "a b", "../x", "日线", &"a".repeat(65)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
