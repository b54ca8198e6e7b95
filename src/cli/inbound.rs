//! `tidegate inbound`: webhooks that other systems call, and what they bring.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::context::{BY, Context, print};
use super::list::List;
use super::receiving;
use crate::dialect::webhook::Secret;
use crate::model::{Error, Received, Result};
use crate::receive::{Control, Entry, Made, OVERLAP_HOURS, inbound_of};
use crate::serve::inbounds::{state_named, state_of, tried};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate inbound add invoices --file invoices.toml        prints the secret, once
  tidegate inbound list
  tidegate inbound show invoices
  tidegate inbound test invoices --body call.json           which rows a body would make
  tidegate inbound messages invoices --state waiting
  tidegate inbound rotate-secret invoices                   the old secret counts for another day
  tidegate inbound check invoices 1001                      asks the origin, and fetches what is newer
  tidegate inbound release invoices 1001                    applies what waits, without what is missing
  tidegate inbound pause invoices

A webhook is called at /api/v1/webhooks/NAME of `tidegate serve`. docs/guide/receiving.md says what a file may hold.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every inbound webhook, with what waits
    List,
    /// One inbound webhook in full
    Show { name: String },
    /// Define an inbound webhook; without a secret one is made and printed, once
    Add {
        name: String,
        /// What it takes and what becomes of it, in TOML or JSON; `-` reads JSON from stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        secret: GivenSecret,
    },
    /// Change an inbound webhook: what the file names becomes so, the rest stays
    Change {
        name: String,
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Answer calls with 503 until it is resumed
    Pause { name: String },
    /// Take calls in again
    Resume { name: String },
    /// Remove an inbound webhook with its secrets; what it took in stays
    Remove { name: String },
    /// A new secret; the old ones count a while longer
    RotateSecret {
        name: String,
        #[command(flatten)]
        secret: GivenSecret,
        /// Hours that the ones before go on to count
        #[arg(long, value_name = "HOURS", default_value_t = OVERLAP_HOURS)]
        overlap_hours: u32,
    },
    /// Set the key that the origin wants, from a file; without a file it is removed
    OriginKey {
        name: String,
        /// A file whose first line is the key; `-` reads stdin
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Show which rows a body would make; nothing is written
    Test {
        name: String,
        /// The body of a call; `-` reads stdin
        #[arg(long, value_name = "FILE")]
        body: PathBuf,
        /// A header of the call
        #[arg(long, value_name = "NAME: VALUE")]
        header: Vec<String>,
    },
    /// What was taken in, newest first
    Messages {
        name: String,
        /// applied, kept, stale, conflicting, waiting or stuck
        #[arg(long)]
        state: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Ask the origin for the newest version of a row, and take in what is missing
    Check {
        name: String,
        /// The value of the table's key; of several columns a JSON list
        key: String,
        /// Where the webhook maps several tables with versions
        #[arg(long)]
        dataset: Option<String>,
    },
    /// Ask again for versions of messages that are stuck
    Retry { name: String },
    /// Apply what waits, without the versions that are missing
    Release {
        name: String,
        /// Of this row only
        key: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct GivenSecret {
    /// A file whose first line is the secret; `-` reads stdin [default: one is made]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl GivenSecret {
    fn read(&self) -> Result<Option<Secret>> {
        self.secret_file.as_deref().map(first_line).transpose().map(|line| line.map(Secret::new))
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let control = receiving::control(context, store.clone());
    match args.action {
        Action::List => list(context, &control).await?,
        Action::Show { name } => show(context, &*control.get(&name).await?)?,
        Action::Add { name, file, secret } => {
            let body = Value::Object(fields(&file)?);
            told(context, &control.add(&name, inbound_of(body)?, secret.read()?, BY).await?)?;
        }
        Action::Change { name, file } => show(context, &*control.change(&name, fields(&file)?, None, BY).await?)?,
        Action::Pause { name } => show(context, &*control.pause(&name, true, BY).await?)?,
        Action::Resume { name } => show(context, &*control.pause(&name, false, BY).await?)?,
        Action::Remove { name } => {
            control.remove(&name, BY).await?;
            eprintln!("the inbound webhook {name} is removed; what it took in stays");
        }
        Action::RotateSecret { name, secret, overlap_hours } => {
            told(context, &control.rotate(&name, secret.read()?, overlap_hours, BY).await?)?;
        }
        Action::OriginKey { name, key_file } => {
            let key = key_file.as_deref().map(first_line).transpose()?;
            let set = key.is_some();
            control.set_origin_key(&name, key, BY).await?;
            eprintln!("the key of the origin of {name} is {}", if set { "set" } else { "removed" });
        }
        Action::Test { name, body, header } => test(context, &control, &name, &body, &header).await?,
        Action::Messages { name, state, limit } => {
            let state = state.as_deref().map(state_named).transpose()?;
            messages(context, &control.messages(&name, state, limit).await?)?;
        }
        Action::Check { name, key, dataset } => {
            let receiver = receiving::for_a_command(context, store).await?;
            let found = receiver.check(&name, dataset.as_deref(), &key).await?;
            return checked(context, &key, found.before, found.after, found.origin);
        }
        Action::Retry { name } => {
            let count = control.retry(&name).await?;
            eprintln!("{count} messages wait again; `tidegate serve` asks for what is missing");
        }
        Action::Release { name, key } => {
            let receiver = receiving::for_a_command(context, store).await?;
            let count = receiver.release(&name, key.as_deref()).await?;
            eprintln!("{count} messages are released");
        }
    }
    Ok(0)
}

async fn list(context: &Context, control: &Control) -> Result<()> {
    let all = control.list().await?;
    if context.json {
        return context.print_json(&all.iter().map(|entry| as_json(entry)).collect());
    }
    if all.is_empty() {
        eprintln!("no inbound webhooks; `tidegate inbound add NAME --file FILE` defines one");
        return Ok(());
    }
    let mut list = List::new(["name", "state", "forms", "tables", "others"]);
    for entry in all {
        let tables: Vec<&str> = entry.inbound.mappings.iter().map(|mapping| mapping.dataset.as_str()).collect();
        let forms: Vec<&str> = entry.inbound.forms.iter().map(|form| form.name()).collect();
        let others = serde_json::to_value(entry.inbound.others).unwrap_or_default();
        list.push([
            entry.name.clone(),
            state_of(&entry).to_owned(),
            forms.join(" "),
            tables.join(" "),
            others.as_str().unwrap_or_default().to_owned(),
        ]);
    }
    print(&list.render())
}

fn as_json(entry: &Entry) -> Value {
    json!({
        "name": entry.name, "path": format!("/api/v1/webhooks/{}", entry.name), "state": state_of(entry),
        "problem": entry.broken, "definition": entry.inbound, "origin_key": entry.has_origin_key(),
        "revision": entry.revision, "changed_at": entry.at.to_string(),
    })
}

fn show(context: &Context, entry: &Entry) -> Result<()> {
    let value = as_json(entry);
    if context.json {
        return context.print_json(&value);
    }
    let definition = toml::to_string(&entry.inbound).map_err(|error| Error::bug("writing TOML").caused_by(error))?;
    let mut text = format!("# {} at /api/v1/webhooks/{}, {}\n", entry.name, entry.name, state_of(entry));
    if let Some(why) = &entry.broken {
        text.push_str(&format!("# cannot work: {why}\n"));
    }
    print(&(text + &definition))
}

fn told(context: &Context, made: &Made) -> Result<()> {
    let name = &made.entry.name;
    if context.json {
        let mut value = as_json(&made.entry);
        if let Some(secret) = &made.secret {
            value["secret"] = secret.expose().into();
        }
        return context.print_json(&value);
    }
    match &made.secret {
        None => eprintln!("the inbound webhook {name} is called at /api/v1/webhooks/{name}"),
        Some(secret) => {
            eprintln!(
                "the inbound webhook {name} is called at /api/v1/webhooks/{name}; its secret cannot be shown again:"
            );
            print(&format!("{}\n", secret.expose()))?;
        }
    }
    Ok(())
}

async fn test(context: &Context, control: &Control, name: &str, body: &Path, headers: &[String]) -> Result<()> {
    let body = bytes(body)?;
    let mut pairs = Vec::new();
    for header in headers {
        let Some((name, value)) = header.split_once(':') else {
            return Err(Error::invalid("a header has no colon").hint("write it like 'ce-type: invoice.recorded'"));
        };
        pairs.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let found = control.try_out(name, &pairs, &body).await?;
    context.print_json(&found.into_iter().map(|(message, mapped)| tried(message, mapped)).collect())
}

fn messages(context: &Context, found: &[Received]) -> Result<()> {
    if context.json {
        let value = |received: &Received| {
            json!({
                "source": received.source, "id": received.id, "at": received.at.to_string(),
                "dataset": received.dataset, "key": received.key, "version": received.version,
                "state": received.state.name(), "attempts": received.attempts,
                "due_at": received.state.is_open().then(|| received.due_at.to_string()), "note": received.note,
            })
        };
        return context.print_json(&found.iter().map(value).collect());
    }
    if found.is_empty() {
        eprintln!("no messages");
        return Ok(());
    }
    let mut list = List::new(["at", "id", "table", "row", ">version", "state", "note"]);
    for received in found {
        list.push([
            received.at.to_string(),
            received.id.clone(),
            received.dataset.clone(),
            received.key.clone(),
            received.version.map(|version| version.to_string()).unwrap_or_default(),
            received.state.name().to_owned(),
            received.note.clone(),
        ]);
    }
    print(&list.render())
}

/// Exit code 1 when the row is older than what the origin knows.
fn checked(context: &Context, key: &str, before: u64, after: u64, origin: u64) -> Result<u8> {
    let current = after >= origin;
    if context.json {
        context.print_json(&json!({ "before": before, "after": after, "origin": origin, "current": current }))?;
    } else {
        match (current, before == after) {
            (true, true) => eprintln!("{key} is current: version {after}"),
            (true, false) => eprintln!("{key} was version {before} and is version {after} now"),
            (false, _) => eprintln!("{key} is version {after}, and the origin has version {origin}"),
        }
    }
    Ok(if current { 0 } else { 1 })
}

fn bytes(file: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::invalid(format!("{} cannot be read", file.display())).caused_by(error);
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(failed)?;
        return Ok(bytes);
    }
    std::fs::read(file).map_err(failed)
}

fn first_line(file: &Path) -> Result<String> {
    let text = String::from_utf8(bytes(file)?).map_err(|_| Error::invalid(format!("{} is no text", file.display())))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// A file in TOML, or in JSON.
fn fields(file: &Path) -> Result<Map<String, Value>> {
    let text = String::from_utf8(bytes(file)?).map_err(|_| Error::invalid(format!("{} is no text", file.display())))?;
    let value: Value = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|error| unreadable(file, &error.to_string()))?,
        false => toml::from_str(&text).map_err(|error| unreadable(file, error.message()))?,
    };
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(unreadable(file, "it is no table")),
    }
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::invalid(format!("{} cannot be read: {why}", file.display())).hint("write TOML, or one JSON object")
}
