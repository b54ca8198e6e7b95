// One subscription: how it is defined, its secrets, how its receiver fares, and what can be done with it.

import { act, api, useGet } from '../../api.js';
import { Badge, Button, Card, Code, Dialog, Figure, Figures, Loaded, State, TextField, confirm } from '../../components.js';
import { ago, moment, number } from '../../format.js';
import { SubscriptionState, Type, milliseconds, success, toneOfSuccess } from '../../gate.js';
import { t } from '../../i18n.js';
import { pretty } from '../../json.js';
import { may } from '../../roles.js';
import { go } from '../../router.js';
import { html, useState } from '../../view.js';
import { Headers } from '../deliveries/one.js';
import { SubscriptionDialog } from './edit.js';
import { RotateDialog, SecretDialog } from './secret.js';
import { filterInWords, modeInWords, orderInWords, retriesInWords } from './words.js';

export function One({ name }) {
  const found = useGet(`/api/v1/subscriptions/${encodeURIComponent(name)}`, { channels: ['events'], calm: 1200 });
  return html`<p class="back"><a href="/subscriptions">← ${t('nav.subscriptions')}</a></p>
    <${Loaded} from=${found}>${(one) => html`<${Whole} one=${one} reload=${found.reload} />`}<//>`;
}

function Whole({ one, reload }) {
  const [dialog, setDialog] = useState(null);
  const [made, setMade] = useState(null);
  const path = `/api/v1/subscriptions/${encodeURIComponent(one.name)}`;
  const close = () => setDialog(null);
  return html`
    <${Card} id="subscription" title=${one.title || one.name} note=${one.title ? one.name : t('subs.changed.at', { when: ago(one.changed_at) })} actions=${html`<${Actions} one=${one} path=${path} reload=${reload} open=${setDialog} />`}>
      <p class="row standing"><${SubscriptionState} name=${one.state} />${one.reason && html`<span class="soft">${one.reason}</span>`}</p>
      <${Definition} one=${one} />
    <//>
    <${Health} name=${one.name} />
    <${Secrets} one=${one} rotate=${() => setDialog('rotate')} />
    ${dialog === 'edit' && html`<${SubscriptionDialog} subscription=${one} onClose=${close} done=${(answer) => { reload(); setMade(answer); }} />`}
    ${dialog === 'rotate' && html`<${RotateDialog} name=${one.name} path=${`${path}/rotate-secret`} onClose=${close} done=${(answer) => { reload(); setMade(answer); }} />`}
    ${dialog === 'pause' && html`<${Pause} one=${one} path=${path} onClose=${close} done=${reload} />`}
    ${dialog === 'test' && html`<${Trial} one=${one} path=${path} onClose=${close} />`}
    ${made?.secret && html`<${SecretDialog} made=${made} onClose=${() => setMade(null)} />`}`;
}

function Actions({ one, path, reload, open }) {
  const resume = () => act(api.post(`${path}/resume`), t('subs.resume.done', { name: one.name })).then(reload);
  const disable = async () => {
    if (await confirm({ title: t('subs.disable.title', { name: one.name }), text: t('subs.disable.text'), yes: t('subs.disable'), danger: true })) {
      await act(api.post(`${path}/disable`), t('subs.disable.done', { name: one.name })).then(reload);
    }
  };
  const remove = async () => {
    const asked = { title: t('subs.remove.title', { name: one.name }), text: t('subs.remove.text'), yes: t('subs.remove'), danger: true, type: one.name };
    if (await confirm(asked) && await act(api.delete(path), t('subs.removed', { name: one.name })) !== undefined) go('/subscriptions');
  };
  return html`
    ${may('operate') && html`<${Button} small icon="play" run=${() => open('test')}>${t('subs.test')}<//>
      ${one.state === 'active' ? html`<${Button} small icon="pause" run=${() => open('pause')}>${t('subs.pause')}<//>` : html`<${Button} small icon="retry" run=${resume}>${t('subs.resume')}<//>`}
      ${one.state !== 'disabled' && html`<${Button} small icon="stop" run=${disable}>${t('subs.disable')}<//>`}`}
    ${may('admin') && html`<${Button} small icon="settings" run=${() => open('edit')}>${t('subs.change')}<//><${Button} small icon="close" title=${t('subs.remove')} run=${remove} />`}`;
}

function Definition({ one }) {
  const fact = (label, value) => html`<dt>${label}</dt><dd>${value}</dd>`;
  return html`<dl class="facts">
    ${fact(t('subs.url'), html`<span class="mono told">${one.url}</span>`)}
    ${fact(t('subs.types'), html`<span class="types">${one.types.map((type) => html`<${Badge} key=${type}><${Type} name=${type} /><//>`)}</span>`)}
    ${one.filters.length > 0 && fact(t('subs.filters'), html`<ul class="plain-list">${one.filters.map((filter, at) => html`<li key=${at} class="mono told">${filterInWords(filter)}</li>`)}</ul>`)}
    ${fact(t('subs.form'), `${t(`subs.form.${one.form}`)}${one.source_system ? ` · ${one.source_system}` : ''}`)}
    ${fact(t('subs.order'), orderInWords(one.order_by))}
    ${fact(t('subs.mode'), modeInWords(one.mode))}
    ${one.per_second && fact(t('subs.rate'), number(one.per_second, Number.isInteger(one.per_second) ? 0 : 2))}
    ${fact(t('subs.retries'), retriesInWords(one.retry_seconds))}
    ${one.timeout_seconds && fact(t('subs.timeout'), `${one.timeout_seconds} s`)}
    ${fact(t('subs.dead'), t(`subs.dead.${one.when_dead}`))}
    ${one.after !== null && one.after !== undefined && fact(t('subs.after'), number(one.after))}
  </dl>`;
}

