// The market of one day: limit boards, money in and out, hot lists, boards.

import { useGet } from '../../api.js';
import { Button, Card, Empty, Loaded, Table, TextField } from '../../components.js';
import { NONE, addDays, change, dayName, decimal, direction, isDay, number, short } from '../../format.js';
import { t } from '../../i18n.js';
import { setQuery } from '../../router.js';
import { html } from '../../view.js';

/** Each list with the columns that tell most; a column that no row has is not drawn. */
const LISTS = {
  limit_up: ['close', 'pct_chg', 'limit_times', 'first_time', 'open_times', 'fd_amount', 'industry'],
  limit_down: ['close', 'pct_chg', 'open_times', 'last_time', 'fd_amount', 'industry'],
  inflow: ['net_mf_amount', 'net_mf_vol', 'buy_elg_amount', 'sell_elg_amount'],
  outflow: ['net_mf_amount', 'net_mf_vol', 'buy_elg_amount', 'sell_elg_amount'],
  hot: ['rank', 'hot', 'pct_change', 'current_price', 'concept'],
  boards: ['z_t_num', 'up_num'],
};
const CHANGES = new Set(['pct_chg', 'pct_change']);
const MONEY = new Set(['fd_amount', 'buy_elg_amount', 'sell_elg_amount', 'hot']);
const SIGNED = new Set(['net_mf_amount', 'net_mf_vol']);
const TIMES = new Set(['first_time', 'last_time']);

/** `92500` is 09:25:00. */
function clock(value) {
  const text = String(value);
  if (!/^\d{5,6}$/.test(text)) return text;
  const full = text.padStart(6, '0');
  return `${full.slice(0, 2)}:${full.slice(2, 4)}:${full.slice(4)}`;
}

/** Concepts come as a list in JSON. */
function listed(text) {
  try { return JSON.parse(text).join(', '); } catch { return text; }
}

function cell(name, value) {
  if (value === null || value === undefined || value === '') return NONE;
  if (CHANGES.has(name)) return html`<span class=${direction(value)}>${change(value)}</span>`;
  if (SIGNED.has(name)) return html`<span class=${direction(value)}>${value < 0 ? '−' : '+'}${short(Math.abs(value))}</span>`;
  if (MONEY.has(name)) return short(value);
  if (TIMES.has(name)) return clock(value);
  if (name === 'concept') return listed(value);
  if (name === 'close') return number(value, 2);
  return typeof value === 'number' ? decimal(value, 2) : String(value);
}

function columnsOf(list, rows) {
  const has = (name) => rows.some((row) => row[name] !== null && row[name] !== undefined && row[name] !== '');
  const numeric = (name) => rows.some((row) => typeof row[name] === 'number');
  const isCode = (row) => /^\d{6}\.(SH|SZ|BJ)$/.test(row.code ?? '');
  const who = (row) => html`<span class="who"><b>${row.name ?? row.code}</b>${row.name && row.code && html`<small class="mono">${row.code}</small>`}</span>`;
  return [
    { name: 'code', label: t('market.who'), value: (row) => row.name ?? row.code, view: (row) => (isCode(row) ? html`<a href=${`/data/kline/${row.code}`}>${who(row)}</a>` : who(row)) },
    ...LISTS[list].filter(has).map((name) => ({
      name, label: t(`market.${name}`), number: numeric(name) || TIMES.has(name), value: (row) => row[name], view: (row) => cell(name, row[name]),
    })),
  ];
}

function List({ name, rows }) {
  return html`<${Card} id=${`market-${name}`} title=${t(`market.${name}.title`)} note=${rows.length ? number(rows.length) : ''} flush>
    ${rows.length ? html`<${Table} label=${t(`market.${name}.title`)} columns=${columnsOf(name, rows)} rows=${rows} id=${(row) => `${row.code} ${row.name} ${rows.indexOf(row)}`} tall />`
    : html`<${Empty} title=${t('market.none')} text=${t(`market.${name}.none`)} />`}
  <//>`;
}

export function Market({ query }) {
  const found = useGet('/api/v1/monitor', { query: { day: isDay(query.day) ? query.day : null }, channels: ['overview'], calm: 5000 });
  const day = found.data?.day ?? query.day;
  const show = (next) => setQuery({ day: next });
  return html`
    <div class="toolbar">
      <${TextField} type="date" label=${t('market.day')} value=${query.day ?? day ?? ''} onInput=${(value) => isDay(value) && show(value)} />
      <${Button} icon="chevron" class="button plain bare back" title=${t('market.before')} disabled=${!day} run=${() => show(addDays(day, -1))} />
      <${Button} icon="chevron" title=${t('market.after')} disabled=${!day} run=${() => show(addDays(day, 1))} />
      ${query.day && html`<${Button} kind="quiet" run=${() => show(null)}>${t('market.latest')}<//>`}
      <span class="note">${day ? dayName(day) : ''}</span>
    </div>
    <${Loaded} from=${found.data ? found : { ...found, data: found.before }} lines=${10}>${(data) => html`
      <div class="grid market">${Object.keys(LISTS).map((name) => html`<${List} key=${name} name=${name} rows=${data[name] ?? []} />`)}</div>`}<//>`;
}
