//! The TCP side of the mirror: connections, sessions, limits.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Mirror, Session};
use crate::dialect::baostock::{Refusal, RequestDecoder, answer};
use crate::model::{Error, Result};

/// Bytes that are read at a time.
const CHUNK: usize = 8 << 10;

/// Serves until `shutdown` is ready; then every connection is closed.
pub async fn serve(
    listener: TcpListener,
    mirror: Arc<Mirror>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let places = Arc::new(Semaphore::new(mirror.options().connections_max.max(1)));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = &mut shutdown => return Ok(()),
        };
        let place = place.map_err(|error| Error::bug("the mirror is closed").caused_by(error))?;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let mirror = mirror.clone();
                connections.spawn(async move {
                    converse(stream, &mirror).await;
                    drop(place);
                });
            }
            // One connection that could not be made says nothing about the next.
            Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the questions of one connection, one after the other, until it ends.
async fn converse(mut stream: TcpStream, mirror: &Mirror) {
    // Without delay an answer's last packet does not wait; where that fails it is only slower.
    drop(stream.set_nodelay(true));
    let idle = mirror.options().idle;
    let mut decoder = RequestDecoder::new(mirror.options().request_bytes_max);
    let mut session = Session::default();
    let mut chunk = vec![0u8; CHUNK];
    loop {
        let (reply, goes_on) = match decoder.next_frame() {
            Ok(Some(frame)) => (mirror.answer(&mut session, &frame).await, true),
            // What follows cannot be read either: the answer says why, and is the last one.
            Err(_) => (answer::encode_refusal(Refusal::NoMessage), false),
            Ok(None) => {
                match timeout(idle, stream.read(&mut chunk)).await {
                    Ok(Ok(read)) if read > 0 => decoder.push(&chunk[..read]),
                    _ => return,
                }
                continue;
            }
        };
        let written = timeout(idle, stream.write_all(&reply)).await;
        if !goes_on || !matches!(written, Ok(Ok(()))) {
            // A farewell on a connection that ends anyway.
            drop(timeout(idle, stream.shutdown()).await);
            return;
        }
    }
}
