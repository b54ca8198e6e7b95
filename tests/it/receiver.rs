//! A receiver of webhooks on loopback, byte by byte: it remembers what comes and answers as a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `POST /path HTTP/1.1`
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// What a receiver says to a request.
#[derive(Clone, Debug)]
pub enum Says {
    /// These bytes, and the connection stays open.
    Answer(String),
    /// These bytes, and the connection ends.
    Last(String),
    /// These bytes after a while.
    Later(Duration, String),
    /// Nothing, and the connection stays open.
    Silence,
}

impl Says {
    /// An answer with a status, further header lines and a short body.
    pub fn status(status: u16, lines: &[&str], body: &str) -> Says {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        Says::Answer(format!("HTTP/1.1 {status} Word\r\n{lines}content-length: {}\r\n\r\n{body}", body.len()))
    }
}

#[derive(Default)]
struct Heard {
    seen: Vec<Seen>,
    connections: usize,
}

pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Listens at an address such as `127.0.0.1:0`. `says` is asked for every request, with the number of those before it.
    pub fn start(runtime: &Runtime, at: &str, says: impl Fn(usize, &Seen) -> Says + Send + Sync + 'static) -> Receiver {
        let listener = runtime.block_on(TcpListener::bind(at)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let (hears, says) = (heard.clone(), Arc::new(says));
        let task = runtime.spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                hears.lock().unwrap().connections += 1;
                let (hears, says) = (hears.clone(), says.clone());
                open.spawn(async move {
                    talk(stream, &hears, &*says).await;
                });
            }
        });
        Receiver { address, heard, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.heard.lock().unwrap().seen.clone()
    }

    pub fn connections(&self) -> usize {
        self.heard.lock().unwrap().connections
    }
}

async fn talk(
    mut stream: TcpStream,
    heard: &Mutex<Heard>,
    says: &(dyn Fn(usize, &Seen) -> Says + Send + Sync),
) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let seen = request(&mut stream, &mut bytes).await?;
        let before = {
            let mut heard = heard.lock().unwrap();
            heard.seen.push(seen.clone());
            heard.seen.len() - 1
        };
        match says(before, &seen) {
            Says::Answer(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Says::Last(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                return stream.shutdown().await.ok();
            }
            Says::Later(wait, text) => {
                tokio::time::sleep(wait).await;
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            // Until the other side hangs up.
            Says::Silence => drop(stream.read(&mut [0; 1]).await),
        }
    }
}

/// Reads one request with its body; `None` when the connection ends.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_string();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_string())
    };
    let headers: Vec<(String, String)> = lines.map(pair).collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[end + 4..end + 4 + length].to_vec();
    bytes.drain(..end + 4 + length);
    Some(Seen { line, headers, body })
}
