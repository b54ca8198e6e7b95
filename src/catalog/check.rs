//! Checks datasets before anything uses them: one by one and the catalogue as a whole, every problem at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::dataset::{
    Conflict, Cut, Derived, FieldRule, Points, Publish, RowOrigin, Served, Service, Shape, Tushare, Universe, WireForm,
    unit_shift,
};
use crate::model::{Column, ColumnType, Cron, Database, Dataset, Strategy};

/// The rules that `policy.checks` may name.
pub const RULES: [&str; 11] = [
    "code_uniqueness",
    "continuity",
    "cross_validation",
    "indicator_consistency",
    "list_date_valid",
    "price_range",
    "report_date_valid",
    "status_consistency",
    "sum_matches",
    "volume_not_null",
    "vwap_in_range",
];

/// Retries with exponential backoff: more than this never ends.
const RETRIES_MAX: u32 = 20;
const BATCH_MAX: u32 = 1_000_000;
/// Points asked again in every run: more than this is a sync by force.
const LOOK_BACK_MAX: u32 = 400;
const SCALE_MAX: i8 = 18;
const DIGITS_MAX: u8 = 38;

/// Every problem of the catalogue as a whole, each with the name of its dataset.
pub fn catalogue(datasets: &[Arc<Dataset>]) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    let mut owner_of_api: BTreeMap<&str, &str> = BTreeMap::new();
    for each in datasets {
        problems.extend(dataset(each).into_iter().map(|problem| format!("{}: {problem}", each.name)));
        let Some(tushare) = &each.tushare else { continue };
        if let Some(other) = owner_of_api.insert(&tushare.api, &each.name) {
            problems.push(format!("{}: tushare.api {:?} is already used by {other}", each.name, tushare.api));
        }
    }
    problems
}

/// Every problem of one dataset, in the order of the file.
pub fn dataset(dataset: &Dataset) -> Vec<String> {
    let mut found = Problems { dataset, list: Vec::new() };
    found.names();
    found.texts();
    found.key();
    found.place();
    found.expectation();
    found.publication(&dataset.publish);
    found.policy();
    found.needs();
    found.versions();
    found.adjusted();
    if let Some(tushare) = &dataset.tushare {
        found.cuts("tushare", &tushare.cuts);
        found.parameters(tushare);
        found.limits(tushare);
    }
    if let Some(database) = &dataset.database {
        found.database(database);
    }
    if dataset.origin == RowOrigin::Publishers {
        found.published();
    }
    for (source, services) in [("baostock", &dataset.baostock), ("akshare", &dataset.akshare)] {
        for service in services {
            found.service(source, service);
        }
        found.alike(source, services);
    }
    for column in &dataset.columns {
        found.column(column);
    }
    found.list
}

/// What is wrong with one dataset, collected.
struct Problems<'a> {
    dataset: &'a Dataset,
    list: Vec<String>,
}

