//! Tables of strategies: what each asks for, in which order and in which groups.

use super::*;
use crate::model::{Failure, Strategy};

fn kept(strategy: Strategy) -> Kept {
    Kept { strategy, ..Kept::default() }
}

fn by(strategy: Strategy, mut case: Case) -> Case {
    case.wanted.kept.strategy = strategy;
    case
}

/// A small market whose history is fetched in batches.
fn by_security_in_batches(batch_size: usize, offset: usize) -> Plan {
    let mut case = Case::new("daily", day_and_security(6000), wanted("", "20200101", "20201231")).securities(10);
    case.wanted.kept = Kept { batch_size, offset, ..kept(Strategy::BySecurity) };
    case.plan()
}

#[test]
fn history_by_security_is_done_in_batches_and_ends_with_an_empty_one() {
    // Ten shares, one that is delisted, one renamed, one young: 13.
    let plan = by_security_in_batches(5, 0);
    let labels: Vec<String> = plan.groups.iter().map(Group::to_string).collect();
    assert_eq!(
        labels,
        [
            "batch 1 (offset 0, 5 securities): 5 slices",
            "batch 2 (offset 5, 5 securities): 5 slices",
            "batch 3 (offset 10, 3 securities): 3 slices",
        ]
    );
    assert_eq!(plan.slices.len(), 13, "{}", plan.reason);
    assert!(plan.slices.iter().all(|slice| slice.area.securities.single().is_some()));
    assert!(plan.reason.ends_with("3 batches of 5, ends at offset 13"), "{}", plan.reason);
    let rest = by_security_in_batches(5, 10);
    assert_eq!((rest.slices.len(), rest.groups.len()), (3, 1));
    assert_eq!(rest.slices[..], plan.slices[10..], "an offset leaves out the securities before it");
    let empty = by_security_in_batches(5, 13);
    assert!(empty.slices.is_empty() && empty.groups.is_empty() && empty.blocked.is_none());
    assert_eq!(empty.reason, "the batch at offset 13 is empty: there are 13 securities");
}

#[test]
fn each_way_of_asking_can_be_chosen_by_name() {
    let year = |offer: Offer, codes: &str| Case::new("daily", offer, wanted(codes, "20200101", "20201231"));
    let both = || day_and_security(6000);
    let single = "000001.SZ";
    check("by day", by(Strategy::ByDay, year(both(), single)), 243, 243, "all x 2020-01-02", "all x 2020-12-31");
    let (first, last) = ("000001.SZ x 2020-01-02..2020-12-31", "000001.SZ x 2020-01-02..2020-12-31");
    check("by security", by(Strategy::BySecurity, year(both(), single)), 1, 1, first, last);
    check("fewest calls", year(both(), single), 1, 1, first, last);
    let periods =
        Case::new("income", offer(vec![by_security(), by_period()], 6000), wanted("", "20190101", "20200331"));
    check("by period", by(Strategy::ByPeriod, periods), 5, 5, "all x 2019-03-31", "all x 2020-03-31");
    let blocked = by(Strategy::ByPeriod, year(both(), single)).plan();
    let hash = by(Strategy::Hash, year(both(), single)).plan().blocked.unwrap();
    assert_eq!(hash, "the source cannot be asked for hashes of ranges, only by day, security");
    let reason = "the source cannot be asked period by period, only by day, security";
    assert_eq!((blocked.blocked.as_deref(), blocked.slices.len()), (Some(reason), 0));
}

#[test]
fn incremental_goes_on_after_the_last_whole_day_and_takes_each_day_on_its_own() {
    let case = |claims: Vec<Claim>| {
        let case = Case::new("daily", day_and_security(6000), wanted("", "", "")).claimed(claims);
        by(Strategy::Incremental, case)
    };
    // A hole in June is not its business; December is.
    let held = market_days("20200101", "20201224", &["20200615"]);
    check("from the last whole day", case(held.clone()), 5, 5, "all x 2020-12-25", "all x 2020-12-31");
    let mut few = case(held);
    few.wanted.securities = Securities::one("000001.SZ");
    check("days even where a security would be one call", few, 5, 5, "all x 2020-12-25", "all x 2020-12-31");
    let all = case(market_days("20200101", "20201231", &[]));
    check("nothing is missing", all, 0, 0, "", "");
    let from_first = case(Vec::new());
    assert_eq!(
        from_first.plan().slices[0].area.to_string(),
        "all x 1998-01-22",
        "nothing is whole: from the first listing"
    );
}

