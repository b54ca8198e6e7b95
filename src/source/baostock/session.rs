//! One connection to BaoStock: a login lives on it, and one question at a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::BaostockOptions;
use crate::dialect::baostock::{Frame, Limits, ReplyDecoder, answer, message, question};
use crate::model::{Error, Instant, Result};

/// A connection whose every answer so far belonged to its question. Whoever meets an error drops it.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    limits: Limits,
    timeout: Duration,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Raw {
    pub frame: Frame,
    pub bytes: u64,
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum Failed {
    /// The connection had been closed before the question: nobody has seen it.
    Stale(Error),
    Error(Error),
}

impl Failed {
    pub fn into_error(self) -> Error {
        match self {
            Failed::Stale(error) | Failed::Error(error) => error,
        }
    }
}

/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

impl Session {
    /// Connects and logs in.
    pub async fn open(options: &BaostockOptions, now: Instant) -> Result<Session> {
        let unreachable = |what: &str| {
            Error::transient(format!("{} {what}", options.address))
                .hint("check the network and the address of the source baostock")
        };
        let connecting = timeout(options.connect_timeout, TcpStream::connect(&options.address)).await;
        let stream = connecting
            .map_err(|_| unreachable("does not accept connections in time"))?
            .map_err(|error| unreachable("cannot be reached").caused_by(error))?;
        // Without delay a short question does not wait; where that fails it is only slower.
        drop(stream.set_nodelay(true));
        let limits = Limits {
            bytes_max: options.reply_bytes_max,
            body_bytes_max: options.reply_bytes_max,
            rows_max: options.rows_max,
        };
        let mut session = Session { stream, limits, timeout: options.timeout };
        session.login(options, now).await?;
        Ok(session)
    }

    /// Opens the session, or opens it again on the same connection.
    pub async fn login(&mut self, options: &BaostockOptions, now: Instant) -> Result<()> {
        let key = if options.api_key.is_empty() { "0" } else { &options.api_key };
        let frame = question::login(&options.user, &options.password, key);
        let logging_in = |error: Error| error.while_doing("logging in to baostock");
        let raw = self.ask(&frame).await.map_err(Failed::into_error).map_err(logging_in)?;
        let answered = answer::decode_session(&raw.frame, (message::LOGIN.1, "login"), &options.user);
        answered.map_err(logging_in)?.map_err(|refused| logging_in(refused.error(now)))
    }

    /// Sends a frame and reads one.
    pub async fn ask(&mut self, question: &[u8]) -> Result<Raw, Failed> {
        match timeout(self.timeout, exchange(&mut self.stream, self.limits, question)).await {
            Ok(answered) => answered,
            Err(_) => Err(Failed::Error(Error::transient("baostock did not answer in time"))),
        }
    }

    /// Whether the other side closed the connection, or said something unasked, while nobody used it.
    pub fn is_stale(&self) -> bool {
        let mut byte = [0u8; 1];
        match self.stream.try_read(&mut byte) {
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Says goodbye as far as that works without waiting, and closes the connection.
    pub fn close(self, user: &str, now: Instant) {
        let at: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        // A farewell that does not fit into the connection's buffer is none.
        drop(self.stream.try_write(&question::logout(user, &at)));
    }
}

async fn exchange(stream: &mut TcpStream, limits: Limits, question: &[u8]) -> Result<Raw, Failed> {
    let broke_off = |error| Error::transient("the connection to baostock broke off").caused_by(error);
    stream.write_all(question).await.map_err(|error| Failed::Stale(broke_off(error)))?;
    let mut decoder = ReplyDecoder::new(limits);
    let mut chunk = vec![0u8; CHUNK];
    loop {
        let read = stream.read(&mut chunk).await.map_err(|error| match decoder.is_empty() {
            true => Failed::Stale(broke_off(error)),
            false => Failed::Error(broke_off(error)),
        })?;
        if read == 0 {
            let error = decoder.cut_off();
            return Err(if decoder.is_empty() { Failed::Stale(error) } else { Failed::Error(error) });
        }
        let bytes = (decoder.len() + read) as u64;
        if let Some(frame) = decoder.push(&chunk[..read]).map_err(Failed::Error)? {
            return Ok(Raw { frame, bytes });
        }
    }
}
