// Modes, orders, filters and signatures of subscriptions in words.

import { decimal, duration, number } from '../../format.js';
import { t } from '../../i18n.js';
import { cronInWords } from '../../trigger.js';

export const FORMS = ['standard', 'standard_ed25519', 'mission', 'stripe', 'github'];
export const OPS = ['eq', 'ne', 'in', 'prefix', 'gt', 'ge', 'lt', 'le', 'exists'];

/** `realtime`, or `{ batch: { size, delay_ms, cron, pause_ms } }`. */
export function modeInWords(mode) {
  const batch = mode?.batch;
  if (!batch) return t('subs.realtime');
  const when = batch.cron ? cronInWords(batch.cron) : t('subs.batch.delay', { time: duration(batch.delay_ms / 1000) });
  return t('subs.batch.of', { size: number(batch.size), when });
}

/** `key`, `subject`, `none` or `{ data: path }`. */
export function orderInWords(order) {
  if (order && typeof order === 'object') return t('subs.order.by.data', { path: order.data });
  return t(`subs.order.${order ?? 'key'}`);
}

/** `data.amount ≥ 100`. */
export function filterInWords({ field, op, value }) {
  if (op === 'exists') return t('subs.filter.exists', { field });
  const shown = Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? JSON.stringify(value) : String(value);
  return `${field} ${t(`subs.op.${op}`)} ${shown}`;
}

export const retriesInWords = (seconds) => (seconds ? seconds.map((one) => `${decimal(one, 2)} s`).join(', ') : t('subs.retries.default'));
