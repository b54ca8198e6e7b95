// Work and requests in words: what is fetched, for which securities, which days.

import { dayShort, number } from './format.js';
import { t, word } from './i18n.js';

function some(names, all, few = 3) {
  if (!names?.length) return all;
  return names.length > few ? t('work.and.more', { names: names.slice(0, few).join(', '), count: names.length - few }) : names.join(', ');
}

export function daysInWords({ from, to, days_back: back, all_history: everything }) {
  if (everything) return t('work.history');
  if (back) return t('work.back', { count: number(back) });
  if (from && to) return from === to ? dayShort(from) : `${from} – ${to}`;
  if (from) return t('work.from', { day: from });
  if (to) return t('work.to', { day: to });
  return t('work.due');
}

/** `Fetch · daily, weekly · all securities · 2024-01-01 – 2024-01-31`. */
export function workInWords(work = {}) {
  if (work.action === 'reconcile') return `${word('action', 'reconcile')} · ${some(work.reconciliations, '')}`;
  const parts = [
    word('action', work.action ?? 'sync'), some(work.datasets, t('work.all.tables')), daysInWords(work),
  ];
  if (work.codes?.length) parts.push(some(work.codes, ''));
  if (work.sources?.length) parts.push(t('work.sources', { names: work.sources.join(', ') }));
  if (work.force) parts.push(t('work.force'));
  return parts.join(' · ');
}

/** The request of a task: its securities and days. */
export function requestInWords(request = {}) {
  const parts = [some(request.codes, t('work.all.securities')), daysInWords(request)];
  if (request.source) parts.push(t('work.sources', { names: request.source }));
  if (request.force) parts.push(t('work.force'));
  return parts.join(' · ');
}
