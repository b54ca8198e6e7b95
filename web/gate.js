// States of subscriptions, deliveries, attempts and reconciliations as badges, and the words that their pages share.

import { State } from './components/parts.js';
import { duration, percent } from './format.js';
import { t, word } from './i18n.js';
import { html } from './view.js';

const SUBSCRIPTION = { active: 'good', paused: 'off', failing: 'bad', disabled: 'bad' };
const DELIVERY = {
  waiting: 'info', dead: 'bad', parked: 'warn', delivered: 'good', failed: 'late', exhausted: 'bad', refused: 'bad', gone: 'bad', skipped: 'off',
};
const REPLAY = { running: 'live', paused: 'off', done: 'good', cancelled: 'off' };
const SYNC = { none: 'off', pending: 'info', failed: 'bad', synced: 'good', waiting: 'info', delivered: 'good' };
const TAKING = { active: 'good', running: 'good', waiting: 'info', paused: 'off', failing: 'late', stuck: 'bad', broken: 'bad' };
const COMPARED = { equal: 'good', different: 'bad', unfinished: 'warn', running: 'live' };

export const OUTCOMES = ['delivered', 'failed', 'exhausted', 'refused', 'gone', 'skipped'];

const state = (tones, group) => ({ name, title }) => html`<${State} tone=${tones[name]} title=${title}>${word(group, name)}<//>`;

export const SubscriptionState = state(SUBSCRIPTION, 'sub.state');
/** Of a delivery, or how an attempt ended. */
export const DeliveryState = state(DELIVERY, 'delivery.state');
export const ReplayState = state(REPLAY, 'replay.state');
export const SyncState = state(SYNC, 'sync.state');
export const TakingState = state(TAKING, 'taking.state');
export const ComparedState = state(COMPARED, 'rec.outcome');

/** The type of an event as the service names it: never translated. */
export const Type = ({ name }) => html`<span class="mono told">${name}</span>`;

export const milliseconds = (value) => (typeof value === 'number' ? duration(value / 1000) : '–');

/** Of attempts that worked; with a digit more where it matters. */
export const success = (value) => (typeof value === 'number' ? `${value > 99 && value < 100 ? (Math.floor(value * 100) / 100).toFixed(2) : percent(value, 100).replace('%', '')}%` : '–');

/** `good`, `warn` or `bad` by the thresholds that the gate raises alerts at. */
export const toneOfSuccess = (value) => (typeof value !== 'number' ? '' : value < 95 ? 'bad' : value < 99.9 ? 'warn' : 'good');

/** Where a delivery stands on its own page. */
export const deliveryAddress = (event, subscription) => `/deliveries/${event}/${encodeURIComponent(subscription)}`;

/** An order key for people: without one there is no order. */
export const keyInWords = (key) => key || t('deliveries.no.key');
