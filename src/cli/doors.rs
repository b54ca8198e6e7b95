//! Every source that can be configured, as the configuration describes it, switched on or not.

use super::context::Context;
use crate::config::{Config, Origin};
use crate::engine::doors::{Configured, Token};

/// Best first; databases after them, one each connection.
pub fn configured(context: &Context) -> Vec<Configured> {
    let sources = &context.options().sources;
    let one = |name: &str, rank, enabled, about| Configured {
        name: name.to_string(),
        rank,
        enabled,
        about,
        address: address(&context.config, name),
        token: token(&context.config, name),
    };
    let tushare = "A-share tables of an account, whose points decide which of them and how often";
    let akshare = "bars, lists and reports of public pages, without an account";
    let baostock = "bars, factors and quarterly figures of a free service, without an account of one's own";
    let tidegate = "another Tidegate, through its mirror";
    let mut configured = vec![
        one("tushare", sources.tushare.rank, sources.tushare.enabled, tushare),
        one("akshare", sources.akshare.rank, sources.akshare.enabled, akshare),
        one("baostock", sources.baostock.rank, sources.baostock.enabled, baostock),
        one("tidegate", sources.tidegate.rank, sources.tidegate.enabled, tidegate),
    ];
    configured.sort_by_key(|source| source.rank);
    configured.extend(sources.database.connections().into_iter().map(|(name, _)| Configured {
        name: format!("database.{name}"),
        rank: sources.database.rank,
        enabled: true,
        about: "a database whose tables are read",
        address: None,
        token: Token::NotNeeded,
    }));
    configured
}

/// An option of a source as text, with where it comes from.
pub fn option(config: &Config, source: &str, key: &str) -> Option<(String, Origin)> {
    let path = format!("sources.{source}.{key}");
    let found = config.explain().iter().find(|option| option.path == path)?;
    Some((found.value.trim_matches('"').to_string(), found.origin.clone()))
}

fn address(config: &Config, source: &str) -> Option<String> {
    ["url", "address"].iter().find_map(|key| option(config, source, key)).map(|(value, _)| value)
}

/// Where the token comes from; never the token itself. A door with a token of its own choice (`akshare`) needs none.
fn token(config: &Config, source: &str) -> Token {
    let set = |value: &str| !matches!(value, "" | "(not set)");
    match (option(config, source, "token"), option(config, source, "token_file")) {
        (Some((value, origin)), _) if set(&value) => Token::From(origin.to_string()),
        (Some(_), Some((file, origin))) if set(&file) => Token::From(format!("the file {file}, named by {origin}")),
        (Some(_), Some(_)) => Token::NotSet,
        (Some(_), None) | (None, _) => Token::NotNeeded,
    }
}
