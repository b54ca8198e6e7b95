//! A server that answers as BaoStock does. Whoever asks needs no other change than the address.
//!
//! A user such as `anonymous@2024-06-28` reads the store as of then (`View::of_user`).
//!
//! [`Mirror::answer`] is the whole service without TCP: one question of a session in, one frame out. Every frame ends with
//! the marker, refusals too, because the official client waits for nothing else.

mod bars;
mod feeds;
mod listen;
mod lists;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::dialect::baostock::{Asked, Frame, Layout, Question, Refusal, Table, answer, message, question};
use crate::model::{Clock, Error, Query};
use crate::read::{Adjust, ReadOptions, Reader, View};
use crate::store::Scan;

use super::tushare::gate::same;
pub use listen::serve;

/// What the mirror lets in and how much it sends.
#[derive(Clone)]
pub struct BaostockMirrorOptions {
    /// Passwords or API keys that are let in; empty: everybody.
    pub tokens: Vec<String>,
    /// The most rows that an answer has before it is cut into pages.
    pub rows_max: usize,
    /// The largest question that is read.
    pub request_bytes_max: usize,
    /// Connections at the same time; others wait to be accepted.
    pub connections_max: usize,
    /// How long a connection may say nothing, or not take its answer.
    pub idle: Duration,
    /// Questions that are worked on at the same time; others wait.
    pub concurrent_max: usize,
    /// What reading in two times and price bases may keep.
    pub read: ReadOptions,
}

impl Default for BaostockMirrorOptions {
    fn default() -> BaostockMirrorOptions {
        BaostockMirrorOptions {
            tokens: Vec::new(),
            rows_max: 100_000,
            request_bytes_max: 64 << 10,
            connections_max: 64,
            idle: Duration::from_secs(3600),
            concurrent_max: 16,
            read: ReadOptions::default(),
        }
    }
}

/// The tokens are not shown.
impl std::fmt::Debug for BaostockMirrorOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaostockMirrorOptions")
            .field("tokens", &self.tokens.len())
            .field("rows_max", &self.rows_max)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// The service. Clones share the places for questions that are worked on.
#[derive(Clone)]
pub struct Mirror {
    reader: Reader,
    catalog: Arc<Catalog>,
    options: BaostockMirrorOptions,
    clock: Clock,
    working: Arc<Semaphore>,
}

/// Who speaks on one connection.
#[derive(Debug, Default)]
pub struct Session {
    is_open: bool,
    /// In which time the user wants the rows of this session.
    view: View,
}

/// Why there is no answer.
#[derive(Debug)]
enum Unanswered {
    Refused(Refusal),
    Failed(Error),
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Unanswered {
        Unanswered::Refused(refusal)
    }
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Unanswered {
        Unanswered::Failed(error)
    }
}

type Answered<T> = std::result::Result<T, Unanswered>;

impl Mirror {
    pub fn new(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, options: BaostockMirrorOptions, clock: Clock) -> Mirror {
        let working = Arc::new(Semaphore::new(options.concurrent_max.max(1)));
        let reader = Reader::new(scan, catalog.clone(), clock.clone(), options.read.clone());
        Mirror { reader, catalog, options, clock, working }
    }

    pub fn options(&self) -> &BaostockMirrorOptions {
        &self.options
    }

    /// Answers one question. Refusals are answers.
    pub async fn answer(&self, session: &mut Session, frame: &Frame) -> Vec<u8> {
        let answered = match question::parse(frame) {
            Ok(asked) => self.asked(session, asked).await,
            Err(refusal) => Err(refusal.into()),
        };
        answered.unwrap_or_else(|unanswered| match unanswered {
            Unanswered::Refused(refusal) => answer::encode_refusal(refusal),
            Unanswered::Failed(error) => {
                tracing::warn!(%error, "the mirror cannot answer");
                answer::encode_refusal(Refusal::Fault)
            }
        })
    }

    async fn asked(&self, session: &mut Session, asked: Asked) -> Answered<Vec<u8>> {
        match asked {
            Asked::Login { user, password, options } => {
                session.view = View::of_user(&user).map_err(|_| Refusal::Account)?;
                session.is_open = self.lets_in(&password, &options);
                match session.is_open {
                    true => Ok(answer::encode_session(message::LOGIN.1, "login", &user, &self.timestamp())),
                    false => Err(Refusal::Account.into()),
                }
            }
            Asked::Logout { user } => match std::mem::take(&mut session.is_open) {
                true => Ok(answer::encode_session(message::LOGOUT.1, "logout", &user, &self.timestamp())),
                false => Err(Refusal::LoggedOut.into()),
            },
            Asked::Query(_) if !session.is_open => Err(Refusal::LoggedOut.into()),
            Asked::Query(question) => {
                let working = self.working.acquire().await;
                let _place = working.map_err(|error| Error::bug("the mirror is closed").caused_by(error))?;
                let seen = Mirror { reader: self.reader.with(session.view.clone()), ..self.clone() };
                let table = seen.table(&question).await?;
                let page = match question.message.is_paged() {
                    true => table.page(question.page, question.per_page),
                    false => table,
                };
                Ok(answer::encode(&question, &page))
            }
        }
    }

    fn lets_in(&self, password: &str, key: &str) -> bool {
        let known = |given: &str| self.options.tokens.iter().any(|token| same(token.as_bytes(), given.as_bytes()));
        self.options.tokens.is_empty() || known(password) || known(key)
    }

    /// `yyyyMMddHHmmssSSS` in Beijing.
    fn timestamp(&self) -> String {
        let now = self.clock.now();
        let text = now.to_string();
        let digits: String = text.chars().take(19).filter(char::is_ascii_digit).collect();
        format!("{digits}{:03}", now.0.rem_euclid(1_000_000) / 1000)
    }

    /// All rows that answer the question, before they are cut into pages.
    async fn table(&self, question: &Question) -> Answered<Table> {
        match (question.message.layout, question.message.api) {
            (Layout::Bars, _) | (_, "query_daily_history_k_AStock") => self.bars(question).await,
            (_, "query_daily_history_k_ETF") => Err(Refusal::NotServed.into()),
            (_, "query_all_stock") => self.all_stock(question).await,
            _ => self.list(question).await,
        }
    }

    /// The batches that answer a query, at most as many rows as an answer may have. Forward adjusted prices are those
    /// of today, or of the day as of which is read.
    async fn batches(&self, mut query: Query, adjust: Option<Adjust>) -> Answered<Vec<arrow_array::RecordBatch>> {
        let view = View { adjust, ..self.reader.view().clone() };
        let reader = self.reader.with(self.reader.anchored_to_the_newest(view));
        let most = self.options.rows_max;
        query.limit = Some(query.limit.unwrap_or(u64::MAX).min(most as u64 + 1));
        let mut stream = reader.scan(&query).await?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await.transpose()? {
            rows += batch.num_rows();
            if rows > most {
                return Err(Refusal::TooMuch.into());
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}
