//! The configuration through its public face: layers, messages, secrets.

use std::path::PathBuf;

use tidegate::config::{Config, LoadOptions, Origin};
use tidegate::model::ErrorKind;

/// A folder with a `tidegate.toml`, and what else a load depends on.
struct Given {
    folder: tempfile::TempDir,
    options: LoadOptions,
}

fn given(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> Given {
    let folder = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(folder.path().join("tidegate.toml"), file).unwrap();
    }
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = LoadOptions {
        file: None,
        sets: sets.iter().map(|text| (*text).to_owned()).collect(),
        environment: environment.iter().map(pair).collect(),
        folder: folder.path().to_owned(),
    };
    Given { folder, options }
}

/// The error's message and hint with the folder cut out.
fn refusal(given: &Given) -> String {
    let error = Config::load(&given.options).expect_err("this configuration is wrong");
    let text = format!("{} | {}", error.message(), error.hint_text().unwrap_or_default());
    text.replace(&format!("{}/", given.folder.path().display()), "")
}

fn origin_of(config: &Config, path: &str) -> (String, Origin) {
    let option = config.explain().iter().find(|option| option.path == path).unwrap();
    (option.value.clone(), option.origin.clone())
}

#[test]
fn a_folder_without_any_file_has_the_defaults() {
    let config = Config::load(&given("", &[], &[]).options).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.store.path, PathBuf::from("tidegate.db"));
    assert_eq!(config.sources.tushare.url, "http://api.tushare.pro");
    assert!(config.sources.tushare.token().unwrap().is_empty());
    assert_eq!(config.sources.tushare.per_minute(), None);
    assert_eq!(config.sync.default_from(), None);
    assert!(config.mirror.accounts().is_empty() && config.catalog.folder().is_none());
    assert!(config.explain().iter().all(|option| option.origin == Origin::Default));
}

#[test]
fn each_layer_goes_over_the_one_below() {
    let file = "[sync]\nconcurrency = 2\ncommit_slices = 2\nretry_first_ms = 2\n";
    let environment = [("TIDEGATE_SYNC__COMMIT_SLICES", "3"), ("TIDEGATE_SYNC__RETRY_FIRST_MS", "3")];
    let given = given(file, &environment, &["sync.retry_first_ms=4"]);
    let config = Config::load(&given.options).unwrap();
    let sync = &config.sync;
    assert_eq!((sync.concurrency, sync.commit_slices, sync.retry_first_ms, sync.retry_cap_ms), (2, 3, 4, 60_000));

    let path = given.folder.path().join("tidegate.toml");
    for (option, value, origin) in [
        ("sync.concurrency", "2", Origin::File { path, line: 2 }),
        ("sync.commit_slices", "3", Origin::Environment { variable: "TIDEGATE_SYNC__COMMIT_SLICES".into() }),
        ("sync.retry_first_ms", "4", Origin::Set),
        ("sync.retry_cap_ms", "60000", Origin::Default),
    ] {
        assert_eq!(origin_of(&config, option), (value.to_owned(), origin), "{option}");
    }
}

