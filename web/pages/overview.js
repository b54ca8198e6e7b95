// What is fresh, what is late or missing and why, what runs, what it may still cost, and what needs a person.

import { useGet } from '../api.js';
import {
  Badge, Card, Choice, Empty, Figure, Figures, Loaded, Meter, SearchField, State, Table, TaskProgress,
} from '../components.js';
import { NONE, ago, bytes, dayName, dayShort, instant, moment, number, short } from '../format.js';
import { lang, said, t, titleOf, word } from '../i18n.js';
import { setQuery } from '../router.js';
import { active, useRunning } from '../running.js';
import { TaskState } from '../states.js';
import { html, useMemo } from '../view.js';

/** In the order of the groups: what is to be done first, then what is kept, then what nobody asked for. */
const TONES = { late: 'late', fresh: 'good', missing: 'off', off: 'off' };
const STATES = Object.keys(TONES);
const LAST_SHOWN = 4;
const SHAPES = ['dense', 'sparse', 'period', 'whole'];

function Summary({ overview, state }) {
  const { counts } = overview;
  const figure = (name, tone) => html`<${Figure} label=${t(`fresh.${name}`)} value=${number(counts[name])} note=${t(`fresh.${name}.note`)}
    tone=${counts[name] ? tone : ''} pressed=${state === name ? 'true' : 'false'} run=${() => setQuery({ state: state === name ? null : name })} />`;
  return html`<${Figures}>
    <${Figure} label=${t('overview.day')} value=${dayShort(overview.trading_day)} note=${`${dayName(overview.trading_day).slice(11)} · ${t(overview.is_trading ? 'overview.open' : 'overview.closed')}`} title=${overview.trading_day} />
    ${figure('fresh', 'good')}${figure('late', 'late')}${figure('missing', '')}
    <${Figure} label=${t('overview.attention')} value=${number(counts.attention)} note=${t('overview.attention.note')} tone=${counts.attention ? 'bad' : ''} />
    <${Figure} label=${t('overview.store')} value=${bytes(overview.store?.bytes)} note=${t('overview.events', { count: short(overview.store?.last_event ?? 0) })} title=${overview.store?.location} />
  <//>`;
}

/** Whether anybody ever asked for it: of the others there is nothing to say. */
const kept = (row) => row.rows > 0 || row.state === 'fresh' || row.state === 'late';

/** How far behind: the days that are due and not whole. */
function lag(row) {
  if (!kept(row)) return html`<span class="faint">${NONE}</span>`;
  if (row.lag_days > 0) return html`<span class="late-text">−${t('overview.days', { count: row.lag_days })}</span>`;
  return row.lag_days === 0 ? html`<span class="faint">0</span>` : NONE;
}

function Flags({ row }) {
  const flag = (name, tone, address) => row[name] > 0 && html`<a href=${address} title=${t(`flag.${name}.title`)}><${Badge} tone=${tone}>${t(`flag.${name}`, { count: short(row[name]) })}<//></a>`;
  return html`<span class="flags">
    ${flag('failures', 'bad', `/failures?dataset=${row.name}`)}
    ${flag('quarantined', 'warn', `/failures?view=quarantine&dataset=${row.name}`)}
    ${flag('conflicts', 'warn', `/failures?view=conflicts&dataset=${row.name}`)}
    ${flag('provisional', '', `/coverage/${row.name}`)}
  </span>`;
}

function next(row) {
  if (!row.next_run) return html`<span class="faint">${NONE}</span>`;
  const { at, job, reason } = row.next_run;
  return html`<a class="soft-link" href=${`/jobs?job=${encodeURIComponent(job)}`} title=${`${moment(at)} · ${job}\n${said(reason)}`}>${ago(at)}</a>`;
}

