// What may be done with a task: pause it, go on with it, cancel it.

import { act, api } from '../../api.js';
import { Button, confirm } from '../../components.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { html } from '../../view.js';

export function TaskActions({ task, done }) {
  if (!may('operate')) return null;
  const tell = (name) => act(api.post(`/api/v1/tasks/${task.id}/${name}`), t(`tasks.${name}.done`, { id: task.id })).then(done);
  const cancel = async () => {
    const asked = { title: t('tasks.cancel.title', { id: task.id }), text: t('tasks.cancel.text'), yes: t('tasks.cancel'), danger: true };
    if (await confirm(asked)) await tell('cancel');
  };
  const open = ['pending', 'running', 'paused'].includes(task.state);
  return html`<span class="row-actions">
    ${task.state === 'running' && html`<${Button} small icon="pause" title=${t('tasks.pause')} run=${() => tell('pause')} />`}
    ${task.state === 'paused' && html`<${Button} small icon="play" title=${t('tasks.resume')} run=${() => tell('resume')} />`}
    ${open && html`<${Button} small icon="stop" title=${t('tasks.cancel')} run=${cancel} />`}
  </span>`;
}
