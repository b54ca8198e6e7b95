// Sending again: a window of the log to one subscription, with a preview first, then its progress.

import { act, api, useGet } from '../../api.js';
import { Button, Card, CheckField, Choice, Dialog, Empty, Figure, Figures, Loaded, Progress, SelectField, Table, TextField } from '../../components.js';
import { ago, moment, number } from '../../format.js';
import { ReplayState, Type } from '../../gate.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { setQuery } from '../../router.js';
import { html, useState } from '../../view.js';

const words = (text) => text.split(/[\s,]+/).filter(Boolean);
const at = (text) => (text ? `${text.length === 16 ? `${text}:00` : text}+08:00` : undefined);

export function Replays({ subscription }) {
  const found = useGet('/api/v1/replays', { channels: ['events'], seconds: 2 });
  const tell = (one, change) => act(api.post(`/api/v1/replays/${one.number}/${change}`), t(`replay.${change}.done`, { number: one.number })).then(found.reload);
  const actions = (one) => may('operate') && ['running', 'paused'].includes(one.state) && html`<span class="row-actions">
    ${one.state === 'running' ? html`<${Button} small icon="pause" title=${t('replay.pause')} run=${() => tell(one, 'pause')} />` : html`<${Button} small icon="play" title=${t('replay.resume')} run=${() => tell(one, 'resume')} />`}
    <${Button} small icon="stop" title=${t('replay.cancel')} run=${() => tell(one, 'cancel')} /></span>`;
  const columns = [
    { name: 'number', label: t('tasks.id'), number: true },
    { name: 'subscription', label: t('deliveries.subscription'), view: (one) => html`<b>${one.subscription}</b>` },
    { name: 'state', label: t('tasks.state'), view: (one) => html`<${ReplayState} name=${one.state} />` },
    { name: 'percent', label: t('tasks.progress'), view: (one) => html`<div class="task-progress"><${Progress} part=${one.percent} whole=${100} live=${one.state === 'running'} label=${t('replay.title', { number: one.number })} /><div class="facts"><span>${Math.floor(one.percent)}%</span><span>${t('replay.matched', { count: number(one.matched) })}</span></div></div>` },
    { name: 'window', label: t('replay.window'), sort: false, view: (one) => html`${number(one.from)} – ${number(one.to)}` },
    { name: 'what', label: t('replay.what'), sort: false, wrap: true, hide: 'phone', view: (one) => html`<small>${one.types.length ? html`<${Type} name=${one.types.join(', ')} />` : t('replay.all.types')}${one.only_failed ? ` · ${t('replay.only.failed')}` : ''}${one.per_second ? ` · ${t('replay.rate', { count: one.per_second })}` : ''}</small>` },
    { name: 'asked_at', label: t('replay.asked'), view: (one) => html`<span class="who"><time title=${moment(one.asked_at)}>${ago(one.asked_at)}</time><small>${one.by}</small></span>` },
    { name: 'actions', label: '', view: actions },
  ];
  return html`<${Loaded} from=${found}>${({ items }) => html`<${Card} id="replays" class="card flush as-cards" flush>
    <${Table} label=${t('deliveries.replays')} columns=${columns} rows=${items.filter((one) => !subscription || one.subscription === subscription)} id=${(one) => one.number}
      empty=${html`<${Empty} title=${t('replay.none')} text=${t('replay.none.text')} />`} /><//>`}<//>`;
}

function bodyOf(form) {
  const body = { subscription: form.subscription, types: words(form.types), only_failed: form.only_failed };
  if (form.by === 'numbers') Object.assign(body, { from: Number(form.from) || undefined, to: Number(form.to) || undefined });
  else Object.assign(body, { since: at(form.since), until: at(form.until) });
  if (form.per_second) body.per_second = Number(form.per_second);
  return body;
}

/** A window, what it would send, then the start. */
export function ReplayDialog({ subscription, names, onClose }) {
  const [form, setForm] = useState({ subscription: subscription || names[0]?.value || '', by: 'numbers', from: '', to: '', since: '', until: '', types: '', only_failed: true, per_second: '' });
  const [preview, setPreview] = useState(null);
  const set = (change) => { setForm({ ...form, ...change }); setPreview(null); };
  const ready = form.subscription && (form.by === 'numbers' ? form.from : form.since);
  const look = async () => { const found = await act(api.post('/api/v1/replays/preview', bodyOf(form))); if (found) setPreview(found); };
  const start = async () => {
    const started = await act(api.post('/api/v1/replays', bodyOf(form)));
    if (!started) return;
    onClose();
    setQuery({ view: 'replays', subscription: null }, { push: true });
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind=${preview ? 'plain' : 'main'} disabled=${!ready} run=${look}>${t('replay.preview')}<//>
    ${preview && html`<${Button} kind="main" disabled=${!preview.matched && preview.whole} run=${start}>${t('replay.start')}<//>`}`;
  return html`<${Dialog} title=${t('replay.new')} onClose=${onClose} actions=${actions}>
    <p class="note">${t('replay.about')}</p>
    <div class="fields">
      <${SelectField} label=${t('deliveries.subscription')} value=${form.subscription} options=${names} onInput=${(value) => set({ subscription: value })} />
      <div class="field"><span>${t('replay.by')}</span><${Choice} label=${t('replay.by')} value=${form.by} options=${['numbers', 'times'].map((value) => ({ value, label: t(`replay.by.${value}`) }))} onInput=${(by) => set({ by })} /></div>
      ${form.by === 'numbers' ? html`
        <${TextField} key="from" type="number" min="1" label=${t('replay.from')} value=${form.from} onInput=${(from) => set({ from })} required />
        <${TextField} key="to" type="number" min="1" label=${t('replay.to')} hint=${t('replay.to.hint')} value=${form.to} onInput=${(to) => set({ to })} />` : html`
        <${TextField} key="since" type="datetime-local" label=${t('replay.since')} hint=${t('replay.zone')} value=${form.since} onInput=${(since) => set({ since })} required />
        <${TextField} key="until" type="datetime-local" label=${t('replay.until')} hint=${t('replay.to.hint')} value=${form.until} onInput=${(until) => set({ until })} />`}
      <${TextField} label=${t('replay.types')} hint=${t('replay.types.hint')} value=${form.types} onInput=${(types) => set({ types })} />
      <${TextField} type="number" min="0.01" step="any" label=${t('replay.per.second')} hint=${t('replay.per.second.hint')} value=${form.per_second} onInput=${(value) => set({ per_second: value })} />
      <${CheckField} label=${t('replay.only.failed')} hint=${t('replay.only.failed.hint')} value=${form.only_failed} onInput=${(value) => set({ only_failed: value })} />
    </div>
    ${preview && html`<div id="preview" role="status"><${Figures}>
      <${Figure} label=${t('replay.would')} value=${number(preview.matched)} note=${preview.whole ? '' : t('replay.not.whole')} tone=${preview.matched ? '' : 'warn'} />
      <${Figure} label=${t('replay.looked')} value=${number(preview.looked_at)} note=${`${number(preview.from)} – ${number(preview.to)}`} />
    <//>${Object.keys(preview.types).length > 0 && html`<ul class="plain-list">${Object.entries(preview.types).map(([name, count]) => html`<li key=${name}><${Type} name=${name} /> <b>${number(count)}</b></li>`)}</ul>`}</div>`}
  <//>`;
}
