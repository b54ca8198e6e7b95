//! Levels: the least important records that are let through, for the whole program and for single modules.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::model::{Error, Result};

/// The name of the setting under which levels are stored.
pub const SETTING: &str = "log.levels";

/// Modules with a level of their own, at most.
const MODULES_MAX: usize = 100;
const NAME_CHARACTERS_MAX: usize = 100;

/// The least important records that are let through; `off` lets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Least(LevelFilter);

impl Least {
    pub const INFO: Least = Least(LevelFilter::INFO);

    pub fn name(self) -> String {
        self.0.to_string()
    }

    /// `None` for another word.
    pub fn from_name(name: &str) -> Option<Least> {
        let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&name);
        LevelFilter::from_str(name).ok().filter(|_| known).map(Least)
    }

    pub(super) fn filter(self) -> LevelFilter {
        self.0
    }
}

/// Levels of modules: `engine`, `serve::access`, or a library: `hyper`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels(BTreeMap<String, Least>);

impl Levels {
    /// As it is stored and sent: `{"engine": "debug"}`.
    pub fn from_json(value: &Value) -> Result<Levels> {
        Levels::default().changed(value)
    }

    /// With these levels set; `null` takes a module's own level away.
    pub fn changed(mut self, value: &Value) -> Result<Levels> {
        let hint = "send an object such as {\"engine\": \"debug\"}; null takes a module's level away";
        let Value::Object(modules) = value else {
            return Err(Error::invalid("levels come as an object of modules").hint(hint));
        };
        for (module, level) in modules {
            check_module(module)?;
            let level = match level {
                Value::Null => None,
                Value::String(name) => Some(Least::from_name(name).ok_or_else(|| {
                    let error = Error::invalid(format!("{module} cannot have this level"));
                    error.hint("levels are off, error, warn, info, debug and trace")
                })?),
                _ => return Err(Error::invalid(format!("the level of {module} is not a name")).hint(hint)),
            };
            match level {
                Some(level) => drop(self.0.insert(module.clone(), level)),
                None => drop(self.0.remove(module)),
            }
        }
        if self.0.len() > MODULES_MAX {
            let error = Error::invalid(format!("at most {MODULES_MAX} modules may have a level of their own"));
            return Err(error.hint("take some away with null"));
        }
        Ok(self)
    }

    pub fn as_json(&self) -> Value {
        let modules = self.0.iter().map(|(module, level)| (module.clone(), Value::String(level.name())));
        Value::Object(modules.collect::<Map<_, _>>())
    }

    /// Each module with its level, everything else with `least`.
    pub(super) fn targets(&self, least: Least) -> Targets {
        let modules = self.0.iter().flat_map(|(module, level)| {
            [format!("tidegate::{module}"), module.clone()].map(|target| (target, level.filter()))
        });
        Targets::new().with_default(least.filter()).with_targets(modules)
    }
}

fn check_module(name: &str) -> Result<()> {
    let word = |word: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !word.is_empty() && word.bytes().all(fits)
    };
    if name.len() <= NAME_CHARACTERS_MAX && name.split("::").all(word) {
        return Ok(());
    }
    Err(Error::invalid("this is not the name of a module").hint("modules are named like engine or serve::access"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tracing::Level;

    #[test]
    fn modules_have_levels_of_their_own_and_the_rest_keeps_its_own() {
        let levels = Levels::from_json(&json!({ "engine": "debug", "serve::access": "off" })).unwrap();
        let targets = levels.targets(Least::from_name("warn").unwrap());
        for (target, level, expected) in [
            ("tidegate::engine::run", Level::DEBUG, true),
            ("tidegate::engine::run", Level::TRACE, false),
            ("tidegate::serve::access", Level::ERROR, false),
            ("tidegate::serve::live", Level::WARN, true),
            ("tidegate::serve::live", Level::INFO, false),
            ("hyper::proto", Level::INFO, false),
        ] {
            assert_eq!(targets.would_enable(target, &level), expected, "{target} {level}");
        }
        let levels = levels.changed(&json!({ "engine": null, "hyper": "trace" })).unwrap();
        assert_eq!(levels.as_json(), json!({ "hyper": "trace", "serve::access": "off" }));
        assert!(levels.targets(Least::INFO).would_enable("hyper::proto", &Level::TRACE));
    }

    #[test]
    fn what_is_not_a_level_or_a_module_is_refused() {
        for bad in [
            json!([]),
            json!({ "engine": "loud" }),
            json!({ "engine": "5" }),
            json!({ "engine": 1 }),
            json!({ "": "info" }),
            json!({ "a b": "info" }),
            json!({ "a=debug,b": "info" }),
            json!({ "x".repeat(101): "info" }),
            Value::Object((0..101).map(|number| (format!("m{number}"), json!("info"))).collect()),
        ] {
            assert!(Levels::from_json(&bad).is_err(), "{bad}");
        }
    }
}
