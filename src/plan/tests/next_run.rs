//! Next runs as a table: a job, the last time for which it ran, now, and what comes of it.

use super::*;
use crate::model::Work;
use crate::model::job::{CatchUp, Days, Job, JobState, On, Trigger};
use crate::plan::{Facts, Publication, Whole, next_run};

fn calendar_2020() -> TradingCalendar {
    knowledge(0).calendar
}

fn job(trigger: Trigger, days: Days) -> Job {
    Job::new("one", trigger, days, Work::default(), instant("2020-01-01T00:00"))
}

fn cron(expression: &str, days: Days) -> Job {
    job(Trigger::Cron { expression: expression.into() }, days)
}

fn every(seconds: u32, days: Days) -> Job {
    job(Trigger::Every { seconds }, days)
}

fn polling() -> Job {
    job(Trigger::Continuous { every_seconds: None }, Days::Any)
}

fn skipping(job: Job) -> Job {
    Job { catch_up: Some(CatchUp::Skip), ..job }
}

/// When it runs next, `-` for never, and whether that is due now.
fn next(job: &Job, last: &str, now: &str, facts: &Facts) -> String {
    let last = (!last.is_empty()).then(|| instant(last));
    let next = next_run(job, last, instant(now), &calendar_2020(), facts);
    next.at.map_or("-".to_string(), |at| {
        let text = at.to_string();
        text.trim_end_matches(":00+08:00").to_string() + if at <= instant(now) { " now" } else { "" }
    })
}

#[test]
fn cron_jobs_run_at_the_right_times_of_the_right_days() {
    use Days::*;
    let facts = Facts::default();
    for (line, days, last, now, expected) in [
        // Spring Festival 2020: closed from Friday, 24 January, to Friday, 31 January.
        ("0 18 * * 1-5", Trading, "2020-01-22T18:00", "2020-01-23T12:00", "2020-01-23T18:00"),
        ("0 18 * * 1-5", Trading, "2020-01-23T18:00", "2020-01-23T18:01", "2020-02-03T18:00"),
        ("0 18 * * 1-5", Any, "2020-01-23T18:00", "2020-01-23T18:01", "2020-01-24T18:00"),
        ("0 18 * * 1-5", Trading, "2020-01-23T18:00", "2020-01-29T18:00", "2020-02-03T18:00"),
        ("0 1 * * *", AfterTrading, "2020-01-23T01:00", "2020-01-23T12:00", "2020-01-24T01:00"),
        ("0 1 * * *", AfterTrading, "2020-01-24T01:00", "2020-01-24T12:00", "2020-02-04T01:00"),
        // Mondays, and the first of a month, move to the next trading day when they may.
        ("0 2 * * 1", NextTrading, "2020-01-20T02:00", "2020-01-20T03:00", "2020-02-03T02:00"),
        ("0 2 * * 1", Trading, "2020-09-28T02:00", "2020-09-28T03:00", "2020-10-12T02:00"),
        ("0 2 * * 1", NextTrading, "2020-09-28T02:00", "2020-09-28T03:00", "2020-10-09T02:00"),
        ("0 2 * * 1", NextTrading, "2020-10-09T02:00", "2020-10-09T03:00", "2020-10-12T02:00"),
        ("0 3 1 * *", NextTrading, "2020-01-02T03:00", "2020-01-02T04:00", "2020-02-03T03:00"),
        ("0 3 1 * *", NextTrading, "2020-09-01T03:00", "2020-09-01T04:00", "2020-10-09T03:00"),
        ("0 3 1 * *", Any, "2020-09-01T03:00", "2020-09-01T04:00", "2020-10-01T03:00"),
        // Due now, and not for the same time again.
        ("0 18 * * 1-5", Trading, "2020-01-20T18:00", "2020-01-21T18:00", "2020-01-21T18:00 now"),
        ("0 18 * * 1-5", Trading, "2020-01-21T18:00", "2020-01-21T18:00", "2020-01-22T18:00"),
        ("*/30 9-10 * * *", Trading, "2020-01-20T09:30", "2020-01-20T09:31", "2020-01-20T10:00"),
        // A job that never ran counts from when it was created.
        ("0 18 * * 1-5", Trading, "", "2020-01-02T17:00", "2020-01-02T18:00"),
        ("0 2 29 2 *", Any, "", "2020-03-01T00:00", "2020-02-29T02:00 now"),
        ("0 2 29 2 *", Any, "2020-02-29T02:00", "2020-03-01T00:00", "2024-02-29T02:00"),
        // The clock was set back: what ran does not run again.
        ("0 18 * * 1-5", Trading, "2020-01-21T18:00", "2020-01-20T12:00", "2020-01-22T18:00"),
    ] {
        assert_eq!(next(&cron(line, days), last, now, &facts), expected, "{line} {days:?} {last} {now}");
    }
}

