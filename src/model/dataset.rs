//! A dataset: a table as the catalogue declares it. What a catalogue file may say is exactly what these types hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use super::change::Write;
use super::database::Database;
use super::day::Day;
use super::strategy::Strategy;

/// One table of the catalogue. See `docs/guide/catalogue.md` for the file format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// The table's name in the store, on the command line and in the mirror.
    pub name: String,
    pub title: String,
    pub title_zh: String,
    /// What the rows mean and what to beware of.
    pub about: String,
    /// The natural key, in the order in which rows are clustered.
    pub key: Vec<String>,
    /// The column that names the security, when rows belong to securities.
    #[serde(default)]
    pub security: Option<String>,
    /// The date column that areas, claims and row counts are counted by.
    #[serde(default)]
    pub time: Option<String>,
    #[serde(default)]
    pub universe: Universe,
    /// The index codes of an `index` universe.
    #[serde(default)]
    pub codes: Vec<String>,
    pub shape: Shape,
    #[serde(default)]
    pub origin: RowOrigin,
    /// The first day for which the source has rows.
    #[serde(default)]
    pub first_day: Option<DayText>,
    #[serde(default)]
    pub expect: Expect,
    pub publish: Publish,
    pub policy: Policy,
    /// Columns without which rows are of little use: sources that lack one of them are asked after those that have it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How versions of one row are told apart; absent where a row has one version.
    #[serde(default)]
    pub versions: Option<Versions>,
    /// Which prices are adjusted on read, and by what; absent where there are none.
    #[serde(default)]
    pub adjust: Option<Adjusted>,
    /// How Tushare serves it; absent when it does not.
    #[serde(default)]
    pub tushare: Option<Tushare>,
    /// How BaoStock serves it, one entry a question that it answers; empty when it does not.
    #[serde(default)]
    pub baostock: Vec<Service>,
    /// How AKShare serves it (through AKTools or the pages underneath); empty when it does not.
    #[serde(default)]
    pub akshare: Vec<Service>,
    /// Which table of a database holds it; absent when none does.
    #[serde(default)]
    pub database: Option<Database>,
    pub columns: Vec<Column>,
}

/// Whose rows a dataset holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Universe {
    /// The shares in `stock_basic`.
    #[default]
    Stock,
    /// The indices listed under `codes`.
    Index,
    /// Nobody in particular: exchanges, boards, the market as a whole.
    Market,
}

/// Where the rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrigin {
    /// From sources that are asked, or from files.
    #[default]
    Sources,
    /// From publishers, who say what they have to say by themselves: nobody is asked, and nothing can be missing.
    Publishers,
}

/// How the rows are expected to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A row (or a fixed number) for every security and day.
    Dense,
    /// Only what happened: limit lists, suspensions, dividends.
    Sparse,
    /// By report period.
    Period,
    /// One state of the whole table.
    Whole,
}

/// The points of time at which rows may exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Points {
    #[default]
    Trading,
    Calendar,
    /// The last trading day of each week.
    WeekEnd,
    /// The last trading day of each month.
    MonthEnd,
    QuarterEnd,
}

/// What a whole answer looks like.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    pub points: Points,
    /// Rows for one security at one point of time (dense, period).
    pub rows_per_security: f64,
    /// Rows of the whole market at one point of time and one facet value (sparse, and dense tables of the market).
    pub rows_per_point: f64,
    /// The share of the expected rows from which an answer counts as whole; 0 accepts any answer.
    pub complete_at: f64,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect { points: Points::Trading, rows_per_security: 1.0, rows_per_point: 0.0, complete_at: 0.0 }
    }
}

/// When rows of a day (or period) appear and when they stop changing.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Beijing time `HH:MM` from which the rows of a point of time are due.
    pub at: String,
    /// Trading days between the point of time and its publication (periods: calendar days).
    #[serde(default)]
    pub days_later: i32,
    /// Calendar days after publication from which an answer is final even when it looks thin.
    pub settle_days: i32,
    /// Hours after which a provisional answer is asked for again.
    pub refresh_hours: i32,
}

impl Publish {
    /// Minutes after midnight; `None` when `at` is no time of day.
    pub fn minute(&self) -> Option<i32> {
        let (hours, minutes) = self.at.split_once(':')?;
        let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
        (hours < 24 && minutes < 60).then(|| i32::from(hours) * 60 + i32::from(minutes))
    }
}

