//! The tests of the catalogue: broken files and what is said of them, and the files that are compiled in.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::{ErrorKind, dataset};

/// A small dataset that is right in everything.
const RIGHT: &str = r#"
name = "rain"
title = "Rain"
title_zh = "雨"
about = "Rain in millimetres."

key = ["ts_code", "day"]
security = "ts_code"
time = "day"
shape = "dense"

publish.at = "18:00"
publish.settle_days = 7
publish.refresh_hours = 1

policy.mode = "incremental"
policy.schedule = "0 18 * * 1-5"
policy.batch = 1000
policy.retries = 3
policy.conflict = "replace"
policy.checks = ["volume_not_null"]

tushare.api = "rain"
tushare.points = 120
tushare.cuts = [{ by = "day", day = "day" }]
tushare.filters.kind = "kind"

columns = [
    { name = "ts_code", type = "text", unit = "code", meaning = "security", meaning_zh = "代码" },
    { name = "day", type = "date", unit = "date", meaning = "day", meaning_zh = "日" },
    { name = "kind", type = "text", unit = "text", meaning = "kind", meaning_zh = "类" },
    { name = "vol", type = "decimal", scale = 2, unit = "share", tushare_unit = "lot", nullable = true, meaning = "volume", meaning_zh = "量" },
]
"#;

fn load(text: &str) -> Result<Catalog> {
    Catalog::of(vec![("rain.toml".into(), text.into())], Vec::new())
}

#[test]
fn a_right_file_has_no_problems() {
    let catalog = load(RIGHT).unwrap();
    assert_eq!(catalog.get("rain").unwrap().columns.len(), 4);
}

#[test]
fn a_broken_file_is_refused_with_what_is_wrong() {
    for (old, new, expected) in BROKEN {
        assert!(RIGHT.contains(old), "{old} is not in the right file");
        let error = load(&RIGHT.replacen(old, new, 1)).expect_err(new);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(expected), "{new}\n  expected {expected}\n  got {}", error.message());
        assert!(error.hint_text().is_some_and(|hint| hint.contains("docs/guide/catalogue.md")));
    }
}

