//! The client of BaoStock, and of any Tidegate that mirrors it: a pool of sessions over TCP, one page a call.

mod pool;
mod session;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::check::belongs;
use crate::dialect::baostock::cells::{LACKED, wire_code};
use crate::dialect::baostock::mapping::{self, Mapped, Way};
use crate::dialect::baostock::question::PER_PAGE_MAX;
use crate::dialect::baostock::{Layout, Question, Refused, Table};
use crate::model::dataset::Agreement;
use crate::model::{Area, Clock, Dataset, Error, Exchanges, Result};
use crate::source::{Call, Offer, Page, Source};

use pool::{Answered, Pool};

/// Whether a server has the queries that answer a whole day at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WholeDay {
    /// It has, until it says that it has not.
    #[default]
    Auto,
    Never,
    Always,
}

/// How to reach the service and as whom.
#[derive(Clone)]
pub struct BaostockOptions {
    /// `host:port`.
    pub address: String,
    pub user: String,
    pub password: String,
    /// Empty: none.
    pub api_key: String,
    /// 1 is best.
    pub rank: u8,
    /// Connections at the same time.
    pub sessions: u32,
    pub connect_timeout: Duration,
    /// The longest that one answer may take.
    pub timeout: Duration,
    /// The largest answer that is read, before and after decompression.
    pub reply_bytes_max: usize,
    /// The most rows that one answer may hold.
    pub rows_max: usize,
    /// Rows asked for at a time, where answers come in pages.
    pub page_rows: u32,
    pub whole_day: WholeDay,
    /// Calls per minute; `None`: as many as the sessions carry.
    pub per_minute: Option<u32>,
}

impl Default for BaostockOptions {
    fn default() -> BaostockOptions {
        BaostockOptions {
            address: "public-api.baostock.com:10030".to_string(),
            user: "anonymous".to_string(),
            password: "123456".to_string(),
            api_key: String::new(),
            rank: 3,
            sessions: 4,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            reply_bytes_max: 64 << 20,
            rows_max: PER_PAGE_MAX as usize,
            page_rows: 2000,
            whole_day: WholeDay::Auto,
            per_minute: None,
        }
    }
}

/// Neither the password nor the key is shown.
impl fmt::Debug for BaostockOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaostockOptions")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("sessions", &self.sessions)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}

/// BaoStock as a source.
#[derive(Debug)]
pub struct BaostockSource {
    options: BaostockOptions,
    pool: Pool,
    clock: Clock,
    /// Whole-day queries that the server said it has not got.
    lacking: Mutex<BTreeSet<&'static str>>,
    places: Mutex<Places>,
}

/// Rows of one page and how to go on.
struct Turn {
    mapped: Mapped,
    rows: usize,
    answered: Answered,
}

