//! Which rows a request chooses: the parameters of `rows`, read strictly.

use crate::model::{Error, Result};
use crate::read::choice::{Choice, Wanted};
use crate::read::write::Format;
use crate::read::{PARAMETERS, View};

/// What the parameters say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    pub choice: Choice,
    pub view: View,
    /// As a page of JSON when `None`.
    pub download: Option<Format>,
}

/// Values that one parameter may list.
const LISTED_MAX: usize = 10_000;

impl Chosen {
    /// Reads the parameters; one that is unknown, or given twice, is `Invalid`.
    pub fn read(parameters: &[(String, String)]) -> Result<Chosen> {
        let mut chosen = Chosen::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            if name != "where" && seen.contains(&name.as_str()) {
                return Err(Error::invalid(format!("{name} is given twice")));
            }
            seen.push(name);
            chosen.set(name, value)?;
        }
        chosen.view.check().map_err(|error| error.hint("add adjust=qfq"))?;
        Ok(chosen)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let choice = &mut self.choice;
        match name {
            "columns" => choice.columns = listed(name, value)?,
            "codes" => choice.codes = listed(name, value)?,
            "order" => choice.order = listed(name, value)?,
            "from" => choice.from = given(value),
            "to" => choice.to = given(value),
            "where" => choice.filters.push(wanted(value)?),
            "limit" => choice.limit = Some(number(name, value)?),
            "offset" => choice.offset = number(name, value)?,
            "format" => self.download = format(value)?,
            "adjust" if value.is_empty() => {
                return Err(Error::invalid("adjust names no prices").hint("choose none, qfq or hfq, or leave it out"));
            }
            _ if PARAMETERS.contains(&name) => {
                self.view.set(name, value).map_err(|error| error.while_doing(name.to_string()))?;
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

const NAMES: &str = "columns, codes, from, to, where, order, limit, offset, as_of, known_on, adjust, anchor and format";

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(40).collect();
    Error::invalid(format!("there is no parameter {shown:?}")).hint(format!("there are {NAMES}"))
}

fn given(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_string())
}

fn listed(name: &str, value: &str) -> Result<Vec<String>> {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_string);
    let parts: Vec<String> = parts.take(LISTED_MAX + 1).collect();
    match parts.len() > LISTED_MAX {
        true => Err(Error::invalid(format!("{name} lists more than {LISTED_MAX} values"))),
        false => Ok(parts),
    }
}

fn number(name: &str, value: &str) -> Result<u64> {
    // What a store counts with has a sign.
    let number = value.parse::<u64>().ok().filter(|number| *number <= i64::MAX as u64);
    number.ok_or_else(|| Error::invalid(format!("{name} is a whole number that is not negative")))
}

fn format(value: &str) -> Result<Option<Format>> {
    match value {
        "json" => Ok(None),
        "csv" | "arrow" | "parquet" => Format::parse(value).map(Some),
        _ => Err(Error::invalid("there is no such format").hint("choose json, csv, arrow or parquet")),
    }
}

/// `column:value[,value]`, or `column:from..to` with either end open.
fn wanted(value: &str) -> Result<Wanted> {
    let Some((column, values)) = value.split_once(':') else {
        let error = Error::invalid("a filter names a column and what it holds");
        return Err(error.hint("write where=COLUMN:VALUE[,VALUE] or where=COLUMN:FROM..TO"));
    };
    let column = column.trim().to_string();
    match values.split_once("..") {
        Some((from, to)) => Ok(Wanted::Between { column, from: given(from.trim()), to: given(to.trim()) }),
        None => Ok(Wanted::Among { column, values: values.split(',').map(|part| part.trim().to_string()).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Chosen> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap());
        Chosen::read(&pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>())
    }

    #[test]
    fn filters_are_values_or_ranges_and_everything_else_is_refused() {
        let text =
            "columns=ts_code, close&codes=600519&from=20240102&where=pct_chg:5..&where=ts_code:a,b&order=-vol&limit=7";
        let chosen = read(text).unwrap();
        let between = Wanted::Between { column: "pct_chg".into(), from: Some("5".into()), to: None };
        let among = Wanted::Among { column: "ts_code".into(), values: vec!["a".into(), "b".into()] };
        assert_eq!(chosen.choice.filters, [between, among]);
        assert_eq!((chosen.choice.columns, chosen.choice.limit), (vec!["ts_code".into(), "close".into()], Some(7)));
        for wrong in [
            "column=close",
            "limit=-1",
            "limit=99999999999999999999",
            "limit=1&limit=2",
            "where=close",
            "format=xls",
            "format=",
            "adjust=",
            "adjust=forward",
            "anchor=20240102",
            "as_of=yesterday",
        ] {
            assert_eq!(read(wrong).unwrap_err().kind(), crate::model::ErrorKind::Invalid, "{wrong}");
        }
    }
}
