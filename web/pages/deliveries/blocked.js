// What is not settled: deliveries that wait, died or were set aside, and the keys that a dead one holds up.

import { Badge, Button, Card, Empty, Loaded, SelectField, Table, confirm } from '../../components.js';
import { useGet } from '../../api.js';
import { ago, moment, number } from '../../format.js';
import { DeliveryState, deliveryAddress, keyInWords } from '../../gate.js';
import { t, word } from '../../i18n.js';
import { may } from '../../roles.js';
import { go, setQuery } from '../../router.js';
import { html } from '../../view.js';
import { by } from '../events/ways.js';
import { DeliveryActions, decide } from './decide.js';

const STATES = ['waiting', 'dead', 'parked'];

/** Keys that wait for a person: the first dead event of each, and how many wait behind it. */
export function Blocked({ from, subscription }) {
  const run = (decision, one) => () => decide(decision, one.subscription, one.key ? { key: one.key } : { event: one.event }, from.reload);
  const columns = [
    { name: 'subscription', label: t('deliveries.subscription'), view: (one) => html`<b>${one.subscription}</b>` },
    { name: 'key', label: t('events.key'), view: (one) => keyInWords(one.key) },
    { name: 'event', label: t('blocked.event'), number: true, view: (one) => html`<a href=${deliveryAddress(one.event, one.subscription)}>${one.event}</a>` },
    { name: 'attempts', label: t('failures.attempts'), number: true },
    { name: 'waiting', label: t('blocked.waiting'), number: true, view: (one) => html`<b class=${one.waiting ? 'bad-text' : ''}>${number(one.waiting)}</b>` },
    {
      name: 'actions', label: '',
      view: (one) => may('operate') && html`<span class="row-actions"><${Button} small icon="retry" run=${run('retry', one)}>${t('decide.retry')}<//>
        <${Button} small icon="pause" run=${run('park', one)}>${t('decide.park')}<//><${Button} small icon="close" run=${run('skip', one)}>${t('decide.skip')}<//></span>`,
    },
  ];
  return html`<p class="note">${t('blocked.about')}</p>
    <${Loaded} from=${from}>${({ items }) => html`<${Card} id="blocked" class="card flush as-cards" flush>
      <${Table} label=${t('deliveries.blocked')} columns=${columns} rows=${items.filter((one) => !subscription || one.subscription === subscription)} id=${(one) => `${one.subscription} ${one.key} ${one.event}`}
        empty=${html`<${Empty} title=${t('blocked.none')} text=${t('blocked.none.text')} />`} /><//>`}<//>`;
}

/** Deliveries that are not settled, in the order of their events. */
export function Unsettled({ query, lead, tail }) {
  const { subscription = '', key = '' } = query;
  const state = STATES.includes(query.state) ? query.state : '';
  const found = useGet('/api/v1/deliveries', { query: { limit: 200, subscription, key, state, after: query.after }, channels: ['events'], seconds: 5 });
  const options = [{ value: '', label: t('all') }, ...STATES.map((value) => ({ value, label: word('delivery.state', value) }))];
  const all = async () => {
    const asked = { title: t('unsettled.retry.title', { name: subscription }), text: t('unsettled.retry.text'), yes: t('decide.retry') };
    if (await confirm(asked)) await decide('retry', subscription, { all: true }, found.reload);
  };
  const columns = [
    { name: 'event', label: t('attempt.event'), number: true, sort: false, view: (one) => html`<a href=${deliveryAddress(one.event, one.subscription)}>${one.event}</a>` },
    { name: 'state', label: t('tasks.state'), sort: false, view: (one) => html`<${DeliveryState} name=${one.state} />` },
    { name: 'subscription', label: t('deliveries.subscription'), sort: false, view: (one) => html`<b>${one.subscription}</b>` },
    { name: 'key', label: t('events.key'), sort: false, view: (one) => keyInWords(one.key) },
    { name: 'attempts', label: t('failures.attempts'), number: true, sort: false },
    { name: 'due_at', label: t('unsettled.due'), sort: false, view: (one) => one.state === 'waiting' && html`<time title=${moment(one.due_at)}>${ago(one.due_at)}</time>` },
    { name: 'by', label: t('attempt.by'), sort: false, hide: 'phone', view: (one) => html`<${Badge}>${by(one.by)}<//>` },
    { name: 'actions', label: '', view: (one) => html`<${DeliveryActions} way=${{ subscription: one.subscription, delivery: one }} event=${one.event} done=${found.reload} />` },
  ];
  return html`<div class="toolbar">
      ${lead}
      <${SelectField} label=${t('tasks.state')} value=${state} options=${options} onInput=${(value) => setQuery({ state: value, after: null })} />
      ${subscription && may('operate') && found.data?.items.length > 0 && html`<${Button} icon="retry" run=${all}>${t('unsettled.retry.all')}<//>`}
      ${tail}
    </div>
    <${Loaded} from=${found}>${({ items, next }) => html`<${Card} id="unsettled" class="card flush as-cards" flush>
      <${Table} label=${t('deliveries.unsettled')} columns=${columns} rows=${items} id=${(one) => `${one.subscription} ${one.event}`} open=${(one) => go(deliveryAddress(one.event, one.subscription))}
        empty=${html`<${Empty} title=${t('unsettled.none')} text=${t('unsettled.none.text')} />`} />
      ${(query.after || next) && html`<div class="pager"><${Button} small disabled=${!query.after} run=${() => setQuery({ after: null })}>${t('list.first')}<//>
        <${Button} small disabled=${!next} run=${() => setQuery({ after: next })}>${t('data.after')}<//></div>`}<//>`}<//>`;
}
