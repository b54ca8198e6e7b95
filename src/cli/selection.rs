//! The options by which commands choose datasets, securities and days.

use std::collections::BTreeSet;

use clap::Args;

use super::context::Context;
use crate::model::{Error, How, Result, SecurityList, Strategy, task::Request};
use crate::read::choice::day;

/// Which datasets, which securities, which days.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// Tables of the catalogue; see `tidegate datasets`
    #[arg(value_name = "DATASET", required_unless_present_any = ["all", "periods"])]
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
    /// Only these sources, asked in this order: baostock,tushare
    #[arg(long, value_name = "SOURCES", value_delimiter = ',', conflicts_with = "source")]
    pub sources: Vec<String>,
    /// Ask again for what is already claimed
    #[arg(long)]
    pub force: bool,
    /// Bars of several periods in one go: daily,weekly,monthly
    #[arg(long, value_name = "PERIODS", value_delimiter = ',', conflicts_with = "all")]
    pub periods: Vec<Period>,
    /// From the table's first day on, whatever sync.default_from says
    #[arg(long, conflicts_with_all = ["from", "days_back"])]
    pub all_history: bool,
    /// From so many days before today on
    #[arg(long, value_name = "DAYS", conflicts_with = "from", value_parser = clap::value_parser!(i32).range(0..))]
    pub days_back: Option<i32>,
    /// How the tables are kept, instead of what the catalogue says; see `tidegate datasets --strategies`
    #[arg(long, value_name = "NAME", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// Securities in one batch (by_security) [default: sync.batch_size]
    #[arg(long, value_name = "SECURITIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: Option<u32>,
    /// Securities to leave out at the beginning of the list (by_security)
    #[arg(long, value_name = "SECURITIES", default_value_t = 0)]
    pub offset: u32,
    /// Days (or weeks, months, report periods) before the last due one to ask again, for late corrections
    #[arg(long, value_name = "POINTS")]
    pub look_back: Option<u32>,
    /// Partitions that are worked on side by side (partitions) [default: sync.partitions]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub partitions: Option<u32>,
}

/// The table of bars of one period is called as the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Period {
    Daily,
    Weekly,
    Monthly,
}

impl Period {
    fn dataset(self) -> &'static str {
        match self {
            Period::Daily => "daily",
            Period::Weekly => "weekly",
            Period::Monthly => "monthly",
        }
    }
}

/// A strategy by its name.
pub fn strategy(name: &str) -> std::result::Result<Strategy, String> {
    let names = || Strategy::ALL.map(Strategy::name).join(", ");
    Strategy::from_name(name).ok_or_else(|| format!("there is no strategy {name:?}; there are {}", names()))
}

impl Selection {
    /// One request a dataset, checked as far as that is possible before anything starts.
    pub fn requests(&self, context: &Context, known: &SecurityList) -> Result<Vec<(String, Request)>> {
        let request = Request {
            securities: known.chosen_by(&self.codes)?,
            from: self.first_day(context)?,
            to: day(self.to.as_deref(), "--to")?,
            force: self.force,
            source: self.source.clone(),
            how: self.how(),
        };
        if let (Some(from), Some(to)) = (&request.from, &request.to)
            && from > to
        {
            return Err(Error::invalid(format!("--from {from} lies after --to {to}")).hint("swap the two"));
        }
        context.check_source(self.source.as_deref())?;
        let mut names = if self.all { context.all_datasets() } else { self.datasets.clone() };
        names.extend(self.periods.iter().map(|period| period.dataset().to_string()));
        let mut seen = BTreeSet::new();
        let fresh = names.into_iter().filter(|name| seen.insert(name.clone()));
        fresh.map(|name| Ok((context.catalog.get(&name)?.name.clone(), request.clone()))).collect()
    }

    fn first_day(&self, context: &Context) -> Result<Option<String>> {
        if self.all_history {
            return Ok(None);
        }
        if let Some(days) = self.days_back {
            return Ok(Some(context.clock.now().day().plus(-days).to_string()));
        }
        let default = || context.default_from().map(|day| day.to_string());
        Ok(day(self.from.as_deref(), "--from")?.or_else(default))
    }

    fn how(&self) -> How {
        How {
            strategy: self.strategy,
            batch_size: self.batch_size,
            offset: self.offset,
            look_back: self.look_back,
            partitions: self.partitions,
        }
    }
}
