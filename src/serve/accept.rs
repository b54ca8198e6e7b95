//! Accepting connections: never more than allowed, none that is slow to ask or to read, and all of them drained at the end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt;

use super::ServeOptions;

/// The head of a request, all of its headers together.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Wait after the system refused to accept, because it has no more files.
const REFUSED_WAIT: Duration = Duration::from_millis(100);

/// Lets the process have as many files open as the system allows: each connection is one.
fn raise_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files stays as it was");
    }
}

/// Answers connections with `router` until `shutdown` is ready, then lets requests that are under way end, for so long as
/// the options say.
pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    options: &ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) {
    raise_files();
    let places = Arc::new(Semaphore::new(options.connections));
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut full = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(REFUSED_WAIT).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            if !full {
                tracing::warn!(connections = options.connections, "further connections are closed at once");
            }
            full = true;
            continue;
        };
        full = false;
        connections.spawn(converse(stream, peer, router.clone(), Limits::of(options), place, ended.clone()));
    }
    drop(listener);
    ending.send_replace(true);
    let drained = timeout(options.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "connections that are still open are cut off");
    }
}

/// What one connection may take.
struct Limits {
    head: Duration,
    stall: Duration,
}

impl Limits {
    fn of(options: &ServeOptions) -> Limits {
        Limits { head: options.arrival, stall: options.request }
    }
}

/// One connection to its end. A web socket leaves it when it is upgraded, and gives its place back.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    _place: OwnedSemaphorePermit,
    mut ended: watch::Receiver<bool>,
) {
    // Without delay an answer's last packet does not wait for an acknowledgement; where that fails it is only slower.
    drop(stream.set_nodelay(true));
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move {
            let answered: Result<Response<Body>, Infallible> = router.oneshot(request).await;
            answered
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Prompt::new(stream, limits.stall)), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let finished = tokio::select! {
        finished = connection.as_mut() => Some(finished),
        _ = ended.wait_for(|ended| *ended) => None,
    };
    let finished = match finished {
        Some(finished) => finished,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = finished {
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

/// A stream whose reader must take something now and then: a write that stalls for too long ends it.
struct Prompt {
    stream: TcpStream,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Prompt {
    fn new(stream: TcpStream, stall: Duration) -> Prompt {
        Prompt { stream, stall, stalled: None }
    }

    /// Ends a write that has been pending for too long.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(shut, context)
    }
}
