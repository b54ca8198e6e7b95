// One task: its figures, where its time went, and what happened, in order.

import { useGet } from '../../api.js';
import { Badge, Button, Card, Empty, Figure, Figures, Loaded, TaskProgress } from '../../components.js';
import { Spans } from '../../components/spans.js';
import { between, bytes, duration, moment, number } from '../../format.js';
import { said, t } from '../../i18n.js';
import { TaskState } from '../../states.js';
import { html } from '../../view.js';
import { requestInWords } from '../../work.js';
import { TaskActions } from './actions.js';
import { Timeline } from './timeline.js';

const PHASES = ['quota_wait', 'network', 'decode', 'check', 'write'];

/** The parts of a task's time, as `Spans` draws them. */
export const phasesOf = (phases) => PHASES.map((name) => ({
  name, label: t(`phase.${name}`), title: t(`phase.${name}.title`), seconds: (phases?.[`${name}_ms`] ?? 0) / 1000,
}));

export function Task({ id }) {
  const found = useGet(`/api/v1/tasks/${id}`, { channels: ['tasks'] });
  return html`<p class="back"><a href="/tasks">← ${t('tasks.all')}</a></p>
    <${Loaded} from=${found}>${(task) => html`<${Whole} task=${task} reload=${found.reload} />`}<//>`;
}

function Whole({ task, reload }) {
  const { totals } = task;
  const took = task.started_at ? between(task.started_at, task.finished_at) : null;
  const title = html`${t('tasks.task', { id: task.id })} · ${task.dataset}`;
  return html`
    <${Card} id="task" title=${title} actions=${html`<${TaskState} task=${task} /><${TaskActions} task=${task} done=${reload} />`}>
      <p class="lead">${requestInWords(task.request)}</p>
      ${task.note && html`<p class="note">${said(task.note)}</p>`}
      <${TaskProgress} task=${task} />
      <${Figures}>
        <${Figure} label=${t('tasks.took')} value=${duration(took)} note=${moment(task.started_at)} />
        <${Figure} label=${t('total.calls')} value=${number(totals.calls)} note=${t('total.calls.note', { failed: number(totals.calls_failed), refusals: number(totals.refusals) })} />
        <${Figure} label=${t('total.answered')} value=${number(totals.rows_answered)} note=${bytes(totals.bytes)} />
        <${Figure} label=${t('total.inserted')} value=${number(totals.rows_inserted)} note=${t('total.updated', { count: number(totals.rows_updated) })} />
        <${Figure} label=${t('total.unchanged')} value=${number(totals.rows_unchanged)} note=${t('total.withdrawn', { count: number(totals.rows_withdrawn) })} />
        <${Figure} label=${t('total.quarantined')} value=${number(totals.rows_quarantined)} tone=${totals.rows_quarantined ? 'warn' : ''} note=${t('total.conflicting', { count: number(totals.rows_conflicting) })} />
      <//>
      <p class="links">
        ${task.run && html`<a href=${`/runs/${task.run}`}>${t('tasks.run', { id: task.run })}</a>`}
        <a href=${`/coverage/${task.dataset}`}>${t('nav.coverage')}</a>
        <a href=${`/failures?dataset=${task.dataset}`}>${t('nav.failures')}</a>
        <a href=${`/logs?task=${task.id}`}>${t('tasks.logs')}</a>
      </p>
    <//>
    <${Card} id="phases" title=${t('phases')} note=${t('phases.note')}>
      <${Spans} label=${t('phases')} parts=${phasesOf(task.phases)} />
      <${BySource} served=${task.by_source} />
    <//>
    <${Card} id="timeline" title=${t('timeline')} flush>
      ${task.timeline.length ? html`<${Timeline} events=${task.timeline} from=${task.created_at} />` : html`<${Empty} title=${t('timeline.none')} />`}
    <//>`;
}

/** What each source gave, where several did. */
function BySource({ served }) {
  const sources = Object.entries(served ?? {});
  if (!sources.length) return null;
  const rowsOf = (value) => (typeof value === 'number' ? value : value?.rows ?? value?.rows_answered);
  return html`<p class="by-source">${sources.map(([name, value]) => html`<${Badge} key=${name}>${name} ${t('progress.rows', { rows: number(rowsOf(value)) })}<//>`)}</p>`;
}