/// How the dataset is kept fresh.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub mode: Mode,
    /// How it is kept unless a command says otherwise.
    #[serde(default)]
    pub strategy: Strategy,
    /// Points of time before the target that are asked for again even when their claims are final.
    #[serde(default)]
    pub look_back: u32,
    /// Securities in one batch of `by_security`; `None`: `sync.batch_size`.
    #[serde(default)]
    pub batch_size: Option<u32>,
    /// Partitions of `partitions`; `None`: `sync.partitions`.
    #[serde(default)]
    pub partitions: Option<u32>,
    /// Days after which `statements` asks again for a security without the target report; `None`:
    /// `sync.statements_missing_days`.
    #[serde(default)]
    pub missing_days: Option<u32>,
    /// A five-field cron expression in Asia/Shanghai, `event_driven` or `continuous`.
    pub schedule: String,
    /// Seconds between polls of a `continuous` dataset.
    #[serde(default)]
    pub poll_seconds: Option<u32>,
    /// Rows that are written together.
    pub batch: u32,
    /// Attempts after the first before a slice becomes a failure.
    pub retries: u32,
    pub conflict: Conflict,
    /// Rules of single columns (`merge` only); other columns prefer what is present.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldRule>,
    /// Cache keys that a change makes stale.
    #[serde(default)]
    pub cache_invalidate: Vec<String>,
    /// Rules of `check` that every batch passes, by name.
    #[serde(default)]
    pub checks: Vec<String>,
}

impl Policy {
    /// Asked again and again while the market trades.
    pub fn is_continuous(&self) -> bool {
        self.schedule == "continuous"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Incremental,
    Merge,
    Full,
    Realtime,
}

/// What happens when an answer differs from the stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// The new row counts; the old one becomes a revision.
    Replace,
    /// As `replace`, but a missing value never erases a present one, and absence withdraws nothing. Columns under
    /// `policy.fields` follow their own rule.
    #[serde(alias = "merge_fields")]
    Merge,
    /// The row that was stored first stays as it is, whoever offers another. Absence withdraws nothing.
    FirstWriteWins,
    /// The row that was fetched last counts, whoever sent it. Absence withdraws nothing.
    LastWriteWins,
    /// The stored row stays, the other one is kept beside it until a person decides. Absence withdraws nothing.
    Manual,
}

/// Which value of a column stays when two rows are merged. Key columns have no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldRule {
    /// The value that was stored first; a missing one is filled.
    KeepFirst,
    /// The value that came last, even a missing one.
    KeepLast,
    /// The greater one; a missing value loses. Numbers and dates.
    Max,
    /// The smaller one; a missing value loses. Numbers and dates.
    Min,
    /// The value that came last, unless it is missing: what columns without a rule do.
    PreferNonNull,
}

impl FieldRule {
    pub fn name(self) -> &'static str {
        match self {
            FieldRule::KeepFirst => "keep_first",
            FieldRule::KeepLast => "keep_last",
            FieldRule::Max => "max",
            FieldRule::Min => "min",
            FieldRule::PreferNonNull => "prefer_non_null",
        }
    }
}

/// Rows that are versions of one thing, each announced on a day of its own: the corrected statement beside the first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The columns of the key in which versions differ; of two announced on one day the greater counts, the first
    /// named column first. The other columns of the key say what the versions are versions of.
    pub columns: Vec<String>,
    /// The dates that say when a version was announced; the first that is there counts.
    pub announced: Vec<String>,
}

/// Prices that are adjusted on read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adjusted {
    /// The columns that are multiplied by the factor.
    pub prices: Vec<String>,
    /// Columns that are one price less another, taken anew from the adjusted ones: column -> [price, price].
    #[serde(default)]
    pub differences: BTreeMap<String, [String; 2]>,
    /// Where a security's factors are: the first of these that has any.
    pub factors: Vec<Factors>,
}

/// A table of cumulative backward factors: raw price x factor is the backward adjusted price.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    pub dataset: String,
    pub column: String,
    /// The table has rows for ex-dates only, and the factor is 1 before the first of them.
    #[serde(default)]
    pub ex_dates_only: bool,
}

