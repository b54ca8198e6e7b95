// Candles of one security, and the same figures as a table.

import { useGet } from '../../api.js';
import { Candles } from '../../candles.js';
import { Button, Card, CheckField, Choice, Empty, Failed, Loading, Table } from '../../components.js';
import { NONE, change, dayName, direction, number, short, signed } from '../../format.js';
import { t } from '../../i18n.js';
import { go, setQuery } from '../../router.js';
import { html, useEffect, useMemo, useState } from '../../view.js';
import { Security, lastCode, useCode } from './security.js';

const PERIODS = ['daily', 'weekly', 'monthly'];
const ADJUSTS = ['none', 'qfq', 'hfq'];
const BARS = { daily: 1500, weekly: 1000, monthly: 600 };
const [DAY, OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT] = [0, 1, 2, 3, 4, 5, 6];

/** Change against the close before, in yuan and percent. */
function changeOf(bars, at) {
  const before = bars[at - 1]?.[CLOSE];
  if (!before) return { by: null, percent: null };
  const by = bars[at][CLOSE] - before;
  return { by, percent: (by / before) * 100 };
}

/** The bar that is read, in words and figures. */
function Reading({ bars, at }) {
  const bar = bars[at];
  const { by, percent } = changeOf(bars, at);
  const price = (name, value, reference) => html`<div><dt>${t(`bar.${name}`)}</dt><dd class=${reference === undefined ? '' : direction(value - reference)}>${number(value, 2)}</dd></div>`;
  const before = bars[at - 1]?.[CLOSE] ?? bar[OPEN];
  return html`<dl class="reading" aria-live="polite" data-day=${bar[DAY]} data-open=${bar[OPEN]} data-close=${bar[CLOSE]}>
    <div><dt>${t('bar.day')}</dt><dd>${dayName(bar[DAY])}</dd></div>
    ${price('open', bar[OPEN], before)}${price('high', bar[HIGH], before)}${price('low', bar[LOW], before)}${price('close', bar[CLOSE], before)}
    <div><dt>${t('bar.change')}</dt><dd class=${direction(by)}>${by === null ? NONE : `${signed(by)} (${change(percent)})`}</dd></div>
    <div><dt>${t('bar.vol')}</dt><dd>${short(bar[VOLUME])}</dd></div>
    <div><dt>${t('bar.amount')}</dt><dd>${short(bar[AMOUNT])}</dd></div>
  </dl>`;
}

function Figures({ bars, label }) {
  const rows = useMemo(() => bars.map((bar, at) => ({ bar, at, ...changeOf(bars, at) })).reverse(), [bars]);
  const price = (place, name) => ({ name, label: t(`bar.${name}`), number: true, value: (row) => row.bar[place], view: (row) => number(row.bar[place], 2) });
  const columns = [
    { name: 'day', label: t('bar.day'), value: (row) => row.bar[DAY], view: (row) => row.bar[DAY] },
    price(OPEN, 'open'), price(HIGH, 'high'), price(LOW, 'low'), price(CLOSE, 'close'),
    { name: 'change', label: t('bar.change'), number: true, value: (row) => row.percent, view: (row) => html`<span class=${direction(row.percent)}>${change(row.percent)}</span>` },
    { name: 'vol', label: t('bar.vol'), number: true, value: (row) => row.bar[VOLUME], view: (row) => number(row.bar[VOLUME]) },
    { name: 'amount', label: t('bar.amount'), number: true, value: (row) => row.bar[AMOUNT], view: (row) => number(row.bar[AMOUNT], 2) },
  ];
  return html`<${Table} label=${label} columns=${columns} rows=${rows} id=${(row) => row.bar[DAY]} tall />`;
}

export function Kline({ name, query }) {
  const { code, loading, problem } = useCode(name);
  const period = PERIODS.includes(query.period) ? query.period : 'daily';
  const adjust = ADJUSTS.includes(query.adjust) ? query.adjust : 'qfq';
  const asTable = query.as === 'table';
  const found = useGet(code && `/api/v1/bars/${encodeURIComponent(code)}`, {
    query: { period, adjust, limit: BARS[period] }, channels: [`rows:${period}`], calm: 3000,
  });
  useEffect(() => { if (name) lastCode.set(name); }, [name]);
  const options = (group, values) => values.map((value) => ({ value, label: t(`${group}.${value}`), title: t(`${group}.${value}.title`) }));
  const data = found.data ?? (found.loading && found.before?.code === code ? found.before : undefined);
  // Without a factor for its day a bar has no adjusted price, and none is invented.
  const priced = useMemo(() => data?.bars.filter((bar) => bar[CLOSE] !== null), [data]);
  return html`
    <div class="toolbar">
      <${Security} code=${code} name=${data?.name} onPick=${(picked) => go(`/data/kline/${picked}${location.search}`)} />
      <${Choice} label=${t('data.period')} value=${period} options=${options('period', PERIODS)} onInput=${(value) => setQuery({ period: value === 'daily' ? null : value })} />
      <${Choice} label=${t('data.adjust')} value=${adjust} options=${options('adjust', ADJUSTS)} onInput=${(value) => setQuery({ adjust: value === 'qfq' ? null : value })} />
      <${CheckField} label=${t('data.as.table')} value=${asTable} onInput=${(value) => setQuery({ as: value ? 'table' : null })} />
    </div>
    ${problem && html`<${Failed} problem=${problem} />`}
    ${!code && !loading && !problem && html`<${Empty} title=${t('data.no.security')} text=${t('data.no.security.text')}><${Button} href="/sync">${t('nav.sync')}<//><//>`}
    ${(loading || found.loading) && !data && html`<${Loading} lines=${8} />`}
    ${found.problem && html`<${Failed} problem=${found.problem} retry=${found.reload} />`}
    ${data && (priced?.length
      ? html`<${Chart} data=${{ ...data, bars: priced }} period=${period} adjust=${adjust} asTable=${asTable} />`
      : data.bars.length ? html`<${Empty} title=${t('data.no.factors')} text=${t('data.no.factors.text')}>
        <${Button} kind="main" run=${() => setQuery({ adjust: 'none' })}>${t('adjust.none')}<//><${Button} href="/coverage/adj_factor">${t('nav.coverage')}<//><//>`
      : html`<${Empty} title=${t('data.no.bars', { code })} text=${t('data.no.bars.text')}><${Button} href="/sync">${t('nav.sync')}<//><//>`)}`;
}

function Chart({ data, period, adjust, asTable }) {
  const { bars } = data;
  const [read, setRead] = useState(null);
  const at = read !== null && read < bars.length ? read : bars.length - 1;
  const { percent } = changeOf(bars, bars.length - 1);
  const name = `${data.name ?? ''} ${data.code}`.trim();
  const last = bars.at(-1);
  const label = t('data.candles.label', {
    name, period: t(`period.${period}`), count: bars.length, from: bars[0][DAY], to: last[DAY], close: number(last[CLOSE], 2), change: change(percent),
  });
  const note = [t(`adjust.${adjust}`), data.anchor && t('data.anchor', { day: data.anchor }), t('data.bars', { count: number(bars.length) })];
  return html`<${Card} id="candles" title=${name} note=${note.filter(Boolean).join(' · ')} flush>
    <${Reading} bars=${bars} at=${at} />
    ${asTable ? html`<${Figures} bars=${bars} label=${label} />`
    : html`<${Candles} code=${data.code} period=${period} bars=${bars} label=${label} onRead=${setRead} />`}
  <//>`;
}
