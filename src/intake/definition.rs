//! What an intake is: where messages are taken from, and how they are read. The body of a `Definition` of kind
//! `Intake`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Error, Result};

/// The longest name of an intake.
const NAME_CHARS_MAX: usize = 64;
/// The longest name of anything that an intake names.
const WORD_BYTES_MAX: usize = 255;
/// PostgreSQL cuts longer names.
const SLOT_BYTES_MAX: usize = 63;

/// An intake, without its address: that is a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    #[serde(default)]
    pub state: State,
    /// The CloudEvents source of messages that name none.
    pub source: String,
    /// How much may wait before `intake.health` tells of it: rows, entries, or megabytes of log; absent: the
    /// configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<Outbox>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisGroup>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Active,
    Paused,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Paused => "paused",
        }
    }
}

/// A table in the publisher's own PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// With its schema where it has one: `sales.outbox`.
    pub table: String,
    #[serde(default)]
    pub mode: Mode,
    /// What the columns are called, where they are not called `id`, `type`, `source`, `subject`, `key`, `data`,
    /// `created_at`, `tx` (mode `cursor`) and `published_at` (mode `mark`); `order` is the column by which rows are
    /// read.
    #[serde(default)]
    pub columns: BTreeMap<OutboxColumn, String>,
    /// The type of rows whose type is null, or of tables without such a column.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A channel on which publishers `notify`; the table is looked at every `intakes.poll_ms` all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

/// What becomes of a row that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It stays. Which rows are new follows from the transaction that wrote them (column `tx`).
    #[default]
    Cursor,
    /// It gets a time in `published_at`.
    Mark,
    /// It is deleted.
    Delete,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Cursor => "cursor",
            Mode::Mark => "mark",
            Mode::Delete => "delete",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxColumn {
    Id,
    Type,
    Source,
    Subject,
    Key,
    Data,
    CreatedAt,
    Tx,
    PublishedAt,
    Order,
}

impl OutboxColumn {
    pub const ALL: [OutboxColumn; 10] = [
        OutboxColumn::Id,
        OutboxColumn::Type,
        OutboxColumn::Source,
        OutboxColumn::Subject,
        OutboxColumn::Key,
        OutboxColumn::Data,
        OutboxColumn::CreatedAt,
        OutboxColumn::Tx,
        OutboxColumn::PublishedAt,
        OutboxColumn::Order,
    ];

    pub fn name(self) -> &'static str {
        match self {
            OutboxColumn::Id => "id",
            OutboxColumn::Type => "type",
            OutboxColumn::Source => "source",
            OutboxColumn::Subject => "subject",
            OutboxColumn::Key => "key",
            OutboxColumn::Data => "data",
            OutboxColumn::CreatedAt => "created_at",
            OutboxColumn::Tx => "tx",
            OutboxColumn::PublishedAt => "published_at",
            OutboxColumn::Order => "order",
        }
    }
}

impl Outbox {
    /// What a column is called in the table.
    pub fn column(&self, column: OutboxColumn) -> &str {
        match (self.columns.get(&column), column) {
            (Some(name), _) => name,
            (None, OutboxColumn::Order) => self.column(OutboxColumn::Id),
            (None, column) => column.name(),
        }
    }
}

/// A replication slot of the publisher's own PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replication {
    /// The slot; made when it is missing and nothing was ever read from it. Absent: `tidegate_` and the intake's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The publication; made for `tables` when it is missing. Absent: `tidegate_` and the intake's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<String>,
    /// Prefixes of messages (`pg_logical_emit_message`) that are taken.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Whether messages count that were sent outside of transactions: those arrive even if their transaction fails.
    #[serde(default)]
    pub non_transactional: bool,
    /// Tables whose changes are taken, with their schemas.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Table -> columns that make up the ordering key, where it is not the primary key.
    #[serde(default)]
    pub keys: BTreeMap<String, Vec<String>>,
    /// Whether the rows that the tables hold already are taken first.
    #[serde(default)]
    pub snapshot: bool,
}