/// How Tushare serves the dataset.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tushare {
    pub api: String,
    /// The number of the vendor's documentation page.
    #[serde(default)]
    pub document: Option<u32>,
    /// The lowest points tier that may call it.
    pub points: u32,
    /// Rows per call; absent when not documented.
    #[serde(default)]
    pub row_cap: Option<u32>,
    /// Calls per minute where the table has a limit of its own.
    #[serde(default)]
    pub per_minute: Option<u32>,
    /// Calls per day where the table has a limit of its own.
    #[serde(default)]
    pub per_day: Option<u32>,
    /// What replaces `per_minute` and `per_day` for accounts with more points, fewest points first.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// The ways in which one call can be bounded, most natural first.
    pub cuts: Vec<Cut>,
    /// Parameters that must be asked value by value to get everything: each slice makes a call for each value.
    #[serde(default)]
    pub facets: BTreeMap<String, Vec<String>>,
    /// Parameters sent with every call.
    #[serde(default)]
    pub always: BTreeMap<String, String>,
    /// What the service assumes when one of these parameters is absent; the mirror does the same.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// Further parameters that the mirror understands as "column equals value": parameter -> column.
    #[serde(default)]
    pub filters: BTreeMap<String, String>,
    /// The column that the parameters `start_date` and `end_date` bound, where no cut has them or they mean another
    /// column than the cuts' time.
    #[serde(default)]
    pub range_column: Option<String>,
    /// The mirror answers 50101 unless one of these parameters is present.
    #[serde(default)]
    pub required: Vec<String>,
}

/// A question that BaoStock or AKShare answers, and which of its fields become which columns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name of the query or function, as the source's own client calls it.
    pub api: String,
    /// The ways in which one call can be bounded, with the source's own parameter names, most natural first.
    pub cuts: Vec<Cut>,
    /// Rows per call or page; absent when one call brings everything.
    #[serde(default)]
    pub row_cap: Option<u32>,
    /// Parameters sent with every call.
    #[serde(default)]
    pub always: BTreeMap<String, String>,
    /// Parameters that must be asked value by value to get everything: each slice makes a call for each value.
    #[serde(default)]
    pub facets: BTreeMap<String, Vec<String>>,
    /// Only rows whose fields have these values are rows of the dataset: field -> value.
    #[serde(default)]
    pub only: BTreeMap<String, String>,
    /// Column of the dataset -> where it comes from. Columns that are not named here are lacking.
    pub columns: BTreeMap<String, Served>,
}

/// Where a column of the dataset comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// The field's name on the wire.
    pub field: String,
    /// The unit on the wire, where it differs from the column's; it must convert by `unit_shift`.
    #[serde(default)]
    pub unit: Option<String>,
    /// How well the values agree with those of the first source.
    #[serde(default)]
    pub agrees: Agreement,
    /// The source's words -> the column's, where they differ; other words cannot be read. Empty: they are the same.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

/// What is proven about a column of another source. Failover writes proven columns only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Equal at the column's declared scale.
    #[default]
    Exact,
    /// Equal but for rounding to the unit of the wire (whole lots, say).
    Rounded,
    /// Not proven: read for comparing only, never written in place of another source's value.
    Unproven,
}

/// The table's own limits for accounts from `points` on; absent means no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub points: u32,
    #[serde(default)]
    pub per_minute: Option<u32>,
    #[serde(default)]
    pub per_day: Option<u32>,
}

impl Tushare {
    /// The table's own limits, calls per minute and per day, for an account with `points`.
    pub fn own_limits(&self, points: u32) -> (Option<u32>, Option<u32>) {
        let tier = self.tiers.iter().filter(|tier| tier.points <= points).max_by_key(|tier| tier.points);
        tier.map_or((self.per_minute, self.per_day), |tier| (tier.per_minute, tier.per_day))
    }
}

/// A way to bound a call, with the names of the parameters that do it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, tag = "by", rename_all = "snake_case")]
pub enum Cut {
    /// All securities at one point of time.
    Day { day: String },
    /// All securities in one report period.
    Period { period: String },
    /// One security over a span; without `from`/`to` over all time.
    Security {
        security: String,
        #[serde(default)]
        from: Option<String>,
        #[serde(default)]
        to: Option<String>,
    },
    /// All securities over a span.
    Range { from: String, to: String },
    /// The whole table.
    Whole,
}

impl Cut {
    pub fn name(&self) -> &'static str {
        match self {
            Cut::Day { .. } => "day",
            Cut::Period { .. } => "period",
            Cut::Security { .. } => "security",
            Cut::Range { .. } => "range",
            Cut::Whole => "whole",
        }
    }
}

