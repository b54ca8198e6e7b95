// Short messages at the edge of the page.

import { cell } from './cell.js';
import { t } from './i18n.js';

const SHOWN_MAX = 5;
let number = 0;

/** What is shown now, oldest first. */
export const toasts = cell([]);

function show(toast, seconds) {
  const id = ++number;
  toasts.set([...toasts.get(), { id, ...toast }].slice(-SHOWN_MAX));
  if (seconds) setTimeout(() => close(id), seconds * 1000);
  return id;
}

function close(id) {
  toasts.set(toasts.get().filter((one) => one.id !== id));
}

export const toast = {
  good: (text, hint) => show({ kind: 'good', text, hint }, 5),
  info: (text, hint) => show({ kind: 'info', text, hint }, 6),
  bad: (text, hint) => show({ kind: 'bad', text, hint }, 12),
  /** A problem of api.js, with its hint. */
  problem: (problem) => show({
    kind: 'bad',
    text: problem.status === 0 ? t('problem.offline') : problem.detail || problem.message,
    hint: problem.status === 0 ? t('problem.offline.hint') : problem.hint,
  }, 12),
  close,
};
