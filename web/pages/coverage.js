// How every day of a dataset stands; a range of days shows what it takes to fetch it, and starts that.

import { useGet } from '../api.js';
import { Card, Empty, Failed, Loading, SelectField } from '../components.js';
import { Legend } from '../coverage/legend.js';
import { Panel } from '../coverage/panel.js';
import { Year } from '../coverage/year.js';
import { addDays, dayOf, number } from '../format.js';
import { lang, t, titleOf } from '../i18n.js';
import { shortcut } from '../keyboard.js';
import { go, setQuery } from '../router.js';
import { html, useEffect, useMemo, useRef, useState } from '../view.js';

const YEARS_AT_FIRST = { dense: 5, sparse: 5, period: 12, whole: 1 };
const YEARS_MORE = 5;
const SHAPES = ['dense', 'sparse', 'period', 'whole'];

/** The range that is chosen: kept in the address, and while the pointer moves in the page alone. */
function useSelection(query) {
  const [drag, setDrag] = useState(null);
  const chosen = drag ?? (query.from ? { anchor: query.from, end: query.to || query.from } : null);
  const ordered = chosen && (chosen.anchor <= chosen.end ? [chosen.anchor, chosen.end] : [chosen.end, chosen.anchor]);
  const keep = (anchor, end) => {
    setDrag(null);
    if (!anchor) return setQuery({ from: null, to: null });
    const [from, to] = anchor <= end ? [anchor, end] : [end, anchor];
    return setQuery({ from, to: to === from ? null : to });
  };
  return { drag, setDrag, keep, from: ordered?.[0] ?? null, to: ordered?.[1] ?? null };
}

/** Drag, arrows and clicks over the cells of all years. */
function useCells(selection) {
  const area = useRef(null);
  const [cursor, setCursor] = useState(null);
  const anchor = useRef(null);
  // The drag as it is now: a quick click ends before the page is drawn again.
  const drag = useRef(null);
  const dragTo = (next) => { drag.current = next; selection.setDrag(next); };
  const dayAt = (event) => event.target.closest?.('button[data-day]')?.dataset.day;
  useEffect(() => () => { drag.current = null; }, []);
  const drop = () => {
    if (!drag.current) return;
    const { anchor: first, end } = drag.current;
    drag.current = null;
    selection.keep(first, end);
  };
  // On a narrow page what is chosen covers the foot of the window.
  const settled = selection.drag ? null : selection.to;
  useEffect(() => {
    if (settled) area.current?.querySelector(`button[data-day="${settled}"]`)?.scrollIntoView({ block: 'nearest', behavior: 'auto' });
  }, [settled]);
  const choose = (day, extend) => {
    if (!extend || !anchor.current) anchor.current = day;
    setCursor(day);
    selection.keep(anchor.current, day);
  };
  const down = (event) => {
    const day = dayAt(event);
    if (!day || event.button || event.pointerType !== 'mouse' || event.shiftKey) return;
    anchor.current = day;
    setCursor(day);
    dragTo({ anchor: day, end: day });
    addEventListener('pointerup', drop, { once: true });
  };
  const over = (event) => {
    const day = dayAt(event);
    if (day && drag.current && day !== drag.current.end) dragTo({ ...drag.current, end: day });
  };
  const click = (event) => {
    const day = dayAt(event);
    if (day && (event.shiftKey || event.detail === 0 || event.pointerType !== 'mouse')) choose(day, event.shiftKey);
  };
  const key = (event) => {
    const day = dayAt(event);
    if (!day) return;
    if (event.key === 'Escape') { anchor.current = null; selection.keep(null); return; }
    const days = [...area.current.querySelectorAll('button[data-day]')].map((cell) => cell.dataset.day).sort();
    const to = target(days, day, event.key);
    if (!to) return;
    event.preventDefault();
    if (event.shiftKey) {
      anchor.current ??= day;
      selection.keep(anchor.current, to);
    }
    setCursor(to);
    area.current.querySelector(`button[data-day="${to}"]`)?.focus();
  };
  return { area, cursor, handlers: { onPointerDown: down, onPointerOver: over, onClick: click, onKeyDown: key } };
}

/** Where a key leads from a day: the next cell in that direction. */
function target(days, day, key) {
  const at = days.indexOf(day);
  const after = (wanted) => days.find((one) => one >= wanted) ?? days[days.length - 1];
  const before = (wanted) => days.findLast((one) => one <= wanted) ?? days[0];
  return {
    ArrowDown: () => days[at + 1],
    ArrowUp: () => days[at - 1],
    ArrowRight: () => after(addDays(day, 7)),
    ArrowLeft: () => before(addDays(day, -7)),
    PageDown: () => after(addDays(day, 28)),
    PageUp: () => before(addDays(day, -28)),
    Home: () => days.find((one) => one.slice(0, 4) === day.slice(0, 4)),
    End: () => days.findLast((one) => one.slice(0, 4) === day.slice(0, 4)),
  }[key]?.();
}