#[test]
fn the_look_back_window_asks_for_final_days_again_unless_that_was_just_done() {
    let look_back = |claims: Vec<Claim>, points: usize| {
        let mut case = Case::new("daily", day_and_security(6000), wanted("", "", "")).claimed(claims);
        case.wanted.kept = Kept { look_back: points, ..kept(Strategy::Incremental) };
        case
    };
    let old = |days: Vec<Claim>| {
        let early = |claim: Claim| Claim { at: instant("2020-12-31T18:59"), ..claim };
        days.into_iter().map(early).collect::<Vec<_>>()
    };
    let all = || market_days("20200101", "20201231", &[]);
    check("three days again", look_back(old(all()), 3), 3, 3, "all x 2020-12-29", "all x 2020-12-31");
    check("no window, nothing", look_back(old(all()), 0), 0, 0, "", "");
    check("asked for within the hour: not again", look_back(all(), 3), 0, 0, "", "");
    let held = old(market_days("20200101", "20201230", &[]));
    check("what is missing and the window", look_back(held, 3), 3, 3, "all x 2020-12-29", "all x 2020-12-31");
    let security = vec![Claim {
        at: instant("2020-12-31T18:00"),
        ..claim(one("000001.SZ", "20200101", "20201231"), "2020-12-31T18:00", None)
    }];
    let mut single = look_back(security, 2);
    single.wanted.securities = Securities::one("000001.SZ");
    single.wanted.kept.strategy = Strategy::FewestCalls;
    let area = "000001.SZ x 2020-12-30..2020-12-31";
    single.wanted.from = Some(day("20200101"));
    check("a security's claims as well", single, 1, 1, area, area);
}

#[test]
fn a_range_is_refused_at_once_when_it_is_too_long_or_open() {
    let dataset = dataset("daily");
    let range = kept(Strategy::Range);
    let days = |from: &str, to: &str| {
        let parse = |text: &str| (!text.is_empty()).then(|| day(text));
        range.check(&dataset, (parse(from), parse(to)))
    };
    assert!(days("20200101", "20200330").is_ok(), "90 days");
    let error = days("20200101", "20200331").unwrap_err();
    assert_eq!(error.kind(), crate::model::ErrorKind::Invalid);
    assert_eq!(error.message(), "2020-01-01..2020-03-31 is 91 days; one request may span 90");
    for (from, to) in [("", "20200330"), ("20200101", ""), ("", "")] {
        assert!(days(from, to).unwrap_err().message().contains("needs a first and a last day"));
    }
    let raised = Kept { range_days_max: 91, ..range };
    assert!(raised.check(&dataset, (Some(day("20200101")), Some(day("20200331")))).is_ok());
    let error = kept(Strategy::Statements).check(&dataset, (None, None)).unwrap_err();
    assert!(error.message().contains("no report periods"), "{error}");
}

#[test]
fn every_day_of_a_range_has_a_status() {
    let case = Case::new("daily", day_and_security(6000), wanted("", "", ""));
    let mut claims = market_days("20200122", "20200203", &["20200123", "20200203"]);
    claims.push(claim(Area::day(day("20200203")), "2020-02-03T20:00", Some("2020-02-03T21:00")));
    let coverage = Coverage::from_claims(claims, vec![(day("20200122"), 5400), (day("20200203"), 10)]);
    let failure = Failure {
        id: 1,
        dataset: "daily".into(),
        area: Area::day(day("20200204")),
        source: "tushare".into(),
        task: 1,
        kind: "transient".into(),
        message: "the connection was closed".into(),
        attempts: 4,
        attempts_max: 12,
        next_attempt_at: case.now,
        first_at: case.now,
        last_at: case.now,
        resolved_at: None,
        resolution: None,
    };
    let span = Span::new(day("20200122"), day("20200206"));
    let now = instant("2020-02-05T20:00");
    let statuses = day_statuses(&case.dataset, &case.knowledge, &coverage, &[failure], span, now);
    let found: Vec<String> = statuses
        .iter()
        .map(|status| format!("{} {} {} {}", status.day.compact(), status.state.name(), status.rows, status.why))
        .collect();
    let closed = |day: &str| format!("{day} skipped 0 not a trading day");
    let mut expected = vec!["20200122 success 5400 ".to_string(), "20200123 pending 0 never asked for".to_string()];
    // The lunar new year of 2020 lasted until 31 January; the weekend follows.
    expected.extend((24..=31).map(|of_january| closed(&format!("202001{of_january}"))));
    expected.extend([closed("20200201"), closed("20200202")]);
    expected.push("20200203 partial 10 fewer rows than expected; it will be asked again".into());
    expected.push("20200204 failed 0 the connection was closed".into());
    expected.push("20200205 pending 0 never asked for".into());
    expected.push("20200206 skipped 0 not due yet".into());
    assert_eq!(found, expected);
}

