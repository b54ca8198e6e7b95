// Sync a range of days: the form, the run as it goes, and how every day stands.

import { act, api, useGet } from '../api.js';
import {
  Button, Card, CheckField, Chips, Empty, Failed, Field, Figure, Figures, Loading, RangeField, RunCard, State, Table,
} from '../components.js';
import { NONE, addDays, dayName, dayOf, daysBetween, duration, instant, isDay, moment, number, short } from '../format.js';
import { lang, said, t, titleOf, word } from '../i18n.js';
import { may } from '../roles.js';
import { setQuery } from '../router.js';
import { ended } from '../running.js';
import { html, useMemo, useState } from '../view.js';

const TONES = { success: 'good', partial: 'warn', failed: 'bad', skipped: 'off', pending: 'late', running: 'live' };
const USUAL = 'daily';

const listed = (text) => (text ?? '').split(',').filter(Boolean);

/** Days that one request may span, by the configuration in force; null until it is known. The service has the last word. */
function useMost() {
  const { data } = useGet('/api/v1/settings');
  return Number(data?.items.find((one) => one.option === 'sync.range_days_max')?.value) || null;
}

/** What is wrong with a range, or null. */
function wrongRange(from, to, today, most) {
  if (!isDay(from) || !isDay(to)) return t('sync.range.incomplete');
  if (from > to) return t('sync.range.order');
  if (to > today) return t('sync.range.future', { day: today });
  const days = daysBetween(from, to);
  return most && days > most ? t('sync.range.long', { days, most }) : null;
}

function Datasets({ chosen, all, onInput }) {
  const left = all.filter((one) => !chosen.includes(one.name));
  const group = (shape) => {
    const members = left.filter((one) => one.shape === shape);
    return members.length > 0 && html`<optgroup key=${shape} label=${t(`shape.${shape}`)}>${members.map((one) => html`<option key=${one.name} value=${one.name}>${titleOf(one)} · ${one.name}</option>`)}</optgroup>`;
  };
  const add = (event) => {
    if (event.target.value) onInput([...chosen, event.target.value]);
    event.target.value = '';
  };
  const known = (name) => all.find((one) => one.name === name);
  return html`<${Field} label=${t('sync.datasets')} wrong=${chosen.length ? null : t('sync.datasets.none')}>${(id, note) => html`
    <div class="picked">${chosen.map((name) => html`<span class="badge" key=${name}>${known(name) ? titleOf(known(name)) : name}
      <button type="button" aria-label=${t('sync.remove', { name })} title=${t('sync.remove', { name })} onClick=${() => onInput(chosen.filter((one) => one !== name))}>×</button></span>`)}</div>
    <select id=${id} aria-describedby=${note} onChange=${add} value=""><option value="">${t('sync.datasets.add')}</option>${group('dense')}${group('sparse')}</select>`}<//>`;
}

/** The form keeps its state in the address, so that a link can fill it. */
function Form({ query, today, from, to, most, datasets, onStarted }) {
  const list = useGet('/api/v1/datasets', { query: { limit: 1000 } });
  const sources = useGet('/api/v1/sources');
  const [force, setForce] = useState(false);
  const chosenSources = listed(query.sources);
  const wrong = wrongRange(from, to, today, most);
  const daily = useMemo(() => (list.data?.items ?? []).filter((one) => ['dense', 'sparse'].includes(one.shape)), [list.data]);
  const names = (sources.data?.items ?? []).filter((one) => one.enabled !== false).map((one) => ({ value: one.name, label: one.name }));
  const start = async (event) => {
    event?.preventDefault();
    if (wrong || !datasets.length) return;
    const plain = !force && !chosenSources.length;
    const asked = plain
      ? api.post('/api/v1/sync-status/sync/batch', { start_date: from, end_date: to, datasets })
      : api.post('/api/v1/runs', { datasets, from, to, force, sources: chosenSources, how: { strategy: 'range' } });
    const started = await act(asked, t('sync.started'));
    if (!started) return;
    const id = plain ? Number(String(started.data?.job_id ?? '').replace(/^\D+/, '')) : started.id;
    onStarted(id || null);
  };
  return html`<${Card} id="range" title=${t('sync.form')}>
    <form class="stack" onSubmit=${start}>
      ${list.problem && html`<${Failed} problem=${list.problem} retry=${list.reload} />`}
      <${RangeField} from=${from} to=${to} max=${today} shortcuts=${[1, 7, 30, 90].filter((days) => !most || days <= most)} wrong=${wrong}
        hint=${t('sync.range.hint', { days: wrong ? 0 : daysBetween(from, to), most: most ?? NONE })} onInput=${(range) => setQuery(range)} />
      <${Datasets} chosen=${datasets} all=${daily} onInput=${(values) => setQuery({ datasets: values.join(',') || '-' })} />
      ${names.length > 0 && html`<${Field} label=${t('sync.sources')} hint=${t(chosenSources.length ? 'sync.sources.order' : 'sync.sources.all')}>${() => html`<${Chips} label=${t('sync.sources')} values=${chosenSources} options=${names} onInput=${(values) => setQuery({ sources: values.join(',') })} />`}<//>`}
      <${CheckField} label=${t('coverage.force')} hint=${t('coverage.force.hint')} value=${force} onInput=${setForce} />
      <div class="row">${may('operate') && html`<${Button} kind="main" icon="play" disabled=${Boolean(wrong) || !datasets.length} run=${start}>${t('sync.start')}<//>`}
        <a class="soft" href=${`/coverage/${datasets[0] ?? USUAL}?from=${from}&to=${to}`}>${t('sync.plan')}</a></div>
    </form>
  <//>`;
}

