// Every attempt to deliver, newest first: whom, what, how it ended, how long it took.

import { Card, CheckField, Empty, Loaded, SearchField, SelectField, Table } from '../../components.js';
import { instant, moment } from '../../format.js';
import { DeliveryState, OUTCOMES, deliveryAddress, milliseconds } from '../../gate.js';
import { t, word } from '../../i18n.js';
import { Older, usePages } from '../../paging.js';
import { go, setQuery } from '../../router.js';
import { html } from '../../view.js';
import { by } from '../events/ways.js';

/** `lead` and `tail` stand before and behind the filters. */
export function AttemptList({ query, lead, tail }) {
  const { subscription = '', outcome = '', error = '', event = '' } = query;
  const failed = query.failed === 'true';
  const pages = usePages('/api/v1/deliveries/attempts', { query: { limit: 100, subscription, outcome, error, event, failed: failed || null }, channels: ['events'], seconds: 5 });
  const columns = [
    { name: 'at', label: t('attempt.at'), sort: false, view: (one) => html`<time title=${moment(one.at)}>${instant(one.at)}</time>` },
    { name: 'outcome', label: t('attempt.outcome'), sort: false, view: (one) => html`<${DeliveryState} name=${one.outcome} />` },
    { name: 'event', label: t('attempt.event'), number: true, sort: false, view: (one) => html`<a href=${deliveryAddress(one.event, one.subscription)}>${one.event}</a>` },
    { name: 'subscription', label: t('deliveries.subscription'), sort: false, view: (one) => html`<b>${one.subscription}</b>` },
    { name: 'number', label: t('attempt.attempt'), number: true, sort: false },
    { name: 'answer', label: t('attempt.answer'), sort: false, wrap: true, view: (one) => html`<span><span class="mono told">${one.error ?? (one.status ? `HTTP ${one.status}` : '')}</span>${one.detail && one.outcome !== 'delivered' ? html` <small class="faint clip">${one.detail}</small>` : ''}</span>` },
    { name: 'took_ms', label: t('attempt.took'), number: true, sort: false, view: (one) => milliseconds(one.took_ms) },
    { name: 'delay_ms', label: t('attempt.delay'), title: t('attempt.delay.title'), number: true, sort: false, hide: 'phone', view: (one) => milliseconds(one.delay_ms) },
    { name: 'by', label: t('attempt.by'), sort: false, hide: 'phone', view: (one) => html`<small>${by(one.by)}</small>` },
  ];
  const outcomes = [{ value: '', label: t('all') }, ...OUTCOMES.map((value) => ({ value, label: word('delivery.state', value) }))];
  return html`
    <div class="toolbar">
      ${lead}
      <${SelectField} label=${t('attempt.outcome')} value=${outcome} options=${outcomes} onInput=${(value) => setQuery({ outcome: value })} />
      <${SearchField} label=${t('attempt.by.error')} value=${error} onInput=${(value) => setQuery({ error: value })} />
      <${SearchField} label=${t('attempt.by.event')} value=${event} onInput=${(value) => setQuery({ event: /^\d+$/.test(value) ? value : null })} />
      <${CheckField} label=${t('attempt.failed')} value=${failed} onInput=${(value) => setQuery({ failed: value ? 'true' : null })} />
      ${tail}
    </div>
    <${Loaded} from=${pages} lines=${8}>${() => html`<${Card} id="attempts" class="card flush as-cards" flush>
      <${Table} label=${t('deliveries.attempts')} columns=${columns} rows=${pages.items} open=${(one) => go(deliveryAddress(one.event, one.subscription))}
        empty=${html`<${Empty} title=${t('attempt.none')} text=${t('attempt.none.text')} />`} /><${Older} pages=${pages} /><//>`}<//>`;
}
