// Inbound webhooks: who may call, what becomes of it, what waits for a version, what is stuck.

import { act, api, useGet } from '../../api.js';
import { Badge, Button, Card, Code, Dialog, Empty, Loaded, SelectField, State, Table } from '../../components.js';
import { ago, instant, moment, number } from '../../format.js';
import { TakingState } from '../../gate.js';
import { t, word } from '../../i18n.js';
import { may } from '../../roles.js';
import { html, useState } from '../../view.js';
import { RotateDialog, SecretDialog } from './secret.js';

const RECEIVED = ['applied', 'kept', 'stale', 'conflicting', 'waiting', 'stuck'];
const TONES = { applied: 'good', kept: 'good', stale: 'off', conflicting: 'warn', waiting: 'info', stuck: 'bad' };
const path = (one) => `/api/v1/inbounds/${encodeURIComponent(one.name)}`;

export function Inbounds() {
  const found = useGet('/api/v1/inbounds', { channels: ['events'], calm: 1200 });
  const [shown, setShown] = useState(null);
  const [rotating, setRotating] = useState(null);
  const [made, setMade] = useState(null);
  const tell = (one, name) => act(api.post(`${path(one)}/${name}`), t(`subs.${name}.done`, { name: one.name })).then(found.reload);
  const actions = (one) => html`<span class="row-actions">
    ${may('operate') && (one.state === 'paused' ? html`<${Button} small icon="play" title=${t('subs.resume')} run=${() => tell(one, 'resume')} />` : html`<${Button} small icon="pause" title=${t('subs.pause')} run=${() => tell(one, 'pause')} />`)}
    ${may('admin') && html`<${Button} small icon="retry" title=${t('secret.rotate')} run=${() => setRotating(one)} />`}
    <${Button} small icon="tasks" title=${t('inbounds.messages')} run=${() => setShown(one.name)} /></span>`;
  const columns = [
    { name: 'name', label: t('subs.name'), view: (one) => html`<span class="who"><b>${one.name}</b><small class="mono">${one.path}</small></span>` },
    { name: 'state', label: t('tasks.state'), wrap: true, view: (one) => html`<span><${TakingState} name=${one.state} />${one.problem && html`<br /><small class="bad-text">${one.problem}</small>`}</span>` },
    { name: 'forms', label: t('subs.form'), sort: false, view: (one) => [one.definition.forms ?? one.definition.form].flat().filter(Boolean).map((form) => t(`subs.form.${form}`)).join(', ') },
    { name: 'tables', label: t('inbounds.tables'), sort: false, wrap: true, view: (one) => html`<span class="mono told">${tables(one.definition).join(', ') || t('inbounds.kept')}</span>` },
    { name: 'secrets', label: t('inbounds.secrets'), number: true, sort: false, hide: 'phone', view: (one) => number(one.secrets.length) },
    { name: 'origin', label: t('inbounds.origin'), sort: false, hide: 'phone', view: (one) => (one.origin_key ? html`<${Badge} tone="good">${t('inbounds.origin.set')}<//>` : '') },
    { name: 'changed_at', label: t('subs.changed.when'), hide: 'phone', view: (one) => html`<time class="faint" title=${moment(one.changed_at)}>${ago(one.changed_at)}</time>` },
    { name: 'actions', label: '', view: actions },
  ];
  return html`<${Loaded} from=${found}>${({ items }) => html`<${Card} id="inbounds" class="card flush as-cards" flush>
      <${Table} label=${t('subs.inbounds')} columns=${columns} rows=${items} id=${(one) => one.name} open=${(one) => setShown(one.name)}
        empty=${html`<${Empty} title=${t('inbounds.none')} text=${t('inbounds.none.text')} />`} /><//>
      ${shown && items.some((one) => one.name === shown) && html`<${Messages} one=${items.find((one) => one.name === shown)} onClose=${() => setShown(null)} />`}`}<//>
    ${rotating && html`<${RotateDialog} name=${rotating.name} path=${`${path(rotating)}/rotate-secret`} onClose=${() => setRotating(null)} done=${(answer) => { found.reload(); setMade(answer); }} />`}
    ${made?.secret && html`<${SecretDialog} made=${made} onClose=${() => setMade(null)} />`}`;
}

/** The tables that a definition maps to. */
const tables = (definition) => [...new Set((definition.mappings ?? []).map((mapping) => mapping.dataset).filter(Boolean))];

/** What it took in, newest first; what waits for a missing version can be asked for or applied without it. */
function Messages({ one, onClose }) {
  const [state, setState] = useState('');
  const found = useGet(`${path(one)}/messages`, { query: { state, limit: 200 }, channels: ['events'], seconds: 5 });
  const count = (name) => (found.data?.items ?? []).filter((message) => message.state === name).length;
  const tell = (name) => act(api.post(`${path(one)}/${name}`)).then((answer) => answer && found.reload());
  const columns = [
    { name: 'at', label: t('attempt.at'), sort: false, view: (message) => html`<time title=${moment(message.at)}>${instant(message.at)}</time>` },
    { name: 'state', label: t('tasks.state'), sort: false, view: (message) => html`<${State} tone=${TONES[message.state]} title=${message.note}>${word('received', message.state)}<//>` },
    { name: 'dataset', label: t('tasks.dataset'), sort: false, view: (message) => html`<span class="mono">${message.dataset}</span>` },
    { name: 'key', label: t('events.key'), sort: false },
    { name: 'version', label: t('vouchers.version'), number: true, sort: false },
    { name: 'note', label: t('inbounds.note'), sort: false, wrap: true, view: (message) => html`<small>${message.note}${message.due_at ? ` ${t('failures.next', { when: ago(message.due_at) })}` : ''}</small>` },
    { name: 'id', label: t('events.id'), sort: false, hide: 'phone', view: (message) => html`<span class="mono faint">${message.id}</span>` },
  ];
  const options = [{ value: '', label: t('all') }, ...RECEIVED.map((value) => ({ value, label: word('received', value) }))];
  return html`<${Dialog} wide title=${t('inbounds.messages.of', { name: one.name })} onClose=${onClose}>
    <div class="toolbar"><${SelectField} label=${t('tasks.state')} value=${state} options=${options} onInput=${setState} />
      ${may('operate') && count('stuck') > 0 && html`<${Button} icon="retry" run=${() => tell('retry')}>${t('inbounds.retry')}<//>`}
      ${may('operate') && count('waiting') > 0 && html`<${Button} icon="check" run=${() => tell('release')}>${t('inbounds.release')}<//>`}</div>
    <${Loaded} from=${found}>${({ items }) => html`<div class="as-cards"><${Table} label=${t('inbounds.messages')} columns=${columns} rows=${items} id=${(message) => `${message.source} ${message.id}`} empty=${html`<${Empty} title=${t('inbounds.messages.none')} />`} /></div>`}<//>
    <h3>${t('inbounds.definition')}</h3><${Code} label=${t('inbounds.definition')} text=${JSON.stringify(one.definition, null, 2)} />
  <//>`;
}