#[test]
fn times_that_were_slept_through_are_made_up_for_once_or_not_at_all() {
    let facts = Facts::default();
    let skips = Facts { catch_up: CatchUp::Skip, ..Facts::default() };
    let daily = cron("0 18 * * 1-5", Days::Trading);
    let asleep = ("2020-03-02T18:00", "2020-03-11T08:00");
    assert_eq!(next(&daily, asleep.0, asleep.1, &facts), "2020-03-10T18:00 now");
    assert_eq!(next(&skipping(daily.clone()), asleep.0, asleep.1, &facts), "2020-03-11T18:00");
    assert_eq!(next(&daily, asleep.0, asleep.1, &skips), "2020-03-11T18:00");
    assert_eq!(
        next(&Job { catch_up: Some(CatchUp::Once), ..daily.clone() }, asleep.0, asleep.1, &skips),
        "2020-03-10T18:00 now"
    );
    // A few minutes late is not asleep.
    assert_eq!(next(&skipping(daily.clone()), "2020-03-02T18:00", "2020-03-03T18:09", &facts), "2020-03-03T18:00 now");
    assert_eq!(next(&skipping(daily.clone()), "2020-03-02T18:00", "2020-03-03T18:11", &facts), "2020-03-04T18:00");
    // What was paused is not made up for.
    let resumed = Job { since: instant("2020-03-11T07:00"), ..daily.clone() };
    assert_eq!(next(&resumed, asleep.0, asleep.1, &facts), "2020-03-11T18:00");
    let paused = Job { state: JobState::Paused, ..daily };
    assert_eq!(next(&paused, asleep.0, asleep.1, &facts), "-");
    let told = |job: &Job, now| next_run(job, Some(instant(asleep.0)), instant(now), &calendar_2020(), &facts).reason;
    assert_eq!(told(&paused, asleep.1), "paused");
    let daily = cron("0 18 * * 1-5", Days::Trading);
    assert_eq!(told(&daily, asleep.1), "slept through; it was due at 2020-03-10T18:00:00+08:00");
    assert_eq!(told(&daily, "2020-03-02T18:01"), "cron 0 18 * * 1-5 on trading days");
    let spring =
        next_run(&daily, Some(instant("2020-01-23T18:00")), instant("2020-01-23T19:00"), &calendar_2020(), &facts);
    assert_eq!(spring.reason, "cron 0 18 * * 1-5 on trading days; not from 2020-01-24 to 2020-01-31");
}

#[test]
fn intervals_keep_their_pace_on_the_days_that_count() {
    let facts = Facts::default();
    for (seconds, days, last, now, expected) in [
        (3_600, Days::Any, "2020-01-04T10:00", "2020-01-04T10:20", "2020-01-04T11:00"),
        (3_600, Days::Trading, "2020-01-03T23:00", "2020-01-04T00:20", "2020-01-06T00:00"),
        (3_600, Days::Any, "2020-01-03T10:00", "2020-01-04T10:20", "2020-01-04T10:00 now"),
        (172_800, Days::Any, "2020-01-03T00:00", "2020-01-03T00:20", "2020-01-05T00:00"),
        (3_600, Days::Any, "", "2020-01-01T00:00", "2020-01-01T01:00"),
    ] {
        assert_eq!(next(&every(seconds, days), last, now, &facts), expected, "{seconds} {days:?} {last} {now}");
    }
}

