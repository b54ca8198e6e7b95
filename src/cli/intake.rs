//! `tidegate intake`: ways in which publishers' events come without a call.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::context::{BY, Context, print};
use super::list::List;
use crate::intake::{Control, Found, IntakeStatus, NewIntake};
use crate::model::{Error, Result};

/// The longest address that is read from stdin.
const URL_BYTES_MAX: u64 = 4_096;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate intake                                            every intake with its state and what waits
  tidegate intake add orders '{\"source\": \"/shop\", \"redis\": {\"stream\": \"orders\"}}' --url redis://127.0.0.1:6379/0
  echo postgres://tidegate:SECRET@db/sales | tidegate intake add sales \\
      '{\"source\": \"/sales\", \"outbox\": {\"table\": \"sales.outbox\", \"mode\": \"mark\"}}'
  tidegate intake add vouchers '{\"source\": \"/settlement\", \"replication\": {\"prefixes\": [\"voucher\"]}}' --url ...
  tidegate intake test sales                                 connect and look; nothing is taken
  tidegate intake pause sales
  tidegate intake resume vouchers --anew                     after a slot was lost
  tidegate intake remove vouchers                            drops its replication slot, too

Intakes run in `tidegate serve`. docs/guide/intake.md shows what each kind takes.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every intake, with its state and what waits
    List,
    /// One intake in full
    Show { name: String },
    /// Define an intake
    Add {
        /// Lower-case letters, digits and `_`
        name: String,
        /// What it takes from, as JSON: one of `outbox`, `replication` and `redis`, and `source`
        #[arg(value_name = "JSON")]
        body: String,
        /// Where that is; better on stdin, where no list of processes shows it [default: the first line of stdin]
        #[arg(long)]
        url: Option<String>,
    },
    /// Change fields of an intake; what is not named stays
    Change {
        name: String,
        #[arg(value_name = "JSON", default_value = "{}")]
        body: String,
        /// Another address
        #[arg(long)]
        url: Option<String>,
    },
    /// Connect and look whether it could work; nothing is taken and nothing is made
    Test { name: String },
    /// Let an intake rest; it goes on from its place when it is resumed
    Pause { name: String },
    /// Let a paused intake go on
    Resume {
        name: String,
        /// Forget its place: a slot begins where the server is now, an outbox is read from its beginning
        #[arg(long)]
        anew: bool,
    },
    /// Remove an intake, and its replication slot
    Remove {
        name: String,
        /// Leave the replication slot to somebody else; until then the server keeps its log
        #[arg(long)]
        keep_slot: bool,
    },
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let control = Control::new(context.store().await?, context.clock.clone());
    match args.action.unwrap_or(Action::List) {
        Action::List => list(context, &control.list().await?)?,
        Action::Show { name } => show(context, &control.get(&name).await?)?,
        Action::Add { name, body, url } => {
            let url = url.map_or_else(url_of_stdin, Ok)?;
            tell(context, &control.create(NewIntake { name, url, body: object(&body)? }, BY).await?)?;
        }
        Action::Change { name, body, url } => {
            let mut fields = object(&body)?;
            fields.extend(url.map(|url| ("url".to_string(), Value::String(url))));
            tell(context, &control.change(&name, fields, None, BY).await?)?;
        }
        Action::Test { name } => return test(context, &control.test(&name).await?),
        Action::Pause { name } => tell(context, &control.pause(&name, BY).await?)?,
        Action::Resume { name, anew } => tell(context, &control.resume(&name, anew, BY).await?)?,
        Action::Remove { name, keep_slot } => {
            control.remove(&name, keep_slot, BY).await?;
            eprintln!("intake {name} is removed");
        }
    }
    Ok(0)
}

fn object(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::invalid(format!("the intake is no JSON object, see {place}"))
            .hint("write it like '{\"source\": \"/shop\", \"redis\": {\"stream\": \"orders\"}}'")
    })
}

fn url_of_stdin() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(URL_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Error::invalid("the address on stdin cannot be read").caused_by(error))?;
    match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_string()),
        None => Err(Error::invalid("the intake has no address").hint("give it with --url, or as a line on stdin")),
    }
}

fn list(context: &Context, intakes: &[IntakeStatus]) -> Result<()> {
    if context.json {
        return context.print_json(&intakes.iter().map(as_json).collect::<Result<_>>()?);
    }
    let mut list = List::new(["intake", "kind", "state", "waits", "published", "refused", "what is wrong"]);
    for status in intakes {
        let (origin, standing) = (status.intake.origin()?, &status.standing);
        let lag = standing.lag.map_or("-".to_string(), |lag| format!("{lag} {}", origin.unit()));
        list.push([
            status.name.clone(),
            origin.name().to_string(),
            standing.doing.name().to_string(),
            lag,
            standing.published.to_string(),
            standing.refused.to_string(),
            standing.error.clone().unwrap_or_default(),
        ]);
    }
    match list.is_empty() {
        true => print("no intakes: `tidegate intake add` defines one\n"),
        false => print(&list.render()),
    }
}

fn show(context: &Context, status: &IntakeStatus) -> Result<()> {
    let value = as_json(status)?;
    if context.json {
        return context.print_json(&value);
    }
    print(&List::of_object(&value).render())
}

fn tell(context: &Context, status: &IntakeStatus) -> Result<()> {
    if context.json {
        return context.print_json(&as_json(status)?);
    }
    let name = &status.name;
    eprintln!("intake {name} is {}; it runs in `tidegate serve`", status.intake.state.name());
    Ok(())
}

fn test(context: &Context, found: &[Found]) -> Result<u8> {
    let code = u8::from(found.iter().any(|found| found.problem.is_some()));
    if context.json {
        let shown = |found: &Found| {
            let (problem, hint) = found.problem.clone().map_or((None, None), |(problem, hint)| (Some(problem), hint));
            json!({ "what": found.what, "problem": problem, "hint": hint })
        };
        context.print_json(&found.iter().map(shown).collect())?;
        return Ok(code);
    }
    let mut list = List::new(["what", "found", "try"]);
    for found in found {
        let (problem, hint) = found.problem.clone().unwrap_or(("well".to_string(), None));
        list.push([found.what.clone(), problem, hint.unwrap_or_default()]);
    }
    print(&list.render())?;
    Ok(code)
}

fn as_json(status: &IntakeStatus) -> Result<Value> {
    let unwritable = |error| Error::bug("writing an intake").caused_by(error);
    let (origin, standing) = (status.intake.origin()?, &status.standing);
    Ok(json!({
        "name": status.name, "kind": origin.name(), "state": standing.doing.name(),
        "definition": serde_json::to_value(&status.intake).map_err(unwritable)?, "has_url": status.has_url,
        "since": standing.since, "error": standing.error, "hint": standing.hint, "failures": standing.failures,
        "next_try": standing.next_try, "lag": standing.lag, "lag_unit": origin.unit(), "lagging": standing.lagging,
        "published": standing.published, "repeated": standing.repeated, "refused": standing.refused,
        "ignored": standing.ignored, "place": status.place, "worker": standing.worker, "seen_at": standing.at,
        "revision": status.revision,
    }))
}
