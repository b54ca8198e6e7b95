// Tasks and the runs they belong to: how far each is, where its time went, what happened; pause, go on, cancel.

import { useGet } from '../api.js';
import { Button, Card, Empty, Loaded, SelectField, Table, Tabs, TaskProgress } from '../components.js';
import { ago, between, duration, instant, moment, number, rate } from '../format.js';
import { said, t, word } from '../i18n.js';
import { Older, usePages } from '../paging.js';
import { go, route, setQuery } from '../router.js';
import { RunState, TaskState } from '../states.js';
import { html } from '../view.js';
import { requestInWords, workInWords } from '../work.js';
import { TaskActions } from './tasks/actions.js';
import { Run } from './tasks/run.js';
import { Task } from './tasks/task.js';

const TASK_STATES = ['pending', 'running', 'paused', 'completed', 'failed'];
const RUN_STATES = ['open', 'all'];

export default function Page({ params, query }) {
  const runs = route.get().page.name === 'runs';
  if (params.id) return runs ? html`<${Run} id=${params.id} />` : html`<${Task} id=${params.id} />`;
  const tabs = ['tasks', 'runs'].map((name) => ({ name, label: t(`nav.${name}`) }));
  return html`
    <${Tabs} label=${t('tasks.tabs')} tabs=${tabs} value=${runs ? 'runs' : 'tasks'} onInput=${(name) => go(`/${name}`)} />
    <div role="tabpanel" aria-label=${t(runs ? 'nav.runs' : 'nav.tasks')} class="stack">${runs ? html`<${Runs} query=${query} />` : html`<${Tasks} query=${query} />`}</div>`;
}

function Tasks({ query }) {
  const { dataset = '', state = '' } = query;
  const datasets = useGet('/api/v1/datasets', { query: { limit: 500 } });
  const pages = usePages('/api/v1/tasks', { query: { limit: 100, dataset, state }, channels: ['tasks'] });
  const columns = [
    { name: 'id', label: t('tasks.id'), number: true },
    { name: 'dataset', label: t('tasks.dataset'), view: (task) => html`<b>${task.dataset}</b>` },
    { name: 'state', label: t('tasks.state'), view: (task) => html`<${TaskState} task=${task} />` },
    { name: 'progress', label: t('tasks.progress'), sort: false, view: (task) => html`<${TaskProgress} task=${task} compact />` },
    { name: 'rows', label: t('tasks.rows'), number: true, view: (task) => number(task.rows) },
    {
      name: 'rate', label: t('tasks.rate'), number: true, hide: 'phone', value: (task) => task.rows_per_second ?? pace(task),
      view: (task) => rate(task.rows_per_second ?? pace(task)),
    },
    {
      name: 'took', label: t('tasks.took'), number: true, value: (task) => between(task.started_at, task.finished_at),
      view: (task) => duration(between(task.started_at, task.finished_at)),
    },
    {
      name: 'created_at', label: t('tasks.created'), value: (task) => task.created_at,
      view: (task) => html`<time title=${moment(task.created_at)}>${instant(task.created_at)}</time>`,
    },
    { name: 'request', label: t('tasks.request'), sort: false, hide: 'phone', wrap: true, view: (task) => html`<small>${requestInWords(task.request)}</small>` },
    { name: 'actions', label: '', view: (task) => html`<${TaskActions} task=${task} done=${pages.reload} />` },
  ];
  const names = (datasets.data?.items ?? []).map((one) => ({ value: one.name, label: one.name }));
  return html`
    <div class="toolbar">
      <${SelectField} label=${t('tasks.dataset')} value=${dataset} options=${[{ value: '', label: t('all') }, ...names]} onInput=${(value) => setQuery({ dataset: value })} />
      <${SelectField} label=${t('tasks.state')} value=${state} onInput=${(value) => setQuery({ state: value })}
        options=${[{ value: '', label: t('all') }, ...TASK_STATES.map((value) => ({ value, label: word('task', value) }))]} />
    </div>
    <${Loaded} from=${pages}>${() => html`<${Card} flush class="card flush as-cards">
      <${Table} label=${t('nav.tasks')} columns=${columns} rows=${pages.items} open=${(task) => go(`/tasks/${task.id}`)}
        empty=${html`<${Empty} title=${t('tasks.none')} text=${t('tasks.none.text')}><${Button} href="/sync">${t('nav.sync')}<//><//>`} />
      <${Older} pages=${pages} /><//>`}<//>`;
}

/** Rows a second over the whole task, once it is over. */
function pace(task) {
  const seconds = between(task.started_at, task.finished_at);
  return task.finished_at && seconds > 0 && task.rows > 0 ? task.rows / seconds : null;
}

function Runs({ query }) {
  const { show = 'all', job = '' } = query;
  const pages = usePages('/api/v1/runs', { query: { limit: 100, job, open: show === 'open' ? true : null }, channels: ['runs'] });
  const columns = [
    { name: 'id', label: t('tasks.id'), number: true },
    { name: 'state', label: t('tasks.state'), view: (run) => html`<${RunState} run=${run} />` },
    { name: 'work', label: t('runs.work'), wrap: true, sort: false, view: (run) => workInWords(run.work) },
    { name: 'job', label: t('runs.asked'), view: (run) => run.job ?? run.asked_by },
    { name: 'reason', label: t('runs.reason'), wrap: true, hide: 'phone', sort: false, view: (run) => html`<small>${said(run.reason)}</small>` },
    { name: 'attempt', label: t('runs.attempt'), number: true, hide: 'phone' },
    {
      name: 'created_at', label: t('tasks.created'), value: (run) => run.created_at,
      view: (run) => html`<time title=${moment(run.created_at)}>${ago(run.created_at)}</time>`,
    },
    {
      name: 'took', label: t('tasks.took'), number: true, value: (run) => between(run.started_at, run.finished_at),
      view: (run) => duration(run.started_at ? between(run.started_at, run.finished_at) : null),
    },
  ];
  const shown = RUN_STATES.map((value) => ({ value, label: t(`runs.show.${value}`) }));
  return html`
    <div class="toolbar">
      <${SelectField} label=${t('runs.show')} value=${show} options=${shown} onInput=${(value) => setQuery({ show: value })} />
      ${job && html`<${Button} icon="close" run=${() => setQuery({ job: null })}>${t('runs.of.job', { job })}<//>`}
    </div>
    <${Loaded} from=${pages}>${() => html`<${Card} flush class="card flush as-cards">
      <${Table} label=${t('nav.runs')} columns=${columns} rows=${pages.items} open=${(run) => go(`/runs/${run.id}`)}
        empty=${html`<${Empty} title=${t('runs.none')} text=${t('runs.none.text')} />`} />
      <${Older} pages=${pages} /><//>`}<//>`;
}
