//! Tables of plans: rows of data, and one function that plans them.

mod audits;
mod exchanges;
mod next_run;
mod strategies;

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::model::change::ClaimChange;
use crate::model::dataset::Cut;
use crate::model::{Area, Claim, Evidence, Exchanges, Security};

/// Weekdays of 2020 on which the exchanges were closed.
const HOLIDAYS_2020: [&str; 19] = [
    "20200101", "20200124", "20200127", "20200128", "20200129", "20200130", "20200131", "20200406", "20200501",
    "20200504", "20200505", "20200625", "20200626", "20201001", "20201002", "20201005", "20201006", "20201007",
    "20201008",
];

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn instant(text: &str) -> Instant {
    Instant::parse(&format!("{text}:00+08:00")).unwrap()
}

fn dataset_of(head: &str) -> Dataset {
    let columns = r#"
        { name = "ts_code", type = "text", unit = "code", meaning = "code", meaning_zh = "代码" },
        { name = "trade_date", type = "date", unit = "date", meaning = "day", meaning_zh = "日期" }"#;
    let rest = r#"
        title = "t"
        title_zh = "t"
        about = "t"
        key = ["ts_code", "trade_date"]
        policy.mode = "incremental"
        policy.schedule = "0 18 * * 1-5"
        policy.batch = 5000
        policy.retries = 3
        policy.conflict = "replace""#;
    toml::from_str(&format!("{head}\n{rest}\ncolumns = [{columns}]")).unwrap()
}

fn dataset(name: &str) -> Dataset {
    let dated = r#"time = "trade_date"
        publish.settle_days = 7
        publish.refresh_hours = 1"#;
    let coded = r#"security = "ts_code""#;
    dataset_of(&match name {
        "daily" => format!(
            "name = 'daily'\nshape = 'dense'\n{coded}\n{dated}\npublish.at = '17:00'\nexpect.complete_at = 0.9"
        ),
        "chips" => format!(
            "name = 'chips'\nshape = 'dense'\n{coded}\n{dated}\npublish.at = '17:00'\nexpect.rows_per_security = 100.0"
        ),
        "index" => format!(
            "name = 'index'\nshape = 'dense'\nuniverse = 'index'\ncodes = ['000001.SH', '000300.SH']\n{coded}\n{dated}\npublish.at = '17:00'"
        ),
        "flow" => format!(
            "name = 'flow'\nshape = 'sparse'\nuniverse = 'market'\n{dated}\npublish.at = '09:00'\npublish.days_later = 1\nexpect.rows_per_point = 1.0"
        ),
        "top" => format!("name = 'top'\nshape = 'sparse'\n{coded}\n{dated}\npublish.at = '17:00'\nexpect.rows_per_point = 60.0"),
        "calendar" => "name = 'calendar'\nshape = 'dense'\nuniverse = 'market'\ntime = 'trade_date'\nexpect.points = 'calendar'\nexpect.rows_per_point = 1.0\nexpect.complete_at = 1.0\npublish.at = '00:00'\npublish.settle_days = 7\npublish.refresh_hours = 168".into(),
        "income" => format!(
            "name = 'income'\nshape = 'period'\n{coded}\ntime = 'trade_date'\nexpect.points = 'quarter_end'\npublish.at = '00:00'\npublish.settle_days = 60\npublish.refresh_hours = 24"
        ),
        "list" => format!("name = 'list'\nshape = 'whole'\n{coded}\npublish.at = '06:00'\npublish.settle_days = 0\npublish.refresh_hours = 24"),
        _ => unreachable!(),
    })
}

fn by_day() -> Cut {
    Cut::Day { day: "trade_date".into() }
}

fn by_security() -> Cut {
    Cut::Security { security: "ts_code".into(), from: Some("start_date".into()), to: Some("end_date".into()) }
}

fn by_code_alone() -> Cut {
    Cut::Security { security: "ts_code".into(), from: None, to: None }
}

