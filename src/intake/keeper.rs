//! Runs the intakes that are defined, each under a duty of its own: one process at a time, started again after failures
//! with growing waits, and at once when its definition changes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;

use super::definition::{Intake, Origin, State};
use super::desk::{Desk, standing_name};
use super::duty::Duty;
use super::standing::Standing;
use super::{Parts, group, outbox, replication};
use crate::engine::Stop;
use crate::feed::Feed;
use crate::model::definition::{Definition, Kind};
use crate::model::{Error, EventType, Result};
use crate::postgres::Address;

/// How often definitions are looked at whatever the log says.
const LOOK: Duration = Duration::from_secs(60);
/// After an error of the store.
const ERROR: Duration = Duration::from_secs(5);
/// Events that are read in one step.
const EVENTS_MAX: usize = 1_000;

/// The name under which the address of an intake is kept as a secret.
pub(super) fn secret_name(name: &str) -> String {
    format!("intake:{name}")
}

/// Runs intakes in this process.
pub struct Keeper {
    parts: Parts,
}

/// An intake that is being run.
struct Life {
    /// Of its definition and of its address.
    revisions: (u64, u64),
    stop: Stop,
}

impl Keeper {
    pub fn new(parts: Parts) -> Keeper {
        Keeper { parts }
    }

    /// Until stopping is asked for.
    pub async fn serve(self, feed: Feed, stop: &Stop) -> Result<()> {
        if !self.parts.options.enabled {
            return Ok(());
        }
        let mut lives: HashMap<String, Life> = HashMap::new();
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut follower = feed.follow(feed.head());
        while !stop.asked() {
            let wait = match self.look(&mut lives, &mut tasks).await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::warn!(%error, "the definitions of intakes cannot be read; trying again");
                    ERROR
                }
            };
            tokio::select! {
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Ok(name) = ended {
                        lives.remove(&name);
                    }
                }
                () = changed(&mut follower) => {}
                _ = stop.sleep(wait) => {}
            }
        }
        lives.values().for_each(|life| life.stop.ask());
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Begins what is defined, and ends what is not, or not any more as it was. What ends is begun again when it has
    /// ended.
    async fn look(&self, lives: &mut HashMap<String, Life>, tasks: &mut JoinSet<String>) -> Result<()> {
        let defined = self.parts.store.definitions(Kind::Intake).await?;
        let secrets = self.parts.store.definitions(Kind::Secret).await?;
        let mut wanted = HashMap::new();
        for definition in defined {
            let secret = secrets.iter().find(|secret| secret.name == secret_name(&definition.name));
            let revisions = (definition.revision, secret.map_or(0, |secret| secret.revision));
            let url = secret.and_then(|secret| secret.body.as_str()).unwrap_or_default().to_owned();
            wanted.insert(definition.name.clone(), (revisions, definition, url));
        }
        for (name, life) in lives.iter() {
            if wanted.get(name).is_none_or(|(revisions, ..)| *revisions != life.revisions) {
                life.stop.ask();
            }
        }
        for (name, (revisions, definition, url)) in wanted {
            let intake = match Intake::read(definition.body.clone()) {
                Ok(intake) if intake.state == State::Active => intake,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(intake = name, %error, "a definition cannot be read");
                    continue;
                }
            };
            if lives.contains_key(&name) {
                continue;
            }
            let stop = Stop::default();
            let (parts, heard, life) = (self.parts.clone(), stop.clone(), name.clone());
            tasks.spawn(async move {
                live(parts, definition, intake, url, heard).await;
                life
            });
            lives.insert(name, Life { revisions, stop });
        }
        Ok(())
    }
}

/// Returns when a definition was changed.
async fn changed(follower: &mut crate::feed::Follower) {
    loop {
        match follower.next(EVENTS_MAX).await {
            Ok(events) if events.iter().any(|event| event.kind == EventType::DefinitionChanged) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the event log cannot be read; trying again");
                tokio::time::sleep(ERROR).await;
            }
        }
    }
}

/// One life of an intake: waits for its duty, and does it until stopping is asked for or another process has it.
async fn live(parts: Parts, definition: Definition, intake: Intake, url: String, stop: Stop) {
    let name = definition.name.clone();
    let again = (parts.options.lease / 3).max(Duration::from_millis(50));
    while !stop.asked() {
        match Duty::take(&parts, &format!("intake:{name}"), &stop).await {
            Ok(Some(duty)) => return serve(parts, &name, &intake, &url, duty, stop).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(intake = name, %error, "the duty of an intake cannot be taken"),
        }
        stop.sleep(again).await;
    }
}

async fn serve(parts: Parts, name: &str, intake: &Intake, url: &str, duty: Duty, stop: Stop) {
    let Ok(origin) = intake.origin() else { return };
    let was = parts.store.place(&standing_name(name)).await.ok().flatten();
    let was: Standing = was.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let lag = (parts.options.lag_max(intake, origin), origin.unit());
    let mut desk = Desk::new(parts, name, duty, stop.clone(), lag, was);
    while !stop.asked() {
        let Err(error) = run(&mut desk, name, intake, origin, url).await else { continue };
        if stop.asked() {
            break;
        }
        let wait = match desk.failed(&error).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(intake = name, %error, "the standing of an intake cannot be written");
                break;
            }
        };
        stop.sleep(wait).await;
    }
    desk.close().await;
}

async fn run(desk: &mut Desk, name: &str, intake: &Intake, origin: Origin<'_>, url: &str) -> Result<()> {
    if url.is_empty() {
        let error = Error::invalid(format!("the intake {name} has no address"));
        return Err(error.hint("set it with `tidegate intake add`, or as `url` by the API"));
    }
    let connect = desk.options().connect;
    let address = || Address::read(url, "url", connect);
    match origin {
        Origin::Outbox(outbox) => outbox::run(desk, &address()?, outbox, &intake.source).await,
        Origin::Replication(replication) => replication::run(desk, &address()?, replication, &intake.source).await,
        Origin::Redis(group) => group::run(desk, url, group, &intake.source).await,
    }
}
