// A run as it goes: what it does, its tasks with rate and time left, and how to end it.

import { act, api } from '../api.js';
import { between, duration, instant, moment, number, rate, short } from '../format.js';
import { t } from '../i18n.js';
import { may } from '../roles.js';
import { ended, sumOf, useRun } from '../running.js';
import { RunState, TaskState } from '../states.js';
import { html } from '../view.js';
import { confirm } from './dialog.js';
import { Badge, Button, Figure, Figures, Loaded, Progress, TaskProgress } from './parts.js';

async function cancel(run) {
  const sure = await confirm({ title: t('run.cancel'), text: t('run.cancel.text'), yes: t('run.cancel'), danger: true });
  if (sure) await act(api.post(`/api/v1/runs/${run.id}/cancel`), t('run.cancel.done'));
}

/** Draws the run `id`, live until it ends. */
export function RunCard({ id, onEnd }) {
  const found = useRun(id);
  return html`<${Loaded} from=${found} lines=${3}>${(run) => {
    const sum = sumOf(run);
    const over = ended(run);
    return html`<div class="run" aria-live="off">
      <div class="row">
        <${RunState} run=${run} /><a href=${`/runs/${run.id}`}>${t('run.number', { id: run.id })}</a>
        ${run.attempt > 1 && html`<${Badge} tone="warn">${t('run.attempt', { count: run.attempt })}<//>`}
        <span class="faint" title=${moment(run.started_at ?? run.created_at)}>${instant(run.started_at ?? run.created_at)}${run.started_at ? ` · ${duration(between(run.started_at, run.finished_at))}` : ''}</span>
        <span class="right row">
          ${!over && may('operate') && html`<${Button} small icon="stop" run=${() => cancel(run)}>${t('run.cancel')}<//>`}
          ${over && onEnd && html`<${Button} small kind="quiet" icon="close" title=${t('close')} run=${onEnd} />`}
        </span>
      </div>
      ${run.note && html`<p class=${run.state === 'failed' ? 'bad-text' : 'soft'}>${run.note}</p>`}
      ${!over && (run.task_list ?? []).length !== 1 && html`<${Progress} part=${sum.done + sum.failed} whole=${sum.planned} bad=${sum.failed} live label=${t('run.number', { id: run.id })} />`}
      <${Figures}>
        <${Figure} label=${t('run.slices')} value=${`${number(sum.done + sum.failed)} / ${number(sum.planned)}`} note=${sum.failed ? t('progress.failed', { count: number(sum.failed) }) : undefined} tone=${sum.failed ? 'warn' : ''} />
        <${Figure} label=${t('run.rows')} value=${short(sum.rows)} note=${sum.rows_per_second != null ? rate(sum.rows_per_second) : undefined} />
        <${Figure} label=${over ? t('run.took') : t('run.left')} value=${over ? duration(between(run.started_at ?? run.created_at, run.finished_at)) : duration(sum.seconds_left)} />
      <//>
      ${(run.task_list ?? []).length > 0 && html`<ul class="run-tasks">${run.task_list.map((task) => html`<li key=${task.id}>
        <div class="row"><a href=${`/tasks/${task.id}`}>${task.dataset}</a><${TaskState} task=${task} /></div>
        <${TaskProgress} task=${task} />
        ${task.note && html`<p class="soft note">${task.note}</p>`}
      </li>`)}</ul>`}
      ${!over && !(run.task_list ?? []).length && html`<p class="soft">${t(run.state === 'pending' ? 'run.waits' : 'run.plans')}</p>`}
    </div>`;
  }}<//>`;
}