fn by_period() -> Cut {
    Cut::Period { period: "period".into() }
}

fn by_range() -> Cut {
    Cut::Range { from: "start_date".into(), to: "end_date".into() }
}

fn offer(cuts: Vec<Cut>, row_cap: impl Into<Option<u32>>) -> Offer {
    Offer {
        api: "api".into(),
        row_caps: vec![row_cap.into(); cuts.len()],
        cuts,
        offset_max: None,
        calls_per_slice: 1,
        per_minute: Some(500),
        per_day: None,
        concurrency: None,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
    }
}

fn security(code: &str, listed: &str, delisted: Option<&str>, former: &[&str]) -> Security {
    Security {
        code: code.into(),
        name: String::new(),
        listed: day(listed),
        delisted: delisted.map(day),
        former: former.iter().map(|code| Arc::from(*code)).collect(),
    }
}

/// `count` shares listed since 2000, a delisted one, a renamed one, and the real open days of 2020.
fn knowledge(count: usize) -> Knowledge {
    let span = Span::new(day("20100101"), day("20211231"));
    let holiday = |day: &Day| HOLIDAYS_2020.contains(&day.compact().as_str());
    let open = span.from.to(span.to).filter(|day| !day.is_weekend() && !holiday(day)).collect();
    let mut securities: Vec<Security> =
        (0..count).map(|number| security(&format!("{:06}.SZ", number + 1), "20000104", None, &[])).collect();
    securities.push(security("600001.SH", "19980122", Some("20201229"), &[]));
    securities.push(security("920799.BJ", "20150601", None, &["830799.BJ"]));
    securities.push(security("301000.SZ", "20201222", None, &[]));
    Knowledge {
        calendar: TradingCalendar::new(open, Some(span)),
        securities: SecurityList::new(securities),
        suspended: HashMap::new(),
        ..Knowledge::default()
    }
}

fn wanted(codes: &str, from: &str, to: &str) -> Wanted {
    let securities = match codes {
        "" => Securities::All,
        codes => Securities::Some(codes.split(',').map(Arc::from).collect()),
    };
    let parse = |text: &str| (!text.is_empty()).then(|| day(text));
    Wanted { securities, from: parse(from), to: parse(to), force: false, kept: Kept::default() }
}

fn claim(area: Area, at: &str, stale_at: Option<&str>) -> Claim {
    Claim {
        area,
        evidence: if stale_at.is_some() { Evidence::Partial } else { Evidence::Present },
        source: "tushare".into(),
        rows: 1,
        at: instant(at),
        stale_at: stale_at.map(instant),
        lacks: Exchanges::default(),
    }
}

fn one(code: &str, from: &str, to: &str) -> Area {
    Area::new(Securities::one(code), Span::new(day(from), day(to)))
}

/// Everything that a plan depends on, with the evening of the last day of 2020 as "now".
#[derive(Clone)]
struct Case {
    dataset: Dataset,
    offer: Offer,
    knowledge: Knowledge,
    coverage: Coverage,
    wanted: Wanted,
    now: Instant,
}

impl Case {
    fn new(name: &str, offer: Offer, wanted: Wanted) -> Case {
        let now = instant("2020-12-31T20:00");
        Case { dataset: dataset(name), offer, knowledge: knowledge(5400), coverage: Coverage::default(), wanted, now }
    }

    fn claimed(mut self, claims: Vec<Claim>) -> Case {
        self.coverage = Coverage::from_claims(claims, Vec::new());
        self
    }

    fn at(mut self, now: &str) -> Case {
        self.now = instant(now);
        self
    }

    fn securities(mut self, count: usize) -> Case {
        self.knowledge = knowledge(count);
        self
    }

    fn force(mut self) -> Case {
        self.wanted.force = true;
        self
    }

    fn plan(&self) -> Plan {
        plan(&Input {
            dataset: &self.dataset,
            offer: &self.offer,
            knowledge: &self.knowledge,
            coverage: &self.coverage,
            wanted: &self.wanted,
            now: self.now,
        })
    }
}

