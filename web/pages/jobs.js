// Jobs: what runs next and why, what ran last; creating, changing, pausing, triggering.

import { act, api, useGet } from '../api.js';
import { Badge, Button, Card, Empty, Loaded, State, Table, confirm } from '../components.js';
import { NONE, ago, instant, moment } from '../format.js';
import { said, t, titleOf, word } from '../i18n.js';
import { may } from '../roles.js';
import { go } from '../router.js';
import { RunState } from '../states.js';
import { triggerInWords } from '../trigger.js';
import { html, useState } from '../view.js';
import { workInWords } from '../work.js';
import { JobDialog } from './jobs/edit.js';

const TONES = { active: 'good', paused: 'late', stopped: 'off' };

export default function Page() {
  const found = useGet('/api/v1/jobs', { channels: ['runs', 'events'], calm: 1500, seconds: 60 });
  const [editing, setEditing] = useState(null);
  return html`
    ${may('admin') && html`<div class="toolbar"><${Button} kind="main" icon="plus" run=${() => setEditing({})}>${t('jobs.new')}<//></div>`}
    <${Loaded} from=${found} lines=${8}>${({ items }) => html`
      <${Next} jobs=${items} />
      <${List} jobs=${items} reload=${found.reload} edit=${setEditing} />`}<//>
    ${editing && html`<${JobDialog} job=${editing.id ? editing : null} onClose=${() => setEditing(null)} done=${found.reload} />`}`;
}

/** The next runs in order, with the reason of each. */
function Next({ jobs }) {
  const coming = jobs.filter((job) => job.next_run).sort((one, other) => one.next_run.localeCompare(other.next_run)).slice(0, 6);
  if (!coming.length) return null;
  return html`<${Card} id="next" title=${t('jobs.next')}>
    <ol class="next-runs">${coming.map((job) => html`<li key=${job.id}>
      <time title=${moment(job.next_run)}>${instant(job.next_run, { seconds: false })}<small>${ago(job.next_run)}</small></time>
      <span><b>${titleOf(job)}</b><small>${said(job.reason)}</small></span></li>`)}</ol>
  <//>`;
}

function Actions({ job, reload, edit }) {
  const tell = (name) => act(api.post(`/api/v1/jobs/${job.id}/${name}`), t(`jobs.${name}.done`, { title: titleOf(job) })).then(reload);
  const remove = async () => {
    const asked = { title: t('jobs.remove.title', { title: titleOf(job) }), text: t('jobs.remove.text'), yes: t('jobs.remove'), danger: true };
    if (await confirm(asked)) await act(api.delete(`/api/v1/jobs/${job.id}`), t('jobs.removed', { title: titleOf(job) })).then(reload);
  };
  const stop = async () => {
    const asked = { title: t('jobs.stop.title', { title: titleOf(job) }), text: t('jobs.stop.text'), yes: t('jobs.stop'), danger: true };
    if (await confirm(asked)) await tell('stop');
  };
  return html`<span class="row-actions">
    ${may('operate') && html`<${Button} small icon="play" title=${t('jobs.trigger')} run=${() => tell('trigger')} />`}
    ${may('admin') && html`
      ${job.state === 'active' ? html`<${Button} small icon="pause" title=${t('jobs.pause')} run=${() => tell('pause')} />`
        : html`<${Button} small icon="retry" title=${t('jobs.resume')} run=${() => tell('resume')} />`}
      ${job.state !== 'stopped' && html`<${Button} small icon="stop" title=${t('jobs.stop')} run=${stop} />`}
      <${Button} small icon="settings" title=${t('jobs.change')} run=${() => edit(job)} />
      ${job.origin === 'user' && html`<${Button} small icon="close" title=${t('jobs.remove')} run=${remove} />`}`}
  </span>`;
}

function List({ jobs, reload, edit }) {
  const columns = [
    { name: 'title', label: t('jobs.job'), value: titleOf, view: (job) => html`<span class="who"><b>${titleOf(job)}</b><small class="mono">${job.id}</small></span>` },
    { name: 'state', label: t('tasks.state'), view: (job) => html`<${State} tone=${TONES[job.state]}>${word('job', job.state)}<//>` },
    {
      name: 'trigger', label: t('jobs.when'), wrap: true, value: (job) => triggerInWords(job.trigger),
      view: (job) => html`<span>${triggerInWords(job.trigger)}<br /><small class="faint">${t(`days.${job.days}`)}${job.trigger.kind === 'cron' ? html` · <span class="mono">${job.trigger.expression}</span>` : ''}</small></span>`,
    },
    {
      name: 'next_run', label: t('jobs.next.run'), wrap: true,
      view: (job) => html`<span class="due">${job.next_run ? html`<time title=${moment(job.next_run)}>${instant(job.next_run, { seconds: false })} · ${ago(job.next_run)}</time>` : NONE}<small class="faint">${said(job.reason)}</small></span>`,
    },
    {
      name: 'last_run', label: t('jobs.last.run'), value: (job) => job.last_run?.created_at,
      view: (job) => (job.last_run ? html`<a href=${`/runs/${job.last_run.id}`}><${RunState} run=${job.last_run} /> <small>${ago(job.last_run.created_at)}</small></a>` : NONE),
    },
    { name: 'work', label: t('runs.work'), wrap: true, hide: 'phone', sort: false, view: (job) => html`<small>${workInWords(job.work)}</small>` },
    { name: 'origin', label: t('jobs.origin'), hide: 'phone', view: (job) => html`<${Badge}>${word('origin', job.origin)}<//>` },
    { name: 'actions', label: '', view: (job) => html`<${Actions} job=${job} reload=${reload} edit=${edit} />` },
  ];
  return html`<${Card} id="jobs" class="card flush as-cards" title=${t('nav.jobs')} actions=${html`<a href="/runs">${t('runs.all')}</a>`} flush>
    <${Table} label=${t('nav.jobs')} columns=${columns} rows=${jobs} open=${(job) => go(`/runs?job=${encodeURIComponent(job.id)}`)}
      order=${{ name: 'next_run' }} empty=${html`<${Empty} title=${t('jobs.none')} text=${t('jobs.none.text')} />`} />
  <//>`;
}