/// A consumer group of a Redis Stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisGroup {
    pub stream: String,
    #[serde(default = "tidegate")]
    pub group: String,
    #[serde(default = "tidegate")]
    pub consumer: String,
    /// What the fields of an entry are called, where they are not called `id`, `type`, `source`, `subject`, `key`,
    /// `data`, `time`, or `event` (a whole CloudEvent as JSON).
    #[serde(default)]
    pub fields: BTreeMap<EntryField, String>,
    /// The type of entries that name none.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Milliseconds after which an entry that another consumer took and did not acknowledge is taken over.
    #[serde(default = "a_minute")]
    pub claim_idle_ms: u64,
    /// Deliveries after which an entry that was never acknowledged goes to the stream of the dead.
    #[serde(default = "five")]
    pub deliveries_max: u64,
    /// The stream of the dead. Absent: the stream's name and `:dead`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

fn tidegate() -> String {
    "tidegate".to_owned()
}

fn a_minute() -> u64 {
    60_000
}

fn five() -> u64 {
    5
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryField {
    Event,
    Id,
    Type,
    Source,
    Subject,
    Key,
    Data,
    Time,
}

impl RedisGroup {
    pub fn field(&self, field: EntryField) -> &str {
        let name = match field {
            EntryField::Event => "event",
            EntryField::Id => "id",
            EntryField::Type => "type",
            EntryField::Source => "source",
            EntryField::Subject => "subject",
            EntryField::Key => "key",
            EntryField::Data => "data",
            EntryField::Time => "time",
        };
        self.fields.get(&field).map_or(name, String::as_str)
    }

    pub fn dead(&self) -> String {
        self.dead.clone().unwrap_or_else(|| format!("{}:dead", self.stream))
    }
}

/// Where an intake takes messages from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin<'a> {
    Outbox(&'a Outbox),
    Replication(&'a Replication),
    Redis(&'a RedisGroup),
}

impl Origin<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Outbox(_) => "outbox",
            Origin::Replication(_) => "replication",
            Origin::Redis(_) => "redis",
        }
    }

    /// In what its lag is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Origin::Outbox(_) => "rows",
            Origin::Replication(_) => "bytes",
            Origin::Redis(_) => "entries",
        }
    }

    /// What its address begins with.
    fn schemes(self) -> &'static [&'static str] {
        match self {
            Origin::Outbox(_) | Origin::Replication(_) => &["postgres://", "postgresql://"],
            Origin::Redis(_) => &["redis://"],
        }
    }
}

impl Intake {
    /// Exactly one of `outbox`, `replication` and `redis`.
    pub fn origin(&self) -> Result<Origin<'_>> {
        match (&self.outbox, &self.replication, &self.redis) {
            (Some(outbox), None, None) => Ok(Origin::Outbox(outbox)),
            (None, Some(replication), None) => Ok(Origin::Replication(replication)),
            (None, None, Some(redis)) => Ok(Origin::Redis(redis)),
            _ => Err(Error::invalid("an intake has exactly one of `outbox`, `replication` and `redis`")
                .hint("define one intake for each place that messages are taken from")),
        }
    }

    /// Reads a body as somebody wrote it.
    pub fn read(body: serde_json::Value) -> Result<Intake> {
        let intake: Intake = serde_json::from_value(body).map_err(|error| {
            Error::invalid(format!("the intake cannot be read: {error}"))
                .hint("docs/guide/intake.md shows an intake of each kind")
        })?;
        intake.check()?;
        Ok(intake)
    }

    /// Everything that can be known without asking anybody.
    pub fn check(&self) -> Result<()> {
        word("source", &self.source)?;
        match self.origin()? {
            Origin::Outbox(outbox) => outbox.check(),
            Origin::Replication(replication) => replication.check(),
            Origin::Redis(redis) => redis.check(),
        }
    }

    /// The address must be one of the right kind. It is never repeated: it may hold a password.
    pub fn check_url(&self, url: &str) -> Result<()> {
        let origin = self.origin()?;
        if origin.schemes().iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(());
        }
        let hint = match origin {
            Origin::Redis(_) => "write redis://:password@host:6379/0",
            Origin::Outbox(_) | Origin::Replication(_) => "write postgres://user:password@host:5432/database",
        };
        Err(Error::invalid(format!("`url` is no address that an intake of kind {} can use", origin.name())).hint(hint))
    }
}

