//! One socket: its commands, its heartbeat and its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant as Moment, interval_at, sleep, timeout};

use super::channel::Channel;
use super::frames::{
    self, BAD_REQUEST, Close, Command, EXPIRED, Misread, NO_PONG, SHUTDOWN, TOO_MANY_ERRORS, TOO_MANY_REQUESTS,
};
use super::hub::{Hub, Seat};
use crate::serve::Service;
use crate::serve::access::Standing;
use crate::serve::caller::Caller;

/// Faulty commands after which a socket is closed.
const ERRORS_MAX: u32 = 100;
/// Frames that a client may send between two pings.
const FRAMES_MAX: u32 = 2_000;
/// Frames that are sent in one step.
const FRAMES_AT_ONCE: usize = 16;

/// How a socket ended.
enum End {
    /// The client is gone.
    Gone,
    Close(Close),
}

/// A socket with what it listens to.
pub struct Socket {
    hub: Arc<Hub>,
    service: Service,
    caller: (Caller, Standing),
    seat: Seat,
    closing: watch::Receiver<bool>,
    channels: HashSet<Channel>,
    errors: u32,
    frames: u32,
    /// A ping was sent and nothing has come since.
    unanswered: bool,
}

impl Socket {
    pub fn new(
        hub: Arc<Hub>,
        service: Service,
        caller: (Caller, Standing),
        seat: Seat,
        closing: watch::Receiver<bool>,
    ) -> Socket {
        Socket {
            hub,
            service,
            caller,
            seat,
            closing,
            channels: HashSet::new(),
            errors: 0,
            frames: 0,
            unanswered: false,
        }
    }

    /// Until the client leaves or is sent away.
    pub async fn converse(mut self, socket: WebSocket) {
        let (mut sink, mut stream) = socket.split();
        let end = self.exchange(&mut sink, &mut stream).await;
        // Nothing more comes, and what still waits for the client is not kept while it is told why.
        for channel in self.channels.drain() {
            self.hub.unsubscribe(&channel, &self.seat.member);
        }
        self.seat.queue.close();
        while self.seat.queue.try_recv().is_ok() {}
        if let End::Close(close) = end {
            let Socket { hub, seat, .. } = self;
            hub.figures.closed(close.code);
            // Somebody else may sit down while the client is told.
            drop(seat);
            say_goodbye(sink, stream, close, hub.options.heartbeat).await;
        }
    }

    async fn exchange(&mut self, sink: &mut SplitSink<WebSocket, Message>, stream: &mut SplitStream<WebSocket>) -> End {
        let heartbeat = self.hub.options.heartbeat;
        let mut beat = interval_at(Moment::now() + heartbeat, heartbeat);
        let mut waiting = Vec::with_capacity(FRAMES_AT_ONCE);
        loop {
            let going_on = tokio::select! {
                close = cut(&mut self.seat.cut, &mut self.closing) => Err(End::Close(close)),
                _ = self.seat.queue.recv_many(&mut waiting, FRAMES_AT_ONCE) => self.send(sink, &mut waiting).await,
                frame = stream.next() => match frame {
                    Some(Ok(frame)) => self.take(frame).await,
                    Some(Err(_)) | None => Err(End::Gone),
                },
                _ = beat.tick() => match self.beat() {
                    Ok(ping) => {
                        waiting.push(ping);
                        self.send(sink, &mut waiting).await
                    }
                    Err(close) => Err(End::Close(close)),
                },
            };
            if let Err(end) = going_on {
                return end;
            }
        }
    }

    /// The next ping, if the client answered the last one and its key still counts.
    fn beat(&mut self) -> Result<Utf8Bytes, Close> {
        let (caller, standing) = &self.caller;
        if self.unanswered {
            return Err(NO_PONG);
        }
        if !self.service.access.still_knows(caller, standing) {
            return Err(EXPIRED);
        }
        (self.unanswered, self.frames) = (true, 0);
        Ok(Utf8Bytes::from_static(frames::PING))
    }

