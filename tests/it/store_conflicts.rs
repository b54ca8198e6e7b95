//! What every store must do when an answer differs from a stored row: laws of the suite about conflict rules.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::json;
use tidegate::model::change::Write;
use tidegate::model::dataset::FieldRule;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::*;

fn by(write: Write, rank: u8, rows: &[Quote]) -> RowsChange {
    RowsChange { write, rank, source: Arc::from(format!("source{rank}")), ..quotes_of_day(2, rows) }
}

fn one(close: Option<i128>, amount: Option<i128>) -> Vec<Quote> {
    vec![("000001.SZ", 2, close, amount)]
}

async fn revisions(store: &dyn Store) -> usize {
    // A past instant between the commits cannot tell: all commits of the suite happen at the same time. The log can.
    let events = store.events(0, 10_000).await.unwrap();
    let updated = |event: &Event| event.data["updated"].as_u64().unwrap_or(0) as usize;
    events.iter().map(updated).sum()
}

pub async fn merging_follows_the_rule_of_each_column(store: &dyn Store) {
    let merged = |close: FieldRule, amount: FieldRule, rank: u8, rows: Vec<Quote>| {
        let mut dataset = (*quotes()).clone();
        dataset.policy.fields = [("close".to_owned(), close), ("amount".to_owned(), amount)].into();
        RowsChange { dataset: Arc::new(dataset), ..by(Write::Merge, rank, &rows) }
    };
    use FieldRule::*;
    for (close, amount, rank, rows, expected_counts, expected) in [
        (Max, Min, 1, one(Some(10), Some(90_000)), [1, 0, 0, 0, 0], "0.1|9"),
        (Max, Min, 1, one(Some(9), Some(100_000)), [0, 0, 1, 0, 0], "0.1|9"),
        (Max, Min, 1, one(Some(100), Some(80_000)), [0, 1, 0, 0, 0], "1|8"),
        (Max, Min, 1, one(None, None), [0, 0, 1, 0, 0], "1|8"),
        (KeepFirst, KeepLast, 1, one(Some(7), None), [0, 1, 0, 0, 0], "1|-"),
        (KeepLast, KeepFirst, 1, one(None, Some(5)), [0, 1, 0, 0, 0], "-|0.0005"),
        (KeepFirst, KeepFirst, 1, one(Some(3), Some(4)), [0, 1, 0, 0, 0], "0.03|0.0005"),
        (PreferNonNull, PreferNonNull, 1, one(None, Some(6)), [0, 1, 0, 0, 0], "0.03|0.0006"),
        // A rule that is written down counts whatever the rank.
        (Max, PreferNonNull, 2, one(Some(50), Some(1)), [0, 1, 0, 0, 0], "0.5|0.0001"),
    ] {
        let change = merged(close, amount, rank, rows.clone());
        assert_eq!(counts(commit_rows(store, change.clone()).await), expected_counts, "{close:?} {amount:?} {rows:?}");
        assert_eq!(all_quotes(store).await, [format!("000001.SZ|2024-01-02|{expected}")]);
        assert_eq!(counts(commit_rows(store, change).await), [0, 0, 1, 0, 0], "the same again changes nothing");
    }
    let mut only_close = merged(Max, Max, 1, vec![]);
    Arc::make_mut(&mut only_close.dataset).policy.fields.remove("amount");
    let change = RowsChange { batch: quote_batch(&one(None, None)), ..only_close };
    assert_eq!(counts(commit_rows(store, change).await), [0, 0, 1, 0, 0], "a column without a rule prefers a value");
    assert_eq!(store.coverage("quotes").await.unwrap().rows_by_day, [(day("20240102"), 1)]);
}

pub async fn the_first_write_wins_where_the_rule_says_so(store: &dyn Store) {
    commit_rows(store, by(Write::FirstWins, 2, &one(Some(1), None))).await;
    let second = vec![("000001.SZ", 2, Some(2), Some(5)), ("000002.SZ", 2, Some(3), None)];
    assert_eq!(counts(commit_rows(store, by(Write::FirstWins, 1, &second)).await), [1, 0, 1, 0, 0]);
    assert_eq!(counts(commit_rows(store, by(Write::FirstWins, 1, &[])).await), [0; 5], "absence withdraws nothing");
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.01|-", "000002.SZ|2024-01-02|0.03|-"]);
    assert_eq!(revisions(store).await, 0);
}

