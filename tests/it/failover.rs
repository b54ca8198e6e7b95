//! Two sources of one market, the better one failing: the run ends complete from the other, says who served what, and
//! comes back to the first when it recovers.

use serde_json::Value;
use tidegate::mirror::tushare::{Account, MirrorOptions};
use tidegate::model::Span;
use tidegate::sim::{Fault, FaultScript, Rule, Server, ServerOptions};

use crate::world::{Ran, TOKEN, Wanted, World};

/// The world of a whole-program test with a second source, `tidegate`, beside `tushare`.
pub struct Two {
    pub world: World,
    second: Server,
}

impl Two {
    pub fn new(wanted: Wanted, second: Vec<Rule>) -> Two {
        let world = World::new(wanted);
        world.create_store();
        let mirror = MirrorOptions {
            accounts: vec![Account { token: TOKEN.to_string(), points: 15_000 }],
            ..MirrorOptions::default()
        };
        let options = ServerOptions { mirror, ..ServerOptions::default() };
        let second = world.runtime.block_on(Server::start(&world.market, FaultScript::new(second), options)).unwrap();
        Two { world, second }
    }

    fn sets(&self, more: &[&str]) -> Vec<String> {
        let own = [
            "sources.tidegate.enabled=true".to_string(),
            format!("sources.tidegate.url={}", self.second.url()),
            format!("sources.tidegate.token={TOKEN}"),
            "sync.failed_in_a_row_max=3".to_string(),
        ];
        own.into_iter().chain(more.iter().map(|set| set.to_string())).collect()
    }

    pub fn run(&self, arguments: &[&str], sets: &[&str], code: i32) -> Ran {
        let sets = self.sets(sets);
        let sets = sets.iter().flat_map(|set| ["--set", set.as_str()]);
        self.world.run(&arguments.iter().copied().chain(sets).collect::<Vec<_>>(), code)
    }

    /// What the run says of `daily`.
    fn sync(&self, sets: &[&str], code: i32) -> Value {
        let ran = self.run(&SYNC, sets, code);
        let synced = ran.json();
        synced.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap().clone()
    }

    /// The sources of the commits of `daily`, in order, neighbours joined.
    fn turns(&self) -> Vec<String> {
        let sources = self.world.sqlite("select source from _commit where dataset = 'daily' order by seq");
        let mut turns: Vec<String> = sources.lines().map(str::to_string).collect();
        turns.dedup();
        turns
    }
}

const SYNC: [&str; 8] = ["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-31", "--json", "--quiet"];

fn daily(fault: Fault) -> Rule {
    Rule::always(fault).of("daily")
}

fn wanted(faults: Vec<Rule>) -> Wanted {
    Wanted { last: "2024-01-31", faults, ..Wanted::default() }
}

fn served(daily: &Value, source: &str, figure: &str) -> u64 {
    daily["totals"]["by_source"][source][figure].as_u64().unwrap_or_default()
}

