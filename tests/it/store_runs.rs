//! What every store must do with runs, definitions and the journal, and how what they are about is found again: laws of
//! the suite.

use serde_json::json;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit, commit_rows, day, quotes_of_day, request};

fn asked() -> Run {
    Run::new(Work::sync(["daily"]), "cli", "asked by hand", at(10))
}

fn of_job(job: &str, due: i8) -> Run {
    Run { job: Some(job.to_owned()), due_at: Some(at(due)), asked_by: "schedule".to_owned(), ..asked() }
}

async fn ask(store: &dyn Store, run: Run) -> Result<RunId> {
    Ok(commit(store, vec![Change::Run(run)]).await?.runs[0].run)
}

async fn stored(store: &dyn Store, id: RunId) -> Run {
    store.run(id).await.unwrap().unwrap()
}

async fn take(store: &dyn Store, run: RunId, lease: Option<Lease>) -> Result<RunFence> {
    Ok(commit(store, vec![Change::TakeRun { run, lease }]).await?.runs[0])
}

fn lease(worker: &str, seconds: i64) -> Option<Lease> {
    Some(Lease { worker: worker.to_owned(), until: at(20).plus_seconds(seconds) })
}

async fn rewrite(store: &dyn Store, id: RunId, state: RunState) -> Result<Receipt> {
    let run = Run { state, ..stored(store, id).await };
    commit(store, vec![Change::Run(run)]).await
}

fn refused(result: Result<impl std::fmt::Debug>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    error.message().to_owned()
}

/// Kind and data of every event from the first on.
async fn events(store: &dyn Store) -> Vec<(&'static str, serde_json::Value)> {
    let events = store.events(0, 100).await.unwrap();
    events.into_iter().map(|event| (event.kind.name(), event.data)).collect()
}

fn wanted(limit: usize) -> RunsWanted {
    RunsWanted { limit, ..RunsWanted::default() }
}

async fn ids(store: &dyn Store, wanted: RunsWanted) -> Vec<RunId> {
    store.runs(&wanted).await.unwrap().iter().map(|run| run.id).collect()
}

