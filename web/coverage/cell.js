// The states of a day: sign, word and what a cell says of itself.

import { dayName, number } from '../format.js';
import { said, t } from '../i18n.js';

/** In the order of the legend; the sign is what tells states apart without colour. */
export const STATES = {
  present: '', empty: '0', not_due: '·', provisional: '~', partial: '½', failed: '×', unknown: '?', closed: '',
};

export const TONES = {
  present: 'good', empty: 'off', not_due: 'off', provisional: 'late', partial: 'warn', failed: 'bad', unknown: 'warn', closed: 'off',
};

/** A cell in one line, for its title and for screen readers. */
export function cellTitle(cell) {
  const rows = cell.rows > 0 || cell.expected ? `, ${t('coverage.cell.rows', { rows: number(cell.rows), expected: cell.expected ? ` / ${number(cell.expected)}` : '' })}` : '';
  return `${dayName(cell.day)}: ${t(`cover.${cell.state}`)}${rows}${cell.why ? ` · ${said(cell.why)}` : ''}`;
}

/** Days as ranges: `[{ from, to, count }]`; a weekend does not part a range. */
export function rangesOf(days) {
  const found = [];
  for (const day of days) {
    const last = found[found.length - 1];
    const gap = last && (Date.parse(day) - Date.parse(last.to)) / 86_400_000;
    const joins = gap === 1 || (gap === 3 && new Date(last.to).getUTCDay() === 5);
    if (joins) { last.to = day; last.count += 1; } else found.push({ from: day, to: day, count: 1 });
  }
  return found;
}
