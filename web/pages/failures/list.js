// Failures: slices that did not work, to be tried again or to be closed by a person.

import { act, api } from '../../api.js';
import { Badge, Button, Card, Dialog, Empty, Loaded, State, Table, TextField } from '../../components.js';
import { ago, moment, now, number } from '../../format.js';
import { t, word } from '../../i18n.js';
import { Older, usePages } from '../../paging.js';
import { may } from '../../roles.js';
import { html, useState } from '../../view.js';

/** Resolved, waiting for its next attempt, or given up. */
function Standing({ failure }) {
  if (failure.resolved_at) return html`<${State} tone="good" title=${moment(failure.resolved_at)}>${failure.resolution ?? t('failures.resolved')}<//>`;
  if (failure.next_attempt_at && Date.parse(failure.next_attempt_at) <= now()) {
    return html`<${State} tone="late" title=${moment(failure.next_attempt_at)}>${t('failures.due')}<//>`;
  }
  if (failure.next_attempt_at) {
    return html`<${State} tone="late" title=${moment(failure.next_attempt_at)}>${t('failures.next', { when: ago(failure.next_attempt_at) })}<//>`;
  }
  return html`<${State} tone="bad">${t('failures.waits')}<//>`;
}

function Resolve({ ids, onClose, done }) {
  const [text, setText] = useState('');
  const resolve = async () => {
    for (const id of ids) {
      const answer = await act(api.post(`/api/v1/failures/${id}/resolve`, { resolution: text.trim() }));
      if (answer === undefined) break;
    }
    onClose();
    done();
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!text.trim()} run=${resolve}>${t('failures.resolve')}<//>`;
  return html`<${Dialog} title=${t('failures.resolve.title', { count: ids.length })} onClose=${onClose} actions=${actions}>
    <p>${t('failures.resolve.text')}</p>
    <${TextField} label=${t('failures.resolution')} value=${text} onInput=${setText} placeholder=${t('failures.resolution.example')} maxlength="200" />
  <//>`;
}

export function Failures({ dataset, all }) {
  const pages = usePages('/api/v1/failures', { query: { limit: 200, dataset, all: all || null }, channels: ['tasks', 'overview'] });
  const [picked, setPicked] = useState([]);
  const [resolving, setResolving] = useState(null);
  const open = pages.items.filter((failure) => !failure.resolved_at);
  const chosen = open.filter((failure) => picked.includes(failure.id)).map((failure) => failure.id);
  const done = () => { setPicked([]); pages.reload(); };
  const retry = (ids) => act(api.post('/api/v1/failures/retry', { ids }), t('failures.retried', { count: ids.length })).then(done);
  const operate = may('operate');
  const flip = (id) => setPicked(picked.includes(id) ? picked.filter((one) => one !== id) : [...picked, id]);
  const columns = [
    ...operate ? [{
      name: 'pick', label: '', sort: false,
      view: (failure) => !failure.resolved_at && html`<input type="checkbox" aria-label=${t('failures.pick', { id: failure.id })} checked=${picked.includes(failure.id)} onChange=${() => flip(failure.id)} />`,
    }] : [],
    { name: 'dataset', label: t('tasks.dataset'), view: (failure) => html`<b>${failure.dataset}</b>` },
    { name: 'area', label: t('failures.area'), wrap: true, view: (failure) => failure.area },
    { name: 'source', label: t('failures.source') },
    { name: 'kind', label: t('failures.kind'), view: (failure) => html`<${Badge} tone="bad" title=${word('remedy', failure.kind)}>${word('kind', failure.kind)}<//>` },
    { name: 'message', label: t('failures.message'), wrap: true, sort: false, view: (failure) => html`<span>${failure.message}${!failure.resolved_at && html`<br /><small class="faint">${word('remedy', failure.kind)}</small>`}</span>` },
    { name: 'attempts', label: t('failures.attempts'), number: true, view: (failure) => `${number(failure.attempts)} / ${number(failure.attempts_max)}` },
    { name: 'standing', label: t('tasks.state'), value: (failure) => failure.resolved_at ?? failure.next_attempt_at, view: (failure) => html`<${Standing} failure=${failure} />` },
    { name: 'last_at', label: t('failures.last'), view: (failure) => html`<time title=${`${moment(failure.first_at)} – ${moment(failure.last_at)}`}>${ago(failure.last_at)}</time>` },
    {
      name: 'actions', label: '',
      view: (failure) => html`<span class="row-actions">
        ${failure.task && html`<${Button} small kind="quiet" icon="tasks" href=${`/tasks/${failure.task}`} title=${t('tasks.task', { id: failure.task })} />`}
        ${operate && !failure.resolved_at && html`<${Button} small icon="retry" title=${t('failures.retry')} run=${() => retry([failure.id])} />
          <${Button} small icon="check" title=${t('failures.resolve')} run=${() => setResolving([failure.id])} />`}</span>`,
    },
  ];
  const every = chosen.length === open.length;
  return html`
    ${operate && open.length > 0 && html`<div class="row">
      <${Button} small run=${() => setPicked(every ? [] : open.map((failure) => failure.id))}>${t(every ? 'failures.pick.none' : 'failures.pick.all')}<//>
      <${Button} small icon="retry" disabled=${!chosen.length} run=${() => retry(chosen)}>${t('failures.retry.many', { count: chosen.length })}<//>
      <${Button} small icon="check" disabled=${!chosen.length} run=${() => setResolving(chosen)}>${t('failures.resolve.many', { count: chosen.length })}<//>
      ${dataset && html`<${Button} small icon="retry" run=${() => act(api.post('/api/v1/failures/retry', { dataset }), t('failures.retried.dataset', { dataset })).then(done)}>${t('failures.retry.dataset', { dataset })}<//>`}
    </div>`}
    <${Loaded} from=${pages}>${() => html`<${Card} flush class="card flush as-cards">
      <${Table} label=${t('failures.failures')} columns=${columns} rows=${pages.items}
        empty=${html`<${Empty} title=${t('failures.none')} text=${t('failures.none.text')} />`} />
      <${Older} pages=${pages} /><//>`}<//>
    ${resolving && html`<${Resolve} ids=${resolving} onClose=${() => setResolving(null)} done=${done} />`}`;
}
