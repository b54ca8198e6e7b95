// The web socket: channels with epoch and offset, recovery after a broken link, polling where there is none.

import { cell } from './cell.js';

const WAIT_FIRST_MS = 500;
const WAIT_MAX_MS = 20_000;
const SILENCE_MS = 60_000;
const POLL_MS = 5_000;
/** After so long without a link, subscribers are told to ask by themselves. */
const PATIENCE_MS = 4_000;

/** `connecting`, `live`, `polling` (no socket, asking again and again) or `off`. */
export const status = cell('off');

/** channel -> { members: Set of {data, reset}, epoch, offset, asked: id or null, on: the server sends } */
const channels = new Map();
let socket = null;
let opened = false;
let number = 0;
let attempts = 0;
let retry = null;
let silence = null;
let polling = null;
let patience = null;
let final = false;
/** Commands that wait for their reply: id -> channel name. */
const waiting = new Map();

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function ask(name) {
  const channel = channels.get(name);
  if (!opened || !channel || channel.asked) return;
  if (channel.on) send({ id: ++number, unsubscribe: { channel: name } });
  channel.on = false;
  const id = ++number;
  channel.asked = id;
  waiting.set(id, name);
  const position = channel.epoch === null ? {} : { recover: true, epoch: channel.epoch, offset: channel.offset };
  send({ id, subscribe: { channel: name, ...position } });
}

function reset(channel) {
  for (const member of [...channel.members]) member.reset();
}

/** Offsets are numbers of the event log; `data` null says that nothing happened on the channel up to there. */
function take(channel, publication) {
  if (publication.offset <= channel.offset) return;
  channel.epoch = publication.epoch;
  channel.offset = publication.offset;
  if (publication.data === null) return;
  for (const member of [...channel.members]) member.data(publication.data);
}

function subscribed(channel, reply) {
  channel.asked = null;
  channel.on = true;
  if (reply.recovered) {
    for (const publication of reply.publications ?? []) take(channel, publication);
    channel.epoch = reply.epoch;
    channel.offset = Math.max(channel.offset, reply.offset);
    return;
  }
  // A first subscription, or a gap that cannot be closed: what follows is whole only with a snapshot of now.
  channel.epoch = reply.epoch;
  channel.offset = reply.offset ?? 0;
  reset(channel);
}

function refused(name, channel, error) {
  channel.asked = null;
  if (error.code === 112) {
    channel.epoch = null;
    ask(name);
  } else if (error.temporary) {
    setTimeout(() => ask(name), WAIT_FIRST_MS + Math.random() * WAIT_FIRST_MS);
  } else if (error.code === 101 || error.code === 109) {
    socket?.close();
  }
}

function heard(message) {
  if (message.push) {
    const channel = channels.get(message.push.channel);
    const publication = message.push.pub;
    if (!channel || !publication || channel.asked) return;
    // Each names the one before it: one that goes on from further than we are leaves a gap.
    if (publication.prev > channel.offset) ask(message.push.channel);
    else take(channel, publication);
    return;
  }
  if (message.id === undefined) {
    send({});
    return;
  }
  const name = waiting.get(message.id);
  waiting.delete(message.id);
  const channel = channels.get(name);
  if (!channel || channel.asked !== message.id) return;
  if (message.error) refused(name, channel, message.error);
  else if (message.subscribe) subscribed(channel, message.subscribe);
}

function watchSilence() {
  clearTimeout(silence);
  silence = setTimeout(() => socket?.close(), SILENCE_MS);
}

function poll(on) {
  clearTimeout(patience);
  patience = null;
  if (on && !polling) {
    const tick = () => { if (!document.hidden) for (const channel of channels.values()) reset(channel); };
    polling = setInterval(tick, POLL_MS);
    status.set('polling');
    tick();
  } else if (!on) {
    clearInterval(polling);
    polling = null;
  }
}

function lost(event) {
  if (event.target !== socket) return;
  socket = null;
  opened = false;
  clearTimeout(silence);
  waiting.clear();
  for (const channel of channels.values()) Object.assign(channel, { asked: null, on: false });
  if (!channels.size) {
    status.set('off');
    poll(false);
    return;
  }
  if (!polling) status.set('connecting');
  if (!polling && !patience) patience = setTimeout(() => poll(true), PATIENCE_MS);
  final = event.code === 1008 || (event.code >= 3500 && event.code < 4000) || event.code >= 4500;
  if (final) { poll(true); return; }
  const longest = Math.min(WAIT_MAX_MS, WAIT_FIRST_MS * 2 ** attempts++);
  clearTimeout(retry);
  retry = setTimeout(connect, WAIT_FIRST_MS / 2 + Math.random() * longest);
}

function connect() {
  clearTimeout(retry);
  retry = null;
  if (socket || !channels.size) return;
  if (!polling) status.set('connecting');
  const made = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
  socket = made;
  made.onopen = () => {
    if (made !== socket) return;
    opened = true;
    attempts = 0;
    poll(false);
    status.set('live');
    watchSilence();
    for (const name of channels.keys()) ask(name);
  };
  made.onmessage = (event) => {
    if (made !== socket) return;
    watchSilence();
    for (const line of String(event.data).split('\n')) {
      if (line) heard(JSON.parse(line));
    }
  };
  made.onclose = lost;
}

export const live = {
  /**
   * Hears a channel: `data(value)` for every publication in order; `reset()` when a snapshot must be fetched: after the
   * first subscription, after a gap that could not be closed, and again and again while there is no socket.
   * Returns how to leave.
   */
  subscribe(name, data, reset = () => {}) {
    let channel = channels.get(name);
    const member = { data, reset };
    if (channel) {
      channel.members.add(member);
    } else {
      channel = { members: new Set([member]), epoch: null, offset: 0, asked: null, on: false };
      channels.set(name, channel);
      if (!final) { connect(); ask(name); } else { poll(true); }
    }
    return () => {
      channel.members.delete(member);
      if (channel.members.size || channels.get(name) !== channel) return;
      channels.delete(name);
      if (opened) send({ id: ++number, unsubscribe: { channel: name } });
    };
  },
  /** Starts anew, as after a login. */
  restart() {
    final = false;
    attempts = 0;
    if (socket) socket.close();
    else connect();
  },
};

addEventListener('online', () => { if (!socket && channels.size && !final) { attempts = 0; connect(); } });
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !socket && channels.size && !final) { attempts = 0; connect(); }
});