#[test]
fn whatever_happens_to_the_best_source_the_run_ends_complete_from_the_other_and_says_so() {
    let refuse = |code, msg: &str| Fault::Refuse { code, msg: msg.to_string() };
    let from = |rule: Rule, first| vec![rule.at(first..=u64::MAX)];
    for (name, rules, by_first, says) in [
        ("killed", from(daily(Fault::DropConnection), 6), true, "tushare set aside: slices failed one after the other"),
        ("cut short for good", from(daily(Fault::CutBody { fraction: 0.5 }), 6), true, "tushare set aside"),
        ("throttled", from(daily(Fault::Throttle { per_minute: 5 }), 6), true, "每分钟"),
        (
            "throttled by its web server",
            from(daily(Fault::TooManyRequests { retry_after_seconds: 60 }), 6),
            true,
            "429",
        ),
        ("the day's calls are used up", from(daily(Fault::QuotaGone { per_day: 5 }), 6), true, "每天"),
        ("banned from the start", vec![Rule::always(refuse(40204, "您的IP数量超限，最大数量为2个！"))], false, "40204"),
        ("no permission", vec![daily(refuse(40203, "抱歉，您没有接口访问权限"))], false, "40203"),
        ("wrong token", vec![Rule::always(Fault::WrongToken)], false, "40101"),
        ("wrong units", vec![daily(Fault::WrongUnits { column: "vol".to_string(), power: 2 })], false, "units"),
        (
            "wrong units all of a sudden",
            from(daily(Fault::WrongUnits { column: "amount".into(), power: 3 }), 6),
            true,
            "units",
        ),
        ("one bad day", vec![daily(Fault::ServerError { status: 500 }).with("trade_date", "20240110")], true, ""),
    ] {
        let two = Two::new(wanted(rules), Vec::new());
        let daily = two.sync(&[], 0);
        assert_eq!(daily["outcome"], "success", "{name}: {daily:#}");
        two.world.assert_equals_truth("daily");
        assert_eq!(two.world.sqlite("select count(*) from _quarantine").trim(), "0", "{name}");
        let (first, second) = (served(&daily, "tushare", "slices"), served(&daily, "tidegate", "slices"));
        assert!(second > 0 && (first > 0) == by_first, "{name}: {daily:#}");
        let days = two.world.market.calendar().open_days(two.world.market.days()).len() as u64;
        assert_eq!(first + second, days, "{name}: nobody is asked for what the other answered");
        let rows = served(&daily, "tushare", "rows") + served(&daily, "tidegate", "rows");
        assert_eq!(daily["totals"]["rows_inserted"], rows, "{name}");
        let note = daily["note"].as_str().unwrap();
        assert!(note.contains(says) && note.contains(&format!("tidegate {second} slice")), "{name}: {note}");
        assert_eq!(two.world.run(&["failures", "--json"], 0).json(), Value::Array(Vec::new()), "{name}");
        let audit = ["audit", "daily", "--from", "2024-01-02", "--to", "2024-01-31", "--json"];
        assert_eq!(two.run(&audit, &[], 0).json()["unexplained_holes"], 0, "{name}");
    }
}

#[test]
fn a_failure_that_the_other_source_answered_is_resolved_and_says_by_whom() {
    let bad_day = daily(Fault::ServerError { status: 500 }).with("trade_date", "20240110");
    let two = Two::new(wanted(vec![bad_day.clone()]), Vec::new());
    two.sync(&[], 0);
    let resolution = two.world.sqlite("select source, resolution from _failure");
    assert_eq!(resolution.trim(), "tushare|fetched", "the very area was fetched");
    let calls = two.second.counts()["daily"].calls;
    assert_eq!(calls, 1, "the other source is asked for the bad day only");
    // Both fail on that day: the run is not green, and each was asked.
    let two = Two::new(wanted(vec![bad_day.clone()]), vec![bad_day]);
    let daily = two.sync(&[], 1);
    assert_eq!((&daily["outcome"], &daily["totals"]["slices_failed"]), (&"success_with_errors".into(), &1.into()));
    assert_eq!(
        two.world.sqlite("select source, attempts from _failure where resolved_at is null").trim(),
        "tidegate|8"
    );
}

#[test]
fn the_best_source_takes_over_again_in_the_same_run_when_it_has_recovered() {
    // Four days, then three that fail in all four attempts, then it is well again.
    let faults = vec![daily(Fault::DropConnection).at(5..=16)];
    let slow = vec![daily(Fault::SlowAnswer { millis: 250 })];
    let two = Two::new(wanted(faults), slow);
    let sets = ["sync.concurrency=1", "failover.cool_down_first_ms=1500", "sync.commit_linger_ms=0"];
    let daily = two.sync(&sets, 0);
    two.world.assert_equals_truth("daily");
    assert_eq!(two.turns(), ["tushare", "tidegate", "tushare"], "{daily:#}");
    assert_eq!(served(&daily, "tushare", "calls_failed"), 12, "{daily:#}");
    assert!(served(&daily, "tidegate", "slices") < served(&daily, "tushare", "slices"), "{daily:#}");
}

