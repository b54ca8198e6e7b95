//! Tables of sources that do not know every exchange: what they are asked, what their claims hold, what audits say.

use super::*;

fn beijing() -> Exchanges {
    Exchanges::new(&["BJ"])
}

fn lacking(offer: Offer) -> Offer {
    Offer { lacks_exchanges: beijing(), ..offer }
}

/// January to June of 2020, claimed day by day without Beijing.
fn limited_claims(rows: u64) -> Vec<Claim> {
    let days = market_days("20200101", "20200630", &[]).into_iter();
    days.map(|claim| Claim { lacks: beijing(), source: "baostock".into(), rows, ..claim }).collect()
}

fn half_year(offer: Offer) -> Case {
    Case::new("daily", offer, wanted("", "20200101", "20200630")).at("2020-06-30T20:00").securities(97)
}

#[test]
fn a_source_is_asked_only_for_securities_that_it_has() {
    // 97 shares and a delisted one; the share of Beijing is not asked for, the youngest is not listed yet.
    let by_code = || half_year(lacking(offer(vec![by_security()], 6000)));
    check(
        "security by security",
        by_code(),
        98,
        98,
        "000001.SZ x 2020-01-02..2020-06-30",
        "600001.SH x 2020-01-02..2020-06-30",
    );
    let all = half_year(offer(vec![by_security()], 6000));
    check("somebody else", all, 99, 99, "000001.SZ x 2020-01-02..2020-06-30", "920799.BJ x 2020-01-02..2020-06-30");
    let mut one = by_code();
    one.wanted = wanted("920799.BJ", "20200101", "20200630");
    let plan = one.plan();
    assert_eq!((plan.slices.len(), plan.reason.as_str()), (0, "the source has no securities of BJ"));
    assert!(plan.unknown.is_empty() && plan.blocked.is_none(), "{plan:?}");
    let day = half_year(lacking(offer(vec![by_day()], 6000)));
    assert_eq!(day.plan().slices[0].rows, 98, "rows of Beijing are not expected");
}

#[test]
fn a_claim_that_leaves_an_exchange_out_holds_for_its_source_and_leaves_the_rest_to_others() {
    let claimed = |offer: Offer| half_year(offer).claimed(limited_claims(98));
    let same = claimed(lacking(day_and_security(6000)));
    check("the source itself is not asked again", same, 0, 0, "", "");
    let span = "920799.BJ x 2020-01-02..2020-06-30";
    check("another is asked for Beijing only", claimed(offer(vec![by_security()], 6000)), 1, 1, span, span);
    check("in the fewest calls", claimed(day_and_security(6000)), 1, 1, span, span);
    check("or day by day", claimed(offer(vec![by_day()], 6000)), 117, 117, "all x 2020-01-02", "all x 2020-06-30");
    let mut both = limited_claims(98);
    both.push(claim(one("920799.BJ", "20200101", "20200630"), "2020-06-30T19:00", None));
    check("both together hold everything", half_year(day_and_security(6000)).claimed(both), 0, 0, "", "");
    let mut late = limited_claims(98);
    late.pop();
    let case = half_year(offer(vec![by_security()], 6000)).claimed(late);
    let slices = case.plan().slices;
    assert_eq!(slices.len(), 99, "the last day is open for everybody");
    assert_eq!(slices[0].area, one("000001.SZ", "20200630", "20200630"));
    assert_eq!(slices[98].area, one("920799.BJ", "20200102", "20200630"));
}

#[test]
fn a_list_that_leaves_an_exchange_out_is_asked_for_again_elsewhere() {
    let whole = Claim { lacks: beijing(), ..claim(Area::whole(), "2020-12-31T19:00", None) };
    let case = |offer: Offer| Case::new("list", offer, wanted("", "", "")).claimed(vec![whole.clone()]);
    check("by somebody who has it", case(offer(vec![Cut::Whole], 6000)), 1, 1, "all x all time", "all x all time");
    check("not by the same source", case(lacking(offer(vec![Cut::Whole], 6000))), 0, 0, "", "");
}

#[test]
fn an_audit_names_what_no_source_has_and_what_another_was_not_asked_for() {
    let baostock = || ("baostock".to_string(), beijing());
    let akshare = || ("akshare".to_string(), Exchanges::default());
    let audited = |claims: Vec<Claim>, rows: u64, served: Served| {
        let mut case = half_year(day_and_security(6000));
        let by_day = market_days("20200101", "20200630", &[]);
        case.coverage =
            Coverage::from_claims(claims, by_day.iter().map(|claim| (claim.area.span.from, rows)).collect());
        audit(&case.dataset, &case.knowledge, &case.coverage, &[], &served, None, case.now)
    };
    let lacked = "baostock has no securities of BJ: enable another source";
    for (served, reason) in [
        (vec![baostock()], lacked),
        (vec![baostock(), akshare()], "not asked for since it was due"),
        (vec![], "not asked for since it was due"),
    ] {
        let found = audited(limited_claims(98), 98, Served::new(served));
        assert_eq!((found.unexplained, found.cells.unknown, found.cells.present), (117, 117, 117 * 98), "{found:?}");
        assert_eq!(found.cells.source_said_so, 0);
        let holes: Vec<(u64, &str)> = found.holes.iter().map(|hole| (hole.cells, hole.reason.as_str())).collect();
        assert_eq!(holes, [(117, reason)]);
        assert_eq!(found.holes[0].remedy, "tidegate sync daily --from 2020-01-02 --to 2020-06-30");
    }
    let mut both = limited_claims(98);
    both.push(claim(one("920799.BJ", "20200101", "20200630"), "2021-12-01T21:00", None));
    let found = audited(both, 99, Served::new([baostock(), akshare()]));
    assert_eq!((found.unexplained, found.holes.len(), found.cells.present), (0, 0, 117 * 99), "{found:?}");
    // Security by security, from the same source.
    let codes = (0..97).map(|number| format!("{:06}.SZ", number + 1)).chain(["600001.SH".to_string()]);
    let own = codes.map(|code| claim(one(&code, "20200101", "20200630"), "2020-06-30T19:00", None)).collect();
    let found = audited(own, 98, Served::new([baostock()]));
    assert_eq!((found.unexplained, found.holes.len()), (117, 1), "{found:?}");
    assert_eq!(found.holes[0].reason, lacked);
    assert_eq!(found.holes[0].area, one("920799.BJ", "20200102", "20200630"));
}