/// Plans a case and compares slices, calls and the areas of the first and the last slice.
fn check(sentence: &str, case: Case, slices: usize, calls: u64, first: &str, last: &str) {
    let plan = case.plan();
    let area = |slice: Option<&Slice>| slice.map_or(String::new(), |slice| slice.area.to_string());
    let found = (plan.slices.len(), plan.calls, area(plan.slices.first()), area(plan.slices.last()));
    assert_eq!(found, (slices, calls, first.into(), last.into()), "{sentence}: {}", plan.reason);
    assert_eq!(plan.slices.iter().map(|slice| u64::from(slice.calls)).sum::<u64>(), plan.calls, "{sentence}");
}

fn market_days(from: &str, to: &str, except: &[&str]) -> Vec<Claim> {
    let calendar = knowledge(0).calendar;
    let days = calendar.open_days(Span::new(day(from), day(to)));
    let kept = days.into_iter().filter(|day| !except.contains(&day.compact().as_str()));
    kept.map(|day| claim(Area::day(day), "2021-12-01T20:00", None)).collect()
}

fn day_and_security(cap: u32) -> Offer {
    offer(vec![by_day(), by_security()], cap)
}

#[test]
fn days_cost_as_few_calls_as_the_cap_allows() {
    let year = || Case::new("daily", day_and_security(6000), wanted("", "20200101", "20201231"));
    check("a year of the whole market is a call a day", year(), 243, 243, "all x 2020-01-02", "all x 2020-12-31");
    let claims = market_days("20200101", "20201231", &["20200615"]);
    check("one missing day is one call", year().claimed(claims), 1, 1, "all x 2020-06-15", "all x 2020-06-15");
    let claims = market_days("20200101", "20201231", &[]);
    check("what is claimed is not asked", year().claimed(claims.clone()), 0, 0, "", "");
    check(
        "force asks for what is claimed",
        year().claimed(claims).force(),
        243,
        243,
        "all x 2020-01-02",
        "all x 2020-12-31",
    );
    let week = Case::new("daily", day_and_security(6000), wanted("", "20201001", "20201009"));
    check("holidays are not asked", week, 1, 1, "all x 2020-10-09", "all x 2020-10-09");
    let holidays = Case::new("daily", day_and_security(6000), wanted("", "20201001", "20201008"));
    check("only holidays is nothing", holidays, 0, 0, "", "");
    let market =
        |count| Case::new("daily", day_and_security(6000), wanted("", "20200615", "20200615")).securities(count);
    check(
        "6,100 rows against a cap of 6,000 are two pages",
        market(6098),
        1,
        2,
        "all x 2020-06-15",
        "all x 2020-06-15",
    );
    check("rows at the cap are no answer", market(5998), 1, 2, "all x 2020-06-15", "all x 2020-06-15");
    check("rows below the cap are", market(5997), 1, 1, "all x 2020-06-15", "all x 2020-06-15");
}

#[test]
fn every_cut_has_its_own_cap() {
    let mut year = Case::new("daily", day_and_security(2000), wanted("", "20200101", "20201231"));
    assert_eq!(year.plan().calls, 3 * 243, "three pages a day");
    year.offer.row_caps = vec![None, Some(2000)];
    assert_eq!(year.plan().calls, 243, "a day comes at once");
    year.wanted = wanted("000007.SZ", "20100101", "20201231");
    year.offer.cuts.remove(0);
    year.offer.row_caps = vec![Some(2000)];
    assert_eq!(year.plan().slices.len(), 2, "what comes in pages is asked for below the page");
}

