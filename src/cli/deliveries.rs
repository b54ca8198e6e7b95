//! `tidegate deliveries`: events on their way to receivers, decisions about them, and replays.

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::context::{BY, Context, print};
use super::list::{List, grouped};
use crate::feed::{Feed, FeedOptions};
use crate::model::{
    AttemptOutcome, AttemptsWanted, Chosen, Decision, DeliveriesWanted, DeliveryState, Error, Instant, Result,
};
use crate::notify::desk::{Between, Desk};
use crate::notify::replay::{self, ReplayState, ReplayStatus};
use crate::notify::watch;
use crate::serve::deliveries::{AttemptView, BlockedView, DeliveryView, FiguresView, ReplayView, WaysView};

/// Events of a window that a preview looks at.
const PREVIEW_EVENTS_MAX: u64 = 1_000_000;

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tidegate deliveries                                what waits, in the order of events
  tidegate deliveries figures                        how each subscription fares
  tidegate deliveries attempts --subscription tax --failed
  tidegate deliveries show 1207                      one event: every subscription and every attempt
  tidegate deliveries blocked                        order keys that wait for a person
  tidegate deliveries retry tax --event 1207
  tidegate deliveries skip tax --key HT-2026-001
  tidegate deliveries replay tax --since 2026-01-02 --only-failed --dry-run
  tidegate deliveries replays")]
pub struct Args {
    /// Only of this subscription
    #[arg(long)]
    subscription: Option<String>,
    /// Only in this state: waiting, dead or parked
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What waits, in the order of events
    List(ListArgs),
    /// Attempts, newest first
    Attempts(AttemptsArgs),
    /// One event: how it stands with every subscription, and every attempt
    Show { event: u64 },
    /// Order keys that wait for a person
    Blocked,
    /// How each subscription fares
    Figures,
    /// Send at once, with all attempts; a settled event once more
    Retry(DecisionArgs),
    /// Leave out for good
    Skip(DecisionArgs),
    /// Set aside, so that the key goes on
    Park(DecisionArgs),
    /// Send the events of a window again
    Replay(ReplayArgs),
    /// Replays with their progress; pause, resume or cancel one
    Replays(ReplaysArgs),
}

#[derive(Debug, ClapArgs)]
struct ListArgs {
    /// Only of this subscription
    #[arg(long)]
    subscription: Option<String>,
    /// Only in this state: waiting, dead or parked
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, ClapArgs)]
struct AttemptsArgs {
    /// Only of this subscription
    #[arg(long)]
    subscription: Option<String>,
    /// Only of this event
    #[arg(long)]
    event: Option<u64>,
    /// Only with this outcome: delivered, failed, exhausted, refused, gone or skipped
    #[arg(long, value_parser = outcome)]
    outcome: Option<AttemptOutcome>,
    /// Only those that did not work
    #[arg(long)]
    failed: bool,
    /// Only with this error, such as HTTP_503
    #[arg(long)]
    error: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, ClapArgs)]
struct DecisionArgs {
    /// The subscription
    subscription: String,
    /// One event
    #[arg(long, group = "chosen", required_unless_present_any = ["key", "all"])]
    event: Option<u64>,
    /// What has no attempt left of this order key
    #[arg(long, group = "chosen")]
    key: Option<String>,
    /// Everything that has no attempt left
    #[arg(long, group = "chosen")]
    all: bool,
}

impl DecisionArgs {
    fn chosen(&self) -> Chosen {
        match (self.event, &self.key) {
            (Some(event), _) => Chosen::Event(event),
            (None, Some(key)) => Chosen::Key(key.clone()),
            (None, None) => Chosen::All,
        }
    }
}