/// One column. Units are canonical: shares and yuan; `tushare_unit` says what Tushare sends instead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Digits after the point of a decimal.
    #[serde(default)]
    pub scale: i8,
    /// Significant digits of a decimal: up to 15 are kept as REAL in SQLite, more as text.
    #[serde(default = "fifteen")]
    pub digits: u8,
    pub unit: String,
    /// The unit is not documented by the source but follows from samples.
    #[serde(default)]
    pub unit_inferred: bool,
    pub meaning: String,
    pub meaning_zh: String,
    /// The source may leave it empty. In a key column `Dataset::schema` has no missing values all the same: an empty
    /// key part is stored as the empty text (dates: `Day::MIN`).
    #[serde(default)]
    pub nullable: bool,
    /// The source sends it only when it is named.
    #[serde(default)]
    pub on_request: bool,
    /// The unit on Tushare's wire, where it differs.
    #[serde(default)]
    pub tushare_unit: Option<String>,
    /// How Tushare writes it, where it differs from what the type says.
    #[serde(default)]
    pub tushare_form: Option<WireForm>,
    /// Computed by Tidegate and never on a wire: `row_hash` is the hash of the whole row.
    #[serde(default)]
    pub derived: Option<Derived>,
}

fn fifteen() -> u8 {
    15
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WireForm {
    /// A number in quotes.
    Text,
    /// A text column whose values are sent as JSON integers.
    Integer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    RowHash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    Text,
    Date,
    /// A second in Beijing time.
    Datetime,
    Int,
    Decimal,
    /// Derived indicators without a promise of exactness.
    Float,
}

/// A `Day` that is written as text in a catalogue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayText(pub Day);

impl<'de> Deserialize<'de> for DayText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<DayText, D::Error> {
        let text = String::deserialize(deserializer)?;
        Day::parse(&text).map(DayText).map_err(serde::de::Error::custom)
    }
}

impl Column {
    /// The Arrow type of the column in a batch.
    pub fn data_type(&self) -> DataType {
        match self.kind {
            ColumnType::Text => DataType::Utf8,
            ColumnType::Date => DataType::Date32,
            ColumnType::Datetime => DataType::Timestamp(TimeUnit::Second, Some(Arc::from("+08:00"))),
            ColumnType::Int => DataType::Int64,
            ColumnType::Decimal => DataType::Decimal128(38, self.scale),
            ColumnType::Float => DataType::Float64,
        }
    }

    /// Powers of ten from Tushare's unit to the canonical one: lot -> share is 2, 千元 -> yuan is 3.
    pub fn tushare_shift(&self) -> Option<i8> {
        let Some(wire) = &self.tushare_unit else { return Some(0) };
        unit_shift(wire, &self.unit)
    }
}

/// Powers of ten by which a number in unit `from` is multiplied to be in unit `to`; `None` when they do not convert.
pub fn unit_shift(from: &str, to: &str) -> Option<i8> {
    match (from, to) {
        ("lot", "share") => Some(2),
        ("share_10k", "share") | ("CNY_10k", "CNY") => Some(4),
        ("CNY_1k", "CNY") => Some(3),
        ("CNY_1m", "CNY") => Some(6),
        ("CNY_100m", "CNY") | ("share_100m", "share") => Some(8),
        ("fraction", "percent") => Some(2),
        ("percent", "fraction") => Some(-2),
        _ if from == to => Some(0),
        _ => None,
    }
}

impl Dataset {
    /// How an answer is written when the dataset is kept by `strategy`: `policy.conflict` decides between two rows of
    /// one key, the strategy whether what is absent goes.
    pub fn write_by(&self, strategy: Strategy) -> Write {
        match (self.policy.conflict, strategy) {
            (Conflict::Replace, Strategy::Merge) => Write::Upsert,
            (Conflict::Replace, _) => Write::Replace,
            (Conflict::Merge, _) => Write::Merge,
            (Conflict::FirstWriteWins, _) => Write::FirstWins,
            (Conflict::LastWriteWins, _) => Write::LastWins,
            (Conflict::Manual, _) => Write::Manual,
        }
    }

    /// The schema of every batch of this dataset: all columns, in catalogue order.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            let nullable = column.nullable && !self.key.contains(&column.name);
            Field::new(&column.name, column.data_type(), nullable)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Positions of the named columns, sorted; unknown names have none.
    pub fn positions(&self, names: &[String]) -> Vec<usize> {
        let known = (0..self.columns.len()).filter(|index| names.contains(&self.columns[*index].name));
        known.collect()
    }

    /// Positions of the key columns in `columns`, in key order.
    pub fn key_indices(&self) -> Vec<usize> {
        self.key.iter().filter_map(|name| self.column_index(name)).collect()
    }

    pub fn time_index(&self) -> Option<usize> {
        self.time.as_deref().and_then(|name| self.column_index(name))
    }

    pub fn security_index(&self) -> Option<usize> {
        self.security.as_deref().and_then(|name| self.column_index(name))
    }

    /// The first day worth asking for.
    pub fn first_day(&self) -> Day {
        self.first_day.map_or(Day(7657), |text| text.0) // 1990-12-19, the first day of the Shanghai exchange
    }
}
