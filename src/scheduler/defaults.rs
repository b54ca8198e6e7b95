//! The jobs that are there without anybody asking: one a dataset by its own policy, and those that keep the whole.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::model::dataset::Points;
use crate::model::job::{Days, Job, On, Origin, Trigger};
use crate::model::{
    Action, Change, Commit, Cron, Dataset, Day, Definition, ErrorKind, Instant, Result, Strategy, Work,
    definition::Kind,
};
use crate::store::Store;

/// Bars of every period: what a full history is about.
const BARS: [&str; 3] = ["daily", "weekly", "monthly"];

/// The jobs of the catalogue and of Tidegate itself, for the tables that are served.
pub fn jobs(catalog: &Catalog, served: &[String], now: Instant) -> Vec<Job> {
    let datasets = served.iter().filter_map(|name| catalog.get(name).ok());
    let mut jobs: Vec<Job> = datasets.map(|dataset| of_dataset(dataset, now)).collect();
    jobs.extend(of_tidegate(served, now));
    jobs
}

fn of_dataset(dataset: &Dataset, now: Instant) -> Job {
    let (trigger, days) = when(dataset);
    let action = if matches!(trigger, Trigger::Continuous { .. }) { Action::Poll } else { Action::Sync };
    let work = Work { action, ..Work::sync([dataset.name.as_str()]) };
    Job {
        title: dataset.title.clone(),
        title_zh: dataset.title_zh.clone(),
        origin: Origin::Catalog,
        ..Job::new(&dataset.name, trigger, days, work, now)
    }
}

/// `policy.schedule` as a trigger, and the days that it means.
fn when(dataset: &Dataset) -> (Trigger, Days) {
    match dataset.policy.schedule.as_str() {
        "continuous" => (Trigger::Continuous { every_seconds: None }, Days::Trading),
        // Reports that are announced on days which a table names; whatever else appears when it is published.
        "event_driven" => match dataset.policy.strategy {
            Strategy::Statements => (Trigger::Event { on: On::Disclosure }, Days::Any),
            _ => (Trigger::Event { on: On::Published { dataset: dataset.name.clone() } }, Days::Any),
        },
        line => (Trigger::Cron { expression: line.to_string() }, days_of(line, dataset.expect.points)),
    }
}

/// On which days the times of a cron line count. A line that names every weekday means trading days. One that names some
/// of them means a weekly run, which a holiday postpones. One that names days of the month, weekends or every day is
/// about something that does not wait for the exchange: a calendar, a list, announcements.
fn days_of(line: &str, points: Points) -> Days {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != 5 || fields[2] != "*" || fields[4] == "*" {
        return Days::Any;
    }
    let Ok(cron) = Cron::parse(line) else { return Days::Any };
    // Any week will do: the line names no day of the month.
    let monday = Day(4);
    let named: Vec<Day> = monday.to(monday.plus(6)).filter(|day| cron.is_on(*day)).collect();
    match named.len() {
        _ if named.iter().any(|day| day.is_weekend()) => Days::Any,
        5 => Days::Trading,
        _ if points == Points::QuarterEnd => Days::Any,
        _ => Days::NextTrading,
    }
}

fn of_tidegate(served: &[String], now: Instant) -> Vec<Job> {
    let serves = |name: &&&str| served.iter().any(|served| served == **name);
    let mut jobs = Vec::new();
    let mut add = |id: &str, title: &str, title_zh: &str, line: &str, days: Days, work: Work| {
        let trigger = Trigger::Cron { expression: line.to_string() };
        let job = Job::new(id, trigger, days, work, now);
        jobs.push(Job { title: title.into(), title_zh: title_zh.into(), origin: Origin::Default, ..job });
    };
    if !served.is_empty() {
        let everything = Work { action: Action::Check, ..Work::default() };
        // In the night after a trading day: what that day brought is fetched once more and everything is audited.
        add("full_check", "Full check", "全面检查", "0 1 * * *", Days::AfterTrading, everything);
    }
    if serves(&&"weekly") {
        let weekly = Work::sync(["weekly"]);
        add("weekly_bars", "Weekly bars", "周线", "0 2 * * 1", Days::NextTrading, weekly);
    }
    if serves(&&"monthly") {
        let monthly = Work::sync(["monthly"]);
        add("monthly_bars", "Monthly bars", "月线", "0 3 1 * *", Days::NextTrading, monthly);
    }
    let bars: Vec<&str> = BARS.iter().filter(serves).copied().collect();
    if !bars.is_empty() {
        let history = Work { all_history: true, ..Work::sync(bars) };
        add("full_history", "Full history of bars", "全部历史行情", "0 4 1 * *", Days::NextTrading, history);
    }
    jobs
}

