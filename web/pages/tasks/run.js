// One run: who asked for it and why, and the tasks that it became.

import { act, api, useGet } from '../../api.js';
import { Button, Card, Empty, Figure, Figures, Loaded, Table, TaskProgress, confirm } from '../../components.js';
import { Spans } from '../../components/spans.js';
import { between, duration, instant, moment, number } from '../../format.js';
import { said, t } from '../../i18n.js';
import { may } from '../../roles.js';
import { go } from '../../router.js';
import { RunState, TaskState } from '../../states.js';
import { html } from '../../view.js';
import { workInWords } from '../../work.js';
import { TaskActions } from './actions.js';
import { phasesOf } from './task.js';

export function Run({ id }) {
  const found = useGet(`/api/v1/runs/${id}`, { channels: ['runs', 'tasks'] });
  return html`<p class="back"><a href="/runs">← ${t('runs.all')}</a></p>
    <${Loaded} from=${found}>${(run) => html`<${Whole} run=${run} reload=${found.reload} />`}<//>`;
}

function Whole({ run, reload }) {
  const { totals } = run;
  const tasks = run.task_list ?? [];
  const open = ['pending', 'running'].includes(run.state);
  const cancel = async () => {
    const asked = { title: t('runs.cancel.title', { id: run.id }), text: t('runs.cancel.text'), yes: t('runs.cancel'), danger: true };
    if (await confirm(asked)) await act(api.post(`/api/v1/runs/${run.id}/cancel`), t('runs.cancel.done', { id: run.id })).then(reload);
  };
  const columns = [
    { name: 'id', label: t('tasks.id'), number: true },
    { name: 'dataset', label: t('tasks.dataset'), view: (task) => html`<b>${task.dataset}</b>` },
    { name: 'state', label: t('tasks.state'), view: (task) => html`<${TaskState} task=${task} />` },
    { name: 'progress', label: t('tasks.progress'), sort: false, view: (task) => html`<${TaskProgress} task=${task} compact />` },
    { name: 'rows', label: t('tasks.rows'), number: true, view: (task) => number(task.rows) },
    { name: 'took', label: t('tasks.took'), number: true, value: (task) => between(task.started_at, task.finished_at), view: (task) => duration(task.started_at ? between(task.started_at, task.finished_at) : null) },
    { name: 'actions', label: '', view: (task) => html`<${TaskActions} task=${task} done=${reload} />` },
  ];
  const actions = html`<${RunState} run=${run} />${open && may('operate') && html`<${Button} small icon="stop" run=${cancel}>${t('runs.cancel')}<//>`}`;
  return html`
    <${Card} id="run" title=${t('runs.run', { id: run.id })} actions=${actions}>
      <p class="lead">${workInWords(run.work)}</p>
      <p class="note">${t('runs.by', { who: run.job ?? run.asked_by, reason: said(run.reason) })}</p>
      ${run.note && html`<p class="note">${said(run.note)}</p>`}
      <${Figures}>
        <${Figure} label=${t('tasks.created')} value=${instant(run.created_at)} note=${run.due_at ? t('runs.due', { time: moment(run.due_at) }) : moment(run.created_at)} />
        <${Figure} label=${t('tasks.took')} value=${duration(run.started_at ? between(run.started_at, run.finished_at) : null)} note=${run.started_at ? moment(run.started_at) : t('runs.not.before', { time: moment(run.not_before) })} />
        <${Figure} label=${t('runs.attempt')} value=${number(run.attempt)} note=${run.worker ?? ''} />
        <${Figure} label=${t('total.inserted')} value=${number(totals.rows_inserted)} note=${t('total.updated', { count: number(totals.rows_updated) })} />
        <${Figure} label=${t('total.unchanged')} value=${number(totals.rows_unchanged)} note=${t('total.withdrawn', { count: number(totals.rows_withdrawn) })} />
        <${Figure} label=${t('total.failed')} value=${number(totals.slices_failed)} tone=${totals.slices_failed ? 'bad' : ''} note=${t('total.of.slices', { count: number(totals.slices_planned) })} />
      <//>
    <//>
    <${Card} id="phases" title=${t('phases')} note=${t('phases.note')}><${Spans} label=${t('phases')} parts=${phasesOf(totals)} /><//>
    <${Card} id="run-tasks" class="card flush as-cards" title=${t('nav.tasks')} flush>
      <${Table} label=${t('nav.tasks')} columns=${columns} rows=${tasks} open=${(task) => go(`/tasks/${task.id}`)}
        empty=${html`<${Empty} title=${t('runs.no.tasks')} text=${t('runs.no.tasks.text')} />`} />
    <//>`;
}
