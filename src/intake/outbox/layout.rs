//! How an outbox is laid out, and the statements that read it.

use std::collections::BTreeMap;

use super::place::Place;
use crate::intake::definition::{Mode, Outbox, OutboxColumn};
use crate::intake::postgres::{Database, quoted, table_name};
use crate::model::{Error, Result};

/// The columns of a table as they are.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::intake) struct Layout {
    table: String,
    pub(super) mode: Mode,
    /// The type of rows that name none.
    pub(super) kind: Option<String>,
    /// Name and type of what is there.
    columns: BTreeMap<OutboxColumn, (String, String)>,
}

/// A column of a table: name, type, whether it is never null, whether it alone tells rows apart.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) is_unique: bool,
}

const DESCRIBE: &str = "\
    select a.attname::text, format_type(a.atttypid, null), a.attnotnull, \
           c.relkind = 'p' or exists (select from pg_index i where i.indrelid = c.oid and i.indisunique \
             and i.indnkeyatts = 1 and i.indkey[0] = a.attnum and i.indpred is null) \
    from pg_attribute a join pg_class c on c.oid = a.attrelid \
    where a.attrelid = to_regclass($1::text) and a.attnum > 0 and not a.attisdropped order by a.attnum";

impl Layout {
    /// Looks at the table.
    pub(in crate::intake) async fn read(database: &Database, outbox: &Outbox) -> Result<Layout> {
        let table = table_name(&outbox.table);
        let rows = database.query("describing the outbox", DESCRIBE, &[&table]).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(Found {
                name: database.value(row, 0)?,
                kind: database.value(row, 1)?,
                is_required: database.value(row, 2)?,
                is_unique: database.value(row, 3)?,
            });
        }
        Layout::of(outbox, &found)
    }

    /// Whether the table can be read without losing anything.
    pub(super) fn of(outbox: &Outbox, found: &[Found]) -> Result<Layout> {
        let name = &outbox.table;
        if found.is_empty() {
            let error = Error::not_found(format!("there is no table {name}"));
            return Err(error.hint("create it as docs/guide/intake.md shows"));
        }
        let mut columns = BTreeMap::new();
        for column in OutboxColumn::ALL {
            let wanted = outbox.column(column);
            if let Some(found) = found.iter().find(|found| found.name == wanted) {
                columns.insert(column, (found.name.clone(), found.kind.clone()));
            } else if outbox.columns.contains_key(&column) || needed(outbox, column) {
                return Err(missing(outbox, column));
            }
        }
        let id = outbox.column(OutboxColumn::Id);
        if !found.iter().any(|found| found.name == id && found.is_required && found.is_unique) {
            let error = Error::invalid(format!("column {id} of {name} does not tell rows apart"));
            return Err(error.hint("make it the primary key"));
        }
        let layout = Layout { table: table_name(name), mode: outbox.mode, kind: outbox.kind.clone(), columns };
        if outbox.mode == Mode::Cursor {
            check_order(outbox, found)?;
        }
        if outbox.mode == Mode::Cursor && !["xid8", "bigint"].contains(&layout.kind_of(OutboxColumn::Tx)) {
            let column = outbox.column(OutboxColumn::Tx);
            let error = Error::invalid(format!("column {column} of {name} holds no transaction numbers"));
            return Err(error.hint(format!("make it `{column} xid8 not null default pg_current_xact_id()`")));
        }
        Ok(layout)
    }

    /// What it is called, safe inside SQL; `None`: it is not there.
    fn name(&self, column: OutboxColumn) -> Option<String> {
        self.columns.get(&column).map(|(name, _)| quoted(name))
    }

    fn kind_of(&self, column: OutboxColumn) -> &str {
        self.columns.get(&column).map_or("text", |(_, kind)| kind)
    }

    /// Id, order, type, source, subject, key, time, JSON, bytes, and whether the content is too large to be sent.
    fn selected(&self, content_bytes_max: usize) -> String {
        let text = |column| self.name(column).map_or("null::text".to_owned(), |name| format!("{name}::text"));
        let form = if self.kind_of(OutboxColumn::Data) == "bytea" { "" } else { "::text" };
        let (data, too_large) = match self.name(OutboxColumn::Data) {
            None => ("null::text".to_owned(), "false".to_owned()),
            Some(name) => {
                let too_large = format!("octet_length({name}{form}) > {content_bytes_max}");
                (format!("case when not {too_large} then {name}{form} end"), too_large)
            }
        };
        let (json, bytes) = match form {
            "" => ("null::text".to_owned(), data),
            _ => (data, "null::bytea".to_owned()),
        };
        let parts = [
            text(OutboxColumn::Id),
            text(OutboxColumn::Order),
            text(OutboxColumn::Type),
            text(OutboxColumn::Source),
            text(OutboxColumn::Subject),
            text(OutboxColumn::Key),
            self.time(),
            json,
            bytes,
            too_large,
        ];
        parts.join(", ")
    }

    /// RFC 3339; a time without a zone is taken as UTC.
    fn time(&self) -> String {
        const FORM: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";
        let Some(name) = self.name(OutboxColumn::CreatedAt) else { return "null::text".to_owned() };
        match self.kind_of(OutboxColumn::CreatedAt) {
            "timestamp with time zone" => format!("to_char({name} at time zone 'UTC', {FORM})"),
            "timestamp without time zone" => format!("to_char({name}, {FORM})"),
            _ => format!("{name}::text"),
        }
    }

    fn order(&self) -> (String, String) {
        let name = |column| self.name(column).unwrap_or_default();
        (name(OutboxColumn::Order), name(OutboxColumn::Id))
    }

    fn tx(&self) -> (String, &str) {
        (self.name(OutboxColumn::Tx).unwrap_or_default(), self.kind_of(OutboxColumn::Tx))
    }

    /// Mode `cursor`: what is not done of transactions before `horizon`, up to the order `cut`.
    pub(super) fn window_sql(
        &self,
        place: &Place,
        horizon: u64,
        cut: Option<i64>,
        limit: usize,
        content_bytes_max: usize,
    ) -> String {
        let ((order, _), (tx, tx_kind)) = (self.order(), self.tx());
        let selected = self.selected(content_bytes_max);
        let not_done = place.condition(&tx, tx_kind, &order);
        let cut = cut.map_or(String::new(), |cut| format!(" and {order} < {cut}"));
        format!(
            "select {selected} from {0} where {not_done} and {tx} < '{horizon}'::{tx_kind}{cut} order by {0}.{order} limit {limit}",
            self.table,
        )
    }

    /// Mode `cursor`: the least order of what is there and not decided.
    pub(super) fn cut_sql(&self, horizon: u64) -> String {
        let ((order, _), (tx, tx_kind)) = (self.order(), self.tx());
        format!("select min({order})::bigint from {} where {tx} >= '{horizon}'::{tx_kind}", self.table)
    }

    /// Mode `cursor`: the first transaction before `horizon` of which something is not done.
    pub(super) fn left_sql(&self, place: &Place, horizon: u64) -> String {
        let ((order, _), (tx, tx_kind)) = (self.order(), self.tx());
        let not_done = place.condition(&tx, tx_kind, &order);
        let from = &self.table;
        // There is no min() of xid8 before version 16.
        format!(
            "select {tx}::text::bigint from {from} where {not_done} and {tx} < '{horizon}'::{tx_kind} order by {tx} limit 1"
        )
    }

    /// Modes `mark` and `delete`: what waits.
    pub(super) fn waiting_sql(&self, limit: usize, content_bytes_max: usize) -> String {
        let (order, id) = self.order();
        let selected = self.selected(content_bytes_max);
        let (table, waits) = (&self.table, self.waits());
        // Of the table: a name alone would be that of the text that is selected.
        format!("select {selected} from {table}{waits} order by {table}.{order}, {table}.{id} limit {limit}")
    }

    fn waits(&self) -> String {
        match (self.mode, self.name(OutboxColumn::PublishedAt)) {
            (Mode::Mark, Some(marked)) => format!(" where {marked} is null"),
            _ => String::new(),
        }
    }

    /// Marks or deletes the rows with the ids $1.
    pub(super) fn let_go_sql(&self) -> String {
        let (_, id) = self.order();
        let these = format!("{id} = any($1::text[]::{}[])", self.kind_of(OutboxColumn::Id));
        match (self.mode, self.name(OutboxColumn::PublishedAt)) {
            (Mode::Mark, Some(marked)) => format!("update {} set {marked} = now() where {these}", self.table),
            _ => format!("delete from {} where {these}", self.table),
        }
    }

    /// Counts what waits, no further than `cap`.
    pub(super) fn count_sql(&self, place: &Place, cap: u64) -> String {
        let waits = match self.mode {
            Mode::Cursor => {
                let ((order, _), (tx, tx_kind)) = (self.order(), self.tx());
                format!(" where {}", place.condition(&tx, tx_kind, &order))
            }
            Mode::Mark | Mode::Delete => self.waits(),
        };
        format!("select count(*) from (select from {}{waits} limit {cap}) waiting", self.table)
    }
}