impl BaostockSource {
    /// Opens no connection yet.
    pub fn new(options: BaostockOptions, clock: Clock) -> Result<BaostockSource> {
        let port = options.address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, _)| host.is_empty()) {
            return Err(Error::invalid("the address of the source baostock is no host with a port")
                .hint("write it like public-api.baostock.com:10030"));
        }
        let pool = Pool::new(options.clone(), clock.clone());
        Ok(BaostockSource { options, pool, clock, lacking: Mutex::default(), places: Mutex::default() })
    }

    fn page_rows(&self) -> u32 {
        self.options.page_rows.clamp(1, PER_PAGE_MAX)
    }

    /// Whether this way is open, as far as is known.
    fn is_open(&self, way: &Way) -> bool {
        match (way.message.layout, self.options.whole_day) {
            (Layout::WholeDay, WholeDay::Never) => false,
            (Layout::WholeDay, WholeDay::Auto) => {
                let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
                !lacking.contains(way.message.api)
            }
            _ => true,
        }
    }

    /// One page with rows in it, or the end. Pages none of whose rows are the dataset's are passed over.
    async fn page(&self, call: &Call) -> Result<Page> {
        let dataset = &*call.dataset;
        let ways = mapping::ways(dataset);
        let way = *ways.get(call.slice.cut).ok_or_else(|| Error::bug("the slice names no cut of its source"))?;
        let area = &call.slice.area;
        if is_nobodys(dataset, area) {
            return Ok(nothing(dataset));
        }
        let (args, given) = mapping::arguments(dataset, way, area, call.facet, self.clock.now().day())?;
        let mut page = self.page_of(call)?;
        loop {
            let question = self.question(way, page, args.clone());
            let Turn { mapped, rows, answered } = self.turn(call, way, &given, &question).await?;
            let more = way.message.is_paged() && rows >= question.per_page as usize;
            let kept = (mapped.batch.num_rows() + mapped.unreadable.len()) as u64;
            if kept == 0 && more {
                page = page.saturating_add(1);
                continue;
            }
            if more {
                self.remember(call, kept, page.saturating_add(1), question.per_page);
            }
            let Answered { bytes, network, decode, .. } = answered;
            return Ok(Page { batch: mapped.batch, more, bytes, network, decode, unreadable: mapped.unreadable });
        }
    }

    fn question(&self, way: Way, page: u32, args: Vec<String>) -> Question {
        let user = self.options.user.clone();
        Question { message: way.message, user, page, per_page: self.page_rows(), args }
    }

    async fn turn(&self, call: &Call, way: Way<'_>, given: &mapping::Given, question: &Question) -> Result<Turn> {
        let mut answered = self.pool.ask(question).await?;
        let table = match std::mem::replace(&mut answered.table, Ok(Table::default())) {
            Ok(table) => table,
            Err(refused) => return Err(self.refused(&way, &refused)),
        };
        let mapped = mapping::batch(&call.dataset, way, given, &table)?;
        belongs(&call.dataset, &call.slice.area, &mapped.batch)?;
        Ok(Turn { rows: table.rows(), mapped, answered })
    }

    /// A server that has not got a whole-day query is not asked for it again.
    fn refused(&self, way: &Way, refused: &Refused) -> Error {
        let error = refused.error(self.clock.now());
        if way.message.layout != Layout::WholeDay || !refused.is_not_served() {
            return error;
        }
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).insert(way.message.api);
        error.hint("this server has no whole-day query: set sources.baostock.whole_day to \"never\" to ask security by security")
    }

    /// The page on which the rows after `call.offset` begin. Rows that are none of the dataset's make pages shorter than
    /// they were asked for, so the page before has left a note.
    fn page_of(&self, call: &Call) -> Result<u32> {
        if call.offset == 0 {
            return Ok(1);
        }
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = places.get(call) {
            return Ok(page);
        }
        let per_page = u64::from(self.page_rows());
        match u32::try_from(call.offset / per_page) {
            Ok(pages) if call.offset.is_multiple_of(per_page) => Ok(pages.saturating_add(1)),
            _ => {
                Err(Error::transient("the place in the answer is lost")
                    .hint("the slice is asked from its beginning again"))
            }
        }
    }

    /// Notes where the next page begins when that does not follow from the number of rows.
    fn remember(&self, call: &Call, kept: u64, page: u32, per_page: u32) {
        let offset = call.offset + kept;
        if offset != u64::from(page - 1) * u64::from(per_page) {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.put(&Call { offset, ..call.clone() }, page);
        }
    }
}

/// Where the pages of slices under way go on.
#[derive(Debug, Default)]
struct Places(VecDeque<(Area, String, u32, u64, u32)>);

/// Far more slices than are ever under way.
const PLACES_MAX: usize = 1024;

impl Places {
    fn get(&self, call: &Call) -> Option<u32> {
        let same = |place: &&(Area, String, u32, u64, u32)| {
            place.0 == call.slice.area
                && place.1 == call.dataset.name
                && place.2 == call.facet
                && place.3 == call.offset
        };
        self.0.iter().rev().find(same).map(|place| place.4)
    }

    fn put(&mut self, call: &Call, page: u32) {
        if self.0.len() == PLACES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((call.slice.area.clone(), call.dataset.name.clone(), call.facet, call.offset, page));
    }
}

/// A security that BaoStock has no code for, of a dataset that nobody else serves: there are no such rows.
fn is_nobodys(dataset: &Dataset, area: &Area) -> bool {
    let unknown = area.securities.single().is_some_and(|code| wire_code(code).is_none());
    unknown && dataset.tushare.is_none() && dataset.akshare.is_empty()
}

fn nothing(dataset: &Dataset) -> Page {
    Page {
        batch: RecordBatch::new_empty(dataset.schema()),
        more: false,
        bytes: 0,
        network: Duration::ZERO,
        decode: Duration::ZERO,
        unreadable: Vec::new(),
    }
}