#[test]
fn partitions_hold_every_slice_once_and_are_told_apart_by_month_or_security() {
    let plan_of = |codes: &str, offer: Offer, partitions: usize| {
        let mut case = Case::new("daily", offer, wanted(codes, "20200101", "20201231")).securities(40);
        case.wanted.kept = Kept { partitions, ..kept(Strategy::Partitions) };
        case.plan()
    };
    for (offer, by) in [(offer(vec![by_day()], 6000), "months"), (offer(vec![by_security()], 6000), "securities")] {
        let plan = plan_of("", offer.clone(), 4);
        assert!(plan.reason.contains(&format!("4 partitions by {by}")), "{}", plan.reason);
        assert_eq!((plan.groups.len(), plan.partitions()), (4, 4));
        assert_eq!(plan.groups.last().unwrap().slices.end, plan.slices.len());
        for (number, group) in plan.groups.iter().enumerate() {
            assert!(group.slices.len() * 8 > plan.slices.len(), "{by}: {group} of {}", plan.slices.len());
            assert!(plan.slices[group.slices.clone()].iter().all(|slice| partition_of(slice, 4) == number));
        }
        let mut plain = Case::new("daily", offer, wanted("", "20200101", "20201231")).securities(40).plan().slices;
        let mut slices = plan.slices.clone();
        plain.sort_by(|one, other| one.area.cmp(&other.area));
        slices.sort_by(|one, other| one.area.cmp(&other.area));
        assert_eq!(slices, plain, "the same work, divided");
    }
}

#[test]
fn a_full_replacement_asks_for_everything_once_anything_is_open() {
    let case = |claims: Vec<Claim>| {
        let case = Case::new("daily", offer(vec![by_day()], 6000), wanted("", "20200101", "20201231")).claimed(claims);
        by(Strategy::FullReplace, case)
    };
    assert!(case(market_days("20200101", "20201231", &[])).plan().slices.is_empty());
    let plan = case(market_days("20200101", "20201231", &["20200615"])).plan();
    assert_eq!((plan.slices.len(), plan.at_once), (243, true), "{}", plan.reason);
    let list = by(Strategy::FullReplace, Case::new("list", offer(vec![Cut::Whole], 6000), wanted("", "", ""))).plan();
    assert_eq!((list.slices.len(), list.at_once), (1, false), "one answer is one commit anyway");
    let mut large = case(Vec::new());
    large.wanted.kept.replace_rows_max = 1_000_000;
    let blocked = large.plan().blocked.unwrap();
    assert!(blocked.contains("cannot be replaced in one step: at most 1,000,000"), "{blocked}");
}

#[test]
fn a_realtime_table_is_asked_for_the_running_day_before_its_rows_are_due() {
    let case = Case::new("top", offer(vec![by_day()], 6000), wanted("", "20201230", "")).at("2020-12-31T10:00");
    check("due days only", case, 1, 1, "all x 2020-12-30", "all x 2020-12-30");
    let case = Case::new("top", offer(vec![by_day()], 6000), wanted("", "20201230", "")).at("2020-12-31T10:00");
    check("and today", by(Strategy::Realtime, case), 2, 2, "all x 2020-12-30", "all x 2020-12-31");
}

