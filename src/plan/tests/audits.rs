//! Tables of audits: claims and row counts, and what an audit says of them.

use super::*;
use crate::model::Failure;

fn audited(case: &Case, failures: &[Failure], span: Option<Span>) -> Audit {
    audit(&case.dataset, &case.knowledge, &case.coverage, failures, &Served::default(), span, case.now)
}

/// January to June of 2020 claimed day by day, with the rows that are listed.
fn half_year(except: &[&str]) -> Case {
    let mut case = Case::new("daily", day_and_security(6000), wanted("", "", "")).at("2020-06-30T20:00").securities(97);
    let mut claims = market_days("20200101", "20200630", except);
    claims.iter_mut().for_each(|claim| claim.rows = 99);
    let rows = claims.iter().map(|claim| (claim.area.span.from, 99)).collect();
    case.coverage = Coverage::from_claims(claims, rows);
    case
}

#[test]
fn an_audit_explains_every_cell() {
    let whole = audited(&half_year(&[]), &[], None);
    assert_eq!((whole.unexplained, whole.holes.len(), whole.points), (0, 0, 117));
    assert_eq!((whole.cells.present, whole.cells.not_listed), (117 * 99, 117));
    assert_eq!(whole.cells.closed_day, 181 - 117);

    let holes = audited(&half_year(&["20200305", "20200306", "20200310"]), &[], None);
    assert_eq!((holes.unexplained, holes.cells.unknown), (3 * 99, 3 * 99));
    let remedies: Vec<&str> = holes.holes.iter().map(|hole| hole.remedy.as_str()).collect();
    assert_eq!(
        remedies,
        [
            "tidegate sync daily --from 2020-03-05 --to 2020-03-06",
            "tidegate sync daily --from 2020-03-10 --to 2020-03-10",
        ]
    );

    let mut lost = half_year(&[]);
    lost.coverage.rows_by_day[3].1 = 98;
    lost.knowledge.suspended.insert(lost.coverage.rows_by_day[3].0, [Arc::from("000001.SZ")].into());
    let lost = audited(&lost, &[], None);
    assert_eq!((lost.unexplained, lost.cells.suspended), (1, 1));
    assert_eq!(lost.holes[0].reason, "the ledger says 99 rows, the table holds 98");
    assert_eq!(lost.holes[0].state, HoleState::Differs);

    let mut quiet = half_year(&[]);
    quiet.coverage.rows_by_day[3].1 = 40;
    quiet.coverage.market[3].rows = 40;
    let quiet = audited(&quiet, &[], None);
    assert_eq!((quiet.unexplained, quiet.holes.len(), quiet.cells.source_said_so), (0, 0, 59));
    assert_eq!(quiet.notes.len(), 1);
}

#[test]
fn an_audit_tells_partial_failed_and_never_asked_apart() {
    let mut partial = half_year(&["20200630"]);
    let mut last = claim(Area::day(day("20200630")), "2020-06-30T18:00", Some("2020-06-30T19:00"));
    last.rows = 50;
    partial.coverage.market.push(last);
    partial.coverage.rows_by_day.push((day("20200630"), 50));
    let found = audited(&partial, &[], None);
    assert_eq!((found.unexplained, found.cells.partial, found.holes[0].state), (0, 49, HoleState::Partial));

    let failure = Failure {
        id: 1,
        dataset: "daily".into(),
        area: Area::day(day("20200305")),
        source: "tushare".into(),
        task: 1,
        kind: "transient".into(),
        message: String::new(),
        attempts: 1,
        attempts_max: 5,
        next_attempt_at: Instant(0),
        first_at: Instant(0),
        last_at: Instant(0),
        resolved_at: None,
        resolution: None,
    };
    let found = audited(&half_year(&["20200305"]), &[failure], None);
    assert_eq!((found.unexplained, found.cells.failed, found.holes[0].state), (0, 99, HoleState::Failed));

    let mut never = half_year(&[]);
    never.coverage = Coverage::default();
    let found = audited(&never, &[], None);
    assert_eq!((found.kept, found.unexplained), (false, 0));
    let found = audited(&never, &[], Some(Span::new(day("20200302"), day("20200303"))));
    assert_eq!((found.kept, found.unexplained), (true, 2 * 99));
}

#[test]
fn an_audit_of_a_few_securities_asks_for_no_others() {
    let mut few = half_year(&[]);
    let claims = vec![
        claim(one("000007.SZ", "20200102", "20200630"), "2020-06-30T19:00", None),
        claim(one("000008.SZ", "20200601", "20200629"), "2020-06-30T19:00", None),
    ];
    few.coverage = Coverage::from_claims(claims, few.coverage.rows_by_day.iter().map(|(day, _)| (*day, 1)).collect());
    let found = audited(&few, &[], None);
    assert_eq!((found.securities, found.unexplained), (2, 1));
    assert_eq!(found.holes[0].remedy, "tidegate sync daily --codes 000008.SZ --from 2020-06-30 --to 2020-06-30");
}