impl Outbox {
    fn check(&self) -> Result<()> {
        table("outbox.table", &self.table)?;
        self.columns.values().try_for_each(|name| word("outbox.columns", name))?;
        self.kind.iter().try_for_each(|kind| word("outbox.type", kind))?;
        self.listen.iter().try_for_each(|channel| word("outbox.listen", channel))
    }
}

impl Replication {
    fn check(&self) -> Result<()> {
        if self.prefixes.is_empty() && self.tables.is_empty() {
            return Err(Error::invalid("`replication` names neither `prefixes` nor `tables`: nothing would be taken")
                .hint("name the prefixes of messages, the tables whose changes are wanted, or both"));
        }
        self.slot.iter().try_for_each(|slot| slot_name("replication.slot", slot))?;
        self.publication.iter().try_for_each(|publication| slot_name("replication.publication", publication))?;
        self.prefixes.iter().try_for_each(|prefix| word("replication.prefixes", prefix))?;
        for name in &self.tables {
            table("replication.tables", name)?;
            if !name.contains('.') {
                return Err(Error::invalid(format!("`replication.tables`: {name} does not say its schema"))
                    .hint(format!("write public.{name}")));
            }
        }
        match self.keys.keys().find(|table| !self.tables.contains(table)) {
            Some(other) => Err(Error::invalid(format!("`replication.keys` names {other}, which is not taken"))
                .hint("name it under `replication.tables` too")),
            None => Ok(()),
        }
    }
}

impl RedisGroup {
    fn check(&self) -> Result<()> {
        word("redis.stream", &self.stream)?;
        word("redis.group", &self.group)?;
        word("redis.consumer", &self.consumer)?;
        self.fields.values().try_for_each(|name| word("redis.fields", name))?;
        if self.dead() == self.stream {
            return Err(Error::invalid("`redis.dead` is the stream itself").hint("choose another name"));
        }
        let limits =
            [("redis.claim_idle_ms", self.claim_idle_ms, 1_000), ("redis.deliveries_max", self.deliveries_max, 1)];
        match limits.into_iter().find(|(_, value, least)| value < least) {
            Some((name, _, least)) => Err(Error::invalid(format!("`{name}` is at least {least}"))),
            None => Ok(()),
        }
    }
}

/// The name of an intake is part of names elsewhere: lower-case letters, digits and `_`.
pub fn check_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && !name.is_empty() && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    let message = "the name of an intake has 1 to 64 lower-case letters, digits and _";
    Err(Error::invalid(message).hint("call it `settlement` or `tax_outbox`"))
}

fn word(field: &str, text: &str) -> Result<()> {
    let fits = !text.trim().is_empty() && text.len() <= WORD_BYTES_MAX && !text.chars().any(char::is_control);
    match fits {
        true => Ok(()),
        false => Err(Error::invalid(format!("`{field}` has 1 to {WORD_BYTES_MAX} bytes and no control characters"))),
    }
}

fn table(field: &str, text: &str) -> Result<()> {
    word(field, text)?;
    let parts: Vec<&str> = text.split('.').collect();
    match parts.len() <= 2 && parts.iter().all(|part| !part.is_empty()) {
        true => Ok(()),
        false => Err(Error::invalid(format!("`{field}`: {text} is no name of a table")).hint("write schema.table")),
    }
}

