//! The options by which commands choose datasets, securities and days.

use clap::Args;

use super::context::Context;
use crate::engine::Engine;
use crate::model::{Error, How, Result, SecurityList, Strategy, Work, task::Request};
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
    #[arg(long, value_name = "DAYS", conflicts_with = "from", value_parser = clap::value_parser!(u32).range(0..=36_525))]
    pub days_back: Option<u32>,
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
    /// What is asked for, with options checked under their own names.
    pub fn work(&self) -> Result<Work> {
        let (from, to) = (day(self.from.as_deref(), "--from")?, day(self.to.as_deref(), "--to")?);
        if let (Some(from), Some(to)) = (&from, &to)
            && from > to
        {
            return Err(Error::invalid(format!("--from {from} lies after --to {to}")).hint("swap the two"));
        }
        let periods = self.periods.iter().map(|period| period.dataset().to_string());
        Ok(Work {
            datasets: self.datasets.iter().cloned().chain(periods).collect(),
            codes: self.codes.clone(),
            from,
            to,
            days_back: self.days_back,
            all_history: self.all_history,
            force: self.force,
            sources: self.sources.iter().chain(&self.source).cloned().collect(),
            how: self.how(),
            ..Work::default()
        })
    }

    /// One request a dataset, checked as far as that is possible before anything starts.
    pub fn requests(&self, context: &Context, engine: &Engine, known: &SecurityList) -> Result<Vec<(String, Request)>> {
        context.check_source(self.source.as_deref())?;
        let requests = engine.requests(&self.work()?, known, context.clock.now().day())?;
        let only = |(name, request)| (name, Request { source: self.source.clone(), ..request });
        Ok(requests.into_iter().map(only).collect())
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