function columns() {
  const titled = (row) => html`<a class="dataset" href=${`/coverage/${row.name}`}><b>${titleOf(row)}</b><span class="mono">${row.name}</span></a>`;
  return [
    { name: 'state', label: t('overview.state'), value: (row) => STATES.indexOf(row.state), view: (row) => html`<${State} tone=${TONES[row.state] ?? 'off'}>${word('fresh', row.state)}<//>` },
    { name: 'title', label: t('overview.dataset'), value: titleOf, view: titled },
    { name: 'whole_until', label: t('overview.whole'), title: t('overview.whole.title'), view: (row) => html`<span title=${row.last_day ? t('overview.last', { day: row.last_day }) : ''}>${row.whole_until ?? NONE}</span>` },
    { name: 'lag_days', label: t('overview.lag'), title: t('overview.lag.title'), number: true, view: lag },
    { name: 'rows', label: t('overview.rows'), number: true, hide: 'phone', view: (row) => (kept(row) ? html`<span title=${number(row.rows)}>${short(row.rows)}</span>` : html`<span class="faint">${NONE}</span>`) },
    { name: 'next', label: t('overview.next'), value: (row) => row.next_run?.at, view: next },
    { name: 'last_commit_at', label: t('overview.changed'), hide: 'phone', view: (row) => html`<span class="faint" title=${moment(row.last_commit_at)}>${ago(row.last_commit_at)}</span>` },
    { name: 'flags', label: t('overview.flags'), value: (row) => row.failures * 1e6 + row.quarantined + row.conflicts + row.provisional / 1e6, view: (row) => html`<${Flags} row=${row} />` },
  ];
}

function Datasets({ overview, query }) {
  const { q = '', state = '', group = 'state' } = query;
  const language = lang.get();
  const rows = useMemo(() => {
    const words = q.toLowerCase();
    const fits = (row) => !words || [row.name, row.title, row.title_zh].some((text) => text?.toLowerCase().includes(words));
    return overview.datasets.filter((row) => (!state || row.state === state) && fits(row));
  }, [overview.datasets, q, state]);
  const shown = useMemo(columns, [language]);
  const groups = group === 'state' ? STATES.map((name) => ({ name, label: t(`fresh.${name}`), folded: name === 'off' && !state && !q }))
    : SHAPES.map((name) => ({ name, label: t(`shape.${name}`) }));
  const options = ['state', 'shape', 'none'].map((value) => ({ value, label: t(`overview.group.${value}`) }));
  const tools = html`<${SearchField} label=${t('overview.search')} value=${q} onInput=${(value) => setQuery({ q: value })} />
    <${Choice} label=${t('overview.group')} value=${group} options=${options} onInput=${(value) => setQuery({ group: value === 'state' ? null : value })} />`;
  const empty = html`<${Empty} title=${t('overview.none')} text=${t('overview.none.text')}><button type="button" class="button" onClick=${() => setQuery({ q: null, state: null })}>${t('overview.all')}</button><//>`;
  return html`<${Card} id="datasets" flush title=${t('overview.datasets')} note=${`${rows.length} / ${overview.datasets.length}`} actions=${tools}>
    <${Table} label=${t('overview.datasets')} columns=${shown} rows=${rows} id=${(row) => row.name} empty=${empty}
      groupBy=${group === 'none' ? undefined : (row) => row[group]} groups=${groups} />
  <//>`;
}

function howMany({ kind, count }) {
  if (kind === 'late') return count ? ` ${t('overview.days', { count: number(count) })}` : '';
  return count > 1 ? ` × ${number(count)}` : '';
}

function Attention({ items }) {
  if (!items.length) return html`<${Card} id="attention" title=${t('overview.attention')}><p class="calm"><span aria-hidden="true">✓</span>${t('overview.calm')}</p><//>`;
  const tone = (kind) => (['failure', 'job', 'delivery', 'receiver', 'alert', 'difference'].includes(kind) ? 'bad' : 'warn');
  return html`<${Card} id="attention" title=${t('overview.attention')} note=${items.length}>
    <ul class="attention">${items.map((one, at) => html`<li key=${at}>
      <${State} tone=${tone(one.kind)}>${word('attention', one.kind)}${howMany(one)}<//>
      <a href=${one.link || '/failures'}>${[one.dataset, one.source, one.subscription].filter(Boolean).join(' · ') || t('overview.look')}</a>
      <p>${said(one.text)}</p>${one.remedy && html`<p class="remedy"><span aria-hidden="true">→ </span>${said(one.remedy)}</p>`}
    </li>`)}</ul>
  <//>`;
}

