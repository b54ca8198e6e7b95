//! Engines as the configuration and the tokens in the store say: made anew when a token is set, with all that was learnt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Engine;
use crate::model::{Definition, Result, definition::Kind};
use crate::store::Store;

/// Tokens that were set while the program runs, by the name of their source.
pub type Tokens = BTreeMap<String, String>;

/// The names of tokens: of a source, or of the second secret that it takes. BaoStock's is its API key.
pub const TOKENS: [&str; 5] = ["tushare", "tidegate", "akshare", "baostock", "baostock_password"];

type Make = dyn Fn(&Tokens) -> Result<Engine> + Send + Sync;

/// Hands out the engine that is right now.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    make: Box<Make>,
    kept: Mutex<Option<(Vec<Definition>, Engine)>>,
}

impl Engines {
    /// `make` puts an engine together from the configuration and these tokens, which count more.
    pub fn new(store: Arc<dyn Store>, make: impl Fn(&Tokens) -> Result<Engine> + Send + Sync + 'static) -> Engines {
        Engines(Arc::new(Inner { store, make: Box::new(make), kept: Mutex::default() }))
    }

    /// The engine with the tokens as they are now. Gates, breakers and places are the same for the life of the process.
    pub async fn current(&self) -> Result<Engine> {
        let secrets = self.0.store.definitions(Kind::Secret).await?;
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, engine)) = kept.as_ref().filter(|(known, _)| *known == secrets) {
            return Ok(engine.clone());
        }
        let tokens = secrets.iter().filter_map(|secret| Some((secret.name.clone(), secret.body.as_str()?.to_string())));
        let mut engine = (self.0.make)(&tokens.collect())?;
        if let Some((_, before)) = kept.as_ref() {
            engine.gates = before.gates.clone();
            engine.breakers = before.breakers.clone();
            engine.places = before.places.clone();
            engine.at_work = before.at_work.clone();
            engine.worker = before.worker.clone();
        }
        *kept = Some((secrets, engine.clone()));
        Ok(engine)
    }
}
