//! Scripted faults against the real program: each ends as the laws say, and the run's totals name it.

use tidegate::model::{Evidence, Span};
use tidegate::sim::{Fault, Rule};

use crate::world::{Ran, Wanted, World};

const SYNC: [&str; 8] = ["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-19", "--json", "--quiet"];

/// What a fault must lead to.
struct Expected {
    name: &'static str,
    rules: Vec<Rule>,
    /// The exit code of the run that meets it.
    code: i32,
    /// Figures of that run's totals that name it, each at least so much.
    named_by: &'static [(&'static str, u64)],
    /// Text in the run's note or error.
    says: &'static str,
    /// Whether the store equals the truth already after that run; otherwise after the next one without faults.
    whole_at_once: bool,
}

fn daily(fault: Fault) -> Rule {
    Rule::always(fault).of("daily")
}

fn once(fault: Fault) -> Vec<Rule> {
    vec![daily(fault).at(3..=3)]
}

/// One bad day among good ones.
fn on_one_day(fault: Fault) -> Vec<Rule> {
    vec![daily(fault).with("trade_date", "20240110")]
}

fn expectations() -> Vec<Expected> {
    let mended =
        |name, fault, named_by| Expected { name, rules: once(fault), code: 0, named_by, says: "", whole_at_once: true };
    vec![
        mended("dropped connection", Fault::DropConnection, &[("calls_failed", 1)]),
        mended("answer lost after the work", Fault::LostAnswer, &[("calls_failed", 1)]),
        mended("cut body", Fault::CutBody { fraction: 0.5 }, &[("calls_failed", 1)]),
        mended("another question's answer", Fault::OtherAnswer, &[("calls_failed", 1)]),
        mended("server error", Fault::ServerError { status: 502 }, &[("calls_failed", 1)]),
        mended("not JSON", Fault::NotJson, &[("calls_failed", 1)]),
        mended("retry after a second", Fault::TooManyRequests { retry_after_seconds: 1 }, &[("refusals", 1)]),
        mended("slow answer", Fault::SlowAnswer { millis: 300 }, &[("network_ms", 300)]),
        mended("rows sent twice", Fault::DuplicateRows { every: 7 }, &[("rows_duplicate", 5)]),
        Expected {
            name: "one day that never answers",
            rules: on_one_day(Fault::ServerError { status: 500 }),
            code: 1,
            named_by: &[("slices_failed", 1), ("calls_failed", 4)],
            says: "1 slices failed",
            whole_at_once: false,
        },
        Expected {
            name: "one day that always answers another question",
            rules: on_one_day(Fault::OtherAnswer),
            code: 1,
            named_by: &[("slices_failed", 1)],
            says: "1 slices failed",
            whole_at_once: false,
        },
        Expected {
            name: "wrong token",
            rules: vec![Rule::always(Fault::WrongToken)],
            code: 3,
            named_by: &[],
            says: "token",
            whole_at_once: false,
        },
        Expected {
            name: "no permission",
            rules: vec![daily(Fault::Refuse { code: 40203, msg: "抱歉，您没有接口访问权限".to_string() })],
            code: 3,
            named_by: &[("calls_failed", 1)],
            says: "daily",
            whole_at_once: false,
        },
        Expected {
            name: "the day's quota is gone",
            rules: vec![daily(Fault::QuotaGone { per_day: 5 }).at(6..=u64::MAX)],
            code: 8,
            named_by: &[("slices_done", 1)],
            says: "",
            whole_at_once: false,
        },
    ]
}

#[test]
fn every_fault_ends_as_the_laws_say_and_is_named_by_the_totals() {
    for expected in expectations() {
        let world = World::new(Wanted { last: "2024-01-19", faults: expected.rules.clone(), ..Wanted::default() });
        world.create_store();
        let ran = world.run(&SYNC, expected.code);
        let synced = ran.json();
        let daily = synced.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap();
        for (figure, at_least) in expected.named_by {
            let found = daily["totals"][figure].as_u64().unwrap_or_default();
            assert!(found >= *at_least, "{}: {figure} is {found}\n{daily:#}", expected.name);
        }
        let told = format!("{}{}", daily["note"], ran.stderr);
        assert!(told.contains(expected.says), "{}: {told}", expected.name);
        if expected.whole_at_once {
            world.assert_equals_truth("daily");
        } else {
            assert_next_run_makes_whole(world, expected.name);
        }
    }
}

