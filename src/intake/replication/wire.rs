//! The wire of a replication session: start, proof of identity, simple questions, and the stream of a slot.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use crate::dialect::pgoutput::{Lsn, Status};
use crate::intake::postgres::{FORMS, stated_error};
use crate::model::{Error, Instant, Result};
use crate::postgres::Address;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

/// A session that can replicate.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    input: BytesMut,
    server: String,
    answer: Duration,
    message_bytes_max: usize,
}

/// A message of the server: its tag and its body.
struct Said {
    tag: u8,
    body: Bytes,
}

type Texts = Vec<Option<String>>;

impl Wire {
    pub(super) async fn connect(address: &Address, answer: Duration, message_bytes_max: usize) -> Result<Wire> {
        let server = address.server();
        let unreachable = |error: std::io::Error| Error::transient(format!("{server} cannot be reached: {error}"));
        let limit = address.config().get_connect_timeout().copied().unwrap_or(answer);
        let late = || Error::transient(format!("{server} did not answer in time"));
        let opened = timeout(limit, open(address)).await.map_err(|_| late())?;
        let stream = opened.map_err(unreachable)?;
        let stream = timeout(limit, secure(stream, address)).await.map_err(|_| late())??;
        let mut wire = Wire { stream, input: BytesMut::new(), server: server.clone(), answer, message_bytes_max };
        timeout(limit, wire.begin(address)).await.map_err(|_| late())??;
        Ok(wire)
    }

