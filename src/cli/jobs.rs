//! `tidegate jobs`: what runs by itself, when and why; create, change and trigger it.

use serde_json::{Value, json};

use super::context::{BY, Context, print};
use super::list::List;
use super::runs;
use crate::model::job::{CatchUp, Days, On, Trigger};
use crate::model::{Error, Job, Result, Work, work};
use crate::read::choice::day;
use crate::scheduler::{Control, JobChange, JobStatus, NewJob};
use crate::serve::views::RunView;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate jobs                                              every job with its next run, and why then
  tidegate jobs show daily
  tidegate jobs add bars --cron '0 18 * * 1-5' --days trading daily adj_factor
  tidegate jobs add factors --on whole:daily adj_factor      when daily became whole up to a later day
  tidegate jobs change bars --every 3600
  tidegate jobs pause bars
  tidegate jobs resume bars
  tidegate jobs stop weekly_bars
  tidegate jobs trigger full_check
  tidegate jobs remove bars

Jobs run in `tidegate serve`. Times are those of Beijing. Those of the catalogue and the defaults cannot be removed, only
stopped; what you change about them stays changed.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every job, with its next run and the reason
    List,
    /// One job in full
    Show { id: String },
    /// Create a job
    Add {
        /// Lower-case letters, digits, `-` and `_`
        id: String,
        #[command(flatten)]
        wish: Wish,
    },
    /// Change when a job runs, or what it does; what is not named stays
    Change {
        id: String,
        #[command(flatten)]
        wish: Wish,
    },
    /// Let a job rest until it is resumed; what falls into the pause is not made up for
    Pause { id: String },
    /// Let a paused or stopped job run again
    Resume { id: String },
    /// Let a job run no more
    Stop { id: String },
    /// Run it now
    Trigger { id: String },
    /// Remove a job of your own
    Remove { id: String },
}

#[derive(Debug, clap::Args)]
#[group(id = "wish", multiple = true)]
struct Wish {
    /// Tables of the catalogue [default: every one that the sources serve]
    datasets: Vec<String>,
    /// Five fields, Beijing time: '0 18 * * 1-5'
    #[arg(long, value_name = "LINE", conflicts_with_all = ["every", "on", "continuous"])]
    cron: Option<String>,
    /// Seconds from one run to the next
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["on", "continuous"])]
    every: Option<u32>,
    /// disclosure (the evenings on which reports are announced), whole:TABLE, published:TABLE
    #[arg(long, value_name = "EVENT", value_parser = event, conflicts_with = "continuous")]
    on: Option<On>,
    /// Poll the tables in trading hours
    #[arg(long)]
    continuous: bool,
    /// On which days its times count: any, trading, next_trading (postponed), after_trading (the night after)
    #[arg(long, value_parser = days)]
    days: Option<Days>,
    /// What becomes of times that were slept through: once or skip [default: jobs.catch_up]
    #[arg(long, value_parser = catch_up)]
    catch_up: Option<CatchUp>,
    /// Attempts after a failed run [default: jobs.attempts]
    #[arg(long)]
    attempts: Option<u32>,
    #[arg(long)]
    title: Option<String>,
    /// sync (fetch what is missing), check (the last days again, and an audit), poll
    #[arg(long, value_parser = action)]
    action: Option<work::Action>,
    /// First day [default: sync.default_from]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day [default: the last one that is due]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// From so many days before each run
    #[arg(long, value_name = "DAYS", conflicts_with = "from")]
    days_back: Option<u32>,
    /// From the table's first day on
    #[arg(long, conflicts_with_all = ["from", "days_back"])]
    all_history: bool,
    /// Only these securities
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    codes: Vec<String>,
    /// Only these sources, in this order
    #[arg(long, value_name = "SOURCES", value_delimiter = ',')]
    sources: Vec<String>,
    /// Ask again for what is already claimed
    #[arg(long)]
    force: bool,
}

fn event(text: &str) -> std::result::Result<On, String> {
    match text.split_once(':') {
        None if text == "disclosure" => Ok(On::Disclosure),
        Some(("whole", dataset)) => Ok(On::Whole { dataset: dataset.to_string() }),
        Some(("published", dataset)) => Ok(On::Published { dataset: dataset.to_string() }),
        _ => Err("write disclosure, whole:TABLE or published:TABLE".to_string()),
    }
}

fn days(text: &str) -> std::result::Result<Days, String> {
    Days::from_name(text).ok_or_else(|| format!("there are {}", Days::ALL.map(Days::name).join(", ")))
}

fn catch_up(text: &str) -> std::result::Result<CatchUp, String> {
    CatchUp::from_name(text).ok_or_else(|| "there are once and skip".to_string())
}

fn action(text: &str) -> std::result::Result<work::Action, String> {
    let names = work::Action::ALL.map(work::Action::name).join(", ");
    work::Action::from_name(text).ok_or_else(|| format!("there are {names}"))
}

impl Wish {
    fn trigger(&self) -> Option<Trigger> {
        let cron = self.cron.clone().map(|expression| Trigger::Cron { expression });
        let every = self.every.map(|seconds| Trigger::Every { seconds });
        let on = self.on.clone().map(|on| Trigger::Event { on });
        let continuous = self.continuous.then_some(Trigger::Continuous { every_seconds: None });
        cron.or(every).or(on).or(continuous)
    }