pub async fn the_last_fetch_wins_where_the_rule_says_so(store: &dyn Store) {
    let fetched = |of_january: i8, rank: u8, rows: Vec<Quote>| RowsChange {
        fetched_at: at(of_january),
        ..by(Write::LastWins, rank, &rows)
    };
    for (of_january, rank, rows, expected_counts, expected) in [
        (10, 1, one(Some(1), Some(1)), [1, 0, 0, 0, 0], "0.01|0.0001"),
        (11, 3, one(Some(2), None), [0, 1, 0, 0, 0], "0.02|-"),
        // An answer that was fetched earlier and comes in later.
        (10, 1, one(Some(9), Some(9)), [0, 0, 1, 0, 0], "0.02|-"),
        (12, 2, one(Some(2), None), [0, 0, 1, 0, 0], "0.02|-"),
        (12, 2, one(Some(4), None), [0, 1, 0, 0, 0], "0.04|-"),
        (13, 2, vec![], [0, 0, 0, 0, 0], "0.04|-"),
    ] {
        assert_eq!(
            counts(commit_rows(store, fetched(of_january, rank, rows.clone())).await),
            expected_counts,
            "{rows:?}"
        );
        assert_eq!(all_quotes(store).await, [format!("000001.SZ|2024-01-02|{expected}")]);
    }
}

/// Two rows are stored; another source offers one that agrees, one that differs and one that is new.
async fn offer(store: &dyn Store) -> RowsChange {
    let stored = vec![("000001.SZ", 2, Some(1050), Some(12_345)), ("000002.SZ", 2, Some(2), None)];
    assert_eq!(counts(commit_rows(store, by(Write::Manual, 1, &stored)).await), [2, 0, 0, 0, 0]);
    let offered =
        vec![("000001.SZ", 2, Some(1051), None), ("000002.SZ", 2, Some(2), None), ("000003.SZ", 2, Some(3), None)];
    let offered = by(Write::Manual, 2, &offered);
    let done = commit_rows(store, offered.clone()).await;
    assert_eq!((counts(done), done.conflicting), ([1, 0, 1, 0, 0], 1));
    offered
}

