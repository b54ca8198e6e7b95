//! `tidegate publish`: says what happened, to a service or straight into the store.

mod lines;
mod remote;
mod said;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, print};
use crate::dialect::cloudevents;
use crate::model::error::Context as _;
use crate::model::{Error, ErrorKind, Message, Offered, Result};
use crate::publish::Publisher;
use lines::Lines;
use remote::Remote;
use said::Said;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate publish --type contract.confirmed --source /settlement --subject HT-1 --data '{\"amount\":\"1250.00\"}'
  tidegate publish --type invoice.recorded --source /erp --id INV-7:1 --data @invoice.json
  tidegate publish --to http://127.0.0.1:7880 --key tg_... --type ping --source /desk
  tidegate publish --type order.changed --source /shop --id-of order_no --key-of order_no --lines < orders.jsonl
  tail -F events.jsonl | tidegate publish --lines --to http://127.0.0.1:7880

A line is an event of CloudEvents 1.0 (an object with specversion) or the data of one. The same source and id are one
event, however often it is sent: without an id a line is named after its text, so that a stream can begin anew.
The exit code is 0 when everything is in the log, 1 when some lines were refused.")]
pub struct Args {
    /// What happened: contract.confirmed
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Who says it: a URI reference such as /settlement/prod
    #[arg(long)]
    source: Option<String>,
    /// Names the event within its source [default: a random one, and for lines the hash of the line]
    #[arg(long, conflicts_with = "lines")]
    id: Option<String>,
    #[arg(long)]
    subject: Option<String>,
    /// Events of one key keep their order
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Take the key from this field of the data
    #[arg(long, value_name = "FIELD", conflicts_with = "partition_key")]
    key_of: Option<String>,
    /// Take the id from this field of the data
    #[arg(long, value_name = "FIELD", conflicts_with = "id")]
    id_of: Option<String>,
    /// When it happened, RFC 3339
    #[arg(long)]
    time: Option<String>,
    /// The content: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "lines")]
    data: Option<String>,
    /// The media type of the content [default: application/json]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A further attribute; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    extension: Vec<String>,
    /// Publish every line of standard input
    #[arg(long)]
    lines: bool,
    /// Lines that are sent together at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// The service to tell; without it the event goes straight into the store
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The key of the service's API
    #[arg(long, env = "TIDEGATE_KEY", hide_env_values = true, requires = "to")]
    key: Option<String>,
    /// Attempts at telling the service, always with the same ids
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    attempts: u32,
}

/// Lines that arrive within this time are sent together.
const LINGER: Duration = Duration::from_millis(100);

/// Where events go.
enum Door {
    Store(Box<Publisher>),
    Service(Box<Remote>),
}

/// What became of one event.
#[derive(Debug)]
struct Told {
    id: String,
    source: String,
    /// Its number in the log, and whether it is new there.
    result: Result<(u64, Offered)>,
}