function columns(many) {
  return [
    { name: 'date', label: t('sync.day'), view: (row) => dayName(row.date) },
    ...(many ? [{ name: 'dataset', label: t('overview.dataset') }] : []),
    { name: 'status', label: t('overview.state'), view: (row) => html`<${State} tone=${TONES[row.status] ?? 'off'}>${word('day', row.status)}<//>` },
    { name: 'rows', label: t('overview.rows'), number: true, view: (row) => (row.rows ? number(row.rows) : html`<span class="faint">0</span>`) },
    { name: 'source', label: t('coverage.source') },
    { name: 'duration_ms', label: t('run.took'), number: true, hide: 'phone', view: (row) => (row.duration_ms != null ? duration(row.duration_ms / 1000) : NONE) },
    { name: 'at', label: t('coverage.at'), hide: 'phone', view: (row) => html`<span title=${moment(row.at)}>${instant(row.at)}</span>` },
    { name: 'why', label: t('sync.why'), sort: false, wrap: true, view: (row) => html`<span class="soft">${said(row.why)}</span>` },
  ];
}

function Days({ found, datasets, status }) {
  const language = lang.get();
  const shown = useMemo(() => columns(datasets.length > 1), [language, datasets.length > 1]);
  const report = found.before?.data;
  if (found.problem && !report) return html`<${Failed} problem=${found.problem} retry=${found.reload} />`;
  if (!report) return html`<${Loading} lines=${8} />`;
  const { totals } = report;
  const figure = (name, tone) => html`<${Figure} label=${word('day', name)} value=${number(totals[name] ?? 0)} tone=${totals[name] ? tone : ''}
    pressed=${status === name ? 'true' : 'false'} run=${() => setQuery({ status: status === name ? null : name })} />`;
  const empty = html`<${Empty} title=${t('sync.days.none')} text=${t(status ? 'sync.days.none.filter' : 'sync.days.none.text')} />`;
  return html`
    <${Figures}>${figure('success', 'good')}${figure('failed', 'bad')}${figure('partial', 'warn')}${figure('pending', 'late')}${figure('skipped', '')}
      <${Figure} label=${t('overview.rows')} value=${short(totals.rows)} title=${number(totals.rows)} /><//>
    <${Card} id="days" flush title=${t('sync.days')} note=${report.has_more ? t('sync.days.cut', { shown: report.items.length, all: report.total }) : number(report.total)}>
      ${found.problem && html`<${Failed} problem=${found.problem} retry=${found.reload} />`}
      <${Table} tall label=${t('sync.days')} columns=${shown} rows=${report.items} id=${(row) => `${row.date} ${row.dataset}`} empty=${empty} />
    <//>`;
}

export default function Sync({ query }) {
  const today = dayOf();
  const from = query.from ?? addDays(today, -6);
  const to = query.to ?? today;
  const datasets = query.datasets === '-' ? [] : query.datasets ? listed(query.datasets) : [USUAL];
  const most = useMost();
  const valid = !wrongRange(from, to, today, most) && datasets.length > 0;
  const found = useGet(valid ? '/api/v1/sync-status' : null, {
    query: { start_date: from, end_date: to, dataset: datasets.join(','), status: query.status, page_size: 1000 },
    channels: datasets.slice(0, 8).map((name) => `coverage:${name}`).concat('runs'),
    seconds: 15,
  });
  const last = found.before?.data?.batch;
  const [closed, setClosed] = useState(null);
  const asked = Number(query.run) || (last && !ended({ state: last.status }) ? Number(last.job_id.replace(/^\D+/, '')) : null);
  const run = asked && asked !== closed ? asked : null;
  const started = (id) => { setQuery({ run: id }); found.reload(); };
  return html`<div class="sync">
    <${Form} query=${query} today=${today} from=${from} to=${to} most=${most} datasets=${datasets} onStarted=${started} />
    <div class="stack">
      ${run && html`<${Card} id="run" title=${t('sync.progress')}><${RunCard} id=${run} onEnd=${() => { setClosed(run); setQuery({ run: null }); }} /><//>`}
      ${valid || found.before ? html`<${Days} found=${found} datasets=${datasets} status=${query.status} />`
      : html`<${Card} id="days"><${Empty} title=${t('sync.days.none')} text=${t('sync.days.none.wrong')} /><//>`}
    </div>
  </div>`;
}