pub async fn a_row_that_differs_waits_beside_the_stored_one_until_a_person_decides(store: &dyn Store) {
    let offered = offer(store).await;
    let before = all_quotes(store).await;
    assert_eq!(before[0], "000001.SZ|2024-01-02|10.5|1.2345", "what is stored stays");
    assert_eq!(before.len(), 3);
    let waiting = store.conflicts(Some("quotes"), false, 10).await.unwrap();
    let [conflict] = &waiting[..] else { panic!("one conflict, not {}", waiting.len()) };
    assert_eq!(conflict.key, json!({ "ts_code": "000001.SZ", "trade_date": "2024-01-02" }));
    assert_eq!((conflict.source.as_str(), conflict.rank, conflict.at), ("source2", 2, at(20)));
    let differences = conflict.differences();
    assert_eq!(differences[0], ("amount", &json!("1.2345"), &json!(null)));
    assert_eq!(differences[1], ("close", &json!("10.5"), &json!("10.51")));
    let events = store.events(0, 100).await.unwrap();
    let told = events.iter().find(|event| event.kind == EventType::RowsConflicting).unwrap();
    assert_eq!(told.data["rows"], 1);
    // Offered again: the same conflict, once.
    assert_eq!(commit_rows(store, offered.clone()).await.conflicting, 1);
    assert_eq!(store.conflicts(None, false, 10).await.unwrap().len(), 1);
    let resolve = || vec![Change::ResolveConflict { id: conflict.id, take: Take::Stored }];
    let last_event = commit(store, resolve()).await.unwrap().last_event;
    assert_eq!(commit(store, resolve()).await.unwrap().last_event, last_event, "asking twice is asking once");
    assert!(store.conflicts(None, false, 10).await.unwrap().is_empty());
    let decided = store.conflict(conflict.id).await.unwrap().unwrap();
    assert_eq!(decided.resolution, Some(Resolution::Taken(Take::Stored)));
    assert_eq!(decided.resolved_at, Some(at(20)));
    // The same offer is decided; another one of the same source is not.
    let again = commit_rows(store, offered).await;
    assert_eq!((counts(again), again.conflicting), ([0, 0, 3, 0, 0], 0));
    assert_eq!(commit_rows(store, by(Write::Manual, 2, &one(Some(1052), None))).await.conflicting, 1);
    assert_eq!(store.conflicts(None, true, 10).await.unwrap().len(), 2);
    assert_eq!(all_quotes(store).await, before);
    let missing = vec![Change::ResolveConflict { id: 99, take: Take::Stored }];
    assert_eq!(commit(store, missing).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn the_offered_row_can_be_taken(store: &dyn Store) {
    offer(store).await;
    let waiting = store.conflicts(None, false, 10).await.unwrap().remove(0);
    let taken = tidegate::engine::conflicts::taking_offered(&quotes(), &waiting, at(21)).unwrap();
    let changes = vec![Change::Rows(taken), Change::ResolveConflict { id: waiting.id, take: Take::Offered }];
    let receipt = commit(store, changes).await.unwrap();
    assert_eq!(counts(receipt.rows[0]), [0, 1, 0, 0, 0]);
    assert_eq!(all_quotes(store).await[0], "000001.SZ|2024-01-02|10.51|-");
    let ended = store.conflict(waiting.id).await.unwrap().unwrap();
    assert_eq!(ended.resolution, Some(Resolution::Taken(Take::Offered)));
    // The first source offers its old row: that is a conflict again, the other way round.
    assert_eq!(commit_rows(store, by(Write::Manual, 1, &one(Some(1050), Some(12_345)))).await.conflicting, 1);
}

pub async fn a_source_that_agrees_again_settles_its_conflict(store: &dyn Store) {
    offer(store).await;
    let other = by(Write::Manual, 3, &one(Some(1049), None));
    assert_eq!(commit_rows(store, other).await.conflicting, 1);
    assert_eq!(commit_rows(store, by(Write::Manual, 2, &one(Some(1050), Some(12_345)))).await.conflicting, 0);
    let all = store.conflicts(None, true, 10).await.unwrap();
    let ends: Vec<_> = all.iter().map(|conflict| (conflict.source.as_str(), conflict.resolution)).collect();
    assert_eq!(ends, [("source3", None), ("source2", Some(Resolution::Agreed))]);
}

pub async fn a_column_that_the_source_lacks_takes_no_part_in_a_conflict(store: &dyn Store) {
    let lacking = |write: Write, close: i128| RowsChange {
        lacks: vec![3],
        fetched_at: at(21),
        ..by(write, 2, &one(Some(close), None))
    };
    commit_rows(store, by(Write::Manual, 1, &one(Some(10), Some(5)))).await;
    let agreed = commit_rows(store, lacking(Write::Manual, 10)).await;
    assert_eq!((counts(agreed), agreed.conflicting), ([0, 0, 1, 0, 0], 0), "what it has is equal");
    assert_eq!(commit_rows(store, lacking(Write::Manual, 11)).await.conflicting, 1);
    let waiting = store.conflicts(None, false, 10).await.unwrap().remove(0);
    assert_eq!(waiting.differences(), [("close", &json!("0.1"), &json!("0.11"))]);
    // Taking the offer leaves what it does not have.
    let taken = tidegate::engine::conflicts::taking_offered(&quotes(), &waiting, at(22)).unwrap();
    let changes = vec![Change::Rows(taken), Change::ResolveConflict { id: waiting.id, take: Take::Offered }];
    commit(store, changes).await.unwrap();
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.11|0.0005"]);
    assert_eq!(
        counts(commit_rows(store, RowsChange { fetched_at: at(23), ..lacking(Write::LastWins, 12) }).await),
        [0, 1, 0, 0, 0]
    );
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.12|0.0005"]);
}

/// Contracts with the version of the source, and when they were taken over.
fn contracts() -> Arc<Dataset> {
    dataset(
        r#"
        name = "contracts"
        key = ["contract_no"]
        time = "signed_on"
        shape = "sparse"
        universe = "market"
        columns = [
            { name = "contract_no", type = "text", unit = "", meaning = "", meaning_zh = "" },
            { name = "signed_on", type = "date", unit = "", meaning = "", meaning_zh = "", nullable = true },
            { name = "amount", type = "decimal", scale = 2, unit = "CNY", meaning = "", meaning_zh = "", nullable = true },
            { name = "source_version", type = "int", unit = "", meaning = "", meaning_zh = "", nullable = true },
            { name = "synced_at", type = "datetime", unit = "", meaning = "", meaning_zh = "", nullable = true },
        ]
        "#,
    )
}

/// A contract of one version, taken over in that second of a January day.
fn contract(write: Write, rank: u8, amount: &str, version: Option<i64>, second: u8) -> RowsChange {
    let row = json!({
        "contract_no": "HT-1", "signed_on": format!("2024-01-{:02}", second.clamp(1, 28)), "amount": amount,
        "source_version": version, "synced_at": format!("2024-01-02T10:00:{second:02}+08:00"),
    });
    RowsChange {
        dataset: contracts(),
        area: Area::whole(),
        batch: conflict::batch_of(&contracts(), &row).unwrap(),
        write,
        rank,
        source: Arc::from("inbound:tax"),
        claim: None,
        ..quotes_of_day(2, &[])
    }
}

fn newer(rank: u8, amount: &str, version: impl Into<Option<i64>>, second: u8) -> RowsChange {
    contract(Write::NewerVersion { version: 3, noted: vec![1, 4] }, rank, amount, version.into(), second)
}

async fn all_contracts(store: &dyn Store) -> Vec<String> {
    let batches = store.scan(&Query::all("contracts")).await.unwrap();
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(batches).await.unwrap();
    let text = |batch: &RecordBatch, row: usize| {
        let cells = [2, 3].map(|column| {
            let mut out = Vec::new();
            tidegate::model::cell::Cells::of(batch.column(column)).unwrap().write(row, 0, &mut out);
            String::from_utf8(out).unwrap()
        });
        cells.join(" v")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row)).collect::<Vec<_>>()).collect()
}