#[test]
fn polling_keeps_its_pace_in_trading_hours_and_waits_for_the_next_ones() {
    let calendar = knowledge(0).calendar;
    // 2020-09-30 is the last trading day before a holiday that ends on 9 October.
    for (last, now, every, expected) in [
        ("", "2020-09-30T08:00", 30, "2020-09-30T09:15:00"),
        ("", "2020-09-30T09:15", 30, "2020-09-30T09:15:00"),
        ("2020-09-30T09:15", "2020-09-30T09:15", 30, "2020-09-30T09:15:30"),
        ("2020-09-30T09:15", "2020-09-30T09:15", 60, "2020-09-30T09:16:00"),
        // A poll that took longer than its pace: at once.
        ("2020-09-30T10:00", "2020-09-30T10:02", 30, "2020-09-30T10:02:00"),
        // The closing minute is polled once, then the afternoon is waited for.
        ("2020-09-30T11:29", "2020-09-30T11:29", 90, "2020-09-30T11:30:00"),
        ("2020-09-30T11:30", "2020-09-30T11:30", 30, "2020-09-30T13:00:00"),
        ("", "2020-09-30T12:00", 30, "2020-09-30T13:00:00"),
        ("2020-09-30T15:00", "2020-09-30T15:00", 30, "2020-10-09T09:15:00"),
        ("", "2020-10-01T10:00", 30, "2020-10-09T09:15:00"),
        ("", "2020-10-10T10:00", 30, "2020-10-12T09:15:00"),
        // A machine that slept from one day to the next.
        ("2020-09-29T14:59", "2020-09-30T10:00", 30, "2020-09-30T10:00:00"),
    ] {
        let last = (!last.is_empty()).then(|| instant(last));
        let next = next_poll(&calendar, last, instant(now), every);
        assert_eq!(next.to_string(), format!("{expected}+08:00"), "{last:?} {now} {every}");
    }
}

#[test]
fn the_target_period_follows_the_deadlines_of_disclosure() {
    for (today, target) in [
        ("20240101", "20231231"),
        ("20240331", "20231231"),
        ("20240430", "20231231"),
        ("20240501", "20240331"),
        ("20240630", "20240331"),
        ("20240701", "20240630"),
        ("20240831", "20240630"),
        ("20240930", "20240630"),
        ("20241001", "20240930"),
        ("20241031", "20240930"),
        ("20241231", "20240930"),
    ] {
        assert_eq!(target_period(day(today)), day(target), "{today}");
    }
}

/// A market of a few companies on 25 October 2020: the third quarter is being disclosed.
fn reports(offer: Offer) -> Case {
    let mut case = Case::new("income", offer, wanted("", "", "")).securities(6).at("2020-10-25T20:00");
    case.wanted.kept.strategy = Strategy::Statements;
    case
}

fn disclosed(case: &mut Case, days: &[(&str, &str)]) {
    let days = days.iter().map(|(code, at)| (Arc::from(*code), day(at))).collect();
    case.knowledge.reports.disclosed.insert(day("20200930"), days);
}

fn failure(code: &str, attempts: u32) -> Failure {
    Failure {
        id: 7,
        dataset: "income".into(),
        area: one(code, "20200930", "20200930"),
        source: "tushare".into(),
        task: 1,
        kind: "transient".into(),
        message: String::new(),
        attempts,
        attempts_max: 12,
        next_attempt_at: instant("2020-10-24T00:00"),
        first_at: instant("2020-10-20T00:00"),
        last_at: instant("2020-10-20T00:00"),
        resolved_at: None,
        resolution: None,
    }
}

/// Everybody was asked about everything on 20 October; the answers about open periods were provisional.
fn asked_before(case: Case) -> Case {
    let codes: Vec<Arc<str>> = case.knowledge.securities.iter().map(|security| security.code.clone()).collect();
    let claims = codes.iter().map(|code| {
        let area = Area::new(Securities::one(code.clone()), Span::new(day("19901231"), day("20200930")));
        Claim { stale_at: Some(instant("2020-10-21T20:00")), ..claim(area, "2020-10-20T20:00", None) }
    });
    let claims = claims.collect();
    case.claimed(claims)
}

fn groups(plan: &Plan) -> Vec<(String, Vec<String>)> {
    let areas = |group: &Group| plan.slices[group.slices.clone()].iter().map(|slice| slice.area.to_string()).collect();
    plan.groups.iter().map(|group| (group.label.clone(), areas(group))).collect()
}

