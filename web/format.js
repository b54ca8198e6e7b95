// Numbers, days, durations and sizes as people read them, in the language of the page.

import { lang, t } from './i18n.js';

export const NONE = '–';

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const formats = new Map();

function grouped(digits) {
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(digits);
}

/** `1,234` or, with digits, `1,234.50`. */
export function number(value, digits = 0) {
  return isNumber(value) ? grouped(digits).format(value) : NONE;
}

/** As many digits as the value has, at most `digits`. */
export function decimal(value, digits = 4) {
  return isNumber(value) ? value.toLocaleString('en-US', { maximumFractionDigits: digits }) : NONE;
}

/** Short: `1.23亿`, `4,567万` in Chinese; `123.4 M`, `45.7 K` in English. */
export function short(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  const steps = lang.get() === 'zh'
    ? [[1e12, '万亿'], [1e8, '亿'], [1e4, '万']]
    : [[1e12, ' T'], [1e9, ' B'], [1e6, ' M'], [1e4, ' K', 1e3]];
  for (const [from, name, by = from] of steps) {
    if (size >= from) {
      const part = value / by;
      const digits = Math.abs(part) >= 1000 ? 0 : Math.abs(part) >= 100 ? 1 : 2;
      return grouped(digits).format(part) + name;
    }
  }
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 });
}

/** With its sign, so that colour is never alone: `+1.20`, `−0.35`. */
export function signed(value, digits = 2) {
  if (!isNumber(value)) return NONE;
  return `${value > 0 ? '+' : value < 0 ? '−' : ''}${grouped(digits).format(Math.abs(value))}`;
}

/** `+1.20%` */
export const change = (value, digits = 2) => (isNumber(value) ? `${signed(value, digits)}%` : NONE);

/** The class that colours a change: `up`, `down` or none. */
export const direction = (value) => (value > 0 ? 'up' : value < 0 ? 'down' : '');

/** A part of a whole: `63%`, never 100% before it is whole. */
export function percent(part, whole) {
  if (!isNumber(part) || !isNumber(whole) || whole <= 0) return NONE;
  const value = (part / whole) * 100;
  return `${value >= 100 ? 100 : value > 99 ? 99 : value < 10 && value > 0 ? value.toFixed(1) : Math.floor(value)}%`;
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const names = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  while (value >= 1024 && at < names.length - 1) { value /= 1024; at += 1; }
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${names[at]}`;
}

/** `3 s`, `4 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 0.9995) return `${Math.round(Math.max(0, seconds) * 1000)} ms`;
  const whole = Math.round(seconds);
  const unit = (name) => t(`unit.${name}`);
  if (whole < 60) return `${seconds < 10 ? decimal(seconds, 1) : whole} ${unit('s')}`;
  const pad = (value) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} ${unit('min')} ${pad(whole % 60)} ${unit('s')}`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} ${unit('h')} ${pad(Math.floor((whole % 3600) / 60))} ${unit('min')}`;
  return `${Math.floor(whole / 86400)} ${unit('d')} ${Math.floor((whole % 86400) / 3600)} ${unit('h')}`;
}

export const minutes = (value) => (isNumber(value) ? duration(value * 60) : NONE);

/** `1,200/s` */
export function rate(perSecond) {
  if (!isNumber(perSecond)) return NONE;
  return `${perSecond < 10 ? decimal(perSecond, 1) : short(Math.round(perSecond))}/${t('unit.s')}`;
}

// Instants come as RFC 3339 text of Asia/Shanghai, and are shown as that clock says, wherever the browser is.

const shanghai = new Intl.DateTimeFormat('en-CA', {
  timeZone: 'Asia/Shanghai', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit',
  second: '2-digit', hourCycle: 'h23',
});

function parts(instant) {
  const time = new Date(instant);
  if (!instant || Number.isNaN(time.getTime())) return null;
  const found = Object.fromEntries(shanghai.formatToParts(time).map((part) => [part.type, part.value]));
  return { day: `${found.year}-${found.month}-${found.day}`, clock: `${found.hour}:${found.minute}`, seconds: found.second };
}

/** How far the service's clock is ahead of the browser's: "now" is the service's, whatever a visitor's clock says. */
let ahead = 0;

/** Learns the service's clock from what it said a moment ago. */
export function setNow(said) {
  const time = Date.parse(said);
  if (!Number.isNaN(time)) ahead = time - Date.now();
}

/** Now in milliseconds, by the service's clock. */
export const now = () => Date.now() + ahead;

/** The day in Shanghai of an instant, or of now. */
export const dayOf = (instant = now()) => parts(instant)?.day ?? null;

/** `18:00:05` today, `11-20 18:00` this year, `2025-11-20 18:00` before. */
export function instant(value, { seconds = true } = {}) {
  const found = parts(value);
  if (!found) return NONE;
  const today = dayOf();
  if (found.day === today) return seconds ? `${found.clock}:${found.seconds}` : found.clock;
  return `${found.day.slice(0, 4) === today.slice(0, 4) ? found.day.slice(5) : found.day} ${found.clock}`;
}

/** Day and time in full, for titles. */
export function moment(value) {
  const found = parts(value);
  return found ? `${found.day} ${found.clock}:${found.seconds}` : NONE;
}

/** `3 minutes ago`, `in 2 hours`. */
export function ago(value) {
  if (!value) return NONE;
  const seconds = (new Date(value).getTime() - now()) / 1000;
  if (Number.isNaN(seconds)) return NONE;
  const relative = new Intl.RelativeTimeFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', { numeric: 'auto', style: 'short' });
  for (const [name, size] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), name);
  }
  return Math.abs(seconds) < 5 ? t('now') : relative.format(Math.round(seconds), 'second');
}

/** Seconds between two instants; to now where the second is absent. */
export function between(from, to) {
  if (!from) return null;
  return ((to ? new Date(to).getTime() : now()) - new Date(from).getTime()) / 1000;
}

// Days are text, `YYYY-MM-DD`; arithmetic is in UTC, so that no zone can move them.

const utc = (day) => Date.parse(`${day}T00:00:00Z`);

export const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text ?? '') && new Date(utc(text)).toISOString().slice(0, 10) === text;
export const addDays = (day, count) => new Date(utc(day) + count * 86_400_000).toISOString().slice(0, 10);
/** Days from one to the other, both counted. */
export const daysBetween = (from, to) => Math.round((utc(to) - utc(from)) / 86_400_000) + 1;
/** 0 for Monday to 6 for Sunday. */
export const weekday = (day) => (new Date(utc(day)).getUTCDay() + 6) % 7;

/** `2026-11-20 Fri` */
export function dayName(day) {
  if (!day) return NONE;
  const name = new Intl.DateTimeFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', { weekday: 'short', timeZone: 'UTC' });
  return `${day} ${name.format(utc(day))}`;
}

/** A day without its year when that is this year. */
export const dayShort = (day) => (!day ? NONE : day.slice(0, 4) === dayOf().slice(0, 4) ? day.slice(5) : day);
