//! What every store must do when several processes work on it: laws of the suite about leases and places. Instants count
//! as distances from the commit's own, so that a store may go by its own clock.

use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit, request};

async fn running(store: &dyn Store) -> (TaskId, Result<Fence>) {
    let created = commit(store, vec![Change::Task(Task::new("quotes", request(), at(1)))]).await.unwrap();
    let id = created.tasks[0].task;
    (id, take(store, id, "one", 3_600).await)
}

async fn take(store: &dyn Store, task: TaskId, worker: &str, seconds: i64) -> Result<Fence> {
    let lease = Some(Lease { worker: worker.to_owned(), until: at(20).plus_seconds(seconds) });
    commit(store, vec![Change::TakeTask { task, lease }]).await.map(|receipt| receipt.tasks[0])
}

pub async fn a_leased_task_is_its_workers_until_the_lease_ends(store: &dyn Store) {
    let (id, first) = running(store).await;
    let first = first.unwrap();
    assert_eq!(store.task(id).await.unwrap().unwrap().lease.unwrap().worker, "one");
    let refused = take(store, id, "two", 3_600).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.message().contains("is run by one"), "{refused}");
    let renew = |fence: Fence, seconds: i64| {
        let changes = vec![Change::RenewTask { until: at(20).plus_seconds(seconds) }];
        store.commit(Commit { at: at(20), fence: Some(fence), changes })
    };
    renew(first, 7_200).await.unwrap();
    assert!(take(store, id, "two", 3_600).await.is_err());
    // Its worker lets it go.
    renew(first, 0).await.unwrap();
    let second = take(store, id, "two", 3_600).await.unwrap();
    assert_eq!(second.fence, first.fence + 1);
    let late = renew(first, 3_600).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert_eq!(store.task(id).await.unwrap().unwrap().lease.unwrap().worker, "two");
    let mut paused = store.task(id).await.unwrap().unwrap();
    paused.state = TaskState::Paused;
    commit(store, vec![Change::Task(paused)]).await.unwrap();
    assert_eq!(store.task(id).await.unwrap().unwrap().lease, None, "a task that nobody runs is nobody's");
    take(store, id, "three", 3_600).await.unwrap();
}

pub async fn places_are_shared_and_never_more_than_the_limits(store: &dyn Store) {
    let ask = async |api: &str, per_minute: Option<u32>, per_day: Option<u64>| {
        let (source, api) = ("tushare".to_owned(), api.to_owned());
        let take = Change::TakePlace { source, api, per_minute, per_day, held_until: at(20).plus_seconds(30) };
        commit(store, vec![take]).await.unwrap().places[0]
    };
    let Place::Taken(first) = ask("daily", Some(2), None).await else { panic!("the first place is free") };
    let Place::Taken(_) = ask("daily", Some(2), None).await else { panic!("the second place is free") };
    let Place::FreeAt(until) = ask("daily", Some(2), None).await else { panic!("there are two places") };
    let wait = until.millis_since(at(20));
    assert!((60_000..=90_000).contains(&wait), "an unanswered place is free a minute after it was held: {wait}");
    assert!(matches!(ask("weekly", Some(2), None).await, Place::Taken(_)), "each API has its own");
    let answer = |free_at: Instant| commit(store, vec![Change::AnswerPlace { place: first, free_at }]);
    answer(at(20).plus_seconds(10)).await.unwrap();
    let Place::FreeAt(until) = ask("daily", Some(2), None).await else { panic!("it is not free yet") };
    assert!((0..=10_000).contains(&until.millis_since(at(20))));
    answer(at(20).plus_seconds(-1)).await.unwrap();
    assert!(matches!(ask("daily", Some(2), None).await, Place::Taken(_)), "an answered place comes back");
    // Three were given away for the day, whatever became of them.
    assert!(matches!(ask("daily", None, Some(4)).await, Place::Taken(_)));
    assert_eq!(ask("daily", None, Some(4)).await, Place::DayUsed);
    let used = store.quota_used("tushare", at(20).day()).await.unwrap();
    assert_eq!(used, [("daily".to_owned(), 4), ("weekly".to_owned(), 1)]);
}