#[test]
fn statements_come_in_the_order_failures_disclosed_missing() {
    let mut case = asked_before(reports(offer(vec![by_security()], 100)));
    // 1 failed; 3 and 5 are disclosed since they were asked; 4 will be; 2 has its row; 6 and the others have none.
    case.knowledge.failures = vec![failure("000001.SZ", 4)];
    disclosed(&mut case, &[("000003.SZ", "20201023"), ("000005.SZ", "20201025"), ("000004.SZ", "20201028")]);
    case.knowledge.reports.stored.insert(day("20200930"), [Arc::from("000002.SZ")].into());
    case.wanted.kept.missing_days = 5;
    let plan = case.plan();
    let period = |code: &str| format!("{code} x 2020-09-30");
    let expected = vec![
        ("failures".to_string(), vec![period("000001.SZ")]),
        ("disclosed".to_string(), vec![period("000003.SZ"), period("000005.SZ")]),
        ("missing".to_string(), vec![period("000006.SZ"), period("600001.SH"), period("920799.BJ")]),
    ];
    assert_eq!(groups(&plan), expected, "{}", plan.reason);
    assert!(
        plan.reason.starts_with("failures 1, disclosed 2, missing 3: 6 calls; target 2020-09-30"),
        "{}",
        plan.reason
    );
    assert_eq!(plan.slices.iter().map(|slice| u64::from(slice.calls)).sum::<u64>(), plan.calls);
    // Five days of patience are not over after four.
    case.wanted.kept.missing_days = 6;
    assert_eq!(groups(&case.plan()).len(), 2, "beyond the threshold only");
    // By force everything is asked for, in the fewest calls.
    let forced = case.clone().force().plan();
    assert_eq!((forced.groups.len(), forced.slices.len()), (0, 8), "{}", forced.reason);
    // After so many attempts a person must look.
    case.knowledge.failures = vec![failure("000001.SZ", 12)];
    let plan = case.plan();
    assert_eq!(groups(&plan)[0].0, "disclosed");
    assert!(!plan.slices.iter().any(|slice| slice.area.securities.contains("000001.SZ")), "{}", plan.reason);
    assert!(plan.reason.ends_with("1 failures wait for a person"), "{}", plan.reason);
}

#[test]
fn a_disclosed_report_is_not_asked_for_again_once_an_answer_came_after_the_day() {
    let mut case = reports(offer(vec![by_security()], 100));
    disclosed(&mut case, &[("000003.SZ", "20201023")]);
    case.wanted.securities = Securities::one("000003.SZ");
    case.wanted.from = Some(day("20200930"));
    let answered = |at: &str, stale_at: &str| vec![claim(one("000003.SZ", "20200930", "20200930"), at, Some(stale_at))];
    for (at, stale_at, slices, why) in [
        ("2020-10-22T20:00", "2020-10-23T20:00", 1, "before the day"),
        ("2020-10-23T09:00", "2020-10-24T09:00", 1, "in the morning of the day"),
        ("2020-10-25T09:00", "2020-10-26T09:00", 0, "after the day"),
        ("2020-10-24T00:30", "2020-10-25T00:30", 0, "after the day, and it is stale"),
    ] {
        let case = Case { coverage: Coverage::from_claims(answered(at, stale_at), Vec::new()), ..case.clone() };
        assert_eq!(case.plan().slices.len(), slices, "{why}");
    }
}

#[test]
fn many_statements_are_asked_for_by_period_and_history_comes_last() {
    let mut case = reports(offer(vec![by_period(), by_security()], 6000));
    case.wanted.from = Some(day("20191231"));
    disclosed(&mut case, &[("000003.SZ", "20201023"), ("000005.SZ", "20201024")]);
    let plan = case.plan();
    let found = groups(&plan);
    assert_eq!(found[0], ("disclosed".into(), vec!["all x 2020-09-30".into()]), "{}", plan.reason);
    assert_eq!(found[1].0, "missing");
    assert_eq!(found[1].1, ["all x 2020-06-30"], "what is missing of the third quarter is in the first answer");
    assert_eq!(found[2], ("history".into(), vec!["all x 2019-12-31".into(), "all x 2020-03-31".into()]));
    // Only by security: the history of one that is asked for anyway comes in the same call.
    let mut case = reports(offer(vec![by_security()], 100));
    case.wanted.securities = Securities::one("000006.SZ");
    case.wanted.from = Some(day("20191231"));
    case.wanted.to = Some(day("20200930"));
    let plan = case.plan();
    let all = "000006.SZ x 2019-12-31..2020-09-30".to_string();
    assert_eq!(groups(&plan), [("missing".to_string(), vec![all])], "{}", plan.reason);
    case.offer.row_cap = Some(3);
    let found = groups(&case.plan());
    assert_eq!(found[1].0, "history", "a full page has no room for it: {found:?}");
}
