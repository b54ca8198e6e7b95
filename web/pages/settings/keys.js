// Keys of the API: who has one. A key's text is shown once, when it is made.

import { act, api, holdSession, session, useGet } from '../../api.js';
import { Badge, Button, Card, Code, Dialog, Empty, Loaded, SelectField, State, Table, TextField, confirm } from '../../components.js';
import { NONE, ago, moment } from '../../format.js';
import { t } from '../../i18n.js';
import { html, useState } from '../../view.js';

const ROLES = ['read', 'operate', 'admin'];

export function Keys() {
  const found = useGet('/api/v1/keys', { channels: ['events'] });
  const [making, setMaking] = useState(false);
  const open = !session.get()?.keys;
  const remove = async (key) => {
    const asked = { title: t('key.remove.title', { name: key.name }), text: t('key.remove.text'), yes: t('key.remove'), danger: true, type: key.name };
    if (await confirm(asked)) await act(api.delete(`/api/v1/keys/${encodeURIComponent(key.name)}`), t('key.removed', { name: key.name })).then(found.reload);
  };
  const columns = [
    { name: 'name', label: t('key.name'), view: (key) => html`<b>${key.name}</b>` },
    { name: 'role', label: t('key.role'), view: (key) => html`<${Badge} tone=${key.role === 'admin' ? 'warn' : ''}>${t(`role.${key.role}`)}<//>` },
    { name: 'expires_at', label: t('key.expires'), view: (key) => (key.expired ? html`<${State} tone="bad">${t('key.expired')}<//>` : key.expires_at ? html`<time title=${moment(key.expires_at)}>${ago(key.expires_at)}</time>` : t('key.never')) },
    { name: 'last_used', label: t('key.used'), view: (key) => (key.last_used ? html`<time title=${moment(key.last_used)}>${ago(key.last_used)}</time>` : NONE) },
    { name: 'created_at', label: t('key.created'), hide: 'phone', view: (key) => html`<time title=${moment(key.created_at)}>${ago(key.created_at)}</time>` },
    { name: 'sessions', label: t('key.sessions'), number: true, hide: 'phone' },
    { name: 'actions', label: '', view: (key) => html`<span class="row-actions"><${Button} small icon="close" title=${t('key.remove.named', { name: key.name })} run=${() => remove(key)} /></span>` },
  ];
  return html`<${Card} id="keys" title=${t('key.list')} flush actions=${html`<${Button} small icon="plus" run=${() => setMaking(true)}>${t('key.make')}<//>`}>
    ${open && html`<p class="note inset">${t('key.open')}</p>`}
    <${Loaded} from=${found}>${({ items }) => html`<${Table} label=${t('key.list')} columns=${columns} rows=${items} empty=${html`<${Empty} title=${t('key.none')} text=${t('key.none.text')} />`} />`}<//>
    ${making && html`<${NewKey} first=${open} onClose=${() => setMaking(false)} done=${found.reload} />`}
  <//>`;
}

/** Makes a key and shows it once. After the first one, this browser needs it too. */
function NewKey({ first, onClose, done }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState(first ? 'admin' : 'read');
  const [days, setDays] = useState('');
  const [made, setMade] = useState(null);
  const wrong = name && !/^[A-Za-z0-9_.@-]{1,64}$/.test(name) ? t('key.name.wrong') : undefined;
  const make = async (event) => {
    event?.preventDefault();
    if (first) holdSession(true);
    const answer = await act(api.post('/api/v1/keys', { name: name.trim(), role, ...days ? { days: Number(days) } : {} }));
    if (answer) setMade(answer); else holdSession(false);
  };
  const close = () => {
    onClose();
    holdSession(false);
    if (made && first) session.set(null); else if (made) done();
  };
  if (made) {
    return html`<${Dialog} title=${t('key.made', { name: made.name })} onClose=${close} actions=${html`<${Button} kind="main" run=${close}>${t('key.noted')}<//>`}>
      <p><b>${t('key.once')}</b></p><${Code} text=${made.key} label=${t('key.key')} />
      ${first && html`<p>${t('key.first.then')}</p>`}
    <//>`;
  }
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!name.trim() || Boolean(wrong)} run=${make}>${t('key.make')}<//>`;
  return html`<${Dialog} title=${t('key.make')} onClose=${onClose} actions=${actions}>
    <form class="fields" onSubmit=${make}>
      <${TextField} label=${t('key.name')} hint=${t('key.name.hint')} wrong=${wrong} value=${name} onInput=${setName} required />
      <${SelectField} label=${t('key.role')} value=${role} options=${ROLES.map((value) => ({ value, label: t(`key.role.${value}`) }))} disabled=${first} onInput=${setRole} />
      ${!first && html`<${TextField} type="number" min="1" max="36500" label=${t('key.days')} hint=${t('key.days.hint')} value=${days} onInput=${setDays} />`}
      ${first && html`<p class="note field wide">${t('key.first')}</p>`}
      <button type="submit" hidden></button>
    </form>
  <//>`;
}
