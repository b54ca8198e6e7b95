//! `tidegate subscriptions`: who is told of which events, where and how.

use serde_json::{Map, Value, json};

use super::context::{BY, Context, print};
use super::list::List;
use crate::dialect::webhook::Secret;
use crate::model::{Error, Mode, Result, SignatureForm};
use crate::notify::define::{Made, Status, Subscriptions, Trial};
use crate::serve::subscriptions::{status_json, trial_json};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate subscriptions                                    every subscription, and how it stands
  tidegate subscriptions add tax --url https://tax.example.com/hook --types 'contract.*,invoice.recorded'
  tidegate subscriptions add old --url https://old.example.com/hook --types '*' --form mission
  tidegate subscriptions add big --url https://desk.example.com/h --types 'contract.*' --filter 'data.amount>=100000'
  tidegate subscriptions add night --url https://dw.example.com/h --types '*' --batch 100 --cron '0 2 * * *' --pause-ms 1000
  tidegate subscriptions change tax --per-second 20 --order-by data.contract_no
  tidegate subscriptions test tax                           send a test event now; see request, signature and answer
  tidegate subscriptions rotate-secret tax --overlap-hours 48
  tidegate subscriptions pause tax
  tidegate subscriptions resume tax
  tidegate subscriptions remove tax

Events are carried by `tidegate serve`. A secret is printed once, when it is made; it signs every request, and the receiver
verifies with it (docs/guide/webhooks.md).")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every subscription
    List,
    /// One subscription in full
    Show { name: String },
    /// Make a subscription and print its secret
    Add {
        /// Small letters, digits, `-`, `_` and `.`
        name: String,
        #[command(flatten)]
        wish: Box<Wish>,
        /// Its secret [default: one is made]
        #[arg(long, env = "TIDEGATE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
    },
    /// Change what is named; the rest stays
    Change {
        name: String,
        #[command(flatten)]
        wish: Box<Wish>,
    },
    /// Let its events wait until it is resumed
    Pause {
        name: String,
        /// For people
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let its events go out again; after it was disabled only those to come
    Resume { name: String },
    /// End it until it is resumed; events of the time between are not delivered
    Disable { name: String },
    /// Remove it with its secrets
    Remove { name: String },
    /// Give it another secret and print it; the one before goes on to count for a while
    RotateSecret {
        name: String,
        /// The secret [default: one is made]
        #[arg(long, env = "TIDEGATE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
        /// Hours that the one before goes on to count [default: notify.rotation_hours]
        #[arg(long, value_name = "HOURS")]
        overlap_hours: Option<u32>,
    },
    /// Send a test event now and show request, signature and answer
    Test { name: String },
}

#[derive(Debug, clap::Args)]
struct Wish {
    /// Where requests go
    #[arg(long)]
    url: Option<String>,
    /// Types of events: contract.confirmed, contract.*, or *
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// A condition such as data.amount>=100000, data.currency=CNY, key^=HT-, data.paid? (exists); all must hold
    #[arg(long = "filter", value_name = "CONDITION", value_parser = filter)]
    filters: Vec<Value>,
    #[arg(long)]
    title: Option<String>,
    /// standard, standard_ed25519, mission, stripe or github
    #[arg(long, value_parser = form)]
    form: Option<SignatureForm>,
    /// What X-Source-System says in the mission's form [default: notify.source_system]
    #[arg(long, value_name = "NAME")]
    source_system: Option<String>,
    /// Which events keep their order: key, subject, data.PATH or none
    #[arg(long, value_name = "WHAT", value_parser = order)]
    order_by: Option<Value>,
    /// Events of one request; without it every event goes out at once
    #[arg(long, value_name = "EVENTS")]
    batch: Option<usize>,
    /// How long a batch waits to be full
    #[arg(long, value_name = "MS", requires = "batch")]
    delay_ms: Option<u64>,
    /// When batches go out, five fields, Beijing time
    #[arg(long, value_name = "LINE", requires = "batch", conflicts_with = "delay_ms")]
    cron: Option<String>,
    /// Between two requests of a batch
    #[arg(long, value_name = "MS", requires = "batch")]
    pause_ms: Option<u64>,
    /// Every event at once, no batches any more
    #[arg(long, conflicts_with = "batch")]
    realtime: bool,
    /// Requests a second at most
    #[arg(long, value_name = "REQUESTS")]
    per_second: Option<f64>,
    /// Seconds before the attempts after the first: 1,2,4 [default: notify.retry_seconds]
    #[arg(long, value_name = "SECONDS", value_delimiter = ',')]
    retry_seconds: Vec<f64>,
    /// Seconds in which an answer must be there [default: notify.timeout_seconds]
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<f64>,
    /// What an event without further attempts does with its key: block or park
    #[arg(long, value_name = "WHAT", value_parser = ["block", "park"])]
    when_dead: Option<String>,
    /// Begin after this number of the event log [default: now]
    #[arg(long, value_name = "EVENT")]
    after: Option<u64>,
}