    /// Sends what waits. A client that takes nothing for as long as a heartbeat is gone.
    async fn send(
        &mut self,
        sink: &mut SplitSink<WebSocket, Message>,
        waiting: &mut Vec<Utf8Bytes>,
    ) -> Result<(), End> {
        let sending = async {
            for frame in waiting.drain(..) {
                sink.feed(Message::Text(frame)).await?;
            }
            sink.flush().await
        };
        tokio::select! {
            sent = sending => sent.map_err(|_| End::Gone),
            close = cut(&mut self.seat.cut, &mut self.closing) => Err(End::Close(close)),
            () = sleep(self.hub.options.heartbeat) => Err(End::Close(NO_PONG)),
        }
    }

    async fn take(&mut self, frame: Message) -> Result<(), End> {
        self.unanswered = false;
        self.frames += 1;
        if self.frames > FRAMES_MAX {
            return Err(End::Close(TOO_MANY_REQUESTS));
        }
        match frame {
            Message::Text(text) => {
                for line in text.as_str().split('\n').filter(|line| !line.is_empty()) {
                    self.obey(line).await?;
                }
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Binary(_) => Err(End::Close(BAD_REQUEST)),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn obey(&mut self, line: &str) -> Result<(), End> {
        let command = match frames::read(line) {
            Ok(command) => command,
            Err(Misread::Nonsense) => return Err(End::Close(BAD_REQUEST)),
            Err(Misread::Refused(id, fault)) => return self.refuse(id, fault),
        };
        match command {
            Command::Pong => {}
            Command::Connect { id } => {
                let (version, ping) = (env!("CARGO_PKG_VERSION"), self.hub.options.heartbeat.as_secs());
                self.reply(frames::connected(id, version, ping, self.hub.feed.epoch()));
            }
            Command::Subscribe { id, channel, from } => {
                let channel = match self.may_listen(&channel, from.is_some()) {
                    Ok(channel) => channel,
                    Err(fault) => return self.refuse(id, fault),
                };
                match from {
                    None => self.hub.subscribe(&channel, &self.seat.member, id),
                    Some(from) => {
                        if let Err(error) = self.hub.recover(&channel, &self.seat.member, id, &from).await {
                            tracing::warn!(%error, channel = channel.name(), "a recovery failed");
                            return self.refuse(id, frames::INTERNAL);
                        }
                    }
                }
                self.channels.insert(channel);
            }
            Command::Unsubscribe { id, channel } => {
                let Some(channel) = Channel::named(&channel, &self.service.catalog) else {
                    return self.refuse(id, frames::UNKNOWN_CHANNEL);
                };
                if self.channels.remove(&channel) {
                    self.hub.unsubscribe(&channel, &self.seat.member);
                }
                self.reply(frames::unsubscribed(id));
            }
        }
        Ok(())
    }

    /// A client that has found a gap may recover a channel that it listens to.
    fn may_listen(&self, name: &str, recovers: bool) -> Result<Channel, frames::Fault> {
        let channel = Channel::named(name, &self.service.catalog).ok_or(frames::UNKNOWN_CHANNEL)?;
        let listens = self.channels.contains(&channel);
        if listens && !recovers {
            return Err(frames::ALREADY_SUBSCRIBED);
        }
        if !listens && self.channels.len() >= self.hub.options.channels {
            return Err(frames::CHANNEL_LIMIT);
        }
        Ok(channel)
    }

    fn reply(&self, text: String) {
        // One that cannot take it is being cut off.
        self.seat.member.give(text);
    }

    fn refuse(&mut self, id: u64, fault: frames::Fault) -> Result<(), End> {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            return Err(End::Close(TOO_MANY_ERRORS));
        }
        self.reply(frames::refused(id, fault));
        Ok(())
    }
}

/// Waits until the socket is to be closed.
async fn cut(cut: &mut watch::Receiver<Option<Close>>, closing: &mut watch::Receiver<bool>) -> Close {
    tokio::select! {
        found = cut.wait_for(Option::is_some) => found.ok().and_then(|close| *close).unwrap_or(SHUTDOWN),
        _ = closing.wait_for(|closing| *closing) => SHUTDOWN,
    }
}

/// Tells why, and waits for the client to read it, for so long at most.
async fn say_goodbye(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    close: Close,
    wait: Duration,
) {
    let frame = CloseFrame { code: close.code, reason: close.reason.into() };
    let farewell = async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    // One that does not read it learns it from the cut.
    drop(timeout(wait, farewell).await);
}
