//! What every store must say of the sources of its rows, and of the runs of a slot: laws of the suite.

use std::sync::Arc;

use tidegate::model::task::Request;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit, commit_rows, january, quotes_of_day};

/// `tushare 2 2024-01-03`: source, rows, newest day.
async fn by_source(store: &dyn Store) -> Vec<String> {
    let counted = store.rows_by_source("quotes").await.unwrap();
    let text = |rows: &tidegate::store::SourceRows| {
        format!("{} {} {}", rows.source, rows.rows, rows.last_day.map_or(String::new(), |day| day.to_string()))
    };
    counted.rows.iter().map(text).collect()
}

pub async fn rows_are_counted_by_the_source_that_wrote_them_last(store: &dyn Store) {
    assert!(by_source(store).await.is_empty());
    assert_eq!(store.rows_by_source("nothing").await.unwrap_err().kind(), ErrorKind::NotFound);
    let row = |code, of_january, close| (code, of_january, Some(close), None);
    commit_rows(store, quotes_of_day(2, &[row("a", 2, 1), row("b", 2, 2)])).await;
    commit_rows(store, quotes_of_day(3, &[row("a", 3, 3)])).await;
    assert_eq!(by_source(store).await, ["tushare 3 2024-01-03"]);
    let of_other = |of_january, rows: &[_]| RowsChange {
        source: Arc::from("baostock"),
        rank: 2,
        ..quotes_of_day(of_january, rows)
    };
    // A worse source changes nothing that is there, and adds what is not.
    commit_rows(store, of_other(3, &[row("a", 3, 9)])).await;
    commit_rows(store, of_other(4, &[row("a", 4, 4), row("b", 4, 5)])).await;
    assert_eq!(by_source(store).await, ["baostock 2 2024-01-04", "tushare 3 2024-01-03"]);
    assert_eq!(by_source(store).await, by_source(store).await, "asked again it is the same");
    // The better one takes a row over, and one goes.
    commit_rows(store, quotes_of_day(4, &[row("a", 4, 44)])).await;
    assert_eq!(by_source(store).await, ["tushare 4 2024-01-04"]);
    commit_rows(store, quotes_of_day(4, &[])).await;
    assert_eq!(by_source(store).await, ["tushare 3 2024-01-03"]);
}

pub async fn a_task_knows_what_each_source_inserted_and_updated(store: &dyn Store) {
    let request = Request::everything();
    let created = commit(store, vec![Change::Task(Task::new("quotes", request, at(1)))]).await.unwrap();
    let task = created.tasks[0].task;
    let fence = commit(store, vec![Change::TakeTask { task, lease: None }]).await.unwrap().tasks[0];
    let row = |close| [("a", 2, Some(close), None), ("b", 2, Some(7), None)];
    for (source, rank, rows) in [("baostock", 2, row(1)), ("tushare", 1, row(2)), ("tushare", 1, row(2))] {
        let change = RowsChange { source: Arc::from(source), rank, area: january(2), ..quotes_of_day(2, &rows) };
        let progress = Totals { slices_done: 1, ..Totals::default() };
        let changes = vec![Change::Rows(change), Change::Progress(progress)];
        store.commit(Commit { at: at(20), fence: Some(fence), changes }).await.unwrap();
    }
    let totals = store.task(task).await.unwrap().unwrap().totals;
    let of = |source: &str| (totals.by_source[source].inserted, totals.by_source[source].updated);
    assert_eq!((of("baostock"), totals.rows_inserted, totals.slices_done), ((2, 0), 2, 3));
    assert_eq!(of("tushare").0 + of("tushare").1, totals.rows_updated, "{totals:?}");
    assert!(totals.rows_updated > 0);
}

pub async fn runs_are_found_by_their_slot_and_those_beside_it(store: &dyn Store) {
    let run = |slot: Option<&str>| {
        let slot = slot.map(str::to_owned);
        Change::Run(Run { slot, ..Run::new(Work::default(), "cli", "", at(10)) })
    };
    for slot in [Some("sync"), Some("sync:1"), Some("syncs"), Some("job:sync"), None, Some("sync:2")] {
        commit(store, vec![run(slot)]).await.unwrap();
    }
    let found = async |slot: &str, limit| -> Vec<String> {
        let wanted = RunsWanted { slot: Some(slot.to_owned()), limit, ..RunsWanted::default() };
        store.runs(&wanted).await.unwrap().into_iter().map(|run| run.slot.unwrap_or_default()).collect()
    };
    assert_eq!(found("sync", 10).await, ["sync:2", "sync:1", "sync"]);
    assert_eq!(found("sync", 2).await, ["sync:2", "sync:1"]);
    assert_eq!(found("s", 10).await, [""; 0]);
    assert_eq!(found("%", 10).await, [""; 0]);
    assert_eq!(found("job", 10).await, ["job:sync"]);
}