fn needed(outbox: &Outbox, column: OutboxColumn) -> bool {
    match column {
        OutboxColumn::Id | OutboxColumn::Order => true,
        OutboxColumn::Type => outbox.kind.is_none(),
        OutboxColumn::Tx => outbox.mode == Mode::Cursor,
        OutboxColumn::PublishedAt => outbox.mode == Mode::Mark,
        OutboxColumn::Source
        | OutboxColumn::Subject
        | OutboxColumn::Key
        | OutboxColumn::Data
        | OutboxColumn::CreatedAt => false,
    }
}

/// The mode `cursor` goes by an order that grows as rows are written.
fn check_order(outbox: &Outbox, found: &[Found]) -> Result<()> {
    let order = outbox.column(OutboxColumn::Order);
    let whole = ["smallint", "integer", "bigint"];
    let fits = |found: &&Found| found.is_required && found.is_unique && whole.contains(&found.kind.as_str());
    if found.iter().filter(|found| found.name == order).any(|found| fits(&found)) {
        return Ok(());
    }
    let message = format!("column {order} of {} does not say in which order rows were written", outbox.table);
    Err(Error::invalid(message).hint(format!(
        "add a column `position bigint generated always as identity unique` to {}, and name it as `order` under \
         `columns`; or choose the mode mark or delete",
        outbox.table
    )))
}

