//! Addresses of sides: how people name a table, wherever it is, and what of that name may be shown and kept.

use std::collections::BTreeMap;

use crate::model::{Error, Result};

/// Where a side is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A dataset of this store.
    Store { dataset: String },
    /// A table of a database, by its whole address.
    Database { url: String, table: String },
    /// A dataset of another Tidegate.
    Tidegate { url: String, api_key: String, dataset: String },
}

/// Names that stand for addresses: connections to databases, and other Tidegates.
#[derive(Clone, Default)]
pub struct Names {
    pub databases: BTreeMap<String, String>,
    pub tidegates: BTreeMap<String, String>,
}

const HINT: &str = "write store:DATASET, NAME#TABLE of a configured connection, postgres://user@host/database#table, \
                    sqlite://path/to/file#table, NAME#DATASET of a configured Tidegate or https://:KEY@host#dataset";

impl Address {
    /// Reads an address.
    pub fn parse(text: &str, names: &Names) -> Result<Address> {
        let unreadable = || Error::invalid(format!("{:?} names no table", shown(text))).hint(HINT);
        if let Some(dataset) = text.strip_prefix("store:").filter(|dataset| !dataset.is_empty()) {
            return Ok(Address::Store { dataset: dataset.to_owned() });
        }
        let (place, table) = text.rsplit_once('#').filter(|(_, table)| !table.is_empty()).ok_or_else(unreadable)?;
        let table = table.to_owned();
        let address = match place.split_once("://") {
            Some(_) => place.to_owned(),
            None => names.databases.get(place).or_else(|| names.tidegates.get(place)).cloned().ok_or_else(|| {
                let known: Vec<&str> =
                    names.databases.keys().chain(names.tidegates.keys()).map(String::as_str).collect();
                Error::not_found(format!("there is no connection {place:?}")).hint(match known.is_empty() {
                    true => "configure it under sources.database.connections or reconcile.tidegates".to_owned(),
                    false => format!("configured are {}", known.join(", ")),
                })
            })?,
        };
        match address.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql" | "sqlite") => Ok(Address::Database { url: address, table }),
            Some("http" | "https") => {
                let (url, api_key) = without_key(&address);
                Ok(Address::Tidegate { url, api_key, dataset: table })
            }
            _ => Err(unreadable()),
        }
    }
}

/// Whether an address stands for itself and names no file or host: what may be asked for over the network.
pub fn is_named(text: &str) -> bool {
    text.starts_with("store:") || !text.contains("://")
}

/// An address as it may be shown and kept: without a password.
pub fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    if scheme == "sqlite" {
        return text.to_owned();
    }
    let (rest, table) = rest.rsplit_once('#').map_or((rest, ""), |(rest, table)| (rest, table));
    let (authority, path) = match rest.rsplit_once('@') {
        // A password may hold a slash.
        Some((user, after)) => {
            let (host, path) = after.split_once('/').map_or((after, ""), |(host, path)| (host, path));
            // The user of another Tidegate is its key.
            let user = if scheme.starts_with("http") { "" } else { user.split(':').next().unwrap_or_default() };
            (if user.is_empty() { host.to_owned() } else { format!("{user}@{host}") }, path)
        }
        None => rest.split_once('/').map_or((rest.to_owned(), ""), |(host, path)| (host.to_owned(), path)),
    };
    // Whatever follows a question mark may be a secret as well.
    let path = path.split('?').next().unwrap_or_default();
    let authority = authority.split('?').next().unwrap_or_default();
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    let table = if table.is_empty() { String::new() } else { format!("#{table}") };
    format!("{scheme}://{authority}{path}{table}")
}

/// `https://:KEY@host` as `https://host` and the key.
fn without_key(address: &str) -> (String, String) {
    let Some((scheme, rest)) = address.split_once("://") else { return (address.to_owned(), String::new()) };
    let Some((user, host)) = rest.rsplit_once('@') else { return (address.to_owned(), String::new()) };
    let key = user.split_once(':').map_or(user, |(_, key)| key);
    (format!("{scheme}://{host}"), key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_secrets() {
        let names = Names {
            databases: BTreeMap::from([("erp".into(), "postgres://u:pw@db/erp".into())]),
            tidegates: BTreeMap::from([("tax".into(), "https://:key@tax:8080".into())]),
        };
        let parse = |text: &str| Address::parse(text, &names).ok();
        let database = |url: &str, table: &str| Some(Address::Database { url: url.into(), table: table.into() });
        assert!(parse("store:voucher") == Some(Address::Store { dataset: "voucher".into() }));
        assert!(parse("erp#sales.contract") == database("postgres://u:pw@db/erp", "sales.contract"));
        assert!(parse("postgres://u:p#w@db/erp#t") == database("postgres://u:p#w@db/erp", "t"));
        assert!(parse("sqlite:///data/a.db#t") == database("sqlite:///data/a.db", "t"));
        let tax = Address::Tidegate { url: "https://tax:8080".into(), api_key: "key".into(), dataset: "d".into() };
        assert!(parse("tax#d") == Some(tax));
        for text in ["", "store:", "voucher", "nobody#t", "ftp://a#t", "erp#", "erp"] {
            assert!(parse(text).is_none(), "{text}");
        }
        for (text, expected) in [
            ("postgres://u:pw@db:5432/erp?password=x#t", "postgres://u@db:5432/erp#t"),
            ("postgres://u:p/w@db/erp#t", "postgres://u@db/erp#t"),
            ("https://:key@tax:8080#d", "https://tax:8080#d"),
            ("https://key@tax:8080#d", "https://tax:8080#d"),
            ("sqlite:///data/a.db#t", "sqlite:///data/a.db#t"),
            ("store:voucher", "store:voucher"),
            ("erp#t", "erp#t"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert!(is_named("erp#t") && is_named("store:a") && !is_named("sqlite://a#t"));
    }
}