#[test]
fn rows_of_a_worse_source_are_provisional_until_the_best_one_has_given_them() {
    let two = Two::new(wanted(vec![Rule::always(Fault::WrongToken)]), Vec::new());
    let first = two.sync(&[], 0);
    let slices = served(&first, "tidegate", "slices");
    assert_eq!(
        two.world.sqlite("select count(*) from _claim where dataset = 'daily' and stale_at is null").trim(),
        "0"
    );
    // The time has come and the best source still refuses: the other one is not asked again for what it gave.
    let store = rusqlite::Connection::open(two.world.store_path()).unwrap();
    let pass_time = "update _claim set stale_at = '2024-02-01T00:00:00+08:00' where dataset = 'daily'";
    store.execute(pass_time, ()).unwrap();
    let again = two.sync(&[], 0);
    assert_eq!(served(&again, "tidegate", "slices"), 0, "{again:#}");
    // It answers again: it is asked for everything, nothing changes, and that is final.
    let two = Two { world: two.world.without_faults(), second: two.second };
    let last = two.sync(&[], 0);
    assert_eq!((served(&last, "tushare", "slices"), served(&last, "tidegate", "slices")), (slices, 0), "{last:#}");
    assert_eq!(last["totals"]["rows_unchanged"], last["totals"]["rows_answered"]);
    let open = "select count(*) from _claim where dataset = 'daily' and (stale_at is not null or source <> 'tushare')";
    assert_eq!(two.world.sqlite(open).trim(), "0");
    let third = two.sync(&[], 0);
    assert_eq!(third["totals"]["calls"], 0, "{third:#}");
}

/// The best source has published half of the last day only.
#[test]
fn a_day_that_the_best_source_publishes_late_comes_from_the_other() {
    let today = tidegate::model::Clock::system().now().day();
    let (first, last) = (today.plus(-20).to_string().leak(), today.previous().to_string().leak());
    let span = || Wanted { first, last, ..Wanted::default() };
    let market = World::new(span()).market;
    let day = *market.calendar().open_days(Span::new(today.plus(-9), today.previous())).last().unwrap();
    for fraction in [0.5, 0.0] {
        let late = daily(Fault::HalfPublished { fraction }).with("trade_date", &day.compact());
        let two = Two::new(Wanted { faults: vec![late], ..span() }, Vec::new());
        let sync = ["sync", "daily", "--from", first, "--to", last, "--json", "--quiet"];
        let ran = two.run(&sync, &[], 0).json();
        let daily = ran.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap();
        assert_eq!(served(daily, "tidegate", "slices"), 1, "only the late day: {daily:#}");
        two.world.assert_equals_truth("daily");
        let claim = format!("select source, evidence from _claim where dataset = 'daily' and from_day = '{day}'");
        assert_eq!(two.world.sqlite(&claim).trim(), "tidegate|present");
    }
}

#[test]
fn two_sources_share_the_slices_of_one_plan_when_they_may() {
    let slow = vec![daily(Fault::SlowAnswer { millis: 40 })];
    let two = Two::new(wanted(slow.clone()), slow);
    let sets = ["failover.parallel_sources=true", "sync.concurrency=1"];
    let daily = two.sync(&sets, 0);
    two.world.assert_equals_truth("daily");
    let (first, second) = (served(&daily, "tushare", "slices"), served(&daily, "tidegate", "slices"));
    assert!(first >= 4 && second >= 4, "equally fast, so both work: {first} and {second}");
    assert_eq!(first + second, daily["totals"]["slices_done"].as_u64().unwrap());
    // One of them dies: the other finishes.
    let dies = vec![self::daily(Fault::DropConnection).at(3..=u64::MAX)];
    let two = Two::new(wanted(Vec::new()), dies);
    let daily = two.sync(&sets, 0);
    two.world.assert_equals_truth("daily");
    assert_eq!(daily["outcome"], "success", "{daily:#}");
}

#[test]
fn a_source_that_lied_is_asked_last_until_it_has_behaved() {
    let lies = vec![daily(Fault::WrongUnits { column: "vol".to_string(), power: 2 })];
    let two = Two::new(wanted(lies), Vec::new());
    two.sync(&[], 0);
    let shown = two.run(&["sources", "--offline", "--json"], &[], 0).json();
    assert_eq!(shown[0]["name"], "tushare");
    assert!(shown[0]["health"]["wrong"].as_u64() > Some(0), "{shown:#}");
    assert!(shown[0]["demoted"].as_str().unwrap().contains("wrong units"), "{shown:#}");
    let two = Two { world: two.world.without_faults(), second: two.second };
    let mut again = SYNC.to_vec();
    again.push("--force");
    let ran = two.run(&again, &[], 0).json();
    let daily = ran.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap();
    assert_eq!(served(daily, "tushare", "slices"), 0, "asked after the other: {daily:#}");
    // A week later nobody remembers.
    let store = rusqlite::Connection::open(two.world.store_path()).unwrap();
    store.execute("update _source_health set hour = '2024-01-01T00:00:00+08:00' where source = 'tushare'", ()).unwrap();
    let ran = two.run(&again, &[], 0).json();
    let daily = ran.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap();
    assert_eq!(served(daily, "tidegate", "slices"), 0, "{daily:#}");
}

