//! SQL for one table of a PostgreSQL server: every value is read as its canonical text (see `model::digest`), by the same
//! expression by which the server computes hashes, so that what is read and what is compared cannot differ.

use tokio_postgres::types::{Kind, Type};

use super::{declared, from_clause, missing_column, parts, quoted};
use crate::model::{Column, ColumnType, Dataset, Error, Key, KeyPart, KeyRange, Result};

/// A table that fits its dataset.
pub(super) struct Layout {
    from: String,
    /// The canonical texts of the columns, in catalogue order.
    texts: Vec<String>,
    key: Vec<Compared>,
    watermark: Option<Compared>,
}

/// A column that is compared and ordered by.
struct Compared {
    column: Column,
    /// What is compared.
    sql: String,
    /// The type that a parameter is cast to.
    cast: String,
    /// The column, quoted, and its own type.
    name: String,
    kind: Type,
}

/// SQL with the values of its parameters, all of them texts.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) sql: String,
    pub(super) values: Vec<String>,
}

impl Asked {
    pub(super) fn parameter(&mut self, value: String, cast: &str) -> String {
        self.values.push(value);
        format!("(${}::text)::{cast}", self.values.len())
    }
}

/// What a page by watermark begins with.
pub(super) enum Start<'a> {
    Begin,
    From(&'a KeyPart),
    After(&'a [String]),
}

impl Layout {
    /// `found` are the columns that the table or query has.
    pub(super) fn new(dataset: &Dataset, found: &[(String, Type)]) -> Result<Layout> {
        let database = declared(dataset)?;
        let names = || found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let kind_of = |column: &Column| -> Result<&(String, Type)> {
            let wanted = database.column(column);
            let same = found.iter().find(|(name, _)| name == wanted);
            let alike = || found.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.or_else(alike).ok_or_else(|| missing_column(dataset, &column.name, wanted, &names()))
        };
        let mut texts = Vec::new();
        for column in &dataset.columns {
            let (name, kind) = kind_of(column)?;
            let text = text_of(column.kind, kind, &qualified(name));
            texts.push(text.ok_or_else(|| inconvertible(dataset, column, name, kind))?);
        }
        let compared = |column: &Column| -> Result<Compared> {
            let (name, kind) = kind_of(column)?;
            Ok(Compared::new(column, &qualified(name), kind))
        };
        let key = dataset.key_indices().into_iter().map(|index| compared(&dataset.columns[index]));
        let watermark = database.watermark_index(dataset).map(|index| compared(&dataset.columns[index]));
        Ok(Layout {
            from: from_clause(dataset)?,
            texts,
            key: key.collect::<Result<_>>()?,
            watermark: watermark.transpose()?.map(Compared::stored),
        })
    }

    fn select(&self) -> String {
        self.texts.join(", ")
    }

    fn key_sql(&self) -> String {
        self.key.iter().map(|key| key.sql.clone()).collect::<Vec<_>>().join(", ")
    }

    /// A key as a row of parameters.
    fn key_row(&self, asked: &mut Asked, key: &Key) -> String {
        let parameters =
            self.key.iter().zip(key).map(|(compared, part)| asked.parameter(compared.write(part), &compared.cast));
        parameters.collect::<Vec<_>>().join(", ")
    }

    fn in_range(&self, asked: &mut Asked, range: &KeyRange) -> String {
        let mut conditions = Vec::new();
        for (bound, sign) in [(&range.after, ">"), (&range.upto, "<=")] {
            let Some(bound) = bound else { continue };
            let row = self.key_row(asked, bound);
            conditions.push(format!("({}) {sign} ({row})", self.key_sql()));
        }
        if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) }
    }

    pub(super) fn range(&self, range: &KeyRange, limit: usize) -> Asked {
        let mut asked = Asked::default();
        let conditions = self.in_range(&mut asked, range);
        let (select, from, order) = (self.select(), &self.from, self.key_sql());
        asked.sql = format!("select {select} from {from}{conditions} order by {order} limit {limit}");
        asked
    }

    /// Whether a row has no key.
    pub(super) fn keyless(&self) -> Asked {
        let nulls = self.key.iter().map(|key| format!("{} is null", key.sql)).collect::<Vec<_>>().join(" or ");
        Asked { sql: format!("select (exists (select 1 from {} where {nulls}))::text", self.from), values: Vec::new() }
    }

    fn mark(&self, dataset: &Dataset) -> Result<&Compared> {
        self.watermark.as_ref().ok_or_else(|| Error::bug(format!("{} has no watermark column", dataset.name)))
    }

    fn since_condition(&self, mark: &Compared, asked: &mut Asked, start: &Start) -> String {
        match start {
            Start::Begin => format!("{} is not null", mark.sql),
            Start::From(part) => {
                let parameter = asked.parameter(mark.write(part), &mark.cast);
                format!("{} >= {parameter}", mark.sql)
            }
            Start::After(cursor) => {
                let compared = std::iter::once(mark).chain(&self.key).zip(cursor.iter());
                let row = compared.map(|(compared, text)| asked.parameter(text.clone(), &compared.cast));
                let row = row.collect::<Vec<_>>().join(", ");
                format!("({}, {}) > ({row})", mark.sql, self.key_sql())
            }
        }
    }

    /// Rows by watermark and key; the columns after the dataset's are the cursor.
    pub(super) fn since(&self, dataset: &Dataset, start: &Start, limit: usize) -> Result<Asked> {
        let mark = self.mark(dataset)?;
        let mut asked = Asked::default();
        let condition = self.since_condition(mark, &mut asked, start);
        let cursor = std::iter::once(mark).chain(&self.key).map(|compared| format!("({})::text", compared.sql));
        let cursor = cursor.collect::<Vec<_>>().join(", ");
        asked.sql = format!(
            "select {}, {cursor} from {} where {condition} order by {}, {} limit {limit}",
            self.select(),
            self.from,
            mark.sql,
            self.key_sql(),
        );
        Ok(asked)
    }

    pub(super) fn count_since(&self, dataset: &Dataset, start: &Start) -> Result<Asked> {
        let mut asked = Asked::default();
        let condition = self.since_condition(self.mark(dataset)?, &mut asked, start);
        asked.sql = format!("select count(*)::text from {} where {condition}", self.from);
        Ok(asked)
    }

    /// Every `step`th row of the range: all columns, of which the caller needs the key.
    pub(super) fn split(&self, range: &KeyRange, step: u64) -> Asked {
        let mut asked = Asked::default();
        let conditions = self.in_range(&mut asked, range);
        let names = (0..self.texts.len()).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ");
        let texts = self.texts.iter().enumerate().map(|(at, text)| format!("{text} as c{at}"));
        asked.sql = format!(
            "select {names} from (select {}, row_number() over (order by {}) as place from {}{conditions}) as numbered \
             where place % {} = 0 order by place",
            texts.collect::<Vec<_>>().join(", "),
            self.key_sql(),
            self.from,
            step.max(1),
        );
        asked
    }

    /// Number of the part, rows, sum of hashes and the encoding of texts, for each part that has rows.
    pub(super) fn digests(&self, range: &KeyRange, bounds: &[Key]) -> Asked {
        let mut asked = Asked::default();
        let bounds: Vec<String> = bounds.iter().map(|bound| self.key_row(&mut asked, bound)).collect();
        let conditions = self.in_range(&mut asked, range);
        let value = |text: &String| format!("coalesce(octet_length({text})::text || ':' || {text}, '~')");
        let row = self.texts.iter().map(value).collect::<Vec<_>>().join(" || ',' || ");
        let hash = format!("('x' || substr(md5({row}), 1, 15))::bit(60)::bigint");
        let encoding = ", current_setting('server_encoding')";
        asked.sql = parts::digests((&self.from, &conditions), (&self.key_sql(), &bounds), &hash, encoding);
        asked
    }
}