pub async fn an_older_version_never_overwrites_a_newer_one(store: &dyn Store) {
    store.prepare(&[contracts()]).await.unwrap();
    for (rank, amount, version, expected_counts, expected) in [
        (1, "1.00", Some(2), [1, 0, 0, 0, 0], "1 v2"),
        (1, "9.00", Some(1), [0, 0, 1, 0, 0], "1 v2"),
        (1, "9.00", None, [0, 0, 1, 0, 0], "1 v2"),
        (1, "1.00", Some(2), [0, 0, 1, 0, 0], "1 v2"),
        // A worse source with a newer version counts all the same, and versions are compared as numbers.
        (5, "3.50", Some(10), [0, 1, 0, 0, 0], "3.5 v10"),
        (1, "8.00", Some(9), [0, 0, 1, 0, 0], "3.5 v10"),
    ] {
        let done = commit_rows(store, newer(rank, amount, version, 7)).await;
        assert_eq!((counts(done), done.conflicting), (expected_counts, 0), "{amount} {version:?}");
        assert_eq!(all_contracts(store).await, [expected]);
    }
    let days = store.coverage("contracts").await.unwrap().rows_by_day;
    assert_eq!(days, [(day("20240107"), 1)]);
}

pub async fn another_content_of_the_same_version_waits_until_a_newer_one_comes(store: &dyn Store) {
    store.prepare(&[contracts()]).await.unwrap();
    commit_rows(store, newer(1, "1.00", 2, 1)).await;
    // When it was taken over makes no difference.
    let again = commit_rows(store, newer(1, "1.00", 2, 59)).await;
    assert_eq!((counts(again), again.conflicting), ([0, 0, 1, 0, 0], 0));
    let other = commit_rows(store, newer(1, "1.01", 2, 5)).await;
    assert_eq!((counts(other), other.conflicting), ([0; 5], 1));
    assert_eq!(all_contracts(store).await, ["1 v2"]);
    let waiting = store.conflicts(Some("contracts"), false, 9).await.unwrap();
    let [conflict] = &waiting[..] else { panic!("one conflict, not {}", waiting.len()) };
    assert_eq!(conflict.differences(), [("amount", &json!("1"), &json!("1.01"))]);
    commit_rows(store, newer(1, "0.50", 1, 6)).await;
    assert_eq!(store.conflicts(None, false, 9).await.unwrap().len(), 1, "an older version settles nothing");
    assert_eq!(counts(commit_rows(store, newer(1, "2.00", 3, 6)).await), [0, 1, 0, 0, 0]);
    assert!(store.conflicts(None, false, 9).await.unwrap().is_empty());
    assert_eq!(all_contracts(store).await, ["2 v3"]);
}

pub async fn rows_that_are_named_are_withdrawn_and_no_others(store: &dyn Store) {
    store.prepare(&[contracts(), quotes()]).await.unwrap();
    commit_rows(store, newer(1, "1.00", 2, 1)).await;
    commit_rows(store, by(Write::Upsert, 1, &[("000001.SZ", 2, Some(1), None), ("000002.SZ", 3, Some(2), None)])).await;
    let named = by(Write::Withdraw, 9, &[("000002.SZ", 3, None, None), ("000009.SZ", 3, None, None)]);
    assert_eq!(counts(commit_rows(store, named.clone()).await), [0, 0, 0, 1, 0]);
    assert_eq!(counts(commit_rows(store, named).await), [0; 5], "asking twice is asking once");
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.01|-"]);
    assert_eq!(store.coverage("quotes").await.unwrap().rows_by_day, [(day("20240102"), 1)]);
    // In one commit, a change sees what those before it did.
    let ended = contract(Write::Withdraw, 1, "0", Some(0), 1);
    let changes =
        vec![Change::Rows(newer(1, "7.00", 3, 2)), Change::Rows(ended.clone()), Change::Rows(newer(1, "8.00", 1, 3))];
    let receipt = commit(store, changes).await.unwrap();
    let all: Vec<_> = receipt.rows.iter().map(|done| counts(*done)).collect();
    assert_eq!(all, [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]);
    assert_eq!(all_contracts(store).await, ["8 v1"]);
}