#[test]
fn two_sources_of_one_rank_are_refused() {
    let two = Two::new(wanted(Vec::new()), Vec::new());
    let ran = two.run(&SYNC, &["sources.tidegate.rank=1"], 2);
    assert!(ran.stderr.contains("same rank 1") && ran.stderr.contains("sources.tidegate.rank"), "{}", ran.stderr);
}

#[test]
fn priorities_come_from_the_command_the_environment_and_a_file_that_is_written() {
    let two = Two::new(wanted(Vec::new()), Vec::new());
    let mut asked = SYNC.to_vec();
    asked.extend(["--sources", "tidegate,tushare"]);
    let ran = two.run(&asked, &[], 0).json();
    let daily = ran.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap();
    assert_eq!(served(daily, "tushare", "slices"), 0, "asked in the order of the command: {daily:#}");
    asked.pop();
    assert!(two.run(&[&asked[..], &["nobody"]].concat(), &[], 4).stderr.contains("nobody"));

    let names = |shown: &Value| -> Vec<(String, u64)> {
        let one = |source: &Value| (source["name"].as_str().unwrap().to_string(), source["rank"].as_u64().unwrap());
        shown.as_array().unwrap().iter().map(one).collect()
    };
    let show = ["sources", "--offline", "--json"];
    let mut command = two.world.tidegate(&show);
    command.env("TUSHARE_PRIORITY", "9").args(two.sets(&[]).iter().flat_map(|set| ["--set", set.as_str()]));
    let shown = Ran::of(command.output().unwrap(), 0, &show).json();
    assert_eq!(names(&shown), [("tidegate".to_string(), 4), ("tushare".to_string(), 9)]);

    let file = two.world.folder.path().join("tidegate.toml");
    std::fs::write(&file, "[sources.tidegate] # the other one\nenabled = true\n").unwrap();
    let refused = two.world.run(&["sources", "--rank", "tidegate=1"], 2);
    assert!(refused.stderr.contains("same rank 1"), "{}", refused.stderr);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("rank"), "a file that would be wrong stays as it is");
    two.world.run(&["sources", "--rank", "tidegate=1", "--rank", "tushare=2"], 0);
    let text = std::fs::read_to_string(&file).unwrap();
    let written = "[sources.tidegate] # the other one\nrank = 1\nenabled = true\n\n[sources.tushare]\nrank = 2\n";
    assert_eq!(text, written);
    let shown = two.world.run(&show, 0).json();
    assert_eq!(names(&shown), [("tidegate".to_string(), 1), ("tushare".to_string(), 2)]);
}

#[test]
fn sources_says_whether_doors_open_why_not_and_where_tokens_come_from_without_showing_them() {
    let two = Two::new(wanted(vec![Rule::always(Fault::WrongToken)]), Vec::new());
    two.sync(&[], 0);
    let secret = two.world.folder.path().join("secret");
    std::fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let file = two.world.folder.path().join("tidegate.toml");
    let text = format!(
        "[sources.tidegate]\nenabled = true\nurl = \"{}\"\ntoken_file = \"{}\"\n",
        two.second.url(),
        secret.display()
    );
    std::fs::write(&file, text).unwrap();
    let ran = two.world.run(&["sources", "--json"], 1);
    let shown = ran.json();
    assert_eq!((&shown[0]["name"], &shown[0]["available"]), (&"tushare".into(), &false.into()), "{shown:#}");
    assert!(shown[0]["why_not"].as_str().unwrap().contains("40101"), "{shown:#}");
    assert_eq!(shown[0]["token"], "--set");
    assert!(shown[0]["health"]["last_error"].as_str().unwrap().contains("40101"), "{shown:#}");
    assert_eq!(shown[1]["available"], true);
    assert!(shown[1]["token"].as_str().unwrap().contains("tidegate.toml:4"), "{shown:#}");
    assert!(shown[1]["health"]["calls"].as_u64() > Some(20) && shown[1]["probe_ms"].is_u64(), "{shown:#}");
    let human = two.world.run(&["sources"], 1);
    for printed in [&ran.stdout, &ran.stderr, &human.stdout, &human.stderr] {
        assert!(!printed.contains(TOKEN), "{printed}");
    }
    assert!(human.stdout.contains("tushare is of no use now"), "{}", human.stdout);
}