impl Compared {
    fn new(column: &Column, name: &str, kind: &Type) -> Compared {
        let whole = matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8);
        let (sql, cast) = match column.kind {
            ColumnType::Text => (format!("({name}::text collate \"C\")"), "text"),
            ColumnType::Int | ColumnType::Decimal if whole => (name.to_owned(), "int8"),
            ColumnType::Int | ColumnType::Decimal | ColumnType::Float => (name.to_owned(), "numeric"),
            ColumnType::Date => (name.to_owned(), "date"),
            ColumnType::Datetime => (seconds(kind, name), "numeric"),
        };
        Compared { column: column.clone(), sql, cast: cast.to_owned(), name: name.to_owned(), kind: kind.clone() }
    }

    /// Compared as the table holds it, to the microsecond: a watermark.
    fn stored(mut self) -> Compared {
        if self.column.kind == ColumnType::Datetime {
            (self.sql, self.cast) = (self.name.clone(), self.kind.name().to_owned());
        }
        self
    }

    fn write(&self, part: &KeyPart) -> String {
        match part {
            KeyPart::Seconds(seconds) if self.cast == "numeric" => seconds.to_string(),
            // In Beijing time; where the column has no time zone PostgreSQL passes over the offset.
            part => part.text(&self.column),
        }
    }
}

/// Whole seconds since 1970 in UTC; without a time zone it is Beijing time.
fn seconds(kind: &Type, name: &str) -> String {
    let shift = if *kind == Type::TIMESTAMPTZ { "" } else { " - 28800" };
    format!("floor(extract(epoch from {name}){shift})")
}

/// A column that is not taken for one of the answer: `order by "id"` would order by the text of the same name.
fn qualified(name: &str) -> String {
    format!("asked.{}", quoted(name))
}

/// The canonical text of a column of type `kind`; `None` when it does not convert exactly.
fn text_of(column: ColumnType, kind: &Type, name: &str) -> Option<String> {
    let whole = matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8 | Type::OID);
    let number = whole || matches!(*kind, Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8);
    Some(match column {
        ColumnType::Text => match kind.kind() {
            Kind::Composite(_) | Kind::Pseudo => return None,
            _ => format!("{name}::text"),
        },
        ColumnType::Int if *kind == Type::BOOL => format!("{name}::int::text"),
        ColumnType::Int | ColumnType::Decimal if whole => format!("{name}::text"),
        ColumnType::Int | ColumnType::Decimal if *kind == Type::NUMERIC => format!("trim_scale({name})::text"),
        ColumnType::Date if *kind == Type::DATE => format!("{name}::text"),
        ColumnType::Datetime if matches!(*kind, Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::DATE) => {
            format!("trim_scale({})::text", seconds(kind, name))
        }
        ColumnType::Float if number => format!("encode(float8send({name}::float8 + 0), 'hex')"),
        _ => return None,
    })
}

fn inconvertible(dataset: &Dataset, column: &Column, name: &str, kind: &Type) -> Error {
    let declared = format!("{:?}", column.kind).to_lowercase();
    let message = format!(
        "column {name:?} is of type {}, which does not convert to {declared} {}.{} exactly",
        kind.name(),
        dataset.name,
        column.name
    );
    let hint = match column.kind {
        ColumnType::Decimal => "declare it as a float, or round it in database.query: round(x::numeric, 2)",
        _ => "declare it as a text, or cast it in database.query",
    };
    Error::invalid(message).hint(hint)
}
