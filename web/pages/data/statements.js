// Statements of one company side by side: a period a column, each figure with its change against the year before.

import { useGet } from '../../api.js';
import { Card, CheckField, Choice, Empty, Failed, Loaded, SelectField } from '../../components.js';
import { NONE, change, decimal, direction, short } from '../../format.js';
import { lang, t } from '../../i18n.js';
import { go, setQuery } from '../../router.js';
import { html } from '../../view.js';
import { Security, useCode } from './security.js';

const TABLES = ['income', 'balancesheet', 'cashflow', 'fina_indicator'];
const PERIODS = [4, 8, 12, 20];

const yearBefore = (period) => `${Number(period.slice(0, 4)) - 1}${period.slice(4)}`;

/** Change against the same period of the year before in percent; of a figure that was negative nothing can be said. */
function onYear(values, periods, at) {
  const [now, before] = [values[at], values[periods.indexOf(yearBefore(periods[at]))]];
  if (typeof now !== 'number' || typeof before !== 'number' || before <= 0) return null;
  return ((now - before) / before) * 100;
}

const isMoney = (unit) => unit === 'CNY' || unit === 'share';

function shown(value, unit) {
  if (value === null || value === undefined) return NONE;
  if (typeof value !== 'number') return String(value);
  const size = isMoney(unit) ? short(Math.abs(value)) : decimal(Math.abs(value), 4);
  return value < 0 ? `−${size}` : size;
}

const SPOKEN = { 'CNY/share': 'yuan.share', percent: 'percent', CNY: 'yuan', share: 'shares' };

function Sheet({ data, table, empty, yearly }) {
  const { periods } = data;
  const rows = data.rows.filter((row) => empty || row.values.some((value) => value !== null));
  const meaning = (row) => (lang.get() === 'zh' ? row.meaning_zh || row.meaning : row.meaning || row.meaning_zh) || row.column;
  const cell = (row, at) => {
    const by = yearly && typeof row.values[at] === 'number' ? onYear(row.values, periods, at) : null;
    const value = row.values[at];
    return html`<td key=${at} class="number" title=${typeof value === 'number' ? decimal(value, 4) : undefined}>
      <span class=${typeof value === 'number' && value < 0 ? 'negative' : ''}>${shown(value, row.unit)}</span>
      ${yearly && html`<small class=${direction(by)}>${by === null ? NONE : change(by, 1)}</small>`}</td>`;
  };
  return html`<div class="table tall sticky statements" tabindex="0" role="region" aria-label=${t(`statement.${table}`)}><table>
    <thead><tr><th scope="col">${t('statements.item')}</th>${periods.map((period, at) => html`<th scope="col" key=${period} class="number">${period}<small>${data.announced[at] ? t('statements.announced', { day: data.announced[at] }) : ''}</small></th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.column}><th scope="row" title=${row.column}>${meaning(row)}<small>${SPOKEN[row.unit] ? t(`unit.${SPOKEN[row.unit]}`) : ''}</small></th>${periods.map((_, at) => cell(row, at))}</tr>`)}</tbody>
  </table></div>`;
}

export function Statements({ name, query }) {
  const { code, problem } = useCode(name);
  const table = TABLES.includes(query.table) ? query.table : 'income';
  const periods = PERIODS.includes(Number(query.periods)) ? Number(query.periods) : 8;
  const empty = query.empty === 'true';
  const yearly = query.yearly !== 'false';
  const found = useGet(code && `/api/v1/statements/${encodeURIComponent(code)}`, { query: { table, periods } });
  const from = found.data || !found.before || found.before.code !== code ? found : { ...found, data: found.before };
  return html`
    <div class="toolbar">
      <${Security} code=${code} name=${found.data?.name} onPick=${(picked) => go(`/data/statements/${picked}${location.search}`)} />
      <${Choice} label=${t('statements.table')} value=${table} options=${TABLES.map((value) => ({ value, label: t(`statement.${value}`) }))} onInput=${(value) => setQuery({ table: value })} />
      <${SelectField} label=${t('statements.periods')} value=${String(periods)} options=${PERIODS.map((value) => ({ value: String(value), label: String(value) }))} onInput=${(value) => setQuery({ periods: value })} />
      <${CheckField} label=${t('statements.yearly')} value=${yearly} onInput=${(value) => setQuery({ yearly: value ? null : 'false' })} />
      <${CheckField} label=${t('statements.empty')} value=${empty} onInput=${(value) => setQuery({ empty: value ? 'true' : null })} />
    </div>
    ${problem && html`<${Failed} problem=${problem} />`}
    ${!code ? html`<${Empty} title=${t('data.no.security')} text=${t('data.no.security.text')} />` : html`<${Loaded} from=${from} lines=${8}>${(data) => (data.periods.length
      ? html`<${Card} id="statement" title=${`${data.name ?? ''} ${data.code} · ${t(`statement.${table}`)}`} flush><${Sheet} data=${data} table=${table} empty=${empty} yearly=${yearly} /><//>`
      : html`<${Empty} title=${t('statements.none', { code })} text=${t('statements.none.text')} />`)}<//>`}`;
}