fn form(text: &str) -> std::result::Result<SignatureForm, String> {
    let names = || SignatureForm::ALL.map(SignatureForm::name).join(", ");
    SignatureForm::from_name(text).ok_or_else(|| format!("there are {}", names()))
}

fn order(text: &str) -> std::result::Result<Value, String> {
    match text.strip_prefix("data.") {
        Some(path) => Ok(json!({ "data": path })),
        None if ["key", "subject", "none"].contains(&text) => Ok(text.into()),
        None => Err("there are key, subject, none, and data. with a path".to_string()),
    }
}

/// `field`, a sign and a value: `data.amount>=100000`. A value in JSON is taken as it is, else it is a text.
fn filter(text: &str) -> std::result::Result<Value, String> {
    const SIGNS: [(&str, &str); 8] = [
        (">=", "ge"),
        ("<=", "le"),
        ("!=", "ne"),
        ("^=", "prefix"),
        ("=[", "in"),
        ("=", "eq"),
        (">", "gt"),
        ("<", "lt"),
    ];
    if let Some(field) = text.strip_suffix('?') {
        return Ok(json!({ "field": field, "op": "exists" }));
    }
    let first =
        |(sign, op): &(&'static str, &'static str)| text.find(sign).map(|at| (at, usize::MAX - sign.len(), *sign, *op));
    let found = SIGNS.iter().filter_map(first).min();
    let Some((at, _, sign, op)) = found else {
        return Err("write a field, one of = != ^= > >= < <=, and a value; or a field and ?".to_string());
    };
    let behind = &text[at + sign.len()..];
    let value = match op {
        "in" => serde_json::from_str(&format!("[{behind}")).map_err(|error| format!("the list is no JSON: {error}"))?,
        "prefix" => Value::from(behind),
        _ => number_or_text(behind),
    };
    Ok(json!({ "field": &text[..at], "op": op, "value": value }))
}

fn is_written_so(value: &Value, text: &str) -> bool {
    let written = value.to_string();
    written == text
}

/// A number that a double does not hold stays a text: filters read it to the last digit.
fn number_or_text(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if is_written_so(&value, text) => value,
        Ok(Value::String(inner)) => inner.into(),
        _ => text.into(),
    }
}

impl Wish {
    /// What is named, as the API takes it; batches of before are the ground on which a change builds.
    fn fields(self, before: Option<&Mode>) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_string(), value);
            }
        };
        set("mode", self.mode(before));
        set("url", self.url.map(Value::from));
        set("types", (!self.types.is_empty()).then(|| self.types.into()));
        set("filters", (!self.filters.is_empty()).then(|| self.filters.into()));
        set("title", self.title.map(Value::from));
        set("form", self.form.map(|form| form.name().into()));
        set("source_system", self.source_system.map(Value::from));
        set("order_by", self.order_by);
        set("per_second", self.per_second.map(Value::from));
        set("retry_seconds", (!self.retry_seconds.is_empty()).then(|| self.retry_seconds.into()));
        set("timeout_seconds", self.timeout_seconds.map(Value::from));
        set("when_dead", self.when_dead.map(Value::from));
        set("after", self.after.map(Value::from));
        fields
    }

    fn mode(&self, before: Option<&Mode>) -> Option<Value> {
        if self.realtime {
            return Some("realtime".into());
        }
        let size = self.batch?;
        let (mut delay, mut cron, mut pause) = (0, None, 0);
        if let Some(Mode::Batch { delay_ms, cron: line, pause_ms, .. }) = before {
            (delay, cron, pause) = (*delay_ms, line.clone(), *pause_ms);
        }
        if self.cron.is_some() {
            (cron, delay) = (self.cron.clone(), 0);
        }
        if let Some(delay_ms) = self.delay_ms {
            (cron, delay) = (None, delay_ms);
        }
        let pause = self.pause_ms.unwrap_or(pause);
        Some(json!({ "batch": { "size": size, "delay_ms": delay, "cron": cron, "pause_ms": pause } }))
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let control = context.subscriptions(context.store().await?)?;
    match args.action.unwrap_or(Action::List) {
        Action::List => list(context, &control.list().await?)?,
        Action::Show { name } => show(context, &control.get(&name).await?)?,
        Action::Add { name, wish, secret } => {
            let made = control.create(&name, wish.fields(None), secret.map(Secret::new), BY).await?;
            tell_made(context, &made, "made")?;
        }
        Action::Change { name, wish } => change(context, &control, &name, *wish).await?,
        Action::Pause { name, reason } => tell(context, &control.pause(&name, reason.as_deref(), BY).await?)?,
        Action::Resume { name } => tell(context, &control.resume(&name, BY).await?)?,
        Action::Disable { name } => tell(context, &control.disable(&name, BY).await?)?,
        Action::Remove { name } => {
            control.remove(&name, BY).await?;
            eprintln!("subscription {name} is removed");
        }
        Action::RotateSecret { name, secret, overlap_hours } => {
            let made = control.rotate(&name, secret.map(Secret::new), overlap_hours, BY).await?;
            tell_made(context, &made, "rotated")?;
        }
        Action::Test { name } => return test(context, &control.test(&name).await?),
    }
    Ok(0)
}

