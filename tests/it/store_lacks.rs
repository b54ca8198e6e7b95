//! Laws of every store about what a source does not have: columns that it lacks, exchanges that it does not know.

use tidegate::model::change::Write;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{Quote, all_quotes, commit_rows, counts, quotes_of_day};

/// Rows of January 2 by a source of this rank, which lacks the fourth column (amount) or has it.
fn by(rank: u8, has_amount: bool, close: Option<i128>, amount: Option<i128>) -> RowsChange {
    let rows: [Quote; 1] = [("000001.SZ", 2, close, amount)];
    let lacks = if has_amount { Vec::new() } else { vec![3] };
    RowsChange { rank, lacks, ..quotes_of_day(2, &rows) }
}

pub async fn a_column_that_a_better_source_lacks_is_corrected_by_whoever_gave_it(store: &dyn Store) {
    for (rank, has_amount, close, amount, expected_counts, expected) in [
        (3, true, 1, 10, [1, 0, 0, 0, 0], "0.01|0.001"),
        // The second source has no amounts: that of the third stays, and remains its own.
        (2, false, 2, 0, [0, 1, 0, 0, 0], "0.02|0.001"),
        (3, true, 5, 11, [0, 1, 0, 0, 0], "0.02|0.0011"),
        (4, true, 6, 12, [0, 0, 1, 0, 0], "0.02|0.0011"),
        (2, false, 3, 0, [0, 1, 0, 0, 0], "0.03|0.0011"),
        (3, true, 5, 13, [0, 1, 0, 0, 0], "0.03|0.0013"),
        // An amount of the second source binds the third, also after the first, which has none, wrote the row.
        (2, true, 3, 20, [0, 1, 0, 0, 0], "0.03|0.002"),
        (1, false, 4, 0, [0, 1, 0, 0, 0], "0.04|0.002"),
        (3, true, 5, 14, [0, 0, 1, 0, 0], "0.04|0.002"),
        (2, true, 9, 21, [0, 1, 0, 0, 0], "0.04|0.0021"),
    ] {
        let amount = has_amount.then_some(amount);
        let found = counts(commit_rows(store, by(rank, has_amount, Some(close), amount)).await);
        assert_eq!(found, expected_counts, "{rank} {close} {amount:?}");
        assert_eq!(all_quotes(store).await, [format!("000001.SZ|2024-01-02|{expected}")]);
    }
}

pub async fn a_claim_does_not_speak_of_exchanges_that_its_source_lacks(store: &dyn Store) {
    let beijing = Exchanges::new(&["BJ"]);
    let rows: [Quote; 3] =
        [("000001.SZ", 2, Some(1), None), ("000002.SZ", 2, Some(2), None), ("920001.BJ", 2, Some(3), None)];
    commit_rows(store, quotes_of_day(2, &rows)).await;
    let own = Area::new(Securities::one("920001.BJ"), Span::day(Day::new(2024, 1, 2).unwrap()));
    let other = Area::new(Securities::one("000002.SZ"), own.span);
    for area in [own, other] {
        let write = Write::Upsert;
        commit_rows(store, RowsChange { area, write, ..quotes_of_day(2, &[]) }).await;
    }
    let limited = RowsChange { lacks_exchanges: beijing.clone(), ..quotes_of_day(2, &rows[..1]) };
    // The second row is gone; the third is none of this source's.
    assert_eq!(counts(commit_rows(store, limited).await), [0, 0, 1, 1, 0]);
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.01|-", "920001.BJ|2024-01-02|0.03|-"]);
    let coverage = store.coverage("quotes").await.unwrap();
    assert_eq!(coverage.market.iter().map(|claim| claim.lacks.clone()).collect::<Vec<_>>(), [beijing]);
    let left: Vec<&str> = coverage.security.keys().map(|code| &**code).collect();
    assert_eq!(left, ["920001.BJ"], "a claim that is not spoken of stays");
    commit_rows(store, quotes_of_day(2, &rows)).await;
    let coverage = store.coverage("quotes").await.unwrap();
    assert!(coverage.market[0].lacks.is_empty() && coverage.security.is_empty(), "{coverage:?}");
}