function Running({ tasks, runs }) {
  const running = useRunning(tasks);
  const waiting = runs.filter((run) => run.state === 'pending');
  const last = tasks.filter((task) => task.finished_at).slice(0, LAST_SHOWN);
  return html`<${Card} id="running" title=${t('overview.running')} note=${running.filter(active).length || ''} actions=${html`<a href="/tasks">${t('overview.tasks')}</a>`}>
    ${!running.length && !waiting.length && html`<p class="soft">${t('overview.idle')} <a href="/sync">${t('overview.idle.start')}</a></p>`}
    <ul class="run-tasks">${running.map((task) => html`<li key=${task.id}>
      <div class="row"><a href=${`/tasks/${task.id}`}>${task.dataset}</a><${TaskState} task=${task} /><span class="faint right">${task.started_at ? instant(task.started_at) : ''}</span></div>
      <${TaskProgress} task=${task} />
    </li>`)}</ul>
    ${waiting.length > 0 && html`<p class="soft waiting">${t('overview.waiting', { count: waiting.length })} ${waiting.slice(0, 3).map((run, at) => html`${at ? ', ' : ''}<a href=${`/runs/${run.id}`}>${run.job ?? `#${run.id}`}</a>`)}</p>`}
    ${last.length > 0 && html`<h3 class="ended">${t('overview.ended')}</h3><ul class="ended">${last.map((task) => html`<li key=${task.id} class="row">
      <a href=${`/tasks/${task.id}`}>${task.dataset}</a><${TaskState} task=${task} /><span class="faint right" title=${moment(task.finished_at)}>${ago(task.finished_at)}</span></li>`)}</ul>`}
  <//>`;
}

function Sources({ sources }) {
  return html`<${Card} id="quota" title=${t('overview.quota')} actions=${html`<a href="/sources">${t('nav.sources')}</a>`}>
    ${!sources.length && html`<p class="soft">${t('overview.sources.none')} <a href="/sources">${t('nav.sources')}</a></p>`}
    <ul class="quota">${sources.map((source) => html`<li key=${source.name}>
      <div class="row"><b>${source.name}</b><${State} tone=${source.open ? 'good' : 'bad'}>${t(source.open ? 'overview.source.open' : 'overview.source.shut')}<//>
        <span class="right soft">${source.per_day != null ? t('overview.left', { left: number(source.left_today), limit: number(source.per_day) }) : t('overview.unlimited', { used: number(source.used_today) })}</span></div>
      ${source.per_day != null && html`<${Meter} left used=${source.per_day - source.left_today} limit=${source.per_day} label=${t('overview.quota.of', { name: source.name })} />`}
      ${source.per_minute != null && html`<small class="faint">${t('overview.minute', { count: number(source.per_minute) })}</small>`}
    </li>`)}</ul>
  <//>`;
}

export default function Overview({ query }) {
  const found = useGet('/api/v1/overview', { channels: ['overview'], seconds: 60, calm: 1500 });
  return html`<${Loaded} from=${found} lines=${10}>${(overview) => html`<div class="overview">
    <${Summary} overview=${overview} state=${query.state} />
    <div class="sides">
      <${Datasets} overview=${overview} query=${query} />
      <aside class="stack" aria-label=${t('overview.now')}>
        <${Attention} items=${overview.attention ?? []} />
        <${Running} tasks=${overview.tasks} runs=${overview.runs ?? []} />
        <${Sources} sources=${overview.sources ?? []} />
      </aside>
    </div>
  </div>`}<//>`;
}