#[test]
fn polling_begins_with_each_session_and_a_session_that_is_over_is_over() {
    let facts = Facts::default();
    for (last, now, expected) in [
        ("2020-01-22T13:00", "2020-01-23T08:00", "2020-01-23T09:15"),
        ("2020-01-22T13:00", "2020-01-23T10:00", "2020-01-23T09:15 now"),
        ("2020-01-23T09:15", "2020-01-23T10:00", "2020-01-23T13:00"),
        ("2020-01-22T13:00", "2020-01-23T12:00", "2020-01-23T13:00"),
        ("2020-01-22T13:00", "2020-01-23T15:00", "2020-02-03T09:15"),
        ("2020-01-23T13:00", "2020-01-23T14:00", "2020-02-03T09:15"),
    ] {
        assert_eq!(next(&polling(), last, now, &facts), expected, "{last} {now}");
    }
    let since = Job { since: instant("2020-01-23T10:00"), ..polling() };
    assert_eq!(next(&since, "", "2020-01-23T10:01", &facts), "2020-01-23T09:15 now", "the running session is joined");
}

#[test]
fn events_are_waited_for() {
    let disclosure = job(Trigger::Event { on: On::Disclosure }, Days::Any);
    let facts = Facts { announced: vec![day("20200325"), day("20200328"), day("20200427")], ..Facts::default() };
    let empty = Facts::default();
    for (facts, last, now, expected) in [
        (&facts, "", "2020-03-20T08:00", "2020-03-25T21:00"),
        (&facts, "2020-03-25T21:00", "2020-03-25T21:00", "2020-03-28T21:00"),
        (&facts, "2020-03-25T21:00", "2020-03-29T08:00", "2020-03-28T21:00 now"),
        (&facts, "2020-04-27T21:00", "2020-04-28T08:00", "-"),
        (&empty, "2020-01-23T21:00", "2020-01-24T08:00", "2020-02-03T21:00"),
    ] {
        assert_eq!(next(&disclosure, last, now, facts), expected, "{last} {now}");
    }
    let after = job(Trigger::Event { on: On::Whole { dataset: "daily".into() } }, Days::Any);
    let whole = Whole { until: day("20200323"), at: instant("2020-03-23T18:03") };
    let facts = Facts { whole: [("daily".to_string(), whole)].into(), ..Facts::default() };
    assert_eq!(next(&after, "", "2020-03-23T18:04", &facts), "2020-03-23T18:03 now");
    assert_eq!(next(&after, "2020-03-23T18:03", "2020-03-23T18:04", &facts), "-");
    assert_eq!(next(&after, "", "2020-03-23T18:04", &empty), "-");
}

#[test]
fn a_publication_is_learnt_from_past_days_and_never_before_the_catalogue() {
    let on_publication = job(Trigger::Event { on: On::Published { dataset: "daily".into() } }, Days::Any);
    let taught = |delays: &[i64]| {
        let publication = Publication { dataset: Arc::new(dataset("daily")), delays: delays.to_vec() };
        Facts { published: [("daily".to_string(), publication)].into(), ..Facts::default() }
    };
    for (delays, last, now, expected) in [
        (&[][..], "2020-01-22T17:00", "2020-01-22T18:00", "2020-01-23T17:00"),
        (&[], "2020-01-23T17:00", "2020-01-23T18:00", "2020-02-03T17:00"),
        (&[90, 95], "2020-01-22T17:00", "2020-01-22T18:00", "2020-01-23T17:00"),
        (&[90, 20, 600], "2020-01-22T17:00", "2020-01-22T20:00", "2020-01-23T18:35"),
        (&[-60, -50, 0], "2020-01-22T17:00", "2020-01-22T18:00", "2020-01-23T17:00"),
    ] {
        assert_eq!(next(&on_publication, last, now, &taught(delays)), expected, "{delays:?}");
    }
    assert_eq!(next(&on_publication, "", "2020-01-22T18:00", &Facts::default()), "-");
}
