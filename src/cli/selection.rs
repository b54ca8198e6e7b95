//! The options by which commands choose datasets, securities and days.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;

use super::context::Context;
use crate::model::{Day, Error, Result, Securities, SecurityList, task::Request};

/// Which datasets, which securities, which days.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// Tables of the catalogue; see `tidegate datasets`
    #[arg(value_name = "DATASET", required_unless_present = "all")]
    pub datasets: Vec<String>,
    /// Every table that the sources serve, except those under sync.skip
    #[arg(long, conflicts_with = "datasets")]
    pub all: bool,
    /// First day, 2024-01-31 or 20240131 [default: the table's first day]
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day [default: the last one that is due]
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
    /// Only these securities: 000001.SZ,600519.SH or bare six digits where they are unambiguous
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    pub codes: Vec<String>,
    /// Only this source
    #[arg(long)]
    pub source: Option<String>,
    /// Ask again for what is already claimed
    #[arg(long)]
    pub force: bool,
}

impl Selection {
    /// One request a dataset, checked as far as that is possible before anything starts.
    pub fn requests(&self, context: &Context, known: &SecurityList) -> Result<Vec<(String, Request)>> {
        let request = Request {
            securities: securities(&self.codes, known)?,
            from: day_text(self.from.as_deref(), "--from")?.or(context.default_from().map(|day| day.to_string())),
            to: day_text(self.to.as_deref(), "--to")?,
            force: self.force,
            source: self.source.clone(),
        };
        if let (Some(from), Some(to)) = (&request.from, &request.to)
            && from > to
        {
            return Err(Error::invalid(format!("--from {from} lies after --to {to}")).hint("swap the two"));
        }
        context.check_source(self.source.as_deref())?;
        let names = if self.all { context.all_datasets() } else { self.datasets.clone() };
        let mut seen = BTreeSet::new();
        let fresh = names.into_iter().filter(|name| seen.insert(name.clone()));
        fresh.map(|name| Ok((context.catalog.get(&name)?.name.clone(), request.clone()))).collect()
    }
}

/// A day option in its canonical form.
pub fn day_text(text: Option<&str>, option: &str) -> Result<Option<String>> {
    let parse = |text| Day::parse(text).map(|day| day.to_string()).map_err(|error| error.while_doing(option));
    text.map(parse).transpose()
}

/// Codes as people write them, as canonical ones. Bare digits must name exactly one known security.
pub fn securities(codes: &[String], known: &SecurityList) -> Result<Securities> {
    if codes.is_empty() {
        return Ok(Securities::All);
    }
    let codes: Result<BTreeSet<Arc<str>>> = codes.iter().map(|code| canonical(code.trim(), known)).collect();
    Ok(Securities::Some(codes?))
}

fn canonical(code: &str, known: &SecurityList) -> Result<Arc<str>> {
    let is_bare = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare && !known.is_empty() {
        let matching = known.matching(code);
        return match matching.as_slice() {
            [one] => Ok(one.code.clone()),
            [] => Err(Error::not_found(format!("no security has the code {code}"))
                .hint("see `tidegate show stock_basic`; indices need their suffix, such as 000300.SH")),
            several => {
                let codes: Vec<&str> = several.iter().map(|security| &*security.code).collect();
                Err(Error::invalid(format!("{code} can mean {}", codes.join(" or "))).hint("add the suffix"))
            }
        };
    }
    let canonical = crate::model::code::canonical(code);
    canonical.map(Arc::from).ok_or_else(|| {
        Error::invalid(format!("{code:?} is not a security code")).hint("write 000001.SZ, 600519.SH or 920001.BJ")
    })
}