/// What is replaced in the right file, by what, and what is said.
const BROKEN: &[(&str, &str, &str)] = &[
    ("name = \"rain\"", "name = ", "rain.toml line 2, column 8"),
    ("shape = \"dense\"", "shape = \"round\"", "rain.toml line 10, column 9: unknown variant `round`"),
    ("publish.at", "publish.when", "rain.toml line 12, column 9: unknown field `when`"),
    ("shape = \"dense\"", "first_day = \"2024-02-30\"", "\"2024-02-30\" is not a date"),
    ("title = \"Rain\"\n", "", "missing field `title`"),
    ("name = \"rain\"", "name = \"Rain Fall\"", "name \"Rain Fall\" must be like `daily_basic`"),
    ("name = \"rain\"", "name = \"rain_revision\"", "is reserved"),
    ("title_zh = \"雨\"", "title_zh = \" \"", "rain: title_zh is empty"),
    ("key = [\"ts_code\", \"day\"]", "key = []", "rain: key is empty"),
    (
        "key = [\"ts_code\", \"day\"]",
        "key = [\"ts_code\", \"date\"]",
        "key names \"date\", which is not among the columns",
    ),
    ("key = [\"ts_code\", \"day\"]", "key = [\"day\", \"day\"]", "key names \"day\" twice"),
    ("name = \"vol\"", "name = \"kind\"", "column \"kind\" is declared twice"),
    ("security = \"ts_code\"", "security = \"code\"", "security names \"code\", which is not among the columns"),
    ("security = \"ts_code\"", "security = \"vol\"", "security names \"vol\", which is not a text column"),
    ("security = \"ts_code\"\n", "", "security is missing"),
    ("time = \"day\"", "time = \"kind\"", "time names \"kind\", which is not a date column"),
    ("time = \"day\"\n", "", "time is missing"),
    ("time = \"day\"\n", "", "the cut by day needs `time`"),
    ("shape = \"dense\"", "shape = \"period\"", "expect.points must be \"quarter_end\""),
    ("shape = \"dense\"", "shape = \"dense\"\nuniverse = \"index\"", "codes is empty"),
    ("shape = \"dense\"", "shape = \"dense\"\ncodes = [\"000001.SH\"]", "codes belong to universe `index` only"),
    ("shape = \"dense\"", "shape = \"dense\"\nexpect.complete_at = 1.5", "expect.complete_at must lie between 0 and 1"),
    ("shape = \"dense\"", "shape = \"dense\"\nexpect.rows_per_point = nan", "expect.rows_per_point must be 0 or more"),
    ("publish.at = \"18:00\"", "publish.at = \"25:00\"", "publish.at \"25:00\" is no time of day"),
    ("publish.settle_days = 7", "publish.settle_days = -1", "publish.settle_days must lie between"),
    ("publish.refresh_hours = 1", "publish.refresh_hours = 0", "publish.refresh_hours must lie between"),
    ("\"0 18 * * 1-5\"", "\"0 18 * * 1-9\"", "is no cron line of five fields"),
    ("\"0 18 * * 1-5\"", "\"0 0 18 * * 1-5\"", "is no cron line of five fields"),
    ("\"0 18 * * 1-5\"", "\"daily\"", "neither `event_driven` nor `continuous`"),
    ("\"0 18 * * 1-5\"", "\"continuous\"", "policy.poll_seconds is missing"),
    ("policy.batch = 1000", "policy.batch = 1000\npolicy.poll_seconds = 5", "belongs to schedule `continuous` only"),
    ("policy.batch = 1000", "policy.batch = 0", "policy.batch must lie between"),
    ("policy.retries = 3", "policy.retries = 1000", "policy.retries must be at most 20"),
    ("volume_not_null", "volume_is_nice", "policy.checks names \"volume_is_nice\", which is no rule"),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nversions = { columns = [\"vol\"], announced = [\"day\"] }",
        "versions.columns must name columns of the key",
    ),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nversions = { columns = [\"ts_code\", \"day\"], announced = [\"day\"] }",
        "leaves no column of the key",
    ),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nversions = { columns = [\"day\"], announced = [\"vol\"] }",
        "versions.announced names \"vol\", which is not a date",
    ),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nadjust = { prices = [\"kind\"], factors = [] }",
        "adjust.factors is empty",
    ),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nadjust = { prices = [\"ts_code\"], factors = [] }",
        "adjust names \"ts_code\", which is not a nullable decimal",
    ),
    (
        "policy.batch = 1000",
        "policy.batch = 1000\nadjust = { prices = [\"vol\"], differences = { vol = [\"vol\", \"kind\"] }, factors = [] }",
        "adjust.differences.vol needs two of adjust.prices",
    ),
    ("tushare.api = \"rain\"", "tushare.api = \"\"", "tushare.api is empty"),
    ("tushare.points = 120", "tushare.points = 120\ntushare.row_cap = 0", "tushare.row_cap is 0"),
    (
        "tushare.points = 120",
        "tushare.points = 120\ntushare.tiers = [{ points = 100 }]",
        "tushare.tiers must rise in points",
    ),
    ("[{ by = \"day\", day = \"day\" }]", "[]", "tushare.cuts is empty"),
    ("day = \"day\" }]", "day = \"the day\" }]", "names the parameter \"the day\""),
    (
        "by = \"day\", day = \"day\"",
        "by = \"security\", security = \"ts_code\", from = \"start\"",
        "both `from` and `to`",
    ),
    ("filters.kind = \"kind\"", "filters.kind = \"sort\"", "tushare.filters.kind names \"sort\""),
    ("filters.kind = \"kind\"", "facets.kind = [\"a\", \"b\"]", "tushare.facets.kind needs tushare.filters.kind"),
    (
        "filters.kind = \"kind\"",
        "filters.kind = \"kind\"\ntushare.facets.kind = []",
        "tushare.facets.kind has no values",
    ),
    ("filters.kind = \"kind\"", "defaults.kind = \"a\"", "tushare.defaults.kind is neither under filters"),
    ("filters.kind = \"kind\"", "range_column = \"vol\"", "tushare.range_column names \"vol\", which is not a date"),
    ("filters.kind = \"kind\"", "required = [\"kind\"]", "tushare.required names \"kind\", which no cut"),
    ("name = \"vol\"", "name = \"Vol\"", "column \"Vol\" must be named like `trade_date`"),
    ("unit = \"share\"", "unit = \"\"", "column \"vol\": unit is empty"),
    ("meaning_zh = \"量\"", "meaning_zh = \"\"", "column \"vol\": meaning_zh is empty"),
    ("scale = 2", "scale = 30", "column \"vol\": scale must lie between 0 and 18"),
    ("scale = 2", "scale = 2, digits = 1", "column \"vol\": digits must lie between"),
    ("unit = \"date\"", "unit = \"date\", scale = 2", "column \"day\": only a decimal has a scale"),
    ("tushare_unit = \"lot\"", "tushare_unit = \"CNY\"", "tushare_unit \"CNY\" does not convert to \"share\""),
    ("unit = \"code\"", "unit = \"code\", tushare_unit = \"lot\"", "only an int or a decimal converts units"),
    ("unit = \"code\"", "unit = \"code\", tushare_form = \"text\"", "tushare_form \"text\" is for numbers"),
    ("unit = \"share\"", "unit = \"share\", tushare_form = \"integer\"", "tushare_form \"integer\" is for text"),
    (
        "unit = \"code\"",
        "unit = \"code\", derived = \"row_hash\", nullable = true",
        "a row_hash is a text, never missing",
    ),
];

/// A question of another source that is right in everything.
const SERVED: &str = r#"
[[baostock]]
api = "query_rain"
cuts = [{ by = "day", day = "date" }]
facets = { kind = ["a", "b"] }
only = { status = "1" }

[baostock.columns]
ts_code = { field = "code" }
day = { field = "date" }
kind = { field = "kind", values = { "1" = "a", "2" = "b" } }
vol = { field = "volume - missed", unit = "lot" }
"#;

#[test]
fn a_broken_question_of_another_source_is_refused_with_what_is_wrong() {
    let right = format!("{RIGHT}{SERVED}");
    load(&right).unwrap();
    let second = format!("{SERVED}{}", SERVED.replace("[\"a\", \"b\"]", "[\"a\"]"));
    for (old, new, expected) in [
        ("api = \"query_rain\"", "api = \"\"", "baostock.api is empty"),
        ("cuts = [{ by = \"day\", day = \"date\" }]", "cuts = []", "baostock.cuts is empty"),
        ("day = \"date\" }]", "day = \"the day\" }]", "names the parameter \"the day\""),
        ("[\"a\", \"b\"]", "[]", "baostock query_rain: facets.kind has no values"),
        ("[\"a\", \"b\"]", "[\"a\", \"a\"]", "facets.kind lists \"a\" twice"),
        ("status = \"1\"", "\"\" = \"1\"", "only names a field without a name"),
        ("api = \"query_rain\"", "api = \"query_rain\"\nrow_cap = 0", "row_cap is 0"),
        ("vol = { field", "wind = { field", "names \"wind\", which is not among the columns"),
        ("day = { field = \"date\" }\n", "", "columns lacks \"day\", which every row has"),
        ("field = \"code\"", "field = \"\"", "column \"ts_code\" comes from no field"),
        ("field = \"code\"", "field = \"code - name\"", "column \"ts_code\" is a difference"),
        ("unit = \"lot\"", "unit = \"CNY\"", "column \"vol\": unit \"CNY\" does not convert to \"share\""),
        ("field = \"code\"", "field = \"code\", unit = \"lot\"", "only an int or a decimal converts units"),
        ("\"2\" = \"b\"", "\"2\" = \"a\"", "values has two words for \"a\""),
        ("field = \"kind\"", "field = \"kind\", agrees = \"nearly\"", "unknown variant `nearly`"),
        (SERVED, &second, "its questions have different numbers of facet values"),
    ] {
        assert!(right.contains(old), "{old} is not in the right file");
        let at = right.rfind(old).unwrap();
        let broken = format!("{}{new}{}", &right[..at], &right[at + old.len()..]);
        let error = load(&broken).expect_err(new);
        assert!(error.message().contains(expected), "{new}\n  expected {expected}\n  got {}", error.message());
    }
}

#[test]
fn all_problems_of_all_files_are_told_at_once() {
    let wrong = RIGHT.replace("\"18:00\"", "\"26:00\"").replace("scale = 2", "scale = 99");
    let files = vec![("a.toml".into(), wrong), ("b.toml".into(), "name = 1".into()), ("c.toml".into(), RIGHT.into())];
    let files: Vec<(String, String)> = files;
    let message = Catalog::of(files.clone(), Vec::new()).unwrap_err().message().to_string();
    for expected in ["b.toml line 1, column 8", "c.toml: the name \"rain\" is already used by a.toml"] {
        assert!(message.contains(expected), "{message}");
    }
    let message = Catalog::of(files[..2].to_vec(), Vec::new()).unwrap_err().message().to_string();
    for expected in ["the catalogue has 4 problems", "\"26:00\"", "scale must lie", "b.toml"] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn two_datasets_cannot_share_an_api() {
    let other = RIGHT.replace("name = \"rain\"", "name = \"snow\"");
    let files = vec![("rain.toml".into(), RIGHT.into()), ("snow.toml".into(), other)];
    let message = Catalog::of(files, Vec::new()).unwrap_err().message().to_string();
    assert!(message.contains("snow: tushare.api \"rain\" is already used by rain"), "{message}");
}

#[test]
fn an_unknown_dataset_is_answered_with_the_nearest_name() {
    let catalog = Catalog::builtin().unwrap();
    for (name, nearest) in [("dayly", "daily"), ("daily-basic", "daily_basic"), ("income", "income_vip")] {
        let error = catalog.get(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint_text().unwrap().contains(&format!("{nearest:?}")), "{name}: {:?}", error.hint_text());
    }
    assert_eq!(catalog.get("qqqq").unwrap_err().hint_text(), Some("`tidegate datasets` lists all"));
}

#[test]
fn a_users_folder_adds_and_replaces() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rain.toml"), RIGHT).unwrap();
    fs::write(folder.path().join("notes.txt"), "not a dataset").unwrap();
    let daily = fs::read_to_string(root().join("catalog/daily.toml")).unwrap().replace("Daily bars", "My bars");
    fs::write(folder.path().join("own_daily.toml"), daily).unwrap();
    let catalog = Catalog::load(Some(folder.path())).unwrap();
    assert_eq!(catalog.datasets().len(), FILES.len() + 1);
    assert_eq!(catalog.get("rain").unwrap().title, "Rain");
    assert_eq!(catalog.get("daily").unwrap().title, "My bars");
}

#[test]
fn a_missing_folder_is_named_with_the_remedy() {
    let error = Catalog::load(Some(Path::new("no/such/folder"))).unwrap_err();
    assert!(error.message().contains("no/such/folder"));
    assert!(error.hint_text().unwrap().contains("catalog.folder"));
}

#[test]
fn the_list_of_builtin_files_equals_the_folder() {
    let names = fs::read_dir(root().join("catalog")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    assert_eq!(FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "edit src/catalog/builtin.rs");
    for (name, text) in FILES {
        assert_eq!(read::parse(name, text).unwrap().name, *name, "a file is named like its dataset");
    }
}

#[test]
fn own_limits_follow_the_points() {
    let catalog = Catalog::builtin().unwrap();
    for (name, points, expected) in [
        ("stk_factor_pro", 5000, (Some(30), None)),
        ("stk_factor_pro", 8000, (Some(500), None)),
        ("cyq_chips", 9999, (Some(200), Some(20_000))),
        ("cyq_chips", 10_000, (None, Some(200_000))),
        ("cyq_chips", 99_999, (None, None)),
        ("daily", 120, (None, None)),
    ] {
        let tushare = catalog.get(name).unwrap().tushare.clone().unwrap();
        assert_eq!(tushare.own_limits(points), expected, "{name} at {points}");
    }
}

#[test]
fn volumes_are_shares_and_amounts_yuan_in_every_builtin() {
    for dataset in Catalog::builtin().unwrap().datasets() {
        for column in &dataset.columns {
            let raw = ["lot", "share_10k", "CNY_1k", "CNY_10k", "CNY_1m"].contains(&column.unit.as_str());
            assert!(!raw, "{}.{} has unit {}", dataset.name, column.name, column.unit);
            let wire = dataset::unit_shift(column.tushare_unit.as_deref().unwrap_or("none"), &column.unit);
            assert!(column.tushare_unit.is_none() || wire > Some(0), "{}.{}", dataset.name, column.name);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
