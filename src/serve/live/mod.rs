//! The web socket: what happens, as it happens, and after a cut everything that was missed or an honest no.
//!
//! All channels tell the one event log, and an offset is the number of an event. Each message reaches from `prev` to
//! `offset`: whatever the log holds for its channel in between is in it. A client that stands at or after `prev` has
//! missed nothing. `docs/guide/realtime.md` is the guide for clients.

mod channel;
mod frames;
mod hub;
mod socket;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use utoipa_axum::router::OpenApiRouter;

use self::channel::Teller;
use self::frames::CONNECTION_LIMIT;
use self::hub::Hub;
use self::socket::Socket;
use super::Service;
use super::access::Standing;
use super::caller::Caller;
use super::problem::Problem;
use crate::feed::Feed;
use crate::model::Clock;
use crate::store::Store;

/// The largest frame that is read.
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// What one socket holds for reading and for writing.
const BUFFER_BYTES: usize = 4 * 1024;
/// How long sockets may take to be told that the process ends.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// What sockets may take.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Sockets at the same time.
    pub sockets: usize,
    /// Frames that may wait for one socket.
    pub queue: usize,
    /// Channels of one socket.
    pub channels: usize,
    /// Events that may be recovered after a cut, and the size of the answer.
    pub recover: usize,
    pub recover_bytes: usize,
    pub heartbeat: Duration,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            sockets: 2_000,
            queue: 256,
            channels: 256,
            recover: 10_000,
            recover_bytes: 128 * 1024,
            heartbeat: Duration::from_secs(25),
        }
    }
}

/// What the sockets have done since the process began.
#[derive(Debug, Default)]
pub struct Figures {
    /// Frames that were handed to sockets.
    pub messages: AtomicU64,
    /// Recoveries in which nothing was missing.
    pub recoveries: AtomicU64,
    /// Recoveries that ended in "take a snapshot".
    pub recoveries_refused: AtomicU64,
    closed: Mutex<BTreeMap<u16, u64>>,
}

impl Figures {
    fn closed(&self, code: u16) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Sockets that the service closed, by code.
    pub fn closed_by_code(&self) -> BTreeMap<u16, u64> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The sockets of a service.
#[derive(Clone)]
pub struct Live {
    hub: Arc<Hub>,
    closing: watch::Sender<bool>,
}

impl Live {
    /// Follows the feed from now on.
    pub fn start(feed: Feed, store: Arc<dyn Store>, clock: Clock, options: SocketOptions) -> Live {
        let hub = Arc::new(Hub::new(feed, Teller { store, clock }, options));
        tokio::spawn(hub.clone().run());
        Live { hub, closing: watch::channel(false).0 }
    }

    /// Sends every client away, to come back to the next process.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let gone = async {
            while self.hub.sockets() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(SHUTDOWN_WAIT, gone).await.is_err() {
            tracing::warn!("some sockets were cut off without a word");
        }
    }

    pub fn sockets(&self) -> usize {
        self.hub.sockets()
    }

    pub fn subscriptions(&self) -> usize {
        self.hub.subscriptions()
    }

    pub fn figures(&self) -> &Figures {
        &self.hub.figures
    }
}

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().route("/ws", get(open))
}

async fn open(
    State(service): State<Service>,
    caller: Caller,
    Extension(standing): Extension<Standing>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::of_status(rejection.status(), "invalid", rejection.body_text()).hint("open it as a web socket")
    })?;
    let upgrade = upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX);
    let live = service.live.clone();
    let Some(seat) = live.hub.enter(&caller.name, standing.session.as_deref()) else {
        live.hub.figures.closed(CONNECTION_LIMIT.code);
        return Ok(upgrade.on_upgrade(|mut socket| async move {
            let frame = CloseFrame { code: CONNECTION_LIMIT.code, reason: CONNECTION_LIMIT.reason.into() };
            // Whoever does not hear it is not let in all the same.
            drop(socket.send(Message::Close(Some(frame))).await);
        }));
    };
    let closing = live.closing.subscribe();
    let socket = Socket::new(live.hub, service, (caller, standing), seat, closing);
    Ok(upgrade.on_upgrade(|upgraded| socket.converse(upgraded)))
}