#[derive(Debug, ClapArgs)]
struct ReplayArgs {
    /// The subscription
    subscription: String,
    /// The first event
    #[arg(long, required_unless_present = "since")]
    from: Option<u64>,
    /// The last event [default: the newest]
    #[arg(long)]
    to: Option<u64>,
    /// Events from this day or time on
    #[arg(long, value_parser = time, conflicts_with = "from")]
    since: Option<Instant>,
    /// Events before this day or time
    #[arg(long, value_parser = time, conflicts_with = "to")]
    until: Option<Instant>,
    /// Only these event types
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only what never arrived
    #[arg(long)]
    only_failed: bool,
    /// Events a second at most
    #[arg(long, value_name = "RATE")]
    per_second: Option<f64>,
    /// Count what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, ClapArgs)]
struct ReplaysArgs {
    /// One of them
    number: Option<u64>,
    /// Stop it for now
    #[arg(long, requires = "number", group = "change")]
    pause: bool,
    /// Go on with it
    #[arg(long, requires = "number", group = "change")]
    resume: bool,
    /// End it for good; what it has asked for goes out
    #[arg(long, requires = "number", group = "change")]
    cancel: bool,
}

fn state(text: &str) -> std::result::Result<DeliveryState, String> {
    let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
    DeliveryState::from_name(text).ok_or_else(|| format!("there are {names}"))
}

fn outcome(text: &str) -> std::result::Result<AttemptOutcome, String> {
    let names = AttemptOutcome::ALL.map(AttemptOutcome::name).join(", ");
    AttemptOutcome::from_name(text).ok_or_else(|| format!("there are {names}"))
}

fn time(text: &str) -> std::result::Result<Instant, String> {
    let day = || crate::model::Day::parse(text).ok().map(|day| Instant::at(day, 0));
    Instant::parse(text).or_else(day).ok_or_else(|| "write 2026-01-02 or 2026-01-02T08:00:00+08:00".to_string())
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let feed = Feed::start(store.clone(), FeedOptions::default()).await?;
    let desk = Desk { store, feed, clock: context.clock.clone() };
    let listed = ListArgs { subscription: args.subscription, state: args.state, limit: args.limit };
    match args.action.unwrap_or(Action::List(listed)) {
        Action::List(args) => list(context, &desk, args).await?,
        Action::Attempts(args) => attempts(context, &desk, args).await?,
        Action::Show { event } => show(context, &desk, event).await?,
        Action::Blocked => blocked(context, &desk).await?,
        Action::Figures => figures(context, &desk).await?,
        Action::Retry(args) => decide(&desk, &args, Decision::Retry).await?,
        Action::Skip(args) => decide(&desk, &args, Decision::Skip).await?,
        Action::Park(args) => decide(&desk, &args, Decision::Park).await?,
        Action::Replay(args) => replay_window(context, &desk, args).await?,
        Action::Replays(args) => replays(context, &desk, args).await?,
    }
    Ok(0)
}

fn json_of(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::bug("writing deliveries").caused_by(error))
}

async fn list(context: &Context, desk: &Desk, args: ListArgs) -> Result<()> {
    let ListArgs { subscription, state, limit } = args;
    let wanted = DeliveriesWanted { subscription, state, limit, ..DeliveriesWanted::default() };
    let found: Vec<DeliveryView> = desk.store.deliveries(&wanted).await?.iter().map(DeliveryView::new).collect();
    if context.json {
        return context.print_json(&json_of(&found)?);
    }
    let mut list = List::new([">event", "subscription", "key", "state", ">attempts", "due", "by"]);
    for one in &found {
        let (event, attempts) = (one.event.to_string(), one.attempts.to_string());
        let (state, due) = (one.state.to_string(), one.due_at.clone());
        list.push([event, one.subscription.clone(), one.key.clone(), state, attempts, due, one.by.clone()]);
    }
    if list.is_empty() { print("nothing waits\n") } else { print(&list.render()) }
}

async fn attempts(context: &Context, desk: &Desk, args: AttemptsArgs) -> Result<()> {
    let AttemptsArgs { subscription, event, outcome, failed, error, limit } = args;
    let wanted = AttemptsWanted { subscription, event, outcome, failed, error, limit, ..AttemptsWanted::default() };
    let found: Vec<AttemptView> = desk.store.attempts(&wanted).await?.iter().map(AttemptView::new).collect();
    if context.json {
        return context.print_json(&json_of(&found)?);
    }
    if found.is_empty() { print("no attempts\n") } else { print(&attempts_list(&found)) }
}

fn attempts_list(attempts: &[AttemptView]) -> String {
    let mut list =
        List::new([">id", ">event", "subscription", ">number", "at", ">ms", "outcome", "error", "detail", "by"]);
    for one in attempts {
        list.push([
            one.id.to_string(),
            one.event.to_string(),
            one.subscription.clone(),
            one.number.to_string(),
            one.at.clone(),
            grouped(one.took_ms),
            one.outcome.to_string(),
            one.error.clone().unwrap_or_default(),
            one.detail.clone().unwrap_or_default(),
            one.by.clone(),
        ]);
    }
    list.render()
}

async fn show(context: &Context, desk: &Desk, event: u64) -> Result<()> {
    let ways = WaysView::new(&desk.ways(event).await?);
    if context.json {
        return context.print_json(&json_of(&ways)?);
    }
    let mut text = format!("event {event}: {} {} of {}, accepted {}\n", ways.kind, ways.id, ways.source, ways.at);
    for way in &ways.subscriptions {
        let url = way.url.as_deref().unwrap_or("(no longer defined)");
        text.push_str(&format!("\n{}: {}, {url}\n", way.subscription, way.state));
        if !way.attempts.is_empty() {
            text.push_str(&attempts_list(&way.attempts));
        }
    }
    if ways.subscriptions.is_empty() {
        text.push_str("no subscription wants it\n");
    }
    print(&text)
}

async fn blocked(context: &Context, desk: &Desk) -> Result<()> {
    const KEYS_MAX: usize = 10_000;
    let found = desk.store.blocked_keys(None, KEYS_MAX).await?;
    let found: Vec<BlockedView> = found.iter().map(BlockedView::new).collect();
    if context.json {
        return context.print_json(&json_of(&found)?);
    }
    let mut list = List::new(["subscription", "key", ">event", ">attempts", ">waiting behind"]);
    for one in &found {
        let numbers = [one.event, u64::from(one.attempts), one.waiting].map(grouped);
        let [event, attempts, waiting] = numbers;
        list.push([one.subscription.clone(), one.key.clone(), event, attempts, waiting]);
    }
    if list.is_empty() { print("no key is blocked\n") } else { print(&list.render()) }
}