fn slot_name(field: &str, text: &str) -> Result<()> {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match plain && !text.is_empty() && text.len() <= SLOT_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::invalid(format!("`{field}` has 1 to {SLOT_BYTES_MAX} lower-case letters, digits and _"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: serde_json::Value) -> String {
        Intake::read(body).map(|intake| panic!("{intake:?}")).unwrap_err().to_string()
    }

    #[test]
    fn an_intake_of_each_kind_is_read_with_its_defaults() {
        let outbox = Intake::read(json!({"source": "/s", "outbox": {"table": "sales.outbox"}})).unwrap();
        let Ok(Origin::Outbox(read)) = outbox.origin() else { panic!() };
        assert_eq!((read.mode, outbox.state, read.column(OutboxColumn::Order)), (Mode::Cursor, State::Active, "id"));
        let renamed =
            json!({"source": "/s", "outbox": {"table": "o", "columns": {"id": "event_id", "created_at": "at"}}});
        let renamed = Intake::read(renamed).unwrap().outbox.unwrap();
        assert_eq!((renamed.column(OutboxColumn::Order), renamed.column(OutboxColumn::CreatedAt)), ("event_id", "at"));
        let redis = Intake::read(json!({"source": "/s", "redis": {"stream": "orders"}})).unwrap().redis.unwrap();
        assert_eq!((redis.group.as_str(), redis.dead().as_str()), ("tidegate", "orders:dead"));
        let replication = json!({"source": "/s", "replication": {"prefixes": ["svc"], "tables": ["public.voucher"]}});
        let read = Intake::read(replication).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(Intake::read(written).unwrap(), read);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_field_named() {
        for (body, expected) in [
            (json!({"source": "/s"}), "an intake has exactly one of `outbox`, `replication` and `redis`"),
            (json!({"source": " ", "redis": {"stream": "a"}}), "`source` has 1 to 255 bytes and no control characters"),
            (json!({"source": "/s", "outbox": {"table": "a.b.c"}}), "`outbox.table`: a.b.c is no name of a table"),
            (json!({"source": "/s", "redis": {"stream": ""}}), "`redis.stream` has 1 to 255"),
            (json!({"source": "/s", "redis": {"stream": "a", "dead": "a"}}), "`redis.dead` is the stream itself"),
            (
                json!({"source": "/s", "redis": {"stream": "a", "deliveries_max": 0}}),
                "`redis.deliveries_max` is at least 1",
            ),
            (json!({"source": "/s", "replication": {}}), "`replication` names neither `prefixes` nor `tables`"),
            (json!({"source": "/s", "replication": {"tables": ["voucher"]}}), "voucher does not say its schema"),
            (
                json!({"source": "/s", "replication": {"prefixes": ["a"], "slot": "A-1"}}),
                "`replication.slot` has 1 to 63",
            ),
            (
                json!({"source": "/s", "replication": {"prefixes": ["a"], "keys": {"public.b": ["c"]}}}),
                "`replication.keys` names public.b, which is not taken",
            ),
            (json!({"source": "/s", "outbox": {"table": "t", "colums": {}}}), "unknown field `colums`"),
            (json!({"source": "/s", "outbox": {"table": "t", "mode": "keep"}}), "unknown variant `keep`"),
        ] {
            let found = refusal(body);
            assert!(found.contains(expected), "{found}");
        }
        for name in ["", "a-b", "A", "ü", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("tax_outbox_2").is_ok());
    }

    #[test]
    fn an_address_of_the_wrong_kind_is_refused_and_not_repeated() {
        let intake = Intake::read(json!({"source": "/s", "redis": {"stream": "a"}})).unwrap();
        assert!(intake.check_url("redis://:secret@127.0.0.1:6379/0").is_ok());
        let error = intake.check_url("postgres://user:secret@host/db").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