async fn change(context: &Context, control: &Subscriptions, name: &str, wish: Wish) -> Result<()> {
    let before = control.get(name).await?;
    let fields = wish.fields(Some(&before.subscription.mode));
    if fields.is_empty() {
        let error = Error::invalid("nothing is named that shall be different");
        return Err(error.hint("`tidegate subscriptions change --help`"));
    }
    let made = control.change(name, fields, Some(before.revision), BY).await?;
    tell_made(context, &made, "changed")
}

fn as_json(context: &Context, status: &Status) -> Result<Value> {
    status_json(status, None, context.clock.now())
}

fn list(context: &Context, all: &[Status]) -> Result<()> {
    if context.json {
        return context.print_json(&all.iter().map(|status| as_json(context, status)).collect::<Result<_>>()?);
    }
    let mut list = List::new(["subscription", "state", "form", "types", "url", "reason"]);
    for status in all {
        let value = as_json(context, status)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
        let types = status.subscription.types.join(" ");
        list.push([status.name.clone(), text("state"), text("form"), types, text("url"), text("reason")]);
    }
    match list.is_empty() {
        true => print("no subscriptions yet: `tidegate subscriptions add NAME --url URL --types TYPES`\n"),
        false => print(&list.render()),
    }
}

fn show(context: &Context, status: &Status) -> Result<()> {
    let value = as_json(context, status)?;
    if context.json {
        return context.print_json(&value);
    }
    print(&List::of_object(&value).render())
}

fn tell(context: &Context, status: &Status) -> Result<()> {
    let value = as_json(context, status)?;
    if context.json {
        return context.print_json(&value);
    }
    eprintln!("subscription {} is {}", status.name, value["state"].as_str().unwrap_or_default());
    Ok(())
}

/// A secret goes to stdout, alone, so that it can be piped to where it is kept.
fn tell_made(context: &Context, made: &Made, what: &str) -> Result<()> {
    let (status, secret) = (&made.status, made.secret.as_ref().map(Secret::expose));
    if context.json {
        return context.print_json(&status_json(status, secret, context.clock.now())?);
    }
    eprintln!("subscription {} is {what}", status.name);
    let Some(secret) = secret else { return Ok(()) };
    match made.secret.as_ref().and_then(Secret::public) {
        Some(public) => {
            eprintln!("receivers verify with {public}; the private half cannot be shown again:");
        }
        None => eprintln!("the receiver verifies with this secret; it cannot be shown again:"),
    }
    print(&format!("{secret}\n"))
}

/// Exit code 1 when it did not arrive.
fn test(context: &Context, trial: &Trial) -> Result<u8> {
    let value = trial_json(trial)?;
    let code = u8::from(value["delivered"] != true);
    if context.json {
        return context.print_json(&value).map(|()| code);
    }
    let mut text = format!("POST {}\n", trial.url);
    for (name, value) in &trial.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("\n{}\n\n", trial.body));
    let took = &value["took_ms"];
    match (trial.exchange.status(), trial.exchange.error()) {
        (Some(status), _) => text.push_str(&format!("answered {status} after {took} ms\n")),
        (None, error) => text.push_str(&format!("no answer after {took} ms: {}\n", error.unwrap_or_default())),
    }
    if let Some(detail) = value["detail"].as_str() {
        text.push_str(&format!("{detail}\n"));
    }
    print(&text)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_people_write_them() {
        for (text, field, op, value) in [
            ("data.amount>=100000", "data.amount", "ge", json!(100_000)),
            ("data.amount>99999999999999999999.99", "data.amount", "gt", json!("99999999999999999999.99")),
            ("data.currency=CNY", "data.currency", "eq", json!("CNY")),
            ("data.no=\"7\"", "data.no", "eq", json!("7")),
            ("data.no!=7", "data.no", "ne", json!(7)),
            ("data.paid=true", "data.paid", "eq", json!(true)),
            ("key^=HT-", "key", "prefix", json!("HT-")),
            ("data.a=[1,\"b\"]", "data.a", "in", json!([1, "b"])),
            ("data.day<2026-01-02", "data.day", "lt", json!("2026-01-02")),
            ("data.a=b>c", "data.a", "eq", json!("b>c")),
        ] {
            assert_eq!(filter(text).unwrap(), json!({ "field": field, "op": op, "value": value }), "{text}");
        }
        assert_eq!(filter("data.paid?").unwrap(), json!({ "field": "data.paid", "op": "exists" }));
        assert!(filter("data.paid").is_err() && filter("a=[1").is_err());
    }
}