function Health({ name }) {
  const found = useGet('/api/v1/deliveries/figures', { channels: ['events'], calm: 1500, seconds: 10 });
  const one = found.data?.items.find((figure) => figure.subscription === name);
  const address = (view) => `/deliveries?view=${view}&subscription=${encodeURIComponent(name)}`;
  if (!one) return null;
  return html`<${Figures}>
    <${Figure} label=${t('figures.success')} value=${success(one.success_percent)} note=${t('figures.attempts', { count: number(one.attempts) })} tone=${toneOfSuccess(one.success_percent)} href=${address('attempts')} />
    <${Figure} label=${t('figures.mean')} value=${milliseconds(one.delay_mean_ms)} note=${t('figures.hour')} />
    <${Figure} label=${t('figures.p95')} value=${milliseconds(one.delay_p95_ms)} note=${t('figures.hour')} />
    <${Figure} label=${t('figures.backlog')} value=${number(one.backlog)} note=${t('figures.retries', { count: number(one.retries) })} href=${address('unsettled')} />
    <${Figure} label=${t('figures.stopped')} value=${number(one.dead + one.parked)} note=${t('figures.stopped.note')} tone=${one.dead + one.parked ? 'bad' : ''} href=${address('blocked')} />
    <${Figure} label=${t('figures.failed')} value=${number(one.failed)} note=${t('figures.in.a.row', { count: number(one.failed_in_a_row) })} tone=${one.failed ? 'warn' : ''} />
  <//>`;
}

/** From when until when each secret counts; the secrets themselves are shown nowhere. */
function Secrets({ one, rotate }) {
  return html`<${Card} id="secrets" title=${t('secret.list')} note=${t('secret.list.note')} actions=${may('admin') && html`<${Button} small icon="retry" run=${rotate}>${t('secret.rotate')}<//>`}>
    <ul class="plain-list">${one.secrets.map((term, at) => html`<li key=${at} class="row"><${State} tone=${term.counts ? 'good' : 'off'}>${t(term.counts ? 'secret.counts' : 'secret.ended')}<//>
      <span>${t('secret.since', { time: moment(term.since) })}${term.until ? ` · ${t('secret.until', { time: moment(term.until) })}` : ''}</span>${term.public_half && html`<span class="mono told">${term.public_half}</span>`}</li>`)}</ul>
  <//>`;
}

function Pause({ one, path, onClose, done }) {
  const [reason, setReason] = useState('');
  const pause = async (event) => {
    event?.preventDefault();
    if (await act(api.post(`${path}/pause`, reason.trim() ? { reason: reason.trim() } : {}), t('subs.pause.done', { name: one.name }))) { onClose(); done(); }
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" run=${pause}>${t('subs.pause')}<//>`;
  return html`<${Dialog} title=${t('subs.pause.title', { name: one.name })} onClose=${onClose} actions=${actions}>
    <p>${t('subs.pause.text')}</p><form onSubmit=${pause}><${TextField} label=${t('subs.reason')} value=${reason} onInput=${setReason} maxlength="200" /><button type="submit" hidden></button></form>
  <//>`;
}

/** A test event goes out at once: the request as it was sent, and the answer. */
function Trial({ one, path, onClose }) {
  const [result, setResult] = useState(null);
  const send = async () => { const answer = await act(api.post(`${path}/test`)); if (answer) setResult(answer); };
  const actions = html`<${Button} run=${onClose}>${t('close')}<//><${Button} kind="main" icon="play" run=${send}>${t(result ? 'subs.test.again' : 'subs.test.send')}<//>`;
  return html`<${Dialog} wide title=${t('subs.test.title', { name: one.name })} onClose=${onClose} actions=${actions}>
    <p class="note">${t('subs.test.about')}</p>
    ${result && html`<div class="trial" role="status">
      <p class="row"><${State} tone=${result.delivered ? 'good' : 'bad'}>${t(result.delivered ? 'subs.test.delivered' : 'subs.test.failed')}<//>
        <span class="mono told">${result.status ? `HTTP ${result.status}` : result.error}</span><span class="soft">${milliseconds(result.took_ms)}${result.address ? ` · ${result.address}` : ''}</span></p>
      <h3>${t('delivery.request')}</h3><p class="mono told request-line"><b>POST</b> ${result.url}</p><${Headers} headers=${result.headers} /><${Code} label=${t('delivery.request')} text=${pretty(result.body)} />
      <h3>${t('delivery.answer')}</h3>${result.detail ? html`<${Code} label=${t('delivery.answer')} text=${pretty(result.detail)} />` : html`<p class="soft">${t('delivery.answer.empty')}</p>`}
    </div>`}
  <//>`;
}
