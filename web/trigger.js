// Triggers of jobs in words.

import * as cron from './cron.js';
import { duration } from './format.js';
import { t } from './i18n.js';

/** A cron line in words, or the line itself where it says more than this page understands. */
export function cronInWords(line) {
  try { return cron.inWords(cron.parse(line)); } catch { return line; }
}

export function triggerInWords(trigger = {}) {
  switch (trigger.kind) {
    case 'cron': return cronInWords(trigger.expression);
    case 'every': return t('trigger.every', { time: duration(trigger.seconds) });
    case 'event': return t(`trigger.on.${trigger.on}`, { dataset: trigger.dataset ?? '' });
    case 'continuous':
      return trigger.every_seconds ? t('trigger.continuous.every', { time: duration(trigger.every_seconds) }) : t('trigger.continuous');
    default: return trigger.kind ?? '';
  }
}
