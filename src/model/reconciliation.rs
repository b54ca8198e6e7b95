//! Reconciliations: two sides that shall hold the same rows, how they are compared, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Instant;
use super::compared::{Precision, ValueKind};
use super::definition::{Definition, Kind};
use super::error::{Error, Result};

/// The longest name of a reconciliation.
const NAME_CHARS_MAX: usize = 50;
/// When a reconciliation runs unless it says otherwise: Sunday at three in the night, Beijing time.
pub const WEEKLY: &str = "0 3 * * 0";

/// What is compared with what, and how. The body of a definition of kind `Reconciliation`; also what one run was asked
/// for. Addresses stand without passwords.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// The side that is right: `store:voucher`, `postgres://user@host/db#table`, `sqlite://file#table`,
    /// `NAME#table` of a configured connection, or `tidegate:NAME#dataset`.
    pub source: String,
    /// The side that shall be equal to it.
    pub target: String,
    /// Columns of the key by their names at the source; empty: the primary key of the source, or of the target.
    pub key: Vec<String>,
    /// Only these columns; empty: all that both sides have.
    pub columns: Vec<String>,
    /// Columns that are not compared.
    pub ignore: Vec<String>,
    /// Name at the source -> name at the target, where they differ.
    pub names: BTreeMap<String, String>,
    /// Rules of single columns, by their names at the source.
    pub rules: BTreeMap<String, Rule>,
    /// The zone of instants that say none: `+08:00`.
    pub zone: Option<String>,
    /// A column by which rows are chosen, and its first and last value.
    pub only: Option<Window>,
    /// How a change travels from source to target: what has to pass before a difference counts.
    pub after: Option<After>,
    /// How a row's events are found.
    pub events: Option<Events>,
    /// The column that counts versions, at the source.
    pub version: Option<String>,
    pub limits: Limits,
    pub repair: Repair,
    /// Five fields in Beijing time; empty: only by hand.
    pub cron: Option<String>,
}

/// How values of one column are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// As what, where the declared types do not say it.
    pub kind: Option<ValueKind>,
    /// Numbers that differ by no more than this are equal: an exact decimal.
    pub tolerance: Option<String>,
    /// To which unit instants are compared.
    pub precision: Option<Precision>,
    /// The zone of instants that say none, at the source and at the target.
    pub zone: Option<String>,
    pub target_zone: Option<String>,
    /// Blanks at the end do not count.
    pub trim: bool,
    /// Nothing and the empty text are the same.
    pub empty_is_null: bool,
}

/// A window of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    pub column: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// What has to pass before a difference counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum After {
    /// The source's own position has been confirmed by a replication slot of it.
    Slot { name: String },
    /// The end of this store's event log has been passed by a cursor of it.
    Cursor { name: String },
    /// The end of this store's event log has been delivered to a subscription.
    Subscription { name: String },
}

/// How a row's events are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// The column whose value is the subject or the key of the events; empty: the first of the key.
    pub column: String,
    /// What stands before the value in the event's subject, such as `contract/`.
    pub prefix: String,
    /// The subscription that carries them to the target.
    pub subscription: Option<String>,
}

/// Where a run stops; what is absent is taken from `[reconcile]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub rows: Option<u64>,
    pub seconds: Option<u64>,
    pub differences: Option<u64>,
}

/// What may be mended without a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repair {
    /// Differences are repaired at once, up to `auto_max` of them; more need a person.
    pub auto: bool,
    pub auto_max: u64,
    pub by: RepairBy,
}

/// By which way the target is mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairBy {
    /// Rows are written into the target.
    #[default]
    Rows,
    /// The events of the rows are sent again.
    Replay,
}

impl Wanted {
    /// Reads the body of a definition.
    pub fn of(definition: &Definition) -> Result<Wanted> {
        serde_json::from_value(definition.body.clone()).map_err(|error| {
            Error::invalid(format!("reconciliation {} cannot be read: {error}", definition.name))
                .hint("define it again, or remove it")
        })
    }