pub async fn a_run_is_kept_as_it_was_asked_for_and_rewritten_as_it_goes(store: &dyn Store) {
    let work = Work {
        codes: vec!["000001.SZ".into()],
        days_back: Some(3),
        force: true,
        ..Work::sync(["daily", "adj_factor"])
    };
    let run =
        Run { work, slot: Some("sync".into()), note: Some("it's \"quoted\"\n中文".into()), ..of_job("nightly", 2) };
    let id = ask(store, run.clone()).await.unwrap();
    assert_eq!(stored(store, id).await, Run { id, ..run.clone() });
    assert_eq!(store.run(id + 1).await.unwrap(), None);
    take(store, id, None).await.unwrap();
    let taken = stored(store, id).await;
    assert_eq!((taken.state, taken.fence, taken.attempt, taken.started_at), (RunState::Running, 1, 1, Some(at(20))));
    let totals = Totals { rows_inserted: 7, ..Totals::default() };
    let ended = Run {
        state: RunState::SuccessWithErrors,
        tasks: vec![3, 4],
        totals,
        finished_at: Some(at(21)),
        note: Some("one table is late".into()),
        ..taken
    };
    commit(store, vec![Change::Run(ended.clone())]).await.unwrap();
    assert_eq!(stored(store, id).await, ended);
    let changed = Run { job: Some("other".into()), slot: None, state: RunState::Failed, ..ended };
    assert!(refused(commit(store, vec![Change::Run(changed)]).await).contains("success_with_errors and stays so"));
    let unknown = commit(store, vec![Change::Run(Run { id: 99, ..asked() })]).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

pub async fn a_job_runs_once_for_an_instant_and_a_slot_has_one_open_run(store: &dyn Store) {
    let first = ask(store, of_job("nightly", 2)).await.unwrap();
    assert!(refused(ask(store, of_job("nightly", 2)).await).contains(&format!("run {first} of job nightly")));
    ask(store, of_job("nightly", 3)).await.unwrap();
    ask(store, of_job("weekly", 2)).await.unwrap();
    rewrite(store, first, RunState::Cancelled).await.unwrap();
    assert!(refused(ask(store, of_job("nightly", 2)).await).contains("nightly"), "once, however it ended");
    // A job that a person triggers has no instant: as often as it is asked for.
    let by_hand = Run { due_at: None, ..of_job("nightly", 2) };
    ask(store, by_hand.clone()).await.unwrap();
    ask(store, by_hand).await.unwrap();

    let slot = |name: &str| Run { slot: Some(name.to_owned()), ..asked() };
    let first = ask(store, slot("sync")).await.unwrap();
    assert!(refused(ask(store, slot("sync")).await).contains(&format!("run {first} is still open in slot sync")));
    ask(store, slot("check")).await.unwrap();
    take(store, first, None).await.unwrap();
    assert!(refused(ask(store, slot("sync")).await).contains("slot sync"), "a running one holds it, too");
    let changes = vec![Change::Event { kind: EventType::SourceSetAside, dataset: None, data: json!({}) }];
    let before = store.events(0, 100).await.unwrap().len();
    refused(commit(store, [changes, vec![Change::Run(slot("sync"))]].concat()).await);
    assert_eq!(store.events(0, 100).await.unwrap().len(), before, "a refused commit leaves nothing");
    rewrite(store, first, RunState::Success).await.unwrap();
    ask(store, slot("sync")).await.unwrap();
    ask(store, Run { state: RunState::Failed, ..slot("sync") }).await.unwrap();
    ask(store, asked()).await.unwrap();
    ask(store, asked()).await.unwrap();
}

pub async fn a_run_is_taken_when_its_time_has_come_and_an_older_worker_is_refused(store: &dyn Store) {
    let later = ask(store, Run { not_before: at(21), ..asked() }).await.unwrap();
    assert!(refused(take(store, later, None).await).contains("does not begin before 2024-01-21"));
    let id = ask(store, asked()).await.unwrap();
    let first = take(store, id, None).await.unwrap();
    assert_eq!(first, RunFence { run: id, fence: 1 });
    let old = stored(store, id).await;
    let second = take(store, id, None).await.unwrap();
    assert_eq!(second.fence, 2, "whoever gives no lease is alone and takes what runs");
    assert_eq!(stored(store, id).await.attempt, 1, "the same attempt goes on");
    let late = Run { state: RunState::Success, ..old };
    assert!(refused(commit(store, vec![Change::Run(late)]).await).contains("taken over"));
    // It failed and waits for its next attempt.
    let waiting =
        Run { state: RunState::Pending, not_before: at(20), note: Some("gone".into()), ..stored(store, id).await };
    commit(store, vec![Change::Run(waiting)]).await.unwrap();
    assert_eq!(stored(store, id).await.lease, None);
    assert_eq!(take(store, id, None).await.unwrap().fence, 3);
    rewrite(store, id, RunState::Failed).await.unwrap();
    assert!(refused(take(store, id, None).await).contains("is failed and stays so"));
    assert_eq!(take(store, 99, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn a_leased_run_is_its_workers_until_the_lease_ends(store: &dyn Store) {
    let id = ask(store, asked()).await.unwrap();
    let renew = async |fence: i64, seconds: i64| {
        let until = at(20).plus_seconds(seconds);
        commit(store, vec![Change::RenewRun { run: id, fence, until }]).await
    };
    assert!(refused(renew(0, 60).await).contains("pending"), "nobody works on it");
    let first = take(store, id, lease("one", 3_600)).await.unwrap();
    assert_eq!(stored(store, id).await.lease.unwrap().worker, "one");
    assert!(refused(take(store, id, lease("two", 3_600)).await).contains("worked on by one"));
    renew(first.fence, 7_200).await.unwrap();
    assert!(take(store, id, lease("two", 3_600)).await.is_err());
    // Progress is written down, and the lease stays.
    rewrite(store, id, RunState::Running).await.unwrap();
    assert!(take(store, id, lease("two", 3_600)).await.is_err());
    // Its worker is gone.
    renew(first.fence, 0).await.unwrap();
    let second = take(store, id, lease("two", 3_600)).await.unwrap();
    assert_eq!((second.fence, stored(store, id).await.lease.unwrap().worker.as_str()), (first.fence + 1, "two"));
    assert!(refused(renew(first.fence, 3_600).await).contains("taken over"));
    renew(second.fence, 3_600).await.unwrap();
    rewrite(store, id, RunState::Success).await.unwrap();
    assert_eq!(stored(store, id).await.lease, None, "a run that nobody works on is nobody's");
    assert!(refused(renew(second.fence, 3_600).await).contains("stays so"));
}

pub async fn a_cancelled_run_stops_its_worker_and_keeps_what_was_done(store: &dyn Store) {
    let id = ask(store, asked()).await.unwrap();
    let seen = stored(store, id).await;
    let fence = take(store, id, lease("one", 3_600)).await.unwrap().fence;
    let work = Run { tasks: vec![5], totals: Totals { calls: 2, ..Totals::default() }, ..stored(store, id).await };
    commit(store, vec![Change::Run(work.clone())]).await.unwrap();
    assert!(
        refused(commit(store, vec![Change::Run(Run { state: RunState::Cancelled, ..seen.clone() })]).await)
            .contains("over")
    );
    // Whoever cancels has read the run before its worker wrote.
    let cancelled =
        Run { fence, state: RunState::Cancelled, finished_at: Some(at(20)), note: Some("by ops".into()), ..seen };
    commit(store, vec![Change::Run(cancelled)]).await.unwrap();
    let kept = stored(store, id).await;
    assert_eq!((kept.state, kept.tasks, kept.totals.calls, kept.lease), (RunState::Cancelled, vec![5], 2, None));
    let until = at(20).plus_seconds(60);
    assert!(refused(commit(store, vec![Change::RenewRun { run: id, fence, until }]).await).contains("cancelled"));
    assert!(
        refused(commit(store, vec![Change::Run(Run { state: RunState::Success, ..work })]).await).contains("cancelled")
    );
}

pub async fn runs_are_listed_newest_first_and_old_ones_forgotten(store: &dyn Store) {
    for due in 1..=4 {
        ask(store, of_job("nightly", due)).await.unwrap();
        ask(store, asked()).await.unwrap();
    }
    let all = ids(store, wanted(100)).await;
    assert!(all.is_sorted_by(|newer, older| newer > older) && all.len() == 8, "{all:?}");
    let nightly: Vec<RunId> = ids(store, RunsWanted { job: Some("nightly".into()), ..wanted(100) }).await;
    assert_eq!(nightly, [all[1], all[3], all[5], all[7]]);
    assert_eq!(ids(store, RunsWanted { before: Some(all[2]), ..wanted(3) }).await, all[3..6]);
    assert!(ids(store, RunsWanted { job: Some("x' or '1".into()), ..wanted(9) }).await.is_empty());
    // All of the job's but the oldest have ended, and the two oldest of the others.
    for id in [all[1], all[3], all[5], all[4], all[6]] {
        rewrite(store, id, RunState::Cancelled).await.unwrap();
    }
    assert_eq!(ids(store, RunsWanted { open: true, ..wanted(100) }).await, [all[0], all[2], all[7]]);
    let open_nightly = RunsWanted { open: true, job: Some("nightly".into()), ..wanted(100) };
    assert_eq!(ids(store, open_nightly).await, [all[7]]);
    commit(store, vec![Change::ForgetRuns { keep: 1 }]).await.unwrap();
    assert_eq!(ids(store, wanted(100)).await, [all[0], all[1], all[2], all[4], all[7]]);
    commit(store, vec![Change::ForgetRuns { keep: 1 }]).await.unwrap();
    assert_eq!(ids(store, wanted(100)).await.len(), 5);
    commit(store, vec![Change::ForgetRuns { keep: 0 }]).await.unwrap();
    assert_eq!(ids(store, wanted(100)).await, [all[0], all[2], all[7]], "open ones are never forgotten");
}

pub async fn runs_say_what_becomes_of_them(store: &dyn Store) {
    let id = ask(store, of_job("nightly", 2)).await.unwrap();
    let fence = take(store, id, lease("one", 60)).await.unwrap().fence;
    rewrite(store, id, RunState::Running).await.unwrap();
    commit(store, vec![Change::RenewRun { run: id, fence, until: at(20) }]).await.unwrap();
    let waiting = Run { state: RunState::Pending, note: Some("the source is down".into()), ..stored(store, id).await };
    commit(store, vec![Change::Run(waiting.clone())]).await.unwrap();
    commit(store, vec![Change::Run(waiting)]).await.unwrap();
    take(store, id, None).await.unwrap();
    rewrite(store, id, RunState::Success).await.unwrap();
    commit(store, vec![Change::ForgetRuns { keep: 0 }]).await.unwrap();
    let due_at = at(2).to_string();
    let finished = |state: &str, attempt: u32| json!({ "run": id, "job": "nightly", "state": state, "attempt": attempt, "note": "the source is down" });
    let started = |fence: i64, worker: Option<&str>| json!({ "run": id, "job": "nightly", "attempt": fence, "fence": fence, "worker": worker });
    let created = json!({ "run": id, "job": "nightly", "due_at": due_at, "asked_by": "schedule", "state": "pending" });
    let expected = [
        ("run.created", created),
        ("run.started", started(1, Some("one"))),
        ("run.finished", finished("pending", 1)),
        ("run.started", started(2, None)),
        ("run.finished", finished("success", 2)),
    ];
    assert_eq!(events(store).await, expected);
    assert!(store.events(0, 9).await.unwrap().iter().all(|event| event.task.is_none() && event.dataset.is_none()));
}

const BODY: &str = "do-not-show-this-body";

fn define(kind: definition::Kind, name: &str, body: serde_json::Value, expect: Option<u64>) -> Vec<Change> {
    vec![Change::Define { kind, name: name.to_owned(), body, expect }]
}

pub async fn definitions_are_changed_as_they_were_read_and_their_bodies_told_nobody(store: &dyn Store) {
    use definition::Kind::*;
    let body = |value: i64| json!({ "secret": BODY, "nested": { "b": value, "a": [1.5, null, "中\u{0}文"] } });
    commit(store, define(Key, "ops", body(1), Some(0))).await.unwrap();
    commit(store, define(Secret, "ops", body(2), None)).await.unwrap();
    commit(store, define(Key, "alice", body(3), None)).await.unwrap();
    let stored = store.definition(Key, "ops").await.unwrap().unwrap();
    let expected = Definition { kind: Key, name: "ops".into(), body: body(1), revision: 1, at: at(20) };
    assert_eq!(stored, expected);
    let names: Vec<_> = store.definitions(Key).await.unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["alice", "ops"]);
    for (expect, ok) in [(Some(0), false), (Some(2), false), (Some(1), true), (Some(1), false), (None, true)] {
        let changed = commit(store, define(Key, "ops", body(4), expect)).await;
        assert_eq!(changed.is_ok(), ok, "{expect:?}");
        if let Err(error) = changed {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(!format!("{error:?}").contains(BODY), "{error:?}");
        }
    }
    assert!(refused(commit(store, define(Job, "nightly", body(1), Some(1))).await).contains("nightly"));
    for name in ["", "a\0b", "a\nb"] {
        let error = commit(store, define(Key, name, body(1), None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
        assert_eq!(store.definition(Key, name).await.unwrap(), None);
        commit(store, vec![Change::Undefine { kind: Key, name: name.to_owned() }]).await.unwrap();
    }
    assert_eq!(store.definition(Key, "ops").await.unwrap().unwrap().revision, 3);
    for _ in 0..2 {
        commit(store, vec![Change::Undefine { kind: Key, name: "ops".into() }]).await.unwrap();
    }
    assert_eq!(store.definition(Key, "ops").await.unwrap(), None);
    assert!(store.definition(Secret, "ops").await.unwrap().is_some(), "names of another kind are others");
    let of = |kind: &str, name: &str, revision: u64| {
        ("definition.changed", json!({ "kind": kind, "name": name, "revision": revision }))
    };
    let removed = json!({ "kind": "key", "name": "ops", "revision": 3, "removed": true });
    let ops =
        [of("key", "ops", 1), of("secret", "ops", 1), of("key", "alice", 1), of("key", "ops", 2), of("key", "ops", 3)];
    assert_eq!(events(store).await, [&ops[..], &[("definition.changed", removed)]].concat());
}

fn entry(journal: Journal, level: Level, target: &str, text: &str) -> JournalEntry {
    JournalEntry {
        id: 0,
        at: at(10),
        journal,
        level,
        who: "ops".into(),
        target: target.into(),
        text: text.into(),
        task: None,
        data: json!({ "took_ms": 12 }),
    }
}

pub async fn the_journal_is_filtered_paged_and_forgotten(store: &dyn Store) {
    use Level::*;
    let full = JournalEntry {
        task: Some(7),
        data: json!({ "b": [1, "中\u{0}文"], "a": null }),
        ..entry(Journal::Log, Error, "tidegate::source", "The source is DOWN 中文")
    };
    let entries = [
        full.clone(),
        entry(Journal::Log, Info, "tidegate::serve", "100%_done"),
        entry(Journal::Audit, Warn, "job nightly", "paused"),
        JournalEntry { at: at(12), task: Some(7), ..entry(Journal::Log, Debug, "tidegate::engine", "asked") },
        JournalEntry { at: at(12), ..entry(Journal::Log, Trace, "zero", "a\0b") },
    ];
    commit(store, entries.map(Change::Journal).to_vec()).await.unwrap();
    let all = JournalWanted { journal: Journal::Log, level: Trace, task: None, text: None, before: None, limit: 100 };
    let found = store.journal(&all).await.unwrap();
    let targets = |found: &[JournalEntry]| found.iter().map(|entry| entry.target.clone()).collect::<Vec<_>>();
    assert_eq!(targets(&found), ["zero", "tidegate::engine", "tidegate::serve", "tidegate::source"]);
    assert_eq!(found[3], JournalEntry { id: found[3].id, ..full });
    let search = async |wanted: JournalWanted| targets(&store.journal(&wanted).await.unwrap());
    let text = |text: &str| JournalWanted { text: Some(text.to_owned()), ..all.clone() };
    for (wanted, expected) in [
        (JournalWanted { journal: Journal::Audit, ..all.clone() }, vec!["job nightly"]),
        (JournalWanted { level: Info, ..all.clone() }, vec!["tidegate::serve", "tidegate::source"]),
        (JournalWanted { level: Error, ..all.clone() }, vec!["tidegate::source"]),
        (JournalWanted { task: Some(7), ..all.clone() }, vec!["tidegate::engine", "tidegate::source"]),
        (JournalWanted { task: Some(8), ..all.clone() }, vec![]),
        (text("down"), vec!["tidegate::source"]),
        (text("中文"), vec!["tidegate::source"]),
        (text("TIDEGATE::S"), vec!["tidegate::serve", "tidegate::source"]),
        (text("%_D"), vec!["tidegate::serve"]),
        (text("_%"), vec![]),
        (text("' or '1'='1"), vec![]),
        (JournalWanted { limit: 1, ..all.clone() }, vec!["zero"]),
        (
            JournalWanted { limit: 2, before: Some(found[0].id), ..all.clone() },
            vec!["tidegate::engine", "tidegate::serve"],
        ),
        (JournalWanted { before: Some(found[3].id), ..all.clone() }, vec![]),
    ] {
        assert_eq!(search(wanted.clone()).await, expected, "{wanted:?}");
    }
    commit(store, vec![Change::ForgetJournal { journal: Journal::Log, before: at(11) }]).await.unwrap();
    assert_eq!(search(all.clone()).await, ["zero", "tidegate::engine"]);
    assert_eq!(search(JournalWanted { journal: Journal::Audit, ..all }).await, ["job nightly"]);
    assert!(store.events(0, 9).await.unwrap().is_empty(), "a record is no fact of the data");
}

pub async fn whoever_waits_is_told_of_commits(store: &dyn Store) {
    let mut committed = store.committed();
    let before = *committed.borrow_and_update();
    let last = commit(store, vec![Change::Run(asked())]).await.unwrap().last_event;
    assert!(committed.has_changed().unwrap() && last > before);
    assert_eq!(*committed.borrow_and_update(), last);
    commit(store, vec![Change::Journal(entry(Journal::Log, Level::Info, "", ""))]).await.unwrap();
    take(store, 99, None).await.unwrap_err();
    assert!(!committed.has_changed().unwrap(), "nothing happened");
    let other = store.committed();
    assert_eq!(*other.borrow(), last);
}

pub async fn events_and_commits_are_found_by_what_they_are_about(store: &dyn Store) {
    let created = commit(store, vec![Change::Task(Task::new("quotes", request(), at(1)))]).await.unwrap().tasks[0];
    let fence = commit(store, vec![Change::TakeTask { task: created.task, lease: None }]).await.unwrap().tasks[0];
    for of_january in 2..=6 {
        let rows = quotes_of_day(of_january, &[("000001.SZ", of_january, Some(1), None)]);
        let changes = vec![Change::Rows(rows)];
        store.commit(Commit { at: at(20), fence: Some(fence), changes }).await.unwrap();
    }
    let whole = RowsChange { area: Area::new(Securities::one("000002.SZ"), Span::ALL), ..quotes_of_day(2, &[]) };
    let last = commit_rows(store, whole.clone()).await.seq;

    let of = async |kind, dataset, before, limit| store.events_of(kind, dataset, before, limit).await.unwrap();
    let slices = of(EventType::SliceCommitted, "quotes", None, 100).await;
    let all = store.events(0, 100).await.unwrap();
    let mut expected: Vec<Event> =
        all.iter().filter(|event| event.kind == EventType::SliceCommitted).cloned().collect();
    expected.reverse();
    assert_eq!((slices.len(), &slices), (6, &expected));
    assert_eq!(of(EventType::SliceCommitted, "quotes", Some(slices[1].id), 2).await, slices[2..4]);
    assert!(of(EventType::SliceCommitted, "notices", None, 9).await.is_empty());
    assert_eq!(of(EventType::TaskStarted, "quotes", None, 9).await.len(), 1);

    let timeline = store.task_events(created.task, 100).await.unwrap();
    let mut expected: Vec<Event> = all.iter().filter(|event| event.task == Some(created.task)).cloned().collect();
    expected.reverse();
    assert_eq!((timeline.len(), &timeline), (7, &expected));
    assert_eq!(store.task_events(created.task, 2).await.unwrap(), timeline[..2]);
    assert!(store.task_events(99, 2).await.unwrap().is_empty());

    let span = |from: &str, to: &str| Span::new(day(from), day(to));
    let seqs = async |span, limit| {
        let commits = store.commits("quotes", span, limit).await.unwrap();
        commits.into_iter().map(|commit| commit.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Span::day(day("20240103")), 9).await, [last, 2]);
    assert_eq!(seqs(span("20240103", "20240105"), 9).await, [last, 4, 3, 2]);
    assert_eq!(seqs(span("20240103", "20240105"), 2).await, [last, 4]);
    assert_eq!(seqs(Span::day(day("19900101")), 9).await, [last]);
    assert_eq!(seqs(Span::ALL, 9).await.len(), 6);
    assert!(store.commits("notices", Span::ALL, 9).await.unwrap().is_empty());
    let commits = store.commits("quotes", Span::day(day("20240103")), 9).await.unwrap();
    assert_eq!((&commits[0].area, commits[0].task), (&whole.area, None));
    let one = &commits[1];
    assert_eq!((one.at, one.source.as_str(), one.task), (at(20), "tushare", Some(created.task)));
    assert_eq!(
        (one.area.clone(), one.counts),
        (quotes_of_day(3, &[]).area, Counts { seq: 2, inserted: 1, ..Counts::default() })
    );
}