impl<'a> Problems<'a> {
    fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.list.push(problem());
        }
    }

    fn names(&mut self) {
        let name = &self.dataset.name;
        self.unless(is_name(name), || format!("name {name:?} must be like `daily_basic`: a-z, 0-9 and _"));
        let reserved = name.ends_with("_revision") || name.starts_with("sqlite_") || name.starts_with("tidegate_");
        self.unless(!reserved, || {
            format!(
                "name {name:?} is reserved: it may not start with `sqlite_` or `tidegate_` nor end with `_revision`"
            )
        });
        self.unless(!self.dataset.columns.is_empty(), || "columns is empty".into());
        for name in repeated(self.dataset.columns.iter().map(|column| column.name.as_str())) {
            self.list.push(format!("column {name:?} is declared twice"));
        }
    }

    fn texts(&mut self) {
        let dataset = self.dataset;
        for (key, text) in [("title", &dataset.title), ("title_zh", &dataset.title_zh), ("about", &dataset.about)] {
            self.unless(!text.trim().is_empty(), || format!("{key} is empty"));
        }
    }

    fn key(&mut self) {
        let key = &self.dataset.key;
        self.unless(!key.is_empty(), || "key is empty: name the columns that make a row unique".into());
        for name in repeated(key.iter().map(String::as_str)) {
            self.list.push(format!("key names {name:?} twice"));
        }
        for name in key {
            if let Some(column) = self.existing("key", name) {
                let exact = column.kind != ColumnType::Float;
                self.unless(exact, || format!("key column {name:?} is a float: only exact values make a key"));
            }
        }
        for column in self.dataset.columns.iter().filter(|column| column.derived == Some(Derived::RowHash)) {
            let fits = column.kind == ColumnType::Text && !column.nullable && key.contains(&column.name);
            self.unless(fits, || {
                format!("column {:?}: a row_hash is a text, never missing and part of the key", column.name)
            });
        }
    }

    /// Security, time, universe and what the shape asks of them.
    fn place(&mut self) {
        let dataset = self.dataset;
        for (key, name, kind, kind_name) in [
            ("security", &dataset.security, ColumnType::Text, "text"),
            ("time", &dataset.time, ColumnType::Date, "date"),
        ] {
            let Some(column) = name.as_ref().and_then(|name| self.existing(key, name)) else { continue };
            let (fits, name) = (column.kind == kind, &column.name);
            self.unless(fits, || format!("{key} names {name:?}, which is not a {kind_name} column"));
        }
        let timed = dataset.shape == Shape::Whole || dataset.time.is_some();
        self.unless(timed, || "time is missing: only a table of shape `whole` has none".into());
        let counted = matches!(dataset.shape, Shape::Dense | Shape::Period) && dataset.universe != Universe::Market;
        let named = !counted || dataset.security.is_some();
        self.unless(named, || "security is missing: rows of shape `dense` or `period` are counted by security".into());
        match dataset.universe {
            Universe::Index => self.unless(!dataset.codes.is_empty(), || "codes is empty: list the index codes".into()),
            _ => self.unless(dataset.codes.is_empty(), || "codes belong to universe `index` only".into()),
        }
        for code in repeated(dataset.codes.iter().map(String::as_str)) {
            self.list.push(format!("codes lists {code:?} twice"));
        }
    }

    fn expectation(&mut self) {
        let expect = &self.dataset.expect;
        for (key, rows) in [("rows_per_security", expect.rows_per_security), ("rows_per_point", expect.rows_per_point)]
        {
            self.unless(rows.is_finite() && rows >= 0.0, || format!("expect.{key} must be 0 or more"));
        }
        let share = (0.0..=1.0).contains(&expect.complete_at);
        self.unless(share, || "expect.complete_at must lie between 0 and 1".into());
        let by_quarter = expect.points == Points::QuarterEnd;
        self.unless(self.dataset.shape != Shape::Period || by_quarter, || {
            "expect.points must be \"quarter_end\" for shape `period`".into()
        });
    }

    fn publication(&mut self, publish: &Publish) {
        self.unless(publish.minute().is_some(), || {
            format!("publish.at {:?} is no time of day like \"16:30\"", publish.at)
        });
        self.unless((-400..=400).contains(&publish.days_later), || {
            "publish.days_later must lie within 400 days".into()
        });
        self.unless((0..=3650).contains(&publish.settle_days), || {
            "publish.settle_days must lie between 0 and 3650".into()
        });
        self.unless((1..=8760).contains(&publish.refresh_hours), || {
            "publish.refresh_hours must lie between 1 and 8760".into()
        });
    }

    fn policy(&mut self) {
        let policy = &self.dataset.policy;
        self.unless((1..=BATCH_MAX).contains(&policy.batch), || {
            format!("policy.batch must lie between 1 and {BATCH_MAX}")
        });
        self.unless(policy.retries <= RETRIES_MAX, || format!("policy.retries must be at most {RETRIES_MAX}"));
        let polls = policy.is_continuous();
        let polling = policy.poll_seconds.is_some_and(|seconds| seconds > 0);
        self.unless(!polls || polling, || "policy.poll_seconds is missing: schedule `continuous` polls".into());
        self.unless(polls || policy.poll_seconds.is_none(), || {
            "policy.poll_seconds belongs to schedule `continuous` only".into()
        });
        if !polls && policy.schedule != "event_driven" {
            self.cron(&policy.schedule);
        }
        self.fields();
        let sized = policy.batch_size != Some(0) && policy.partitions.is_none_or(|count| (1..=64).contains(&count));
        self.unless(sized, || "policy.batch_size must be 1 or more, policy.partitions between 1 and 64".into());
        self.unless(policy.look_back <= LOOK_BACK_MAX, || format!("policy.look_back must be at most {LOOK_BACK_MAX}"));
        for rule in &policy.checks {
            self.unless(RULES.contains(&rule.as_str()), || {
                format!("policy.checks names {rule:?}, which is no rule; the rules are {}", RULES.join(", "))
            });
        }
        for name in repeated(policy.checks.iter().map(String::as_str)) {
            self.list.push(format!("policy.checks names {name:?} twice"));
        }
        let keyed = policy.cache_invalidate.iter().all(|key| !key.trim().is_empty());
        self.unless(keyed, || "policy.cache_invalidate has an empty key".into());
    }

    /// Rules of single columns when rows are merged.
    fn fields(&mut self) {
        let dataset = self.dataset;
        let merges = dataset.policy.conflict == Conflict::Merge;
        self.unless(merges || dataset.policy.fields.is_empty(), || {
            "policy.fields belongs to conflict `merge` only".into()
        });
        for (name, rule) in &dataset.policy.fields {
            let Some(column) = self.existing("policy.fields", name) else { continue };
            self.unless(!dataset.key.contains(name), || format!("policy.fields names {name:?}, which is in the key"));
            let ordered = !matches!(rule, FieldRule::Max | FieldRule::Min) || column.kind != ColumnType::Text;
            self.unless(ordered, || format!("policy.fields.{name}: only numbers and dates have a {}", rule.name()));
        }
    }

    fn cron(&mut self, schedule: &str) {
        if let Err(error) = Cron::parse(schedule) {
            self.list
                .push(format!("policy.schedule is neither `event_driven` nor `continuous`, and {}", error.message()));
        }
    }

    fn needs(&mut self) {
        for name in &self.dataset.needs {
            self.existing("needs", name);
        }
    }

    fn versions(&mut self) {
        let Some(versions) = &self.dataset.versions else { return };
        let keyed = !versions.columns.is_empty() && versions.columns.iter().all(|name| self.dataset.key.contains(name));
        self.unless(keyed, || "versions.columns must name columns of the key".into());
        let rest = self.dataset.key.iter().any(|name| !versions.columns.contains(name));
        self.unless(rest, || "versions.columns leaves no column of the key that says what the versions are of".into());
        self.unless(!versions.announced.is_empty(), || "versions.announced is empty: name a date".into());
        for name in &versions.announced {
            let dated = self.existing("versions.announced", name).is_none_or(|column| column.kind == ColumnType::Date);
            self.unless(dated, || format!("versions.announced names {name:?}, which is not a date column"));
        }
    }

    fn adjusted(&mut self) {
        let Some(adjusted) = &self.dataset.adjust else { return };
        let placed = self.dataset.security.is_some() && self.dataset.time.is_some();
        self.unless(placed, || "adjust needs `security` and `time`: factors are by security and day".into());
        self.unless(!adjusted.prices.is_empty(), || "adjust.prices is empty".into());
        self.unless(!adjusted.factors.is_empty(), || "adjust.factors is empty: name a table of factors".into());
        let scale = |name: &String| self.dataset.column(name).map(|column| column.scale);
        for (name, parts) in &adjusted.differences {
            let fits = parts.iter().all(|part| adjusted.prices.contains(part) && scale(part) == scale(name));
            self.unless(fits, || format!("adjust.differences.{name} needs two of adjust.prices with its own scale"));
        }
        for name in adjusted.prices.iter().chain(adjusted.differences.keys()) {
            let Some(column) = self.existing("adjust", name) else { continue };
            let fits = column.kind == ColumnType::Decimal && column.nullable && !self.dataset.key.contains(name);
            self.unless(fits, || format!("adjust names {name:?}, which is not a nullable decimal outside of the key"));
        }
    }

    fn cuts(&mut self, source: &str, cuts: &[Cut]) {
        self.unless(!cuts.is_empty(), || format!("{source}.cuts is empty: say how a call can be bounded"));
        for cut in cuts {
            let what = format!("the cut by {}", cut.name());
            let (timed, secured) = match cut {
                Cut::Day { .. } | Cut::Period { .. } | Cut::Range { .. } => (true, false),
                Cut::Security { from, to, .. } => (from.is_some() || to.is_some(), true),
                Cut::Whole => (false, false),
            };
            self.unless(!timed || self.dataset.time.is_some(), || format!("{what} needs `time`"));
            self.unless(!secured || self.dataset.security.is_some(), || format!("{what} needs `security`"));
            if let Cut::Security { from, to, .. } = cut {
                self.unless(from.is_some() == to.is_some(), || {
                    format!("{what} needs both `from` and `to`, or neither")
                });
            }
            for parameter in parameters_of(cut) {
                self.unless(is_name(parameter), || {
                    format!("{what} names the parameter {parameter:?}, which is no name")
                });
            }
        }
    }

    fn parameters(&mut self, tushare: &Tushare) {
        for (parameter, column) in &tushare.filters {
            self.existing(&format!("tushare.filters.{parameter}"), column);
        }
        for (parameter, values) in &tushare.facets {
            self.unless(!values.is_empty(), || format!("tushare.facets.{parameter} has no values"));
            self.unless(tushare.filters.contains_key(parameter), || {
                format!("tushare.facets.{parameter} needs tushare.filters.{parameter}: the column that holds the value")
            });
            for value in repeated(values.iter().map(String::as_str)) {
                self.list.push(format!("tushare.facets.{parameter} lists {value:?} twice"));
            }
        }
        for parameter in tushare.defaults.keys() {
            let known = tushare.filters.contains_key(parameter) || tushare.always.contains_key(parameter);
            self.unless(known, || format!("tushare.defaults.{parameter} is neither under filters nor under always"));
        }
        if let Some(column) = tushare.range_column.as_ref().and_then(|name| self.existing("tushare.range_column", name))
        {
            let (dated, name) = (column.kind == ColumnType::Date, &column.name);
            self.unless(dated, || format!("tushare.range_column names {name:?}, which is not a date column"));
        }
        for parameter in &tushare.required {
            let cut = tushare.cuts.iter().any(|cut| parameters_of(cut).contains(&parameter.as_str()));
            self.unless(cut || tushare.filters.contains_key(parameter), || {
                format!("tushare.required names {parameter:?}, which no cut and no filter knows")
            });
        }
    }

    fn limits(&mut self, tushare: &Tushare) {
        self.unless(!tushare.api.trim().is_empty(), || "tushare.api is empty".into());
        let limits = [("row_cap", tushare.row_cap), ("per_minute", tushare.per_minute), ("per_day", tushare.per_day)];
        for (key, limit) in limits {
            self.unless(limit != Some(0), || format!("tushare.{key} is 0: leave it out when there is no limit"));
        }
        let zero = tushare.tiers.iter().any(|tier| tier.per_minute == Some(0) || tier.per_day == Some(0));
        self.unless(!zero, || "tushare.tiers has a limit of 0: leave it out when there is no limit".into());
        let rising = tushare.tiers.is_sorted_by(|a, b| a.points < b.points);
        let above = tushare.tiers.iter().all(|tier| tier.points > tushare.points);
        self.unless(rising && above, || "tushare.tiers must rise in points, above tushare.points".into());
    }

    /// A table of publishers: nobody is asked for it.
    fn published(&mut self) {
        let dataset = self.dataset;
        let asked = dataset.tushare.is_some() || dataset.database.is_some();
        let asked = asked || !dataset.baostock.is_empty() || !dataset.akshare.is_empty();
        self.unless(!asked, || "a table of origin `publishers` has no sources".into());
        let about_nobody = dataset.universe == Universe::Market && dataset.security.is_none();
        self.unless(about_nobody, || {
            "a table of origin `publishers` is of universe `market`, without `security`".into()
        });
        self.unless(dataset.policy.schedule == "event_driven", || {
            "policy.schedule of a table of origin `publishers` is `event_driven`".into()
        });
    }

    /// A table of a database: what is read, and what it is compared by.
    fn database(&mut self, database: &Database) {
        let dataset = self.dataset;
        self.unless(!database.connection.trim().is_empty(), || "database.connection is empty".into());
        self.unless(database.table.is_some() != database.query.is_some(), || {
            "database needs either `table` or `query`".into()
        });
        let about_nobody = dataset.universe == Universe::Market && dataset.security.is_none();
        let shaped = matches!(dataset.shape, Shape::Whole | Shape::Sparse);
        self.unless(about_nobody && shaped, || {
            "a table of a database is of universe `market` and of shape `whole` or `sparse`, without `security`".into()
        });
        for column in database.columns.keys() {
            self.existing("database.columns", column);
        }
        for name in &dataset.key {
            let Some(column) = dataset.column(name) else { continue };
            self.unless(!column.nullable, || format!("key column {name:?} of a database's table cannot be nullable"));
            let compared = column.kind != ColumnType::Decimal || column.digits <= 15;
            self.unless(compared, || format!("key column {name:?} of a database's table has more than 15 digits"));
        }
        let derived = dataset.columns.iter().any(|column| column.derived.is_some());
        self.unless(!derived, || "a table of a database has no derived columns".into());
        let strategy = dataset.policy.strategy;
        self.unless(matches!(strategy, Strategy::Watermark | Strategy::Hash), || {
            "policy.strategy of a table of a database is `watermark` or `hash`".into()
        });
        self.unless(strategy != Strategy::Watermark || database.watermark.is_some(), || {
            "database.watermark is missing: strategy `watermark` needs a column that grows".into()
        });
        self.unless(dataset.policy.conflict == Conflict::Replace, || {
            "policy.conflict of a table of a database is `replace`: the table is the truth".into()
        });
        if let Some(column) = database.watermark.as_ref().and_then(|name| self.existing("database.watermark", name)) {
            let grows = column.kind != ColumnType::Float && (column.kind != ColumnType::Decimal || column.digits <= 15);
            self.unless(grows, || format!("database.watermark {:?} cannot be compared exactly", column.name));
        }
    }

    /// A question that a source other than Tushare answers.
    fn service(&mut self, source: &str, service: &Service) {
        let what = format!("{source} {}", service.api);
        self.unless(!service.api.trim().is_empty(), || format!("{source}.api is empty"));
        self.cuts(source, &service.cuts);
        self.unless(service.row_cap != Some(0), || {
            format!("{what}: row_cap is 0: leave it out when there is no limit")
        });
        for (parameter, values) in &service.facets {
            self.unless(!values.is_empty(), || format!("{what}: facets.{parameter} has no values"));
            for value in repeated(values.iter().map(String::as_str)) {
                self.list.push(format!("{what}: facets.{parameter} lists {value:?} twice"));
            }
        }
        let named = service.only.keys().all(|field| !field.trim().is_empty());
        self.unless(named, || format!("{what}: only names a field without a name"));
        for (name, served) in &service.columns {
            if let Some(column) = self.existing(&format!("{what}: columns"), name) {
                self.served(&what, column, served);
            }
        }
        // Without these no row is one of the dataset's.
        let dataset = self.dataset;
        let needed = |column: &&Column| !column.nullable || dataset.key.contains(&column.name);
        for column in dataset.columns.iter().filter(needed).filter(|column| column.derived.is_none()) {
            self.unless(service.columns.contains_key(&column.name), || {
                format!("{what}: columns lacks {:?}, which every row has", column.name)
            });
        }
    }

    /// What a source sends for a column must be convertible exactly.
    fn served(&mut self, what: &str, column: &Column, served: &Served) {
        let name = &column.name;
        let exact = matches!(column.kind, ColumnType::Int | ColumnType::Decimal);
        self.unless(column.derived.is_none(), || format!("{what}: column {name:?} is computed and never sent"));
        self.unless(!served.field.trim().is_empty(), || format!("{what}: column {name:?} comes from no field"));
        self.unless(exact || !served.field.contains(" - "), || {
            format!("{what}: column {name:?} is a difference, which only an int or a decimal can be")
        });
        if let Some(unit) = &served.unit {
            self.unless(exact, || format!("{what}: column {name:?}: only an int or a decimal converts units"));
            self.unless(unit_shift(unit, &column.unit).is_some(), || {
                format!("{what}: column {name:?}: unit {unit:?} does not convert to {:?}", column.unit)
            });
        }
        let mut words: Vec<&str> = served.values.values().map(String::as_str).collect();
        words.sort_unstable();
        for word in repeated(words.into_iter()) {
            self.list.push(format!("{what}: column {name:?}: values has two words for {word:?}"));
        }
    }

    /// A slice makes the same calls whichever question of a source answers it.
    fn alike(&mut self, source: &str, services: &[Service]) {
        let calls = |service: &Service| service.facets.values().map(|values| values.len().max(1)).product::<usize>();
        let same = services.windows(2).all(|pair| calls(&pair[0]) == calls(&pair[1]));
        self.unless(same, || format!("{source}: its questions have different numbers of facet values"));
    }

    fn column(&mut self, column: &Column) {
        let name = &column.name;
        self.unless(is_name(name), || format!("column {name:?} must be named like `trade_date`: a-z, 0-9 and _"));
        let texts = [("unit", &column.unit), ("meaning", &column.meaning), ("meaning_zh", &column.meaning_zh)];
        for (key, text) in texts {
            self.unless(!text.trim().is_empty(), || format!("column {name:?}: {key} is empty"));
        }
        if column.kind == ColumnType::Decimal {
            let fits = (0..=SCALE_MAX).contains(&column.scale);
            self.unless(fits, || format!("column {name:?}: scale must lie between 0 and {SCALE_MAX}"));
            let digits =
                (1..=DIGITS_MAX).contains(&column.digits) && i16::from(column.digits) >= i16::from(column.scale);
            self.unless(digits, || format!("column {name:?}: digits must lie between the scale and {DIGITS_MAX}"));
        } else {
            self.unless(column.scale == 0, || format!("column {name:?}: only a decimal has a scale"));
        }
        self.wire(column);
    }

    /// What Tushare sends must be convertible exactly.
    fn wire(&mut self, column: &Column) {
        let name = &column.name;
        let exact = matches!(column.kind, ColumnType::Int | ColumnType::Decimal);
        if let Some(unit) = &column.tushare_unit {
            self.unless(exact, || format!("column {name:?}: only an int or a decimal converts units"));
            self.unless(column.tushare_shift().is_some(), || {
                format!("column {name:?}: tushare_unit {unit:?} does not convert to {:?}", column.unit)
            });
        }
        let number = exact || column.kind == ColumnType::Float;
        match column.tushare_form {
            Some(WireForm::Text) => {
                self.unless(number, || format!("column {name:?}: tushare_form \"text\" is for numbers"))
            }
            Some(WireForm::Integer) => {
                let text = column.kind == ColumnType::Text;
                self.unless(text, || format!("column {name:?}: tushare_form \"integer\" is for text columns"));
            }
            None => {}
        }
    }

    /// The column that `key` names; a problem when there is none.
    fn existing(&mut self, key: &str, name: &str) -> Option<&'a Column> {
        let column = self.dataset.column(name);
        if column.is_none() {
            self.list.push(format!("{key} names {name:?}, which is not among the columns"));
        }
        column
    }
}

/// The parameters that bound a call in this way.
pub fn parameters_of(cut: &Cut) -> Vec<&str> {
    match cut {
        Cut::Day { day } => vec![day],
        Cut::Period { period } => vec![period],
        Cut::Security { security, from, to } => {
            [Some(security), from.as_ref(), to.as_ref()].into_iter().flatten().map(String::as_str).collect()
        }
        Cut::Range { from, to } => vec![from, to],
        Cut::Whole => Vec::new(),
    }
}

/// Names that every store takes without quoting: `[a-z][a-z0-9_]*`, at most 60 characters.
fn is_name(text: &str) -> bool {
    let starts = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let continues = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    starts && continues && text.len() <= 60
}

/// Each value that occurs more than once, once.
fn repeated<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(value, _)| value).collect()
}