    async fn begin(&mut self, address: &Address) -> Result<()> {
        let config = address.config();
        let user = config.get_user().unwrap_or("postgres").to_owned();
        let database = config.get_dbname().unwrap_or(&user);
        let mut parameters = vec![
            ("user", user.as_str()),
            ("database", database),
            ("replication", "database"),
            ("application_name", "tidegate"),
            ("client_encoding", "UTF8"),
        ];
        parameters.extend(FORMS);
        self.write(|out| frontend::startup_message(parameters, out)).await?;
        let password = config.get_password().unwrap_or_default();
        self.prove(&user, password).await?;
        loop {
            match self.said().await?.tag {
                b'Z' => return Ok(()),
                b'S' | b'K' | b'N' => {}
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// Answers what the server wants as a proof of who we are.
    async fn prove(&mut self, user: &str, password: &[u8]) -> Result<()> {
        loop {
            let mut said = self.said().await?;
            if said.tag != b'R' || said.body.len() < 4 {
                return Err(self.unexpected(said.tag));
            }
            match said.body.get_i32() {
                0 => return Ok(()),
                3 => self.write(|out| frontend::password_message(password, out)).await?,
                5 if said.body.len() == 4 => {
                    let salt = [said.body[0], said.body[1], said.body[2], said.body[3]];
                    let hash = md5_hash(user.as_bytes(), password, salt);
                    self.write(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                10 => self.scram(&said.body, password).await?,
                other => {
                    let error = Error::denied(format!("{} wants a proof of kind {other}", self.server));
                    return Err(
                        error.hint("let the user of the intake log in with scram-sha-256, md5, password or trust")
                    );
                }
            }
        }
    }

    async fn scram(&mut self, mechanisms: &[u8], password: &[u8]) -> Result<()> {
        if !mechanisms.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
            return Err(Error::denied(format!("{} does not offer {SCRAM_SHA_256}", self.server)));
        }
        let refused = |error: std::io::Error| Error::denied("the server's proof is wrong").caused_by(error);
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        self.write(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out)).await?;
        let challenge = self.proof(11).await?;
        scram.update(&challenge).map_err(refused)?;
        let second = scram.message().to_vec();
        self.write(|out| frontend::sasl_response(&second, out)).await?;
        let last = self.proof(12).await?;
        scram.finish(&last).map_err(refused)
    }

    async fn proof(&mut self, kind: i32) -> Result<Bytes> {
        let mut said = self.said().await?;
        if said.tag != b'R' || said.body.len() < 4 || said.body.get_i32() != kind {
            return Err(self.unexpected(said.tag));
        }
        Ok(said.body)
    }

    /// A command of the replication language; rows of its answer.
    pub(super) async fn ask(&mut self, doing: &str, command: &str) -> Result<Vec<Texts>> {
        let late = Error::transient(format!("{doing}: {} did not answer in time", self.server));
        let limit = self.answer;
        let asked = async {
            self.write(|out| frontend::query(command, out)).await?;
            let mut rows = Vec::new();
            let mut failed = None;
            loop {
                match self.said().await {
                    Ok(Said { tag: b'D', body }) => rows.push(texts(&body).ok_or_else(|| self.unexpected(b'D'))?),
                    Ok(Said { tag: b'Z', .. }) => break,
                    Ok(_) => {}
                    // The server goes on after an error that it states.
                    Err(error) if failed.is_none() && !self.is_broken(&error) => failed = Some(error),
                    Err(error) => return Err(error),
                }
            }
            failed.map_or(Ok(rows), Err)
        };
        timeout(limit, asked).await.map_err(|_| late)?.map_err(|error| error.while_doing(doing))
    }

    /// Whether nothing can be read after this error.
    fn is_broken(&self, error: &Error) -> bool {
        std::error::Error::source(error).is_some()
    }

    /// Begins the stream of a slot.
    pub(super) async fn start(&mut self, command: &str) -> Result<()> {
        self.write(|out| frontend::query(command, out)).await?;
        loop {
            let said = timeout(self.answer, self.said()).await;
            let said = said.map_err(|_| Error::transient("the slot was not started in time"))?;
            match said.map_err(|error| error.while_doing("starting the slot"))?.tag {
                b'W' => return Ok(()),
                b'N' | b'S' => {}
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// The next frame of the stream. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Bytes> {
        loop {
            let said = self.said().await?;
            match said.tag {
                b'd' => return Ok(said.body),
                b'N' | b'S' => {}
                b'c' | b'C' | b'Z' => return Err(Error::transient(format!("{} ended the stream", self.server))),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// Tells the server that everything up to `stored` is kept here; it may forget it.
    pub(super) async fn confirm(&mut self, stored: Lsn, at: Instant) -> Result<()> {
        let status = Status { wants_reply: true, ..Status::stored(stored, at) }.encode();
        self.send_status(&status).await
    }

    /// As `confirm`, as the answer to a question: no answer is wanted in turn.
    pub(super) async fn reply(&mut self, stored: Lsn, at: Instant) -> Result<()> {
        self.send_status(&Status::stored(stored, at).encode()).await
    }

    async fn send_status(&mut self, status: &[u8]) -> Result<()> {
        self.write(|out| {
            frontend::CopyData::new(status)?.write(out);
            Ok(())
        })
        .await
    }

    /// One message; what the server states as an error is one.
    async fn said(&mut self) -> Result<Said> {
        loop {
            if let Some(said) = self.taken()? {
                return match said.tag {
                    b'E' => Err(self.stated(&said.body)),
                    _ => Ok(said),
                };
            }
            let read = self.stream.read_buf(&mut self.input).await;
            match read.map_err(|error| self.broken(error))? {
                0 => return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into())),
                _ => continue,
            }
        }
    }

    /// A whole message of what was read.
    fn taken(&mut self) -> Result<Option<Said>> {
        let Some((tag, length)) = head(&self.input) else { return Ok(None) };
        let length = usize::try_from(length).ok().filter(|length| (4..=self.message_bytes_max).contains(length));
        let Some(length) = length else {
            let error = Error::invalid(format!("{} sends a message that is too large", self.server));
            return Err(error.caused_by("no message limit fits").hint("raise intakes.message_mb_max"));
        };
        if self.input.len() <= length {
            self.input.reserve(length + 1 - self.input.len());
            return Ok(None);
        }
        let mut message = self.input.split_to(length + 1).freeze();
        message.advance(5);
        Ok(Some(Said { tag, body: message }))
    }

    async fn write(&mut self, compose: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<()> {
        let mut out = BytesMut::new();
        compose(&mut out).map_err(|error| Error::invalid("a question cannot be sent").caused_by(error))?;
        let written = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        let written = timeout(self.answer, written).await;
        let written = written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        written.map_err(|error| self.broken(error))
    }

    fn broken(&self, error: std::io::Error) -> Error {
        Error::transient(format!("the connection to {} broke", self.server)).caused_by(error)
    }

    fn unexpected(&self, tag: u8) -> Error {
        let message = format!("{} said {:?}, which was not expected", self.server, char::from(tag));
        Error::transient(message).caused_by("a message out of turn")
    }

    fn stated(&self, body: &[u8]) -> Error {
        let fields = body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
        let (mut code, mut message) = (String::new(), String::new());
        for (kind, text) in fields {
            match kind {
                b'C' => code = String::from_utf8_lossy(text).into_owned(),
                b'M' => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        stated_error(&code, &message, &self.server, "replicating")
    }
}

/// Tag and length of what comes next.
fn head(input: &[u8]) -> Option<(u8, i32)> {
    let (tag, rest) = input.split_first()?;
    Some((*tag, i32::from_be_bytes(*rest.first_chunk::<4>()?)))
}

/// The values of a row.
fn texts(mut body: &[u8]) -> Option<Texts> {
    let mut take = |count: usize| {
        let (taken, rest) = body.split_at_checked(count)?;
        body = rest;
        Some(taken)
    };
    let count = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(take(4)?.try_into().ok()?);
        values.push(match usize::try_from(length) {
            Err(_) => None,
            Ok(length) => Some(String::from_utf8_lossy(take(length)?).into_owned()),
        });
    }
    Some(values)
}

/// The first of the address's hosts that can be reached.
async fn open(address: &Address) -> std::io::Result<Box<dyn Duplex>> {
    let config = address.config();
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for (index, host) in config.get_hosts().iter().enumerate() {
        let ports = config.get_ports();
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let opened: std::io::Result<Box<dyn Duplex>> = match host {
            Host::Tcp(name) => {
                // `hostaddr` says where the host is; its name is what the certificate is for.
                let stream = match config.get_hostaddrs().get(index) {
                    Some(address) => TcpStream::connect((*address, port)).await,
                    None => TcpStream::connect((name.as_str(), port)).await,
                };
                stream.map(|stream| {
                    // Without it confirmations only come later.
                    let _ = stream.set_nodelay(true);
                    Box::new(stream) as Box<dyn Duplex>
                })
            }
            #[cfg(unix)]
            Host::Unix(folder) => tokio::net::UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))
                .await
                .map(|stream| Box::new(stream) as Box<dyn Duplex>),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// TLS where the address asks for it and the server has it.
async fn secure(mut stream: Box<dyn Duplex>, address: &Address) -> Result<Box<dyn Duplex>> {
    let config = address.config();
    let local = !matches!(config.get_hosts().first(), Some(Host::Tcp(_)));
    if config.get_ssl_mode() == SslMode::Disable || local {
        return Ok(stream);
    }
    let broken =
        |error: std::io::Error| Error::transient("the connection broke while TLS was asked for").caused_by(error);
    let mut question = BytesMut::new();
    frontend::ssl_request(&mut question);
    stream.write_all(&question).await.map_err(broken)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    match answer[0] {
        b'S' => {
            let name = match config.get_hosts().first() {
                Some(Host::Tcp(name)) => name.as_str(),
                _ => "localhost",
            };
            let mut tls = address.tls()?;
            let unfit = |error| Error::invalid("the host of the intake's `url` is no name for TLS").caused_by(error);
            let connect = MakeTlsConnect::<Box<dyn Duplex>>::make_tls_connect(&mut tls, name);
            let connect = connect.map_err(|error| unfit(Box::<dyn std::error::Error + Send + Sync>::from(error)))?;
            let secured = TlsConnect::connect(connect, stream).await;
            let secured = secured.map_err(|error| Error::denied("TLS with the server failed").caused_by(error))?;
            Ok(Box::new(secured))
        }
        _ if config.get_ssl_mode() == SslMode::Require => {
            Err(Error::denied("the server has no TLS").hint("set it up there, or leave out sslmode=require"))
        }
        _ => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_heads_that_are_cut_are_none() {
        let mut row = vec![0, 2, 0, 0, 0, 1, b'a', 255, 255, 255, 255];
        assert_eq!(texts(&row), Some(vec![Some("a".to_owned()), None]));
        while row.pop().is_some() {
            assert_eq!(texts(&row), None);
        }
        assert_eq!(head(b"d\0\0\0\x05x"), Some((b'd', 5)));
        assert_eq!(head(b"d\0\0\0"), None);
    }
}