#[test]
fn securities_cost_as_few_calls_as_the_cap_allows() {
    let ten_years = |name, cap, cuts| Case::new(name, offer(cuts, cap), wanted("000007.SZ", "20110101", "20201231"));
    let both = || vec![by_day(), by_security()];
    check(
        "ten years of one security are one call",
        ten_years("daily", 6000, both()),
        1,
        1,
        "000007.SZ x 2011-01-03..2020-12-31",
        "000007.SZ x 2011-01-03..2020-12-31",
    );
    check(
        "or two under a small cap",
        ten_years("daily", 2000, both()),
        2,
        2,
        "000007.SZ x 2011-01-03..2018-08-30",
        "000007.SZ x 2018-08-31..2020-12-31",
    );
    let chips = Case::new("chips", offer(vec![by_security()], 6000), wanted("000007.SZ", "20200101", "20201231"));
    check(
        "a hundred rows a day make slices of 59 days",
        chips,
        5,
        5,
        "000007.SZ x 2020-01-02..2020-04-01",
        "000007.SZ x 2020-12-23..2020-12-31",
    );
    let alone = ten_years("daily", 6000, vec![by_code_alone()]);
    check("a cut without a span asks for all time", alone, 1, 1, "000007.SZ x all time", "000007.SZ x all time");
    let one_day = Case::new("daily", day_and_security(6000), wanted("000007.SZ", "20200615", "20200615"));
    check("one cell is asked by security", one_day, 1, 1, "000007.SZ x 2020-06-15", "000007.SZ x 2020-06-15");
    let three =
        Case::new("daily", day_and_security(6000), wanted("000001.SZ,000002.SZ,000003.SZ", "20200615", "20200615"));
    check("three cells of one day are one call by day", three, 1, 1, "all x 2020-06-15", "all x 2020-06-15");
    let gone = Case::new("daily", day_and_security(6000), wanted("600001.SH", "20200101", "20201231"));
    check(
        "a delisted name is asked within its life",
        gone,
        1,
        1,
        "600001.SH x 2020-01-02..2020-12-28",
        "600001.SH x 2020-01-02..2020-12-28",
    );
    let dead = Case::new("daily", day_and_security(6000), wanted("600001.SH", "20201229", "20201231"));
    check("and not after it", dead, 0, 0, "", "");
    let renamed = Case::new("daily", day_and_security(6000), wanted("830799.BJ,920799.BJ", "20200101", "20201231"));
    check(
        "a former code is the current one",
        renamed,
        1,
        1,
        "920799.BJ x 2020-01-02..2020-12-31",
        "920799.BJ x 2020-01-02..2020-12-31",
    );
    let index = Case::new("index", offer(vec![by_security()], 8000), wanted("", "20200101", "20201231"));
    check(
        "all indices are those of the catalogue",
        index,
        2,
        2,
        "000001.SH x 2020-01-02..2020-12-31",
        "000300.SH x 2020-01-02..2020-12-31",
    );
}

#[test]
fn claims_of_single_securities_count_towards_the_market() {
    let own = |codes: std::ops::Range<usize>, to: &str| -> Vec<Claim> {
        codes
            .map(|number| claim(one(&format!("{:06}.SZ", number + 1), "20200102", to), "2020-12-31T19:00", None))
            .collect()
    };
    let others = || {
        ["600001.SH", "920799.BJ", "301000.SZ"]
            .map(|code| claim(one(code, "20200102", "20201231"), "2020-12-31T19:00", None))
    };
    let year = || Case::new("daily", day_and_security(6000), wanted("", "20200101", "20201231")).securities(300);
    let claims: Vec<Claim> = own(0..300, "20201231").into_iter().chain(others()).collect();
    check("everybody claimed one by one is everything", year().claimed(claims), 0, 0, "", "");
    let claims: Vec<Claim> = own(1..300, "20201231").into_iter().chain(others()).collect();
    check(
        "one new security is one call, not one a day",
        year().claimed(claims),
        1,
        1,
        "000001.SZ x 2020-01-02..2020-12-31",
        "000001.SZ x 2020-01-02..2020-12-31",
    );
    let claims: Vec<Claim> = own(1..300, "20201230").into_iter().chain(others()).collect();
    check(
        "a new security and a new day are two calls",
        year().claimed(claims),
        2,
        2,
        "all x 2020-12-31",
        "000001.SZ x 2020-01-02..2020-12-30",
    );
    let gap = vec![claim(one("000007.SZ", "20200301", "20200930"), "2020-12-31T19:00", None)];
    let around = Case::new("daily", offer(vec![by_security()], 6000), wanted("000007.SZ", "20200101", "20201231"));
    check(
        "a gap of claimed days does not cost a second call",
        around.claimed(gap.clone()),
        1,
        1,
        "000007.SZ x 2020-01-02..2020-12-31",
        "000007.SZ x 2020-01-02..2020-12-31",
    );
    let narrow = Case::new("daily", offer(vec![by_security()], 100), wanted("000007.SZ", "20200101", "20201231"));
    check(
        "unless the cap parts it",
        narrow.claimed(gap),
        2,
        2,
        "000007.SZ x 2020-01-02..2020-02-28",
        "000007.SZ x 2020-10-09..2020-12-31",
    );
}