fn missing(outbox: &Outbox, column: OutboxColumn) -> Error {
    let (table, name) = (&outbox.table, outbox.column(column));
    let error = Error::invalid(format!("{table} has no column {name}, from which `{}` is read", column.name()));
    match column {
        OutboxColumn::Tx => error.hint(format!(
            "alter table {table} add column {name} xid8 not null default pg_current_xact_id(), or choose the mode \
             delete or mark: without it a row of a transaction that commits late would be lost"
        )),
        OutboxColumn::PublishedAt => error.hint(format!("alter table {table} add column {name} timestamptz")),
        OutboxColumn::Type => error.hint("name the column under `columns`, or set `type` for all rows"),
        _ => error.hint("name the column under `columns`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outbox(body: serde_json::Value) -> Outbox {
        serde_json::from_value(body).unwrap()
    }

    fn found(columns: &[(&str, &str)]) -> Vec<Found> {
        let column = |(name, kind): &(&str, &str)| Found {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            is_required: true,
            is_unique: *name == "id",
        };
        columns.iter().map(column).collect()
    }

    const USUAL: [(&str, &str); 6] = [
        ("id", "bigint"),
        ("type", "text"),
        ("data", "jsonb"),
        ("created_at", "timestamp with time zone"),
        ("tx", "xid8"),
        ("key", "text"),
    ];

    #[test]
    fn a_usual_table_is_read_as_far_as_it_is_decided_in_the_order_of_ids() {
        let layout = Layout::of(&outbox(json!({"table": "s.o"})), &found(&USUAL)).unwrap();
        let mut place = Place::default();
        place.begin(5);
        let sql = layout.window_sql(&place, 9, Some(70), 10, 100);
        for part in [
            "from \"s\".\"o\" where \"tx\" >= '5'::xid8 and \"tx\" < '9'::xid8 and \"id\" < 70 order by \"s\".\"o\".\"id\" limit 10",
            "null::text, null::text, \"key\"::text",
            "octet_length(\"data\"::text) > 100",
        ] {
            assert!(sql.contains(part), "{part}\n{sql}");
        }
        let counted = "select count(*) from (select from \"s\".\"o\" where \"tx\" >= '5'::xid8 limit 5) waiting";
        assert_eq!(layout.count_sql(&place, 5), counted);
    }

    #[test]
    fn rows_are_marked_or_deleted_by_their_ids() {
        let columns = [&USUAL[..], &[("published_at", "timestamp with time zone")]].concat();
        let layout = |mode| Layout::of(&outbox(json!({"table": "o", "mode": mode})), &found(&columns)).unwrap();
        let waiting = layout("mark").waiting_sql(3, 9);
        assert!(
            waiting.ends_with("from \"o\" where \"published_at\" is null order by \"o\".\"id\", \"o\".\"id\" limit 3")
        );
        let these = "where \"id\" = any($1::text[]::bigint[])";
        assert_eq!(layout("mark").let_go_sql(), format!("update \"o\" set \"published_at\" = now() {these}"));
        assert_eq!(layout("delete").let_go_sql(), format!("delete from \"o\" {these}"));
    }

    #[test]
    fn a_table_that_would_lose_rows_is_refused_with_the_remedy() {
        let refusal = |body, columns: &[(&str, &str)]| {
            let error = Layout::of(&outbox(body), &found(columns)).unwrap_err();
            format!("{error}; {}", error.hint_text().unwrap_or_default())
        };
        let plain = json!({"table": "o"});
        let without = |name: &str| USUAL.into_iter().filter(|(column, _)| *column != name).collect::<Vec<_>>();
        for (body, columns, expected) in [
            (plain.clone(), vec![], "there is no table o"),
            (plain.clone(), without("tx"), "add column tx xid8 not null default pg_current_xact_id()"),
            (plain.clone(), without("type"), "set `type` for all rows"),
            (plain.clone(), without("id"), "o has no column id"),
            (json!({"table": "o", "mode": "mark"}), USUAL.to_vec(), "add column published_at timestamptz"),
            (json!({"table": "o", "columns": {"id": "key"}}), USUAL.to_vec(), "does not tell rows apart"),
            (json!({"table": "o", "columns": {"tx": "key"}}), USUAL.to_vec(), "holds no transaction numbers"),
            (json!({"table": "o", "columns": {"subject": "no"}}), USUAL.to_vec(), "o has no column no"),
            (json!({"table": "o", "columns": {"order": "key"}}), USUAL.to_vec(), "in which order rows were written"),
        ] {
            let found = refusal(body, &columns);
            assert!(found.contains(expected), "{found}");
        }
    }
}
