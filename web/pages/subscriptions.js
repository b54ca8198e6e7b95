// Who is told of which events, and whose events come in: subscriptions, inbound webhooks, intakes.

import { useGet } from '../api.js';
import { Badge, Button, Card, Empty, Loaded, Table, Tabs } from '../components.js';
import { number } from '../format.js';
import { SubscriptionState, Type, milliseconds, success } from '../gate.js';
import { t } from '../i18n.js';
import { may } from '../roles.js';
import { go, setQuery } from '../router.js';
import { html, useState } from '../view.js';
import { SubscriptionDialog } from './subscriptions/edit.js';
import { Inbounds } from './subscriptions/inbounds.js';
import { Intakes } from './subscriptions/intakes.js';
import { One } from './subscriptions/one.js';
import { SecretDialog } from './subscriptions/secret.js';
import { modeInWords, orderInWords } from './subscriptions/words.js';

const VIEWS = ['subscriptions', 'inbounds', 'intakes'];

export default function Page({ params, query }) {
  if (params.name) return html`<${One} name=${params.name} />`;
  const view = VIEWS.includes(query.view) ? query.view : 'subscriptions';
  const tabs = VIEWS.map((name) => ({ name, label: t(`subs.${name}`) }));
  return html`
    <${Tabs} label=${t('nav.subscriptions')} tabs=${tabs} value=${view} onInput=${(name) => setQuery({ view: name === 'subscriptions' ? null : name }, { push: true })} />
    <div role="tabpanel" aria-label=${t(`subs.${view}`)} class="stack">
      <p class="note">${t(`subs.${view}.about`)}</p>
      ${view === 'subscriptions' && html`<${List} />`}
      ${view === 'inbounds' && html`<${Inbounds} />`}
      ${view === 'intakes' && html`<${Intakes} />`}
    </div>`;
}

function List() {
  const found = useGet('/api/v1/subscriptions', { channels: ['events'], calm: 1500 });
  const figures = useGet('/api/v1/deliveries/figures', { channels: ['events'], calm: 1500, seconds: 15 });
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState(null);
  const of = (one) => figures.data?.items.find((figure) => figure.subscription === one.name);
  const columns = [
    { name: 'name', label: t('subs.name'), view: (one) => html`<span class="who"><a href=${`/subscriptions/${encodeURIComponent(one.name)}`}><b>${one.title || one.name}</b></a><small class="mono">${one.url}</small></span>` },
    { name: 'state', label: t('tasks.state'), wrap: true, view: (one) => html`<span><${SubscriptionState} name=${one.state} />${one.reason && html`<br /><small class="faint">${one.reason}</small>`}</span>` },
    { name: 'types', label: t('subs.types'), sort: false, wrap: true, view: (one) => html`<span class="types">${one.types.map((type) => html`<${Badge} key=${type}><${Type} name=${type} /><//>`)}${one.filters.length > 0 && html`<small class="faint">${t('subs.filters.count', { count: one.filters.length })}</small>`}</span>` },
    { name: 'mode', label: t('subs.mode'), sort: false, hide: 'phone', view: (one) => html`<span class="who"><span>${modeInWords(one.mode)}</span><small>${orderInWords(one.order_by)}</small></span>` },
    { name: 'success', label: t('figures.success'), number: true, value: (one) => of(one)?.success_percent, view: (one) => success(of(one)?.success_percent) },
    { name: 'p95', label: t('figures.p95'), number: true, hide: 'phone', value: (one) => of(one)?.delay_p95_ms, view: (one) => milliseconds(of(one)?.delay_p95_ms) },
    { name: 'backlog', label: t('figures.backlog'), number: true, value: (one) => of(one)?.backlog, view: (one) => number(of(one)?.backlog) },
    { name: 'dead', label: t('figures.dead'), number: true, value: (one) => of(one)?.dead, view: (one) => (of(one)?.dead ? html`<b class="bad-text">${number(of(one).dead)}</b>` : number(of(one)?.dead)) },
  ];
  return html`
    ${may('admin') && html`<div class="toolbar"><${Button} kind="main" icon="plus" run=${() => setMaking(true)}>${t('subs.new')}<//></div>`}
    <${Loaded} from=${found} lines=${6}>${({ items }) => html`<${Card} id="subscriptions" class="card flush as-cards" flush>
      <${Table} label=${t('nav.subscriptions')} columns=${columns} rows=${items} id=${(one) => one.name} open=${(one) => go(`/subscriptions/${encodeURIComponent(one.name)}`)}
        empty=${html`<${Empty} title=${t('subs.none')} text=${t('subs.none.text')} />`} /><//>`}<//>
    ${making && html`<${SubscriptionDialog} onClose=${() => setMaking(false)} done=${(answer) => { found.reload(); setMade(answer); }} />`}
    ${made?.secret && html`<${SecretDialog} made=${made} onClose=${() => setMade(null)} />`}`;
}
