// What the service logged, and who changed what.

import { Card, CheckField, Empty, Loaded, SearchField, SelectField, Table, Tabs, TextField } from '../components.js';
import { instant, moment } from '../format.js';
import { t, word } from '../i18n.js';
import { Older, usePages } from '../paging.js';
import { may } from '../roles.js';
import { setQuery } from '../router.js';
import { LevelState } from '../states.js';
import { html, useState } from '../view.js';
import { Levels } from './logs/levels.js';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const TAIL_SECONDS = 3;

export default function Page({ query }) {
  const views = ['records', 'changes', ...may('admin') ? ['levels'] : []];
  const view = views.includes(query.view) ? query.view : 'records';
  const tabs = views.map((name) => ({ name, label: t(`logs.${name}`) }));
  return html`
    <${Tabs} label=${t('nav.logs')} tabs=${tabs} value=${view} onInput=${(name) => setQuery({ view: name === 'records' ? null : name, q: null }, { push: true })} />
    <div role="tabpanel" aria-label=${t(`logs.${view}`)} class="stack">
      ${view === 'records' && html`<${Records} query=${query} />`}
      ${view === 'changes' && html`<${Changes} query=${query} />`}
      ${view === 'levels' && html`<${Levels} />`}
    </div>`;
}

/** Where a request came from: for whoever looks closer. */
const ASIDE = new Set(['address', 'request', 'status']);
const isBare = (value) => value === null || value === '' || (typeof value === 'object' && !Object.keys(value.body ?? value).length);

/** Details of a record: names and values in one line. */
function Data({ data }) {
  const entries = Object.entries(data ?? {}).filter(([name, value]) => !ASIDE.has(name) && !isBare(value));
  const shown = (value) => (typeof value === 'object' ? JSON.stringify(value.body ?? value) : String(value));
  const aside = Object.entries(data ?? {}).filter(([name]) => ASIDE.has(name)).map(([name, value]) => `${name} ${value}`).join(', ');
  return html`<small class="data" title=${aside || undefined}>${entries.map(([name, value]) => html`<span key=${name}>${name} <b>${shown(value)}</b></span>`)}</small>`;
}

const time = (at) => html`<time class="mono" title=${moment(at)}>${instant(at)}</time>`;

function Records({ query }) {
  const { level = 'info', task = '', q = '' } = query;
  const [tail, setTail] = useState(true);
  const pages = usePages('/api/v1/logs', { query: { limit: 200, level, task, q }, seconds: tail ? TAIL_SECONDS : 0, channels: tail ? ['tasks'] : [] });
  const columns = [
    { name: 'at', label: t('logs.at'), sort: false, view: (one) => time(one.at) },
    { name: 'level', label: t('logs.level'), sort: false, view: (one) => html`<${LevelState} level=${one.level} />` },
    { name: 'target', label: t('logs.target'), sort: false, hide: 'phone', view: (one) => html`<span class="mono faint">${one.target}</span>` },
    { name: 'text', label: t('logs.text'), sort: false, wrap: true, view: (one) => html`<span>${one.text}<${Data} data=${one.data} /></span>` },
    { name: 'task', label: t('logs.task'), sort: false, view: (one) => one.task && html`<a href=${`/tasks/${one.task}`}>${one.task}</a>` },
  ];
  return html`
    <div class="toolbar">
      <${SelectField} label=${t('logs.level')} value=${level} options=${LEVELS.map((value) => ({ value, label: t('logs.level.least', { level: word('level', value) }) }))} onInput=${(value) => setQuery({ level: value === 'info' ? null : value })} />
      <${TextField} type="number" min="1" label=${t('logs.task')} value=${task} onInput=${(value) => setQuery({ task: value })} />
      <${SearchField} label=${t('logs.search')} value=${q} onInput=${(value) => setQuery({ q: value })} />
      <${CheckField} label=${t('logs.tail')} value=${tail} onInput=${setTail} />
    </div>
    <${Loaded} from=${pages} lines=${10}>${() => html`<${Card} flush id="records" class="card flush as-cards"><${Table} label=${t('logs.records')} columns=${columns} rows=${pages.items} rowClass=${(one) => `level-${one.level}`}
      empty=${html`<${Empty} title=${t('logs.none')} text=${t('logs.none.text')} />`} /><${Older} pages=${pages} /><//>`}<//>`;
}

function Changes({ query }) {
  const { q = '' } = query;
  const pages = usePages('/api/v1/changes', { query: { limit: 200, q }, channels: ['events'], seconds: 15 });
  const columns = [
    { name: 'at', label: t('logs.at'), sort: false, view: (one) => time(one.at) },
    { name: 'who', label: t('changes.who'), sort: false, view: (one) => html`<b>${one.who || t('changes.nobody')}</b>` },
    { name: 'text', label: t('changes.what'), sort: false, wrap: true, view: (one) => html`<span class=${one.refused ? 'bad-text' : ''}>${one.refused ? `${t('changes.refused')}: ` : ''}${one.text}<${Data} data=${one.data} /></span>` },
    { name: 'what', label: t('changes.route'), sort: false, hide: 'phone', view: (one) => html`<span class="mono faint">${one.what ?? one.target}</span>` },
  ];
  return html`
    <div class="toolbar"><${SearchField} label=${t('logs.search')} value=${q} onInput=${(value) => setQuery({ q: value })} /></div>
    <${Loaded} from=${pages} lines=${10}>${() => html`<${Card} flush id="records" class="card flush as-cards"><${Table} label=${t('logs.changes')} columns=${columns} rows=${pages.items} rowClass=${(one) => (one.refused ? 'level-error' : '')}
      empty=${html`<${Empty} title=${t('changes.none')} text=${t('changes.none.text')} />`} /><${Older} pages=${pages} /><//>`}<//>`;
}
