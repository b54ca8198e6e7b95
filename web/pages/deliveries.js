// Deliveries: how the receivers fare, what was tried, what waits for a person, and sending again.

import { useGet } from '../api.js';
import { Button, Loaded, SelectField, Tabs } from '../components.js';
import { t } from '../i18n.js';
import { may } from '../roles.js';
import { setQuery } from '../router.js';
import { html, useState } from '../view.js';
import { AttemptList } from './deliveries/attempts.js';
import { Blocked, Unsettled } from './deliveries/blocked.js';
import { Endpoints, Totals } from './deliveries/figures.js';
import { One } from './deliveries/one.js';
import { ReplayDialog, Replays } from './deliveries/replays.js';

const VIEWS = ['attempts', 'unsettled', 'blocked', 'replays'];

export default function Page({ params, query }) {
  if (params.event && params.subscription) return html`<${One} event=${params.event} subscription=${params.subscription} />`;
  return html`<${Board} query=${query} />`;
}

function Board({ query }) {
  const figures = useGet('/api/v1/deliveries/figures', { channels: ['events'], calm: 1500, seconds: 10 });
  const subscriptions = useGet('/api/v1/subscriptions', { channels: ['events'], calm: 1500 });
  const blocked = useGet('/api/v1/deliveries/blocked', { query: { limit: 200 }, channels: ['events'], calm: 1500, seconds: 10 });
  const [replaying, setReplaying] = useState(false);
  const view = VIEWS.includes(query.view) ? query.view : 'attempts';
  const { subscription = '' } = query;
  const names = (subscriptions.data?.items ?? []).map((one) => ({ value: one.name, label: one.name }));
  const stuck = blocked.data?.items.length ?? 0;
  const tabs = VIEWS.map((name) => ({ name, label: t(`deliveries.${name}`), count: name === 'blocked' ? stuck : 0 }));
  const lead = html`<${SelectField} label=${t('deliveries.subscription')} value=${subscription} options=${[{ value: '', label: t('all') }, ...names]} onInput=${(value) => setQuery({ subscription: value })} />`;
  const tail = may('operate') && names.length > 0 && html`<${Button} icon="retry" run=${() => setReplaying(true)}>${t('replay.new')}<//>`;
  return html`
    <${Loaded} from=${figures} lines=${4}>${({ items }) => html`<${Totals} figures=${items} />
      <${Endpoints} figures=${items} subscriptions=${subscriptions.data?.items ?? []} done=${subscriptions.reload} />`}<//>
    <${Tabs} label=${t('nav.deliveries')} tabs=${tabs} value=${view} onInput=${(name) => setQuery({ view: name === 'attempts' ? null : name, outcome: null, error: null, state: null }, { push: true })} />
    <div role="tabpanel" aria-label=${t(`deliveries.${view}`)} class="stack">
      ${view === 'attempts' && html`<${AttemptList} query=${query} lead=${lead} tail=${tail} />`}
      ${view === 'unsettled' && html`<${Unsettled} query=${query} lead=${lead} tail=${tail} />`}
      ${(view === 'blocked' || view === 'replays') && html`<div class="toolbar">${lead}${tail}</div>`}
      ${view === 'blocked' && html`<${Blocked} from=${blocked} subscription=${subscription} />`}
      ${view === 'replays' && html`<${Replays} subscription=${subscription} />`}
    </div>
    ${replaying && html`<${ReplayDialog} subscription=${subscription} names=${names} onClose=${() => setReplaying(false)} />`}`;
}