/** What the store holds of a dataset, in words. */
function stored(dataset) {
  if (!dataset.rows) return t('coverage.stored.none');
  const rows = t('coverage.stored.rows', { rows: number(dataset.rows) });
  return dataset.first_day_stored ? `${rows} · ${t('coverage.stored', { from: dataset.first_day_stored, to: dataset.last_day_stored })}` : rows;
}

function Picker({ datasets, name }) {
  const options = SHAPES.map((shape) => ({
    group: t(`shape.${shape}`),
    options: datasets.filter((one) => one.shape === shape).map((one) => ({ value: one.name, label: `${titleOf(one)} · ${one.name}` })),
  })).filter((group) => group.options.length);
  const others = datasets.filter((one) => !SHAPES.includes(one.shape)).map((one) => ({ value: one.name, label: `${titleOf(one)} · ${one.name}` }));
  return html`<${SelectField} aria-label=${t('coverage.dataset')} value=${name} options=${[...options, ...others]} onInput=${(value) => go(`/coverage/${value}`)} />`;
}

function Calendar({ dataset, query }) {
  const language = lang.use();
  const today = dayOf();
  const firstYear = !dataset.time ? Number(today.slice(0, 4)) : Number((dataset.first_day_stored && dataset.first_day_stored < (dataset.first_day ?? '9999') ? dataset.first_day_stored : dataset.first_day ?? today).slice(0, 4));
  const last = Number(today.slice(0, 4));
  const wanted = query.from ? last - Number(query.from.slice(0, 4)) + 1 : 0;
  const [count, setCount] = useState(() => Math.max(YEARS_AT_FIRST[dataset.shape] ?? 5, wanted));
  const selection = useSelection(query);
  const cells = useCells(selection);
  const shown = Math.min(count, last - firstYear + 1);
  const years = useMemo(() => Array.from({ length: Math.max(1, shown) }, (_, at) => last - at), [shown, last]);
  const earlier = last - firstYear + 1 - shown;
  useEffect(() => shortcut('e', t('coverage.earlier.key'), () => setCount((before) => before + YEARS_MORE)), [language]);
  return html`<div class="coverage">
    <${Card} id="calendar" title=${titleOf(dataset)} note=${dataset.name} actions=${html`<span class="soft hide-phone">${t('coverage.how')}</span>`}>
      <${Legend} />
      <div class=${`years${selection.drag ? ' dragging' : ''}`} ref=${cells.area} ...${cells.handlers}>
        ${years.map((year, at) => html`<${Year} key=${year} dataset=${dataset.name} year=${year} today=${today} from=${selection.from} to=${selection.to}
          cursor=${cells.cursor} entry=${at === 0 && !cells.cursor} />`)}
      </div>
      ${earlier > 0 && html`<div class="row"><button type="button" class="button" onClick=${() => setCount(count + YEARS_MORE)}>${t('coverage.earlier', { count: Math.min(earlier, YEARS_MORE) })}</button>
        <span class="faint">${t('coverage.since', { year: firstYear })}</span></div>`}
    <//>
    <${Panel} dataset=${dataset} from=${selection.from} to=${selection.to} today=${today} settled=${!selection.drag} onRange=${selection.keep} />
  </div>`;
}

export default function Coverage({ params, query }) {
  const list = useGet('/api/v1/datasets', { query: { limit: 1000 } });
  const datasets = list.data?.items;
  const name = params.dataset ?? (datasets?.some((one) => one.name === 'daily') ? 'daily' : datasets?.[0]?.name);
  const dataset = datasets?.find((one) => one.name === name);
  if (list.problem && !datasets) return html`<${Failed} problem=${list.problem} retry=${list.reload} />`;
  if (!datasets) return html`<${Loading} lines=${8} />`;
  return html`<div class="row picker"><${Picker} datasets=${datasets} name=${name} />
      ${dataset && html`<span class="soft">${stored(dataset)}</span>
      <span class="right row"><a href=${`/data/table/${name}`}>${t('coverage.rows')}</a><a href=${`/sync?datasets=${name}`}>${t('nav.sync')}</a></span>`}
    </div>
    ${dataset ? html`<${Calendar} key=${name} dataset=${dataset} query=${query} />`
    : html`<${Empty} title=${t('coverage.unknown', { name })} text=${t('coverage.unknown.text')} />`}`;
}
