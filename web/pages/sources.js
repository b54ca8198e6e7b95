// Sources: whether each door is open and why not, its token, its quotas, how it answers; and how to read from the mirrors.

import { act, api, useGet } from '../api.js';
import { Badge, Button, Card, Dialog, Empty, Loaded, Meter, State, TextField, confirm } from '../components.js';
import { NONE, ago, moment, number, percent } from '../format.js';
import { has, said, t } from '../i18n.js';
import { may } from '../roles.js';
import { toast } from '../toast.js';
import { html, useState } from '../view.js';
import { Mirrors } from './sources/mirrors.js';

export default function Page() {
  const found = useGet('/api/v1/sources', { channels: ['overview'], seconds: 20 });
  return html`
    <${Loaded} from=${found}>${({ items }) => (items.length
      ? html`<div class="sources">${items.map((source) => html`<${Source} key=${source.name} source=${source} reload=${found.reload} />`)}</div>`
      : html`<${Empty} title=${t('sources.none')} text=${t('sources.none.text')} />`)}<//>
    <${Mirrors} />`;
}

function Standing({ source }) {
  if (!source.enabled) return html`<${State} tone="off">${t('source.disabled')}<//>`;
  if (source.open && source.standing !== 'good') return html`<${State} tone="late">${t('source.last')}<//>`;
  if (source.open) return html`<${State} tone="good">${t('source.open')}<//>`;
  return html`<${State} tone="bad">${t('source.closed')}<//>`;
}

function Token({ source, reload }) {
  const [setting, setSetting] = useState(false);
  const { token } = source;
  if (!token) return html`<dd>${t('token.not.needed')}</dd>`;
  const remove = async () => {
    const asked = { title: t('token.remove.title', { source: source.name }), text: t('token.remove.text'), yes: t('token.remove'), danger: true };
    if (await confirm(asked)) await act(api.delete(`/api/v1/secrets/${source.name}`), t('token.removed')).then(reload);
  };
  const here = token.from === 'the store';
  return html`<dd class="row">
    ${token.set ? html`<${Badge} tone="good">${t('token.set')}<//>` : html`<${Badge} tone=${token.needed ? 'bad' : ''}>${t(token.needed ? 'token.missing' : 'token.none')}<//>`}
    ${token.set && token.from && html`<small>${t('token.from', { from: here ? t('origin.dashboard') : token.from })}</small>`}
    ${may('admin') && html`<${Button} small run=${() => setSetting(true)}>${t(token.set ? 'token.replace' : 'token.give')}<//>`}
    ${here && may('admin') && html`<${Button} small kind="quiet" run=${remove}>${t('token.remove')}<//>`}
    ${setting && html`<${NewToken} source=${source.name} onClose=${() => setSetting(false)} done=${reload} />`}
  </dd>`;
}

function NewToken({ source, onClose, done }) {
  const [value, setValue] = useState('');
  const save = async (event) => {
    event?.preventDefault();
    const answer = await act(api.put(`/api/v1/secrets/${source}`, { value: value.trim() }), t('token.saved', { source }));
    if (answer === undefined) return;
    onClose();
    done();
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!value.trim()} run=${save}>${t('token.save')}<//>`;
  return html`<${Dialog} title=${t('token.title', { source })} onClose=${onClose} actions=${actions}>
    <p>${t('token.text')}</p>
    <form onSubmit=${save}><${TextField} type="password" label=${t('token')} value=${value} onInput=${setValue} autocomplete="new-password" /></form>
  <//>`;
}

function Quotas({ source }) {
  if (!source.quota?.length) return html`<p class="note">${t('quota.none')}</p>`;
  const left = (quota) => (quota.per_day ? quota.left / quota.per_day : 1);
  const sorted = [...source.quota].sort((one, other) => left(one) - left(other) || other.used - one.used);
  return html`<ul class="quotas">${sorted.map((quota) => html`<li key=${quota.api}>
    <span class="mono">${quota.api}</span>
    ${quota.per_day ? html`<${Meter} used=${quota.used} limit=${quota.per_day} label=${t('quota.of', { api: quota.api })} />` : html`<span></span>`}
    <small>${quota.per_day ? t('quota.left', { left: number(quota.left), all: number(quota.per_day) }) : t('quota.used', { used: number(quota.used) })}</small>
  </li>`)}</ul>`;
}

/** What came of a probe. */
function tell({ name, available, latency_ms: latency, asked, error, hint }) {
  if (available) toast.good(t('source.probed', { source: name, time: number(latency) }), asked);
  else toast.bad(t('source.probed.not', { source: name, error: error ?? '' }), hint);
}

function Source({ source, reload }) {
  const { health = {} } = source;
  const probe = async () => {
    const answer = await act(api.post('/api/sync/multi-source/test', { source: source.name }));
    if (answer === undefined) return;
    tell(answer.data.test_results.find((one) => one.name === source.name) ?? answer.data.test_results[0]);
    reload();
  };
  const rate = health.calls ? percent(health.calls - health.failed, health.calls) : NONE;
  const actions = html`<${Standing} source=${source} />
    ${may('operate') && source.enabled && html`<${Button} small icon="retry" run=${probe}>${t('source.probe')}<//>`}`;
  return html`<${Card} id=${`source-${source.name}`} title=${source.name} note=${t('source.rank', { rank: source.rank, count: number(source.datasets) })} actions=${actions}>
    <p class="note">${has(`source.about.${source.name}`) ? t(`source.about.${source.name}`) : source.description}</p>
    ${!source.open && source.enabled && html`<p class="why">${said(source.why_not)}</p>`}
    ${source.open && source.standing !== 'good' && html`<p class="why">${t('source.demoted', { why: said(source.standing) })}</p>`}
    <dl class="facts">
      <dt>${t('token')}</dt><${Token} source=${source} reload=${reload} />
      ${source.enabled && html`<dt>${t('source.calls')}</dt><dd>${t('source.calls.of', { calls: number(health.calls), failed: number(health.failed), rate })}</dd>
      <dt>${t('source.latency')}</dt><dd>${typeof health.latency_ms === 'number' ? `${number(health.latency_ms)} ms` : NONE}</dd>`}
      ${health.last_error && html`<dt>${t('source.error')}</dt><dd><span class="bad-text">${health.last_error}</span>${health.last_error_at && html` <small title=${moment(health.last_error_at)}>${ago(health.last_error_at)}</small>`}</dd>`}
    </dl>
    ${source.enabled && html`<h3>${t('quota.today')}</h3><${Quotas} source=${source} />`}
  <//>`;
}