/// The same store, a source without faults, failures tried at once: the rest is fetched, what is there is not.
fn assert_next_run_makes_whole(faulty: World, name: &str) {
    let world = faulty.without_faults();
    let failures = world.run(&["failures", "--json"], 0).json();
    if failures.as_array().is_some_and(|failures| !failures.is_empty()) {
        assert_eq!(failures[0]["attempts"], 4, "{name}: {failures:#}");
        world.run(&["failures", "retry", "--quiet"], 0);
        assert_eq!(world.run(&["failures", "--json"], 0).json().as_array().map(Vec::len), Some(0), "{name}");
    }
    world.run(&SYNC, 0);
    world.assert_equals_truth("daily");
    assert_eq!(
        world.run(&["audit", "daily", "--from", "2024-01-02", "--to", "2024-01-19", "--json"], 0).json()["unexplained_holes"],
        0,
        "{name}"
    );
}

/// A day of which half was published is kept, claimed provisionally, and asked for again until it is whole.
#[test]
fn a_half_published_day_is_provisional_until_it_is_whole() {
    let today = tidegate::model::Clock::system().now().day();
    let (first, last) = (today.plus(-20).to_string().leak(), today.previous().to_string().leak());
    let wanted = || Wanted { first, last, ..Wanted::default() };
    let day =
        *World::new(wanted()).market.calendar().open_days(Span::new(today.plus(-5), today.previous())).last().unwrap();
    let half = Fault::HalfPublished { fraction: 0.5 };
    let faults = vec![daily(half).with("trade_date", &day.compact()).at(1..=1)];
    let world = World::new(Wanted { faults, ..wanted() });
    world.create_store();
    let sync = ["sync", "daily", "--from", first, "--to", last, "--json", "--quiet"];
    let totals = |ran: &Ran| {
        let synced = ran.json();
        synced.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap()["totals"].clone()
    };
    assert_eq!(totals(&world.run(&sync, 1))["slices_partial"], 1, "the thin day is named, and the run is not green");
    let claim = world.coverage("daily").market_claim(day).cloned().unwrap();
    assert_eq!((claim.evidence, claim.stale_at.is_some()), (Evidence::Partial, true));
    assert_eq!(totals(&world.run(&sync, 0))["calls"], 0, "it is not asked again before it may have changed");
    let audit = world.run(&["audit", "daily", "--from", first, "--to", last], 0).stdout;
    assert!(audit.contains("partial") && audit.contains("tidegate sync daily --from"), "{audit}");
    let forced = totals(&world.run(&[&sync[..], &["--force"]].concat(), 0));
    assert!(forced["rows_inserted"].as_u64().unwrap() > 30, "{forced:#}");
    world.assert_equals_truth("daily");
}

/// Rows that the source corrected or withdrew later: a second look replaces them and keeps what was believed before.
#[test]
fn corrections_and_withdrawals_replace_rows_and_keep_revisions() {
    let faults = vec![
        daily(Fault::LateCorrection { column: Some("amount".to_string()), every: 50 })
            .with("trade_date", "20240104")
            .at(1..=1),
        daily(Fault::WithdrawnRows { every: 10 }).with("trade_date", "20240105").at(2..=2),
    ];
    let world = World::new(Wanted { last: "2024-01-05", faults, ..Wanted::default() });
    world.create_store();
    let first = ["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-05", "--json", "--quiet"];
    world.tidegate(&first).output().unwrap();
    let mut again = first.to_vec();
    again.push("--force");
    let synced = world.tidegate(&again).output().unwrap();
    let synced: serde_json::Value = serde_json::from_slice(&synced.stdout).unwrap();
    let totals = &synced.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap()["totals"];
    assert!(totals["rows_withdrawn"].as_u64().unwrap() >= 5, "{totals:#}");
    let changed = totals["rows_updated"].as_u64().unwrap() + totals["rows_inserted"].as_u64().unwrap();
    assert!(changed >= 1, "{totals:#}");
    let revisions = world.sqlite("select _ended, count(*) from daily_revision group by 1 order by 1");
    assert!(revisions.contains("withdrawn|"), "{revisions}");
}