#[test]
fn days_that_are_not_published_or_not_whole_are_known() {
    let today = |now: &str| Case::new("daily", day_and_security(6000), wanted("", "20200615", "20200616")).at(now);
    check(
        "today is not asked before publication",
        today("2020-06-16T16:59"),
        1,
        1,
        "all x 2020-06-15",
        "all x 2020-06-15",
    );
    assert_eq!(today("2020-06-16T16:59").plan().points_not_due, 1);
    check(
        "today is asked from publication on",
        today("2020-06-16T17:00"),
        2,
        2,
        "all x 2020-06-15",
        "all x 2020-06-16",
    );
    let half = || {
        vec![
            claim(Area::day(day("20200615")), "2020-06-15T17:30", None),
            claim(Area::day(day("20200616")), "2020-06-16T17:30", Some("2020-06-16T18:30")),
        ]
    };
    check("a half-published day waits", today("2020-06-16T18:29").claimed(half()), 0, 0, "", "");
    let again = today("2020-06-16T18:30").claimed(half());
    assert_eq!(again.plan().points_provisional, 1);
    check("and is asked again when it is stale", again, 1, 1, "all x 2020-06-16", "all x 2020-06-16");
    let early = vec![claim(Area::day(day("20200616")), "2020-06-16T09:00", None)];
    check(
        "a claim from before publication holds nothing",
        today("2020-06-16T17:00").claimed(early),
        2,
        2,
        "all x 2020-06-15",
        "all x 2020-06-16",
    );
    let stale = vec![claim(one("000007.SZ", "20110101", "20200615"), "2020-06-15T17:30", Some("2020-06-15T18:30"))];
    let history = Case::new("daily", day_and_security(6000), wanted("000007.SZ", "20110101", "20200615"));
    check(
        "a stale claim over years asks for its unsettled days",
        history.at("2020-06-15T19:00").claimed(stale),
        1,
        1,
        "000007.SZ x 2020-06-09..2020-06-15",
        "000007.SZ x 2020-06-09..2020-06-15",
    );
    let flow = |now: &str| Case::new("flow", offer(vec![by_range()], 300), wanted("", "20200612", "20200615")).at(now);
    check("published on the next trading day: not at the weekend", flow("2020-06-14T12:00"), 0, 0, "", "");
    check("but on Monday morning", flow("2020-06-15T09:00"), 1, 1, "all x 2020-06-12", "all x 2020-06-12");
}