async fn figures(context: &Context, desk: &Desk) -> Result<()> {
    let found = watch::figures(&*desk.store, desk.clock.now()).await?;
    let found: Vec<FiguresView> = found.iter().map(FiguresView::new).collect();
    if context.json {
        return context.print_json(&json_of(&found)?);
    }
    let mut list = List::new([
        "subscription",
        ">success 24 h",
        ">mean ms 1 h",
        ">p95 ms 1 h",
        ">failed 1 h",
        ">waiting",
        ">retrying",
        ">dead",
        ">parked",
        ">in a row",
        "oldest",
    ]);
    for one in &found {
        let share = one.success_percent.map_or("-".to_string(), |percent| format!("{percent:.2} %"));
        let mean = one.delay_mean_ms.map_or("-".to_string(), |mean| format!("{mean:.0}"));
        list.push([
            one.subscription.clone(),
            share,
            mean,
            one.delay_p95_ms.map_or("-".to_string(), grouped),
            grouped(one.failed),
            grouped(one.backlog),
            grouped(one.retries),
            grouped(one.dead),
            grouped(one.parked),
            grouped(one.failed_in_a_row),
            one.oldest_at.clone().unwrap_or_default(),
        ]);
    }
    if list.is_empty() { print("no subscriptions\n") } else { print(&list.render()) }
}

async fn decide(desk: &Desk, args: &DecisionArgs, decision: Decision) -> Result<()> {
    desk.decide(&args.subscription, args.chosen(), decision, BY).await?;
    let what = match (args.event, &args.key) {
        (Some(event), _) => format!("event {event}"),
        (None, Some(key)) => format!("the key {key:?}"),
        (None, None) => "everything that has no attempt left".to_string(),
    };
    let done = match decision {
        Decision::Retry => "goes out again",
        Decision::Skip => "is left out",
        Decision::Park => "is set aside",
    };
    eprintln!("{what} {done} for {}", args.subscription);
    Ok(())
}

async fn replay_window(context: &Context, desk: &Desk, args: ReplayArgs) -> Result<()> {
    let between = Between { from: args.from, to: args.to, since: args.since, until: args.until };
    let window = desk.window(&args.subscription, &between, args.types, args.only_failed).await?;
    if args.dry_run {
        let preview = replay::preview(&desk.store, &desk.feed, &window, PREVIEW_EVENTS_MAX).await?;
        if context.json {
            return context.print_json(&serde_json::json!({
                "from": window.from, "to": window.to, "looked_at": preview.looked_at, "matched": preview.matched,
                "types": preview.types, "whole": preview.whole,
            }));
        }
        let more = if preview.whole { "" } else { " at least" };
        let (matched, looked) = (grouped(preview.matched), grouped(preview.looked_at));
        print(&format!("events {} to {}:{more} {matched} of {looked} would go out again\n", window.from, window.to))?;
        for (kind, count) in &preview.types {
            print(&format!("  {} {kind}\n", grouped(*count)))?;
        }
        return Ok(());
    }
    let started = replay::start(&*desk.store, &desk.clock, window, args.per_second, BY).await?;
    told(context, &started)
}

async fn replays(context: &Context, desk: &Desk, args: ReplaysArgs) -> Result<()> {
    let state = match (args.pause, args.resume, args.cancel) {
        (true, ..) => Some(ReplayState::Paused),
        (_, true, _) => Some(ReplayState::Running),
        (.., true) => Some(ReplayState::Cancelled),
        _ => None,
    };
    let found = match (args.number, state) {
        (Some(number), Some(state)) => {
            return told(context, &replay::change(&*desk.store, &desk.clock, number, state).await?);
        }
        (Some(number), None) => vec![replay::get(&*desk.store, number).await?],
        (None, _) => replay::list(&*desk.store).await?,
    };
    let found: Vec<ReplayView> = found.iter().map(ReplayView::new).collect();
    if context.json {
        return context.print_json(&json_of(&found)?);
    }
    let mut list = List::new([">replay", "subscription", "events", "state", ">done", ">sent", "by", "asked"]);
    for one in &found {
        list.push([
            one.number.to_string(),
            one.subscription.clone(),
            format!("{} to {}", one.from, one.to),
            one.state.to_string(),
            format!("{:.0} %", one.percent),
            grouped(one.matched),
            one.by.clone(),
            one.asked_at.clone(),
        ]);
    }
    if list.is_empty() { print("no replays\n") } else { print(&list.render()) }
}

fn told(context: &Context, status: &ReplayStatus) -> Result<()> {
    let view = ReplayView::new(status);
    if context.json {
        return context.print_json(&json_of(&view)?);
    }
    eprintln!("replay {} is {}; see `tidegate deliveries replays {}`", view.number, view.state, view.number);
    Ok(())
}