/// Brings the stored jobs in line: creates what is new, changes what the catalogue changed and no person did, removes
/// what is wanted no more. Another process may do the same at the same time.
pub async fn write(store: &dyn Store, catalog: &Catalog, wanted: &[Job], now: Instant) -> Result<()> {
    let stored = store.definitions(Kind::Job).await?;
    let mut changes = Vec::new();
    for job in wanted {
        let known = stored.iter().find(|definition| definition.name == job.id);
        if let Some(change) = brought_in_line(job, known)? {
            changes.push(change);
        }
    }
    let ids: BTreeSet<&str> = wanted.iter().map(|job| job.id.as_str()).collect();
    for definition in stored.iter().filter(|definition| !ids.contains(definition.name.as_str())) {
        if is_wanted_no_more(definition, catalog) {
            changes.push(Change::Undefine { kind: Kind::Job, name: definition.name.clone() });
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    match store.commit(Commit { at: now, fence: None, changes }).await {
        // Somebody else has just done the same.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        written => written.map(|_| ()),
    }
}

fn brought_in_line(job: &Job, stored: Option<&Definition>) -> Result<Option<Change>> {
    let define = |job: &Job, revision| -> Result<Option<Change>> {
        let (name, body) = (job.id.clone(), job.body()?);
        Ok(Some(Change::Define { kind: Kind::Job, name, body, expect: Some(revision) }))
    };
    let Some(stored) = stored else { return define(job, 0) };
    match Job::of(stored) {
        // One that cannot be read belongs to another version: this one's takes its place.
        Err(_) => define(job, stored.revision),
        Ok(known) if known.changed_by_user || known.origin == Origin::User => Ok(None),
        Ok(known) => {
            let job = Job { since: known.since, state: known.state, ..job.clone() };
            if job == known { Ok(None) } else { define(&job, stored.revision) }
        }
    }
}

/// A job of a dataset that left the catalogue, or that nobody changed and that is no longer among the defaults.
fn is_wanted_no_more(definition: &Definition, catalog: &Catalog) -> bool {
    let Ok(job) = Job::of(definition) else { return false };
    match job.origin {
        Origin::User => false,
        Origin::Catalog if catalog.get(&job.id).is_err() => true,
        Origin::Catalog | Origin::Default => !job.changed_by_user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_lines_of_the_catalogue_say_which_days_they_mean() {
        for (line, expected) in [
            ("0 18 * * 1-5", Days::Trading),
            ("0 6 * * 1", Days::NextTrading),
            ("0 19 * * 5", Days::NextTrading),
            ("0 20 * * 6", Days::Any),
            ("30 21 * * *", Days::Any),
            ("0 2 1 1 *", Days::Any),
            ("0 2 1 5 *", Days::Any),
        ] {
            assert_eq!(days_of(line, Points::Trading), expected, "{line}");
        }
    }

    #[test]
    fn every_served_dataset_has_one_job_and_the_whole_has_its_own() {
        let catalog = Catalog::builtin().unwrap();
        let served: Vec<String> = catalog.datasets().iter().map(|dataset| dataset.name.clone()).collect();
        let jobs = jobs(&catalog, &served, Instant(0));
        let ids: BTreeSet<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids.len(), jobs.len());
        assert_eq!(jobs.len(), served.len() + 4);
        assert!(served.iter().all(|name| ids.contains(name.as_str())));
        for id in ["full_check", "weekly_bars", "monthly_bars", "full_history"] {
            assert!(ids.contains(id), "{id}");
        }
        assert!(super::jobs(&catalog, &[], Instant(0)).is_empty());
    }
}
