// One year: its months side by side, a column a week, a row a weekday. Tables with few points of time show them in a row.

import { useGet } from '../api.js';
import { Failed } from '../components.js';
import { daysBetween, number, weekday } from '../format.js';
import { lang, t } from '../i18n.js';
import { html, useMemo } from '../view.js';
import { STATES, cellTitle } from './cell.js';

const MONTHS = ['01', '02', '03', '04', '05', '06', '07', '08', '09', '10', '11', '12'];
const POINTS_MAX = 60;
/** What a year's head counts, where there is any. */
const COUNTED = ['present', 'empty', 'provisional', 'partial', 'failed', 'unknown'];

function monthName(year, month) {
  const name = new Intl.DateTimeFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', { month: 'short', timeZone: 'UTC' });
  return name.format(Date.parse(`${year}-${month}-01T00:00:00Z`));
}

function Cell({ cell, chosen, entry, text, place }) {
  return html`<button type="button" class=${`cell ${cell.state}${chosen ? ' chosen' : ''}`} data-day=${cell.day} tabindex=${entry ? 0 : -1} style=${place}
    title=${cellTitle(cell)} aria-label=${cellTitle(cell)} aria-pressed=${chosen ? 'true' : 'false'}>${text}${STATES[cell.state]}</button>`;
}

/** Where a day lies in the strip of a year: its column is the week, its row the weekday. */
function placeOf(day, year) {
  const first = `${year}-01-01`;
  return { '--week': Math.floor((daysBetween(first, day) - 1 + weekday(first)) / 7) + 1, '--row': weekday(day) + 2 };
}

/** Wide: one strip of weeks; narrow: a block a month. Both are the same elements, placed by the styles. */
function months(cells, year, chosen, entry) {
  const byMonth = new Map(MONTHS.map((month) => [month, []]));
  for (const cell of cells) byMonth.get(cell.day.slice(5, 7))?.push(cell);
  const rows = cells.some((cell) => weekday(cell.day) > 4 && cell.state !== 'closed') ? 7 : 5;
  const block = (month, days) => {
    const kept = days.filter((cell) => weekday(cell.day) < rows);
    const gaps = kept.length ? weekday(kept[0].day) : 0;
    return html`<div class="month" key=${month}>
      <span class="name" aria-hidden="true" style=${placeOf(`${year}-${month}-07`, year)}>${monthName(year, month)}</span>
      <div class=${`days rows-${rows}`}>${Array.from({ length: gaps }, (_, at) => html`<i key=${`gap-${at}`} class="gap"></i>`)}
        ${kept.map((cell) => (cell.state === 'closed'
          ? html`<i key=${cell.day} class="closed" style=${placeOf(cell.day, year)}></i>`
          : html`<${Cell} key=${cell.day} cell=${cell} chosen=${chosen(cell)} entry=${entry(cell)} place=${placeOf(cell.day, year)} />`))}</div>
    </div>`;
  };
  return html`<div class="months">${[...byMonth].filter(([, days]) => days.length).map(([month, days]) => block(month, days))}</div>`;
}

function points(cells, chosen, entry) {
  return html`<div class="points">${cells.map((cell) => html`<${Cell} key=${cell.day} cell=${cell} chosen=${chosen(cell)} entry=${entry(cell)} text=${html`<span>${cell.day.slice(5)}</span>`} />`)}</div>`;
}

export function Year({ dataset, year, from, to, cursor, entry }) {
  const own = { from: `${year}-01-01`, to: `${year}-12-31` };
  const concerns = (told) => !told?.from || !told?.to || (told.from <= own.to && told.to >= own.from);
  const found = useGet(`/api/v1/coverage/${dataset}`, { query: own, channels: [`coverage:${dataset}`], concerns, calm: 1000 });
  const cells = found.data?.days;
  const touched = from && from <= own.to && to >= own.from;
  const cursorHere = cursor?.slice(0, 4) === String(year) ? cursor : null;
  const language = lang.get();
  const drawn = useMemo(() => {
    if (!cells) return null;
    const open = cells.filter((cell) => cell.state !== 'closed');
    if (!open.length) return html`<p class="faint">${t('coverage.year.none')}</p>`;
    const asked = open.findLast((cell) => cell.state !== 'not_due') ?? open[open.length - 1];
    const chosen = (cell) => Boolean(touched) && cell.day >= from && cell.day <= to;
    const first = (cell) => (cursorHere ? cell.day === cursorHere : entry && cell === asked);
    return open.length > POINTS_MAX ? months(cells, year, chosen, first) : points(open, chosen, first);
  }, [cells, touched && from, touched && to, cursorHere, entry, language]);
  const counts = useMemo(() => {
    const sum = {};
    for (const cell of cells ?? []) sum[cell.state] = (sum[cell.state] ?? 0) + 1;
    return COUNTED.filter((state) => sum[state]).map((state) => html`<span key=${state} class=${['failed', 'partial', 'unknown'].includes(state) ? 'notable' : ''}>${t(`cover.${state}`)} ${number(sum[state])}</span>`);
  }, [cells, language]);
  return html`<section class="year" aria-label=${String(year)}>
    <header><h3>${year}</h3><span class="counts">${counts}</span></header>
    ${found.problem && html`<${Failed} problem=${found.problem} retry=${found.reload} />`}
    ${drawn ?? html`<div class="months waiting"></div>`}
  </section>`;
}
