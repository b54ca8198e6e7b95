//! `tidegate keys`: who may use the API.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::List;
use crate::model::{Instant, Result};
use crate::serve::caller::Role;
use crate::serve::keys::{self, Key};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate keys create desk --role operate --days 90    prints the key, once
  tidegate keys list
  tidegate keys remove desk                             ends its sessions too

A program sends its key as `Authorization: Bearer KEY`; people give it to the dashboard.
Without any key, `tidegate serve` lets everybody on this machine do everything, and listens nowhere else.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a key and print it; it cannot be shown again
    Create {
        /// Letters, digits, `-`, `_`, `.` and `@`
        name: String,
        /// read: look at everything but secrets; operate: start, stop and resolve too; admin: everything
        #[arg(long, value_enum, default_value = "read")]
        role: RoleName,
        /// Days after which it expires [default: never]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(keys::DAYS_MAX)))]
        days: Option<u32>,
    },
    /// Keys with their roles, and when they were used
    List,
    /// Remove a key and end its sessions
    Remove { name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Read,
    Operate,
    Admin,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            RoleName::Read => Role::Read,
            RoleName::Operate => Role::Operate,
            RoleName::Admin => Role::Admin,
        }
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let now = context.clock.now();
    match args.action {
        Action::Create { name, role, days } => {
            let new = keys::create(&*store, now, &name, role.role(), days).await?;
            if context.json {
                let mut value = as_json(&new.name, &new.key, now);
                value["key"] = new.text.into();
                return context.print_json(&value).map(|()| 0);
            }
            eprintln!("the key of {name}, for {}; it cannot be shown again:", role.role().name());
            print(&format!("{}\n", new.text))?;
        }
        Action::List => list(context, &keys::stored(&*store).await?, now)?,
        Action::Remove { name } => {
            keys::remove(&*store, now, &name).await?;
            eprintln!("the key {name} is removed, and its sessions have ended");
        }
    }
    Ok(0)
}

fn list(context: &Context, keys: &std::collections::BTreeMap<String, Key>, now: Instant) -> Result<()> {
    let own = || keys.iter().filter(|(_, key)| !key.is_session());
    if context.json {
        return context.print_json(&own().map(|(name, key)| as_json(name, key, now)).collect());
    }
    if own().next().is_none() {
        eprintln!("no keys: whoever is on this machine may do everything, and the service listens nowhere else");
        return Ok(());
    }
    let mut list = List::new(["name", "role", "made", "expires", "last used"]);
    let text = |at: Option<Instant>, none: &str| at.map_or_else(|| none.to_string(), |at| at.to_string());
    for (name, key) in own() {
        let expires = match key.has_expired(now) {
            true => "has expired".to_string(),
            false => text(key.expires_at, "never"),
        };
        let role = key.role.name().to_string();
        list.push([name.clone(), role, text(key.created_at, "-"), expires, text(key.last_used, "never")]);
    }
    print(&list.render())
}

fn as_json(name: &str, key: &Key, now: Instant) -> Value {
    let text = |at: Option<Instant>| at.map(|at| at.to_string());
    json!({
        "name": name,
        "role": key.role.name(),
        "created_at": text(key.created_at),
        "expires_at": text(key.expires_at),
        "expired": key.has_expired(now),
        "last_used": text(key.last_used),
    })
}
