//! Reads as of a past instant: equal to what a read at that instant gave, in every store.

use std::future::Future;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tidegate::model::change::Write;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{Fresh, Quote, at, quotes_of_day, texts};

const CODES: [&str; 3] = ["000001.SZ", "300001.SZ", "600000.SH"];
const DAYS: i8 = 4;

/// One change of a history.
#[derive(Clone, Debug)]
struct Step {
    code: Option<&'static str>,
    from: i8,
    to: i8,
    write: Write,
    rank: u8,
    /// What the source says of each code and day: nothing, or the two prices.
    cells: Vec<Option<(Option<i128>, Option<i128>)>>,
}

impl Step {
    fn change(&self) -> Change {
        let keys = CODES.into_iter().flat_map(|code| (1..=DAYS).map(move |day| (code, day)));
        let inside =
            |code: &str, day: i8| self.code.is_none_or(|own| own == code) && (self.from..=self.to).contains(&day);
        let rows = keys.zip(&self.cells).filter(|((code, day), _)| inside(code, *day));
        let rows = rows.filter_map(|((code, day), cell)| cell.map(|(close, amount)| (code, day, close, amount)));
        let rows: Vec<Quote> = rows.collect();
        let span = Span::new(Day::new(2024, 1, self.from).unwrap(), Day::new(2024, 1, self.to).unwrap());
        Change::Rows(RowsChange {
            area: Area::new(self.code.map_or(Securities::All, Securities::one), span),
            write: self.write.clone(),
            rank: self.rank,
            claim: None,
            ..quotes_of_day(1, &rows)
        })
    }
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop_oneof![1 => Just(None), 3 => (0i128..3).prop_map(Some)];
    let cell = prop_oneof![1 => Just(None), 2 => (value(), value()).prop_map(Some)];
    let write = prop_oneof![3 => Just(Write::Replace), 1 => Just(Write::Merge), 1 => Just(Write::Upsert)];
    let code = prop_oneof![Just(None), (0..CODES.len()).prop_map(|index| Some(CODES[index]))];
    let cells = vec(cell, CODES.len() * DAYS as usize);
    let span = (1..=DAYS, 0..3i8);
    (code, span, write, prop_oneof![3 => Just(1u8), 1 => Just(2u8)], cells).prop_map(
        |(code, (from, days), write, rank, cells)| Step { code, from, to: (from + days).min(DAYS), write, rank, cells },
    )
}

/// Commits with the milliseconds that the clock moved before each; sometimes it is set back.
fn history() -> impl Strategy<Value = Vec<(i64, Vec<Step>)>> {
    let moved = prop_oneof![6 => 1i64..4_000, 1 => Just(0i64), 1 => -6_000i64..0];
    vec((moved, vec(step(), 1..4)), 1..12)
}

/// Different ways to ask: everything, by day, by security, in other orders, a page.
fn questions() -> Vec<Query> {
    let all = || Query::all("quotes");
    let order = |column: &str, descending: bool| Order { column: column.into(), descending };
    let days = |from: &str, to: &str| Filter::Between {
        column: "trade_date".into(),
        from: Some(from.into()),
        to: Some(to.into()),
    };
    let codes = |codes: &[&str]| Filter::In {
        column: "ts_code".into(),
        values: codes.iter().map(|code| code.to_string()).collect(),
    };
    let one = Filter::In { column: "close".into(), values: vec!["0.01".into()] };
    vec![
        all(),
        Query { filters: vec![days("2024-01-02", "2024-01-03")], ..all() },
        Query { filters: vec![codes(&["600000.SH", "000001.SZ"])], columns: vec!["close".into()], ..all() },
        Query { filters: vec![days("2024-01-01", "2024-01-04")], order: vec![order("trade_date", true)], ..all() },
        Query { order: vec![order("amount", true), order("close", false)], ..all() },
        Query { limit: Some(3), offset: 2, ..all() },
        Query { filters: vec![one], order: vec![order("ts_code", true)], limit: Some(2), ..all() },
    ]
}

async fn answers(store: &dyn Store, as_of: Option<Instant>) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for question in questions() {
        answers.push(texts(store, &Query { as_of, ..question }).await.unwrap());
    }
    answers
}

async fn check(store: &dyn Store, history: &[(i64, Vec<Step>)]) -> Result<(), TestCaseError> {
    let nothing = answers(store, None).await;
    let mut copies = Vec::new();
    let mut now = at(20);
    for (moved, steps) in history {
        now = now.plus_millis(*moved);
        let changes = steps.iter().map(Step::change).collect();
        store.commit(Commit { at: now, fence: None, changes }).await.unwrap();
        copies.push((now, answers(store, None).await));
    }
    let around = |(at, _): &(Instant, _)| [-1, 0, 1].map(|millis| at.plus_millis(millis));
    for instant in copies.iter().flat_map(around) {
        let copy = copies.iter().rev().find(|(at, _)| *at <= instant).map_or(&nothing, |(_, copy)| copy);
        prop_assert_eq!(&answers(store, Some(instant)).await, copy, "as of {}", instant);
    }
    Ok(())
}

/// Random corrections, withdrawals, merges and rows that come again, on a fresh store each. `TIDEGATE_SEED` repeats a
/// run.
pub fn random_histories<F: Future<Output = Fresh>>(fresh: impl Fn() -> F) {
    let seed = crate::world::seed("reads as of the past");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = if crate::world::is_long() { 1_000 } else { 24 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let checked = runner.run(&history(), |history| {
        runtime.block_on(async {
            let fresh = fresh().await;
            check(&*fresh.store, &history).await
        })
    });
    checked.unwrap();
}

pub async fn what_was_believed_is_read_as_of_then(store: &dyn Store) {
    let steps: [(i8, &[Quote]); 5] = [
        (2, &[("000001.SZ", 2, Some(1), None), ("600000.SH", 2, Some(2), None)]),
        (4, &[("000001.SZ", 2, Some(3), None), ("600000.SH", 2, Some(2), None)]),
        (6, &[("600000.SH", 2, Some(2), None)]),
        (8, &[("000001.SZ", 2, Some(1), None), ("600000.SH", 2, Some(2), None)]),
        // The clock was set back.
        (5, &[("000001.SZ", 2, Some(9), None)]),
    ];
    for (of_january, rows) in steps {
        let changes = vec![Change::Rows(quotes_of_day(2, rows))];
        store.commit(Commit { at: at(of_january), fence: None, changes }).await.unwrap();
    }
    let row = |code: &str, close: &str| format!("{code}|{close}");
    for (of_january, expected) in [
        (1, vec![]),
        (2, vec![row("000001.SZ", "0.01"), row("600000.SH", "0.02")]),
        (3, vec![row("000001.SZ", "0.01"), row("600000.SH", "0.02")]),
        (4, vec![row("000001.SZ", "0.03"), row("600000.SH", "0.02")]),
        // The last commit up to the sixth is the one of the fifth, and it came after all the others.
        (5, vec![row("000001.SZ", "0.09")]),
        (6, vec![row("000001.SZ", "0.09")]),
        (9, vec![row("000001.SZ", "0.09")]),
    ] {
        let query = Query {
            columns: vec!["ts_code".into(), "close".into()],
            as_of: Some(at(of_january)),
            ..Query::all("quotes")
        };
        assert_eq!(texts(store, &query).await.unwrap(), expected, "as of the {of_january}th");
    }
    let unknown = Query { as_of: Some(at(2)), ..Query::all("nothing") };
    assert_eq!(texts(store, &unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}