    /// `before`: what the job did until now; nothing for a new one.
    fn work(&self, before: Work) -> Result<Work> {
        let or = |named: &[String], before: Vec<String>| if named.is_empty() { before } else { named.to_vec() };
        let polls = self.continuous.then_some(work::Action::Poll);
        let names_first = self.from.is_some() || self.days_back.is_some() || self.all_history;
        Ok(Work {
            action: self.action.or(polls).unwrap_or(before.action),
            datasets: or(&self.datasets, before.datasets),
            codes: or(&self.codes, before.codes),
            sources: or(&self.sources, before.sources),
            from: if names_first { day(self.from.as_deref(), "--from")? } else { before.from },
            to: day(self.to.as_deref(), "--to")?.or(before.to),
            days_back: if names_first { self.days_back } else { before.days_back },
            all_history: if names_first { self.all_history } else { before.all_history },
            force: self.force || before.force,
            how: before.how,
            reconciliations: before.reconciliations,
        })
    }

    fn new_job(self, id: String) -> Result<NewJob> {
        let trigger = self.trigger().ok_or_else(|| {
            let error = Error::invalid("a job needs a time or an event");
            error.hint("name one of --cron, --every, --on and --continuous")
        })?;
        Ok(NewJob {
            id,
            title: self.title.clone(),
            title_zh: None,
            trigger,
            days: self.days.unwrap_or_default(),
            work: self.work(Work::default())?,
            catch_up: self.catch_up,
            attempts: self.attempts,
        })
    }

    fn change(self, before: &Job) -> Result<JobChange> {
        let work = self.work(before.work.clone())?;
        Ok(JobChange {
            title: self.title.clone(),
            title_zh: None,
            trigger: self.trigger(),
            days: self.days,
            work: (work != before.work).then_some(work),
            catch_up: self.catch_up,
            attempts: self.attempts,
            state: None,
        })
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let control = context.control(context.store().await?);
    match args.action.unwrap_or(Action::List) {
        Action::List => list(context, &control.list().await?)?,
        Action::Show { id } => show(context, &control.get(&id).await?)?,
        Action::Add { id, wish } => tell(context, &control.create(wish.new_job(id)?, BY).await?)?,
        Action::Change { id, wish } => {
            let before = control.get(&id).await?;
            let change = wish.change(&before.job)?;
            tell(context, &control.change(&id, change, Some(before.revision), BY).await?)?;
        }
        Action::Pause { id } => tell(context, &control.pause(&id, BY).await?)?,
        Action::Resume { id } => tell(context, &control.resume(&id, BY).await?)?,
        Action::Stop { id } => tell(context, &control.stop(&id, BY).await?)?,
        Action::Trigger { id } => trigger(context, &control, &id).await?,
        Action::Remove { id } => {
            control.remove(&id, BY).await?;
            eprintln!("job {id} is removed");
        }
    }
    Ok(0)
}

async fn trigger(context: &Context, control: &Control, id: &str) -> Result<()> {
    let run = control.trigger(id, BY).await?;
    if context.json {
        return context.print_json(&runs::as_json(&run)?);
    }
    eprintln!("run {} waits for a service; see `tidegate runs show {}`", run.id, run.id);
    Ok(())
}

fn list(context: &Context, jobs: &[JobStatus]) -> Result<()> {
    if context.json {
        return context.print_json(&jobs.iter().map(as_json).collect::<Result<_>>()?);
    }
    let mut list = List::new(["job", "origin", "state", "next run", "why", "last run"]);
    for status in jobs {
        list.push([
            status.job.id.clone(),
            status.job.origin.name().to_string(),
            status.job.state.name().to_string(),
            next_text(status),
            status.next.reason.clone(),
            status.last_run.as_ref().map_or(String::new(), |run| format!("{} {}", run.created_at, run.state.name())),
        ]);
    }
    match list.is_empty() {
        true => print("no jobs yet: `tidegate serve` writes those of the catalogue, `tidegate jobs add` your own\n"),
        false => print(&list.render()),
    }
}

fn next_text(status: &JobStatus) -> String {
    status.next.at.map_or_else(String::new, |at| at.to_string())
}

fn show(context: &Context, status: &JobStatus) -> Result<()> {
    let value = as_json(status)?;
    if context.json {
        return context.print_json(&value);
    }
    let text = |name: &str| match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_string(),
        other => other.to_string(),
    };
    let names = [
        "id", "title", "title_zh", "origin", "state", "trigger", "days", "work", "catch_up", "attempts", "next_run",
        "reason", "revision",
    ];
    let mut list = List::new(["what", "value"]);
    names.iter().for_each(|name| list.push([name.to_string(), text(name)]));
    if let Some(run) = &status.last_run {
        list.push(["last_run".to_string(), runs::in_one_line(run)]);
    }
    print(&list.render())
}

fn tell(context: &Context, status: &JobStatus) -> Result<()> {
    if context.json {
        return context.print_json(&as_json(status)?);
    }
    let (id, state) = (&status.job.id, status.job.state.name());
    match status.next.at {
        Some(at) => eprintln!("job {id} is {state}; it runs next at {at}: {}", status.next.reason),
        None => eprintln!("job {id} is {state}: {}", status.next.reason),
    }
    Ok(())
}

fn as_json(status: &JobStatus) -> Result<Value> {
    let job = &status.job;
    let unwritable = |error| Error::bug("writing a job").caused_by(error);
    Ok(json!({
        "id": job.id, "title": job.title, "title_zh": job.title_zh, "origin": job.origin.name(),
        "state": job.state.name(), "trigger": serde_json::to_value(&job.trigger).map_err(unwritable)?,
        "days": job.days.name(), "work": serde_json::to_value(&job.work).map_err(unwritable)?,
        "catch_up": job.catch_up.map(CatchUp::name), "attempts": job.attempts,
        "next_run": status.next.at.map(|at| at.to_string()), "reason": status.next.reason,
        "last_run": status.last_run.as_ref().map(RunView::new), "revision": status.revision,
    }))
}