/// The columns of `dataset` that no open way has, or that are not proven equal.
fn lacks(dataset: &Dataset, ways: &[Way]) -> Vec<String> {
    let proven = |name: &String| {
        let served =
            |way: &Way| way.service.columns.get(name).is_some_and(|served| served.agrees != Agreement::Unproven);
        ways.iter().all(served)
    };
    let wire = dataset.columns.iter().filter(|column| column.derived.is_none());
    wire.map(|column| &column.name).filter(|name| !proven(name)).cloned().collect()
}

/// BaoStock has no shares of Beijing. A dataset that nobody else serves has no such rows: nothing of it is lacking.
fn lacks_exchanges(dataset: &Dataset) -> Exchanges {
    let is_its_own = dataset.tushare.is_none() && dataset.akshare.is_empty();
    match dataset.security.is_none() || is_its_own {
        true => Exchanges::default(),
        false => Exchanges::new(&LACKED),
    }
}

#[async_trait]
impl Source for BaostockSource {
    fn name(&self) -> &str {
        "baostock"
    }

    fn rank(&self) -> u8 {
        self.options.rank
    }

    fn offer(&self, dataset: &Dataset) -> Option<Offer> {
        let ways: Vec<Way> = mapping::ways(dataset).into_iter().filter(|way| self.is_open(way)).collect();
        let first = ways.first()?;
        // A query that brings one row a call says so by its own cap; otherwise answers come in pages, if they do.
        let row_cap = |way: &Way| match way.message.is_paged() {
            true => Some(way.service.row_cap.unwrap_or(u32::MAX).min(self.page_rows())),
            false => way.service.row_cap,
        };
        Some(Offer {
            api: first.service.api.clone(),
            cuts: ways.iter().map(|way| way.cut.clone()).collect(),
            row_caps: ways.iter().map(row_cap).collect(),
            offset_max: None,
            calls_per_slice: ways.iter().map(|way| mapping::facet_count(way.service)).max().unwrap_or(1),
            per_minute: self.options.per_minute,
            per_day: None,
            concurrency: Some(self.options.sessions.max(1)),
            lacks: lacks(dataset, &ways),
            lacks_exchanges: lacks_exchanges(dataset),
        })
    }

    async fn fetch(&self, call: &Call) -> Result<Page> {
        let asking = |error: Error| error.while_doing(format_args!("asking baostock for {}", call.slice));
        self.page(call).await.map_err(asking)
    }

    /// Logs in.
    fn probe_question(&self) -> &'static str {
        "a login"
    }

    async fn probe(&self) -> Result<()> {
        self.pool.knock().await.map_err(|error| error.while_doing("asking baostock whether it answers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn secrets_are_not_shown_and_addresses_are_checked() {
        let secret = |address: &str| BaostockOptions {
            address: address.to_string(),
            password: "s3cret".to_string(),
            api_key: "k3y".to_string(),
            ..BaostockOptions::default()
        };
        let source = BaostockSource::new(secret("127.0.0.1:1"), Clock::system()).unwrap();
        let shown = format!("{source:?} {:?}", secret("127.0.0.1:1"));
        assert!(!shown.contains("s3cret") && !shown.contains("k3y"), "{shown}");
        for address in ["", "host", "host:", ":1", "host:70000"] {
            assert!(BaostockSource::new(secret(address), Clock::system()).is_err(), "{address}");
        }
    }

    #[test]
    fn whole_days_are_offered_unless_they_are_switched_off_and_never_move_the_other_cuts() {
        let catalog = Catalog::builtin().unwrap();
        let daily = catalog.get("daily").unwrap();
        let cuts = |whole_day| {
            let options = BaostockOptions { whole_day, ..BaostockOptions::default() };
            let source = BaostockSource::new(options, Clock::system()).unwrap();
            let offer = source.offer(daily).unwrap();
            assert_eq!(offer.concurrency, Some(4));
            offer.cuts.iter().map(|cut| cut.name()).collect::<Vec<_>>()
        };
        assert_eq!(cuts(WholeDay::Never), ["security"]);
        assert_eq!(cuts(WholeDay::Auto), ["security", "day"]);
        assert_eq!(cuts(WholeDay::Always), ["security", "day"]);
    }
}
