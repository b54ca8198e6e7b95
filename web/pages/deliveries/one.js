// One delivery: what was sent, what came back, every attempt, and what can be done about it.

import { useGet } from '../../api.js';
import { Card, Code, Empty, Loaded } from '../../components.js';
import { moment } from '../../format.js';
import { DeliveryState, Type, keyInWords, milliseconds } from '../../gate.js';
import { t } from '../../i18n.js';
import { pretty } from '../../json.js';
import { html } from '../../view.js';
import { Attempts, by } from '../events/ways.js';
import { DeliveryActions } from './decide.js';

export function One({ event, subscription }) {
  const found = useGet(`/api/v1/deliveries/events/${event}`, { channels: ['events'], seconds: 3 });
  return html`<p class="back"><a href="/deliveries">← ${t('nav.deliveries')}</a></p>
    <${Loaded} from=${found}>${(ways) => {
      const way = ways.subscriptions.find((one) => one.subscription === subscription);
      return way ? html`<${Whole} ways=${ways} way=${way} reload=${found.reload} />`
        : html`<${Empty} title=${t('delivery.none')} text=${t('delivery.none.text', { event, subscription })}><a class="button" href=${`/events/${event}`}>${t('events.event', { number: event })}</a><//>`;
    }}<//>`;
}

function Whole({ ways, way, reload }) {
  const { delivery } = way;
  const last = way.attempts.find((one) => one.outcome !== 'skipped');
  return html`
    <${Card} id="delivery" title=${t('delivery.title', { event: ways.event, subscription: way.subscription })}
      actions=${html`<${DeliveryState} name=${way.state} /><${DeliveryActions} way=${way} event=${ways.event} done=${reload} />`}>
      <p class="lead"><${Type} name=${ways.type} /></p>
      <dl class="facts">
        <dt>${t('events.at')}</dt><dd>${moment(ways.at)}</dd>
        <dt>${t('events.source')}</dt><dd class="mono">${ways.source}</dd>
        ${delivery && html`<dt>${t('events.key')}</dt><dd>${keyInWords(delivery.key)}</dd><dt>${t('attempt.by')}</dt><dd>${by(delivery.by)}</dd>`}
        ${delivery?.state === 'waiting' && html`<dt>${t('unsettled.due')}</dt><dd>${moment(delivery.due_at)}</dd>`}
      </dl>
      <p class="links"><a href=${`/events/${ways.event}`}>${t('events.event', { number: ways.event })}</a><a href=${`/subscriptions/${encodeURIComponent(way.subscription)}`}>${t('delivery.subscription')}</a>
        <a href=${`/signatures?subscription=${encodeURIComponent(way.subscription)}`}>${t('nav.signatures')}</a></p>
    <//>
    <div class="grid two">
      <${Request} way=${way} />
      <${Answer} attempt=${last} />
    </div>
    <${Card} id="attempts" flush title=${t('deliveries.attempts')}>
      ${way.attempts.length ? html`<${Attempts} attempts=${way.attempts} from=${ways.at} />` : html`<${Empty} title=${t('ways.no.attempts')} />`}
    <//>`;
}

/** Headers without their secrets, and the body byte for byte. */
function Request({ way }) {
  return html`<${Card} id="request" title=${t('delivery.request')}>
    ${way.url && html`<p class="mono told request-line"><b>POST</b> ${way.url}</p>`}
    ${Object.keys(way.headers).length > 0 && html`<${Headers} headers=${way.headers} />`}
    ${way.body && html`<h3>${t('sig.body')}</h3><${Code} label=${t('sig.body')} text=${pretty(way.body)} />`}
  <//>`;
}

/** Names and values, a line each. */
export function Headers({ headers }) {
  return html`<dl class="headers told">${Object.entries(headers).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Answer({ attempt }) {
  if (!attempt) return html`<${Card} id="answer" title=${t('delivery.answer')}><p class="soft">${t('delivery.no.answer')}</p><//>`;
  return html`<${Card} id="answer" title=${t('delivery.answer')} note=${moment(attempt.at)} actions=${html`<${DeliveryState} name=${attempt.outcome} />`}>
    <p class="mono told request-line">${attempt.status ? html`<b>HTTP ${attempt.status}</b>` : ''} ${attempt.error && attempt.error !== `HTTP_${attempt.status}` ? attempt.error : ''}</p>
    <dl class="facts"><dt>${t('attempt.took')}</dt><dd>${milliseconds(attempt.took_ms)}</dd><dt>${t('attempt.delay')}</dt><dd>${milliseconds(attempt.delay_ms)}</dd>
      <dt class="nowrap">webhook-id</dt><dd class="mono">${attempt.request}</dd></dl>
    ${attempt.detail ? html`<${Code} label=${t('delivery.answer')} text=${pretty(attempt.detail)} />` : html`<p class="soft">${t('delivery.answer.empty')}</p>`}
  <//>`;
}