impl Told {
    fn as_json(&self) -> Value {
        let mut told = json!({ "id": self.id, "source": self.source });
        match &self.result {
            Ok((event, was)) => {
                told["event"] = (*event).into();
                told["status"] = was.name().into();
            }
            Err(error) => {
                told["status"] = "refused".into();
                told["error"] = error.message().into();
                told["field"] = error.field().into();
            }
        }
        told
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let said = Said::new(&args)?;
    let door = open(context, &args).await?;
    if args.lines {
        return stream(context, &args, &said, &door).await;
    }
    let limit = context.options().events.content_kb_max * 1024;
    let message = said.event(args.data.as_deref(), limit).await?;
    let told = door.tell(vec![message]).await?.pop().ok_or_else(|| Error::bug("nobody said what became of it"))?;
    if context.json && told.result.is_ok() {
        context.print_json(&told.as_json())?;
        return Ok(0);
    }
    let (event, was) = told.result?;
    match was {
        Offered::Different => Err(different(event)),
        Offered::New => print(&format!("event {event}\n")).map(|()| 0),
        Offered::Same => print(&format!("event {event}, known already\n")).map(|()| 0),
    }
}

fn different(event: u64) -> Error {
    let message = format!("event {event} has this source and id and says something else");
    Error::conflict(message).at_field("id").hint("give each event an id of its own")
}

async fn open(context: &Context, args: &Args) -> Result<Door> {
    match &args.to {
        Some(url) => Ok(Door::Service(Box::new(Remote::new(url, args.key.clone(), args.attempts)?))),
        None => {
            let store: Arc<dyn crate::store::Store> = context.store().await?;
            Ok(Door::Store(Box::new(context.publisher(store))))
        }
    }
}

impl Door {
    /// Tells of these events; what is wrong with one of them is said in its place.
    async fn tell(&self, messages: Vec<Message>) -> Result<Vec<Told>> {
        let publisher = match self {
            Door::Service(remote) => return remote.tell(&messages).await,
            Door::Store(publisher) => publisher,
        };
        let checked: Vec<Result<()>> = messages.iter().map(|message| publisher.check(message)).collect();
        let good = messages.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let published = publisher.publish(good.map(|(message, _)| message.clone()).collect(), Vec::new()).await?;
        let mut published = published.into_iter();
        let mut told = Vec::with_capacity(messages.len());
        for (message, checked) in messages.into_iter().zip(checked) {
            let result = match checked {
                Err(error) => Err(error),
                Ok(()) => published.next().map(|it| (it.event, it.was)).ok_or_else(|| Error::bug("no answer")),
            };
            let result = result.and_then(|(event, was)| match was {
                Offered::Different => Err(different(event)),
                _ => Ok((event, was)),
            });
            told.push(Told { id: message.id, source: message.source, result });
        }
        Ok(told)
    }
}

/// How a stream went.
#[derive(Default)]
struct Counts {
    new: u64,
    same: u64,
    refused: u64,
}

/// Every line of standard input, in order: those that wait are sent together.
async fn stream(context: &Context, args: &Args, said: &Said, door: &Door) -> Result<u8> {
    let bytes_max = context.options().events.content_kb_max * 1024 + 64 * 1024;
    let mut lines = Lines::new(bytes_max);
    let mut counts = Counts::default();
    loop {
        let group = lines.group(args.batch as usize, LINGER).await;
        if group.is_empty() {
            break;
        }
        let mut messages = Vec::with_capacity(group.len());
        for line in group {
            let event = line.and_then(|(number, text)| said.line(&text).doing(|| format!("line {number}")));
            match event {
                Ok(message) => messages.push(message),
                Err(error) => refused(context, &mut counts, &error)?,
            }
        }
        for told in door.tell(messages).await? {
            count(context, &mut counts, &told)?;
        }
    }
    if !context.json {
        eprintln!("{} published, {} known already, {} refused", counts.new, counts.same, counts.refused);
    }
    Ok(u8::from(counts.refused > 0))
}

fn refused(context: &Context, counts: &mut Counts, error: &Error) -> Result<()> {
    counts.refused += 1;
    if context.json {
        let line = json!({ "status": "refused", "error": error.message(), "field": error.field() });
        return print(&format!("{line}\n"));
    }
    eprintln!("{}", super::describe_error(error));
    Ok(())
}

fn count(context: &Context, counts: &mut Counts, told: &Told) -> Result<()> {
    match &told.result {
        Ok((_, Offered::New)) => counts.new += 1,
        Ok(_) => counts.same += 1,
        Err(_) => counts.refused += 1,
    }
    if context.json {
        return print(&format!("{}\n", told.as_json()));
    }
    if let Err(error) = &told.result {
        eprintln!("{}: {}", told.id, super::describe_error(error));
    }
    Ok(())
}

/// Whether the same may work a moment later.
fn may_work_later(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled { .. } | ErrorKind::Interrupted)
}

/// The body that carries events to a service.
fn body(messages: &[Message]) -> String {
    cloudevents::batch(messages)
}