    /// The body of a definition.
    pub fn body(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::bug("writing a reconciliation").caused_by(error))
    }

    /// The cron line by which it runs by itself; `None`: only by hand.
    pub fn schedule(&self) -> Option<&str> {
        self.cron.as_deref().or(Some(WEEKLY)).filter(|line| !line.trim().is_empty())
    }
}

/// Refuses what is no name of a reconciliation.
pub fn check_name(name: &str) -> Result<()> {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
    if !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!("{name:?} is no name of a reconciliation");
    Err(Error::invalid(message).hint(format!("use 1 to {NAME_CHARS_MAX} lower-case letters, digits, `-` and `_`")))
}

/// The identifier of the job that runs a reconciliation.
pub fn job_of(name: &str) -> String {
    format!("reconcile_{name}")
}

/// The kind under which reconciliations are defined.
pub const KIND: Kind = Kind::Reconciliation;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both sides hold the same rows.
    Equal,
    Different,
    /// The budget ended before everything was compared; what was found is in the report.
    Unfinished,
}

impl Outcome {
    pub const ALL: [Outcome; 3] = [Outcome::Equal, Outcome::Different, Outcome::Unfinished];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Equal => "equal",
            Outcome::Different => "different",
            Outcome::Unfinished => "unfinished",
        }
    }

    pub fn from_name(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// One run of a reconciliation, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// 0 before it is stored.
    pub id: i64,
    /// The definition that it belongs to.
    pub name: Option<String>,
    pub wanted: Wanted,
    pub outcome: Outcome,
    pub started_at: Instant,
    pub finished_at: Instant,
    pub counts: Counts,
    /// Why it is unfinished, and what else is worth knowing.
    pub note: Option<String>,
    /// The columns that were compared, the key first.
    pub columns: Vec<ReportColumn>,
    /// How many of them are the key.
    pub key: usize,
}

/// A column of a report, by its name at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportColumn {
    pub name: String,
    pub kind: ValueKind,
}

impl ReportColumn {
    /// A canonical text as people read it: instants in Beijing time.
    pub fn shown(&self, text: &str) -> String {
        match (self.kind, text.parse::<i64>()) {
            (ValueKind::Instant, Ok(micros)) => Instant(micros).to_string(),
            _ => text.to_owned(),
        }
    }
}

/// What was looked at and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub source_rows: u64,
    pub target_rows: u64,
    /// Key ranges whose digests were compared.
    pub ranges: u64,
    /// Rows that were read one by one.
    pub rows_read: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    pub duplicate: u64,
    /// Rows that changed at every look.
    pub unsettled: u64,
    /// Suspects that were equal when they were looked at again.
    pub passed: u64,
}

impl Counts {
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.different + self.duplicate
    }

    pub fn add(&mut self, kind: DifferenceKind) {
        match kind {
            DifferenceKind::Missing => self.missing += 1,
            DifferenceKind::Extra => self.extra += 1,
            DifferenceKind::Different => self.different += 1,
            DifferenceKind::Duplicate => self.duplicate += 1,
        }
    }
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The target does not have it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, with other values.
    Different,
    /// One side has it more often than the other.
    Duplicate,
}

impl DifferenceKind {
    pub const ALL: [DifferenceKind; 4] =
        [DifferenceKind::Missing, DifferenceKind::Extra, DifferenceKind::Different, DifferenceKind::Duplicate];

    pub fn name(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
            DifferenceKind::Different => "different",
            DifferenceKind::Duplicate => "duplicate",
        }
    }

    pub fn from_name(name: &str) -> Option<DifferenceKind> {
        DifferenceKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Values of one row in the order of the report's columns.
pub type Values = Vec<Option<String>>;

/// A row that differs, with the values of both sides: they are kept in the report and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From 1, within its report.
    pub number: u64,
    pub kind: DifferenceKind,
    /// The values of the key.
    pub key: Values,
    /// The rows of this key on both sides; more than one where a table has duplicates.
    pub source: Vec<Values>,
    pub target: Vec<Values>,
    /// Positions of the columns that differ.
    pub fields: Vec<usize>,
    pub cause: Cause,
    /// The last event about the row, where one is known.
    pub event: Option<u64>,
    /// What became of the event's last delivery, where one is known.
    pub delivery: Option<String>,
    /// The number of the last attempt to deliver it, where there was one.
    pub attempt: Option<i64>,
    /// When a repair settled it.
    pub repaired_at: Option<Instant>,
}