#[test]
fn ranges_periods_and_wholes_have_their_own_units() {
    let flow = || Case::new("flow", offer(vec![by_day(), by_range()], 300), wanted("", "20190101", "20201230"));
    check(
        "ranges are as long as the cap allows",
        flow(),
        2,
        2,
        "all x 2019-01-01..2020-03-03",
        "all x 2020-03-04..2020-12-30",
    );
    let inner = market_days("20190601", "20201130", &[]);
    check(
        "claimed days between two gaps part the ranges at the cap",
        flow().claimed(inner),
        2,
        2,
        "all x 2019-01-01..2019-05-31",
        "all x 2020-12-01..2020-12-30",
    );
    let mut calendar = Case::new("calendar", offer(vec![by_range()], None), wanted("", "", "")).at("2020-06-15T12:00");
    calendar.offer.calls_per_slice = 2;
    check(
        "the calendar is known to the end of the year",
        calendar,
        1,
        2,
        "all x 1990-12-19..2020-12-31",
        "all x 1990-12-19..2020-12-31",
    );
    let known = claim(
        Area::new(Securities::All, Span::new(day("19901219"), day("20201231"))),
        "2020-06-15T12:00",
        Some("2020-06-22T12:00"),
    );
    let calendar = Case::new("calendar", offer(vec![by_range()], None), wanted("", "", "")).at("2020-06-23T12:00");
    check(
        "and refreshed where it is not settled",
        calendar.claimed(vec![known]),
        1,
        1,
        "all x 2020-06-08..2020-12-31",
        "all x 2020-06-08..2020-12-31",
    );
    let income =
        || Case::new("income", offer(vec![by_period(), by_code_alone()], None), wanted("", "20200101", "20201231"));
    check("a period is asked when it has ended", income(), 3, 3, "all x 2020-03-31", "all x 2020-09-30");
    assert_eq!(income().plan().points_not_due, 1);
    check(
        "and the last one of the year after New Year's Eve",
        income().at("2021-01-01T00:00"),
        4,
        4,
        "all x 2020-03-31",
        "all x 2020-12-31",
    );
    let single = Case::new(
        "income",
        offer(vec![by_period(), by_code_alone()], None),
        wanted("000007.SZ", "20200101", "20201231"),
    );
    check("one company's periods are one call", single, 1, 1, "000007.SZ x all time", "000007.SZ x all time");
    let list = || Case::new("list", offer(vec![Cut::Whole, by_code_alone()], 6000), wanted("", "", ""));
    check("a whole table is one slice", list(), 1, 1, "all x all time", "all x all time");
    let fresh = claim(Area::whole(), "2020-12-31T06:00", Some("2021-01-01T06:00"));
    check("that is not asked again before it is stale", list().claimed(vec![fresh.clone()]), 0, 0, "", "");
    check(
        "and then again",
        list().claimed(vec![fresh]).at("2021-01-01T06:00"),
        1,
        1,
        "all x all time",
        "all x all time",
    );
    let top = Case::new("top", offer(vec![by_day(), by_range()], 2500), wanted("", "20200101", "20201231"));
    check(
        "estimates of what happened leave room under the cap",
        top,
        13,
        13,
        "all x 2020-01-02..2020-02-06",
        "all x 2020-12-29..2020-12-31",
    );
}

#[test]
fn what_is_not_known_is_said() {
    let mut case = Case::new("daily", day_and_security(6000), wanted("999999.SZ,000007.SZ", "20200615", "20200615"));
    assert_eq!(case.plan().unknown, ["999999.SZ"]);
    assert_eq!(case.plan().slices.len(), 1);
    assert!(!case.plan().estimated);
    case.wanted = wanted("999999.SZ", "20200615", "20200615");
    assert_eq!((case.plan().calls, case.plan().reason.as_str()), (0, "none of the codes is known"));
    case.wanted = wanted("", "20200615", "20200615");
    case.knowledge = Knowledge::default();
    assert!(case.plan().estimated);
    assert_eq!((case.plan().calls, case.plan().rows), (1, SECURITIES_DEFAULT as u64));
    case.offer = offer(vec![by_security()], 6000);
    assert!(case.plan().blocked.is_some_and(|reason| reason.contains("stock_basic")));
}

