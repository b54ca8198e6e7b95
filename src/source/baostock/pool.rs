//! A few sessions, opened when they are needed: one question at a time on each, and none is used again after anything
//! that was not a proper answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as Stopwatch};

use tokio::sync::Semaphore;

use super::BaostockOptions;
use super::session::{Failed, Raw, Session};
use crate::dialect::baostock::{Limits, Question, Refused, Table, answer};
use crate::model::{Clock, Error, Result};

/// What a question brought.
#[derive(Debug)]
pub struct Answered {
    pub table: Result<Table, Refused>,
    pub bytes: u64,
    pub network: Duration,
    pub decode: Duration,
}

#[derive(Debug)]
pub struct Pool {
    options: BaostockOptions,
    clock: Clock,
    places: Semaphore,
    idle: Mutex<Vec<Session>>,
}

/// An answer of this size is read off the threads that wait for other answers.
const LARGE_BYTES: usize = 1 << 20;

impl Pool {
    /// Opens no connection yet.
    pub fn new(options: BaostockOptions, clock: Clock) -> Pool {
        let places = Semaphore::new(options.sessions.max(1) as usize);
        Pool { options, clock, places, idle: Mutex::default() }
    }

    /// Asks on a session of its own for the time of the question. A session that the server has forgotten is logged in
    /// again, and one that it closed while nobody used it is replaced, once.
    pub async fn ask(&self, question: &Question) -> Result<Answered> {
        let _place = self.places.acquire().await.map_err(|error| Error::bug("the pool is closed").caused_by(error))?;
        let started = Stopwatch::now();
        let frame = question.frame();
        let (mut session, mut raw) = self.reach(&frame).await?;
        let network = started.elapsed();
        let decoding = Stopwatch::now();
        let mut table = self.read(question, raw).await?;
        if table.0.as_ref().is_err_and(Refused::is_logged_out) {
            session.login(&self.options, self.clock.now()).await?;
            raw = session.ask(&frame).await.map_err(Failed::into_error)?;
            table = self.read(question, raw).await?;
        }
        let (table, bytes) = table;
        if !table.as_ref().is_err_and(Refused::is_logged_out) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
        Ok(Answered { table, bytes, network, decode: decoding.elapsed() })
    }

    /// Sends the question and reads its answer, on an idle session or a new one.
    async fn reach(&self, frame: &[u8]) -> Result<(Session, Raw)> {
        if let Some(mut session) = self.take() {
            match session.ask(frame).await {
                Ok(raw) => return Ok((session, raw)),
                Err(Failed::Error(error)) => return Err(error),
                Err(Failed::Stale(_)) => {}
            }
        }
        let mut session = Session::open(&self.options, self.clock.now()).await?;
        let raw = session.ask(frame).await.map_err(Failed::into_error)?;
        Ok((session, raw))
    }

    /// Opens a session, or finds one open; it stays open.
    pub async fn knock(&self) -> Result<()> {
        let _place = self.places.acquire().await.map_err(|error| Error::bug("the pool is closed").caused_by(error))?;
        let mut session = match self.take() {
            Some(session) => session,
            None => Session::open(&self.options, self.clock.now()).await?,
        };
        session.login(&self.options, self.clock.now()).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        Ok(())
    }

    /// An idle session that is still connected.
    fn take(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(session) = idle.pop() {
            if !session.is_stale() {
                return Some(session);
            }
        }
        None
    }

    async fn read(&self, question: &Question, raw: Raw) -> Result<(Result<Table, Refused>, u64)> {
        let limits = Limits { rows_max: self.options.rows_max, ..Limits::default() };
        let Raw { frame, bytes } = raw;
        if frame.body.len() < LARGE_BYTES {
            return Ok((answer::decode(question, &frame, &limits)?, bytes));
        }
        let question = question.clone();
        let reading = tokio::task::spawn_blocking(move || answer::decode(&question, &frame, &limits));
        let read = reading.await.map_err(|error| Error::bug("reading an answer broke off").caused_by(error))?;
        Ok((read?, bytes))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let now = self.clock.now();
        for session in self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            session.close(&self.options.user, now);
        }
    }
}