/// What a difference most likely comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No event about the row is known.
    NeverPublished,
    /// Its event has not been delivered.
    NeverDelivered,
    /// Its event was delivered, and the target does not show it.
    NotApplied,
    /// The target has an older version.
    OlderVersion,
    /// The target has a newer version, or a row that the source never had.
    ChangedAtTarget,
    /// A row that the source deleted.
    NotDeleted,
    /// The target keeps fewer digits.
    Rounding,
    /// Off by a power of ten.
    Scale,
    /// Off by whole quarters of an hour.
    TimeZone,
    /// Blanks around the text.
    Padding,
    LetterCase,
    /// Nothing on one side, an empty text on the other.
    EmptyText,
    /// One side has no value.
    LostValue,
    /// The target keeps the beginning of the text.
    CutShort,
    /// Two rows have each other's values.
    Swapped,
    /// One side has the row more than once.
    AppliedTwice,
    Unknown,
}

impl Cause {
    pub const ALL: [Cause; 17] = [
        Cause::NeverPublished,
        Cause::NeverDelivered,
        Cause::NotApplied,
        Cause::OlderVersion,
        Cause::ChangedAtTarget,
        Cause::NotDeleted,
        Cause::Rounding,
        Cause::Scale,
        Cause::TimeZone,
        Cause::Padding,
        Cause::LetterCase,
        Cause::EmptyText,
        Cause::LostValue,
        Cause::CutShort,
        Cause::Swapped,
        Cause::AppliedTwice,
        Cause::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Cause::NeverPublished => "never_published",
            Cause::NeverDelivered => "never_delivered",
            Cause::NotApplied => "not_applied",
            Cause::OlderVersion => "older_version",
            Cause::ChangedAtTarget => "changed_at_target",
            Cause::NotDeleted => "not_deleted",
            Cause::Rounding => "rounding",
            Cause::Scale => "scale",
            Cause::TimeZone => "time_zone",
            Cause::Padding => "padding",
            Cause::LetterCase => "letter_case",
            Cause::EmptyText => "empty_text",
            Cause::LostValue => "lost_value",
            Cause::CutShort => "cut_short",
            Cause::Swapped => "swapped",
            Cause::AppliedTwice => "applied_twice",
            Cause::Unknown => "unknown",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Cause::NeverPublished => "no event about it is known",
            Cause::NeverDelivered => "its event was never delivered",
            Cause::NotApplied => "its event was delivered and not applied",
            Cause::OlderVersion => "the target has an older version",
            Cause::ChangedAtTarget => "changed at the target",
            Cause::NotDeleted => "deleted at the source, or written at the target only",
            Cause::Rounding => "the target rounds",
            Cause::Scale => "off by a power of ten",
            Cause::TimeZone => "off by a time zone",
            Cause::Padding => "blanks around the text",
            Cause::LetterCase => "upper and lower case",
            Cause::EmptyText => "empty text against no value",
            Cause::LostValue => "one side has no value",
            Cause::CutShort => "the target cuts the text short",
            Cause::Swapped => "two rows have each other's values",
            Cause::AppliedTwice => "applied more than once",
            Cause::Unknown => "not known",
        }
    }

    pub fn from_name(name: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// What is written about reports.
#[derive(Clone, Debug)]
pub enum Reconciled {
    /// A report with the rows that differ. With more differences than `alert` an alert goes with it.
    Report { report: Box<Report>, differences: Vec<Difference>, alert: Option<u64> },
    /// Differences of a report were repaired; `data` is what the event says, without values.
    Repaired { report: i64, numbers: Vec<u64>, data: Value },
    /// A repair was taken back.
    Undone { report: i64, numbers: Vec<u64>, data: Value },
    /// Reports beyond the newest of each reconciliation are forgotten, with their differences.
    Forget { keep: usize },
}

/// Which reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportsWanted {
    pub name: Option<String>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// Which differences of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DifferencesWanted {
    pub report: i64,
    /// Only those with a greater number.
    pub after: u64,
    pub limit: usize,
}