#[test]
fn a_plan_says_why_and_how_long() {
    let mut case = Case::new("daily", day_and_security(6000), wanted("", "20200101", "20201231"));
    case.offer.per_day = Some(100);
    let plan = case.plan();
    assert_eq!(plan.reason, "by day: 243 calls; by security would take 5,403; 3 days at 100 calls a day");
    assert_eq!((plan.days, plan.minutes), (3, 243.0 / 500.0));
}

/// Judges an answer and compares evidence and the time at which it goes stale.
fn judged(case: &Case, area: Area, rows: u64, evidence: Evidence, stale_at: &str) {
    let found = judge(&case.dataset, &case.knowledge, &area, rows, case.now);
    let stale_at = (!stale_at.is_empty()).then(|| instant(stale_at));
    assert_eq!(found, ClaimChange { evidence, stale_at }, "{area} {rows} rows at {}", case.now);
}

#[test]
fn an_answer_is_final_only_when_nothing_can_be_missing() {
    use Evidence::{Empty, Partial, Present};
    let daily = |now: &str| Case::new("daily", day_and_security(6000), wanted("", "", "")).at(now);
    let monday = || Area::day(day("20200615"));
    judged(&daily("2020-06-15T18:00"), monday(), 5402, Present, "");
    judged(&daily("2020-06-15T18:00"), monday(), 5000, Present, "");
    judged(&daily("2020-06-15T18:00"), monday(), 2700, Partial, "2020-06-15T19:00");
    judged(&daily("2020-06-15T18:00"), monday(), 0, Empty, "2020-06-15T19:00");
    judged(&daily("2020-06-22T17:00"), monday(), 2700, Present, "");
    judged(&daily("2020-06-22T17:00"), monday(), 0, Empty, "");
    judged(&daily("2020-06-15T09:00"), monday(), 10, Present, "2020-06-15T17:00");
    let history = || one("000007.SZ", "20200601", "20200615");
    judged(&daily("2020-06-15T18:00"), history(), 11, Present, "");
    judged(&daily("2020-06-15T18:00"), history(), 10, Present, "2020-06-15T19:00");
    judged(&daily("2020-06-15T18:00"), history(), 3, Partial, "2020-06-15T19:00");
    judged(&daily("2020-06-30T18:00"), history(), 3, Present, "");
    let mut halted = daily("2020-06-15T18:00");
    halted.knowledge.suspended.insert(day("20200611"), [Arc::from("000007.SZ")].into());
    judged(&halted, history(), 10, Present, "");
    let always = Area::new(Securities::one("000007.SZ"), Span::ALL);
    judged(&daily("2020-06-30T18:00"), always, 9999, Present, "2020-07-01T17:00");
    let top = Case::new("top", day_and_security(6000), wanted("", "", "")).at("2020-06-15T18:00");
    judged(&top, monday(), 3, Present, "");
    judged(&top, monday(), 0, Empty, "2020-06-15T19:00");
    let income = |now: &str| Case::new("income", day_and_security(6000), wanted("", "", "")).at(now);
    judged(&income("2020-04-15T18:00"), Area::day(day("20200331")), 9, Present, "2020-04-16T18:00");
    judged(&income("2020-07-01T18:00"), Area::day(day("20200331")), 9, Present, "");
    judged(&income("2020-06-30T18:00"), Area::day(day("20191231")), 9, Present, "");
    judged(&income("2020-06-29T18:00"), Area::day(day("20191231")), 9, Present, "2020-06-30T18:00");
    let list = Case::new("list", day_and_security(6000), wanted("", "", "")).at("2020-06-15T18:00");
    judged(&list, Area::whole(), 5400, Present, "2020-06-16T18:00");
    let calendar = Case::new("calendar", day_and_security(6000), wanted("", "", "")).at("2020-06-15T18:00");
    let years = Area::new(Securities::All, Span::new(day("19901219"), day("20201231")));
    judged(&calendar, years, 11_000, Present, "2020-06-22T18:00");
}