#[test]
fn the_file_is_the_named_one_else_the_folders_else_the_users() {
    let mut given = given("", &[], &[]);
    let user = given.folder.path().join("user/tidegate");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("config.toml"), "sim.seed = 1").unwrap();
    let at = |name: &str| given.folder.path().join(name);
    let user_folder = at("user").display().to_string();
    let (local, named) = (at("tidegate.toml"), at("named.toml"));
    given.options.environment.push(("XDG_CONFIG_HOME".to_owned(), user_folder));

    assert_eq!(Config::load(&given.options).unwrap().file, Some(user.join("config.toml")));
    std::fs::write(&local, "sim.seed = 2").unwrap();
    assert_eq!(Config::load(&given.options).unwrap().sim.seed, 2);
    std::fs::write(&named, "sim.seed = 3").unwrap();
    given.options.file = Some(named);
    assert_eq!(Config::load(&given.options).unwrap().sim.seed, 3);
    given.options.file = Some(given.folder.path().join("absent.toml"));
    assert_eq!(Config::load(&given.options).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_mistake_is_told_with_its_place_and_its_remedy() {
    for (file, expected) in [
        (
            "[sources.tushare]\ntokn = \"geheim\"",
            "tidegate.toml:2: unknown option `sources.tushare.tokn` | did you mean `sources.tushare.token`?",
        ),
        ("\n[sorces.tushare]\nurl = \"\"", "tidegate.toml:2: unknown option `sorces` | did you mean `sources`?"),
        ("concurrency = 3", "tidegate.toml:1: unknown option `concurrency` | did you mean `sync.concurrency`?"),
        (
            "sync.concurrency = \"four\"",
            "tidegate.toml:1: `sync.concurrency` expects a whole number, found \"four\" | the default is `sync.concurrency = 4`",
        ),
        (
            "sync.concurrency = 0",
            "tidegate.toml:1: `sync.concurrency` expects a number from 1 to 64, found 0 | the default is `sync.concurrency = 4`",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "tidegate.toml:2: `log.level` expects one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", \
             found \"loud\" | the default is `log.level = \"warn\"`",
        ),
        (
            "mirror.listen = \"7878\"",
            "tidegate.toml:1: `mirror.listen` expects an address and a port such as 127.0.0.1:7878, found \"7878\" | \
             the default is `mirror.listen = \"127.0.0.1:7878\"`",
        ),
        (
            "sync = 3",
            "tidegate.toml:1: `sync` is a section, not an option | write [sync] on a line of its own, its options below",
        ),
        (
            "[sources.tushare]\ntoken = 12345",
            "tidegate.toml:2: `sources.tushare.token` expects text in quotes | the default is `sources.tushare.token = \"\"`",
        ),
        (
            "mirror.tokens = [\"geheim:many\"]",
            "tidegate.toml:1: `mirror.tokens` expects a list of \"token\" or \"token:points\" | the default is `mirror.tokens = []`",
        ),
    ] {
        assert_eq!(refusal(&given(file, &[], &[])), expected, "{file}");
    }
}

#[test]
fn all_problems_of_all_layers_are_told_at_once() {
    let environment = [("TIDEGATE_SIM__SEED", "-1"), ("TIDEGATE_STORE_PATH", "x")];
    let given = given("[sync]\npages_max = 3.5\nconcurency = 4", &environment, &["log.format", "a.b=c"]);
    let told = refusal(&given);
    for expected in [
        "6 problems in the configuration:",
        "tidegate.toml:2: `sync.pages_max` expects a whole number, found 3.5; the default is",
        "tidegate.toml:3: unknown option `sync.concurency`; did you mean `sync.concurrency`?",
        "environment TIDEGATE_SIM__SEED: `sim.seed` expects a number from 0",
        "environment TIDEGATE_STORE_PATH: sections and keys are parted by two underscores; write TIDEGATE_STORE__PATH",
        "--set: expected a key, `=` and a value; write --set section.key=value",
        "--set: unknown option `a.b`",
    ] {
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_line_without_showing_its_text() {
    let told = refusal(&given("[sources.tushare]\ntoken = geheim\"\n", &[], &[]));
    assert!(told.contains("tidegate.toml:2: ") && !told.contains("geheim"), "{told}");
    let given = given("", &[], &[]);
    std::fs::write(given.folder.path().join("tidegate.toml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(refusal(&given).contains("tidegate.toml cannot be read as text | it must be a UTF-8 text file"));
}

#[test]
fn secrets_are_never_shown() {
    let file = "[sources.tushare]\ntoken = \"geheim\"\n[mirror]\ntokens = [\"geheim:120\", \"geheim\"]";
    let config = Config::load(&given(file, &[], &[]).options).unwrap();
    assert_eq!(config.sources.tushare.token().unwrap().expose(), "geheim");
    assert!(!format!("{config:?}").contains("geheim"));
    assert_eq!(origin_of(&config, "sources.tushare.token").0, "(set)");
    assert_eq!(origin_of(&config, "mirror.tokens").0, "(2 set)");
    let points: Vec<Option<u32>> = config.mirror.accounts().into_iter().map(|(_, points)| points).collect();
    assert_eq!(points, [Some(120), None]);
}

#[test]
fn the_token_comes_from_the_customary_places() {
    let token =
        |given: &Given| Config::load(&given.options).unwrap().sources.tushare.token().unwrap().expose().to_owned();
    let file = "sources.tushare.token = \"file\"";
    assert_eq!(token(&given(file, &[("TS_TOKEN", "a"), ("TUSHARE_TOKEN", "b")], &[])), "b");
    assert_eq!(token(&given(file, &[("TIDEGATE_SOURCES__TUSHARE__TOKEN", "c"), ("TUSHARE_TOKEN", "b")], &[])), "c");
    assert_eq!(token(&given(file, &[("TUSHARE_TOKEN", "")], &[])), "file");

    let home = given("sources.tushare.token_file = \"~/token\"", &[], &[]);
    std::fs::write(home.folder.path().join("token"), "kept apart\n\n").unwrap();
    let mut with_home = home.options.clone();
    with_home.environment.push(("HOME".to_owned(), home.folder.path().display().to_string()));
    let config = Config::load(&with_home).unwrap();
    assert_eq!(config.sources.tushare.token().unwrap().expose(), "kept apart");
    std::fs::remove_file(home.folder.path().join("token")).unwrap();
    assert_eq!(config.sources.tushare.token().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn lists_and_numbers_are_read_from_text() {
    let sets =
        ["mirror.tokens=a, b:5", "sync.quota_share=1", "sources.tushare.gzip=false", "sync.default_from=20150105"];
    let config = Config::load(&given("sync.retry_jitter = 1", &[], &sets).options).unwrap();
    assert_eq!(config.mirror.accounts().len(), 2);
    assert_eq!((config.sync.quota_share, config.sync.retry_jitter), (1.0, 1.0));
    assert!(!config.sources.tushare.gzip);
    assert_eq!(config.sync.default_from().unwrap().to_string(), "2015-01-05");
}

#[test]
fn lists_of_subnets_and_of_waits_are_checked_entry_by_entry() {
    let file = "[notify]\nallow = [\"10.1.0.0/16\", \"::1\"]\nretry_seconds = [1, 2.5, 60]\n";
    let config = Config::load(&given(file, &[], &["notify.source_system=settlement"]).options).unwrap();
    let shown: Vec<String> = config.notify.allow().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.1.0.0/16", "::1/128"]);
    assert_eq!(config.notify.retry_seconds, [1.0, 2.5, 60.0]);
    let config = Config::load(&given("", &[], &["notify.retry_seconds=[]", "notify.allow="]).options).unwrap();
    assert!(config.notify.retry_seconds.is_empty() && config.notify.allow().is_empty());
    for set in [
        "notify.allow=10.1.2.3/16",
        "notify.allow=inside",
        "notify.retry_seconds=1,2",
        "notify.retry_seconds=[0]",
        "notify.retry_seconds=[700000]",
        "notify.source_system=a b",
        "notify.retry_jitter=1.5",
    ] {
        let name = set.split('=').next().unwrap();
        let told = refusal(&given("", &[], &[set]));
        assert!(told.contains(&format!("`{name}` expects ")), "{set}: {told}");
    }
}
