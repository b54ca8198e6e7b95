// States of tasks, runs, jobs and log records as badges: sign, word and colour.

import { State } from './components/parts.js';
import { word } from './i18n.js';
import { html } from './view.js';

const TASK = { pending: 'info', running: 'live', paused: 'off', completed: 'good', failed: 'bad' };
const RUN = {
  pending: 'info', running: 'live', success: 'good', success_with_errors: 'warn', failed: 'bad', cancelled: 'off',
};
const LEVEL = { error: 'bad', warn: 'warn', info: 'info', debug: 'off', trace: 'off' };

export function TaskState({ task }) {
  if (task.outcome === 'success_with_errors') return html`<${State} tone="warn" title=${task.note}>${word('run', task.outcome)}<//>`;
  return html`<${State} tone=${TASK[task.state]} title=${task.note}>${word('task', task.state)}<//>`;
}

export function RunState({ run }) {
  return html`<${State} tone=${RUN[run.state]} title=${run.note}>${word('run', run.state)}<//>`;
}

export function LevelState({ level }) {
  return html`<${State} tone=${LEVEL[level]}>${word('level', level)}<//>`;
}
