// What became of an event: each subscription that it goes to, and every attempt as a timeline.

import { useGet } from '../../api.js';
import { Card, Empty, Loaded } from '../../components.js';
import { between, duration, moment, number } from '../../format.js';
import { DeliveryState, deliveryAddress, milliseconds } from '../../gate.js';
import { t, word } from '../../i18n.js';
import { html } from '../../view.js';
import { DeliveryActions } from '../deliveries/decide.js';

const TONES = { delivered: 'good', failed: 'warn', exhausted: 'bad', refused: 'bad', gone: 'bad', skipped: 'info' };

/** Attempts in their order, each with how long after the event it began and what came back. */
export function Attempts({ attempts, from }) {
  const oldest = [...attempts].sort((one, other) => one.id - other.id);
  return html`<ol class="timeline">${oldest.map((one) => html`<li key=${one.id} class=${TONES[one.outcome] ?? 'info'}>
    <time title=${moment(one.at)}>${moment(one.at).slice(11)}</time>
    <span class="after">${from ? `+${duration(Math.max(0, between(from, one.at)))}` : ''}</span>
    <span class="what"><b>${t('attempt.number', { number: one.number })}: ${word('delivery.state', one.outcome)}</b>
      ${one.status ? html` <span class="mono">HTTP ${one.status}</span>` : ''}${one.error && one.error !== `HTTP_${one.status}` ? html` <span class="mono">${one.error}</span>` : ''}
      ${one.detail && html`<span class="answer">${one.detail}</span>`}
      <small><span>${t('attempt.took')} <b>${milliseconds(one.took_ms)}</b></span><span>${t('attempt.delay')} <b>${milliseconds(one.delay_ms)}</b></span><span>${t('attempt.by')} <b>${by(one.by)}</b></span></small></span>
  </li>`)}</ol>`;
}

/** Who wanted a delivery, in words. */
export function by(name) {
  const replay = /^replay:(\d+)$/.exec(name ?? '');
  if (replay) return t('by.replay', { number: replay[1] });
  return ['feed', 'reverse'].includes(name) ? t(`by.${name}`) : name;
}

/** The subscriptions that an event goes to. */
export function Ways({ event }) {
  const found = useGet(`/api/v1/deliveries/events/${event}`, { channels: ['events'], seconds: 3 });
  return html`<${Loaded} from=${found}>${({ at, subscriptions }) => (!subscriptions.length
    ? html`<${Card} id="ways"><${Empty} title=${t('ways.none')} text=${t('ways.none.text')} /><//>`
    : html`<div class="stack" id="ways">${subscriptions.map((way) => html`<${Card} key=${way.subscription} id=${`way-${way.subscription}`} flush
        title=${html`<a href=${deliveryAddress(event, way.subscription)}>${way.subscription}</a>`} note=${t('ways.attempts', { count: number(way.attempts.length) })}
        actions=${html`<${DeliveryState} name=${way.state} /><${DeliveryActions} way=${way} event=${event} done=${found.reload} />`}>
        ${way.attempts.length ? html`<${Attempts} attempts=${way.attempts} from=${at} />` : html`<p class="note inset">${t('ways.no.attempts')}</p>`}
      <//>`)}</div>`)}<//>`;
}
