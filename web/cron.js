// Cron in five fields, on the clock of Shanghai: read, told in words, and its next times.

import { lang, t } from './i18n.js';

const SHANGHAI_MS = 8 * 3600 * 1000;
const FIELDS = [
  { name: 'minute', from: 0, to: 59 },
  { name: 'hour', from: 0, to: 23 },
  { name: 'day', from: 1, to: 31 },
  { name: 'month', from: 1, to: 12, names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'] },
  { name: 'weekday', from: 0, to: 7, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
];

/** What is wrong with a cron text: `field` is one of the five names, or `count`. */
export class CronError extends Error {
  constructor(field, text) {
    super(t(field === 'count' ? 'cron.bad.count' : 'cron.bad.field', { field: t(`cron.field.${field}`), text }));
    this.field = field;
  }
}

function number(field, text) {
  const named = field.names?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return named + (field.name === 'month' ? 1 : 0);
  const value = /^\d{1,2}$/.test(text) ? Number(text) : NaN;
  if (!(value >= field.from && value <= field.to)) throw new CronError(field.name, text);
  return value;
}

function values(field, text) {
  const found = new Set();
  for (const part of text.split(',')) {
    const [range, step = '1', more] = part.split('/');
    if (more !== undefined || !/^\d{1,2}$/.test(step) || Number(step) < 1) throw new CronError(field.name, part);
    let [from, to] = [field.from, field.to];
    if (range !== '*') {
      const ends = range.split('-');
      if (ends.length > 2) throw new CronError(field.name, part);
      from = number(field, ends[0]);
      to = ends.length === 2 ? number(field, ends[1]) : part.includes('/') ? field.to : from;
      if (to < from) throw new CronError(field.name, part);
    }
    for (let value = from; value <= to; value += Number(step)) found.add(field.name === 'weekday' ? value % 7 : value);
  }
  return [...found].sort((left, right) => left - right);
}

/** The five fields as lists of numbers; throws `CronError`. */
export function parse(text) {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) throw new CronError('count', text);
  const cron = {};
  FIELDS.forEach((field, place) => { cron[field.name] = values(field, parts[place]); });
  cron.anyDay = parts[2] === '*';
  cron.anyWeekday = parts[4] === '*';
  return cron;
}

function fits(cron, date) {
  if (!cron.month.includes(date.getUTCMonth() + 1)) return false;
  const day = cron.day.includes(date.getUTCDate());
  const weekday = cron.weekday.includes(date.getUTCDay());
  // As every cron does: with both fields given, one of them suffices.
  return cron.anyDay || cron.anyWeekday ? day && weekday : day || weekday;
}

/** The next `count` times after `after` (milliseconds), as milliseconds; fewer where thirteen years have no more. */
export function nextTimes(cron, after, count) {
  const times = [];
  // A date whose UTC parts read as the clock of Shanghai.
  const day = new Date(after + SHANGHAI_MS);
  day.setUTCHours(0, 0, 0, 0);
  for (let days = 0; days < 366 * 13 && times.length < count; days += 1, day.setUTCDate(day.getUTCDate() + 1)) {
    if (!fits(cron, day)) continue;
    for (const hour of cron.hour) {
      for (const minute of cron.minute) {
        const time = day.getTime() + (hour * 60 + minute) * 60_000 - SHANGHAI_MS;
        if (time > after && times.length < count) times.push(time);
      }
    }
  }
  return times;
}

const two = (value) => String(value).padStart(2, '0');

function joined(items) {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(t('cron.comma'))}${t('cron.and')}${items.at(-1)}`;
}

/** `1,2,3,5` as runs: [[1,3],[5,5]]. */
function runs(numbers) {
  const found = [];
  for (const value of numbers) {
    if (found.length && found.at(-1)[1] === value - 1) found.at(-1)[1] = value;
    else found.push([value, value]);
  }
  return found;
}

function spans(numbers, name) {
  const one = ([from, to]) => (from === to ? name(from)
    : to === from + 1 ? joined([name(from), name(to)]) : t('cron.to', { from: name(from), to: name(to) }));
  return joined(runs(numbers).map(one));
}

/** The step of evenly spread values that fill a field, else 0. */
function stepOf(numbers, size) {
  const step = numbers.length > 1 ? numbers[1] - numbers[0] : 0;
  const even = step > 0 && numbers.every((value, place) => value === place * step);
  return even && numbers.length === Math.ceil(size / step) ? step : 0;
}

function timeInWords(cron) {
  const everyHour = cron.hour.length === 24;
  const step = stepOf(cron.minute, 60);
  if (step) {
    const minutes = step === 1 ? t('cron.every.minute') : t('cron.every.minutes', { step });
    return everyHour ? minutes : t('cron.within', { what: minutes, hours: spans(cron.hour, (hour) => `${two(hour)}:00`) });
  }
  if (everyHour) return t('cron.minute.of.hour', { minutes: joined(cron.minute.map(String)) });
  const hours = stepOf(cron.hour, 24);
  if (hours > 1 && cron.minute.length === 1) return t('cron.every.hours', { step: hours, minute: two(cron.minute[0]) });
  const times = cron.hour.flatMap((hour) => cron.minute.map((minute) => `${two(hour)}:${two(minute)}`));
  if (times.length > 6) {
    const minutes = t('cron.minute.of.hour', { minutes: spans(cron.minute, String) });
    return t('cron.within', { what: minutes, hours: spans(cron.hour, (hour) => `${two(hour)}:00`) });
  }
  return joined(times);
}

function weekdayName(day) {
  // 2023-01-01 was a Sunday.
  const style = { weekday: lang.get() === 'zh' ? 'short' : 'long', timeZone: 'UTC' };
  return new Intl.DateTimeFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', style).format(Date.UTC(2023, 0, 1 + day));
}

function monthName(month) {
  const style = { month: 'long', timeZone: 'UTC' };
  return new Intl.DateTimeFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', style).format(Date.UTC(2023, month - 1, 1));
}

function daysInWords(cron) {
  // The week begins with Monday.
  const week = cron.weekday.map((day) => (day === 0 ? 7 : day)).sort((left, right) => left - right);
  const weekdays = cron.anyWeekday || week.length === 7 ? '' : spans(week, (day) => weekdayName(day % 7));
  const months = cron.month.length === 12 ? '' : spans(cron.month, monthName);
  const days = cron.anyDay || cron.day.length === 31 ? ''
    : t(months ? 'cron.days.of.months' : 'cron.days', { days: spans(cron.day, String), months });
  if (weekdays && days) return t('cron.or', { one: days, other: weekdays });
  if (days) return days;
  return months ? t('cron.in.months', { days: weekdays || t('cron.every.day'), months }) : weekdays || t('cron.every.day');
}

/** A cron in one phrase of the page's language: `18:00, Monday to Friday`. */
export function inWords(cron) {
  return t('cron.phrase', { time: timeInWords(cron), days: daysInWords(cron) });
}
