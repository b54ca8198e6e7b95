// Vouchers: the list with filters, one voucher with all its versions, and whether every target has it.

import { useGet } from '../api.js';
import { Badge, Button, Card, Code, Empty, Loaded, SearchField, SelectField, Table } from '../components.js';
import { NONE, ago, instant, moment } from '../format.js';
import { SyncState, Type } from '../gate.js';
import { t, word } from '../i18n.js';
import { member, pretty } from '../json.js';
import { Older, usePages } from '../paging.js';
import { go, setQuery } from '../router.js';
import { html } from '../view.js';
import { EventTabs } from './events.js';
import { Ways } from './events/ways.js';

const PAGE = 100;
const FILTERS = ['from', 'to', 'source_system', 'source_module', 'status', 'direction'];

export default function Page({ params, query }) {
  if (params.no) return html`<${One} no=${params.no} />`;
  return html`<${EventTabs} value="vouchers" /><div role="tabpanel" aria-label=${t('nav.vouchers')} class="stack"><${List} query=${query} /></div>`;
}

/** An exact amount, digit by digit as the service says it, in groups of three. */
export function amount(text) {
  const found = /^(-?)(\d+)(\.\d+)?$/.exec(text ?? '');
  return found ? `${found[1] ? '−' : ''}${found[2].replace(/\B(?=(\d{3})+$)/g, ',')}${found[3] ?? ''}` : text ?? NONE;
}

function Filters({ query }) {
  const text = (name) => html`<${SearchField} label=${t(`vouchers.${name}`)} value=${query[name] ?? ''} onInput=${(value) => setQuery({ [name]: value, offset: null })} />`;
  const day = (name) => html`<label class="field"><span>${t(`range.${name}`)}</span><input type="date" value=${query[name] ?? ''} onChange=${(event) => setQuery({ [name]: event.target.value, offset: null })} /></label>`;
  const directions = [{ value: '', label: t('all') }, ...['debit', 'credit'].map((value) => ({ value, label: t(`vouchers.${value}`) }))];
  return html`<div class="toolbar">${day('from')}${day('to')}${text('source_system')}${text('source_module')}${text('status')}
    <${SelectField} label=${t('vouchers.direction')} value=${query.direction ?? ''} options=${directions} onInput=${(value) => setQuery({ direction: value, offset: null })} /></div>`;
}

function List({ query }) {
  const offset = Number(query.offset) || 0;
  const asked = Object.fromEntries(FILTERS.map((name) => [name, query[name]]));
  const found = useGet('/api/v1/vouchers', { query: { ...asked, limit: PAGE, offset: offset || null, sync: 'true' }, channels: ['events'] });
  const columns = [
    { name: 'voucher_no', label: t('vouchers.no'), sort: false, view: (one) => html`<a href=${`/vouchers/${encodeURIComponent(one.voucher_no)}`} class="mono">${one.voucher_no}</a>` },
    { name: 'voucher_date', label: t('vouchers.date'), sort: false },
    { name: 'source', label: t('vouchers.source'), sort: false, view: (one) => html`<span class="who"><b>${one.source_reference_no ?? one.source_id}</b><small>${one.source_system} · ${one.source_module}</small></span>` },
    { name: 'counterparty', label: t('vouchers.counterparty'), sort: false, wrap: true, hide: 'phone', view: (one) => one.counterparty_name ?? one.counterparty_id ?? '' },
    { name: 'direction', label: t('vouchers.direction'), sort: false, view: (one) => t(`vouchers.${one.direction}`) },
    { name: 'amount', label: t('vouchers.amount'), number: true, sort: false, view: (one) => html`<b class="amount">${amount(one.amount)}</b> <small>${one.currency}</small>` },
    { name: 'status', label: t('vouchers.status'), sort: false, view: (one) => html`<${Badge} tone=${one.status === 'reversed' ? 'warn' : ''}>${word('voucher.status', one.status)}<//>` },
    { name: 'version', label: t('vouchers.version'), number: true, sort: false },
    { name: 'sync', label: t('vouchers.sync'), sort: false, view: (one) => html`<${SyncState} name=${one.sync.state} title=${Object.entries(one.sync.targets).map(([target, state]) => `${target}: ${word('sync.state', state)}`).join(', ')} />` },
    { name: 'updated_at', label: t('vouchers.updated'), sort: false, hide: 'phone', view: (one) => html`<time class="faint" title=${moment(one.updated_at)}>${ago(one.updated_at)}</time>` },
  ];
  return html`<${Filters} query=${query} />
    <${Loaded} from=${found} lines=${8}>${({ items, next }) => html`<${Card} id="vouchers" class="card flush as-cards" flush>
      <${Table} label=${t('nav.vouchers')} columns=${columns} rows=${items} id=${(one) => one.voucher_no} open=${(one) => go(`/vouchers/${encodeURIComponent(one.voucher_no)}`)}
        empty=${html`<${Empty} title=${t('vouchers.none')} text=${t('vouchers.none.text')} />`} />
      ${(offset > 0 || next) && html`<div class="pager"><${Button} small disabled=${!offset} run=${() => setQuery({ offset: Math.max(0, offset - PAGE) || null })}>${t('data.before')}<//>
        <${Button} small disabled=${!next} run=${() => setQuery({ offset: next })}>${t('data.after')}<//></div>`}
    <//>`}<//>`;
}

function One({ no }) {
  const found = useGet(`/api/v1/vouchers/${encodeURIComponent(no)}`, { channels: ['events'], text: true });
  return html`<p class="back"><a href="/vouchers">← ${t('nav.vouchers')}</a></p>
    <${Loaded} from=${found}>${(text) => html`<${Whole} text=${text} voucher=${JSON.parse(text)} />`}<//>`;
}

const SHOWN = ['voucher_date', 'source_system', 'source_module', 'source_type', 'source_id', 'source_reference_no', 'company_id', 'counterparty_type', 'counterparty_id', 'counterparty_name', 'summary', 'reverses', 'created_by', 'reason'];

function Whole({ text, voucher }) {
  const facts = SHOWN.filter((name) => voucher[name] !== null && voucher[name] !== undefined && voucher[name] !== '');
  const kept = ['items', 'business_data'].map((name) => [name, member(text, name)]).filter(([, part]) => part && part !== 'null');
  return html`
    <${Card} id="voucher" title=${html`<span class="mono">${voucher.voucher_no}</span>`} note=${t('vouchers.version.of', { version: voucher.version, when: ago(voucher.updated_at) })}
      actions=${html`<${Badge} tone=${voucher.status === 'reversed' ? 'warn' : ''}>${word('voucher.status', voucher.status)}<//><${SyncState} name=${voucher.sync.state} />`}>
      <p class="lead"><b class="amount">${amount(voucher.amount)}</b> ${voucher.currency} · ${t(`vouchers.${voucher.direction}`)}</p>
      <dl class="facts">${facts.map((name) => html`<dt key=${name}>${t(`vouchers.${name}`)}</dt><dd>${voucher[name]}</dd>`)}
        ${Object.keys(voucher.sync.targets).length > 0 && html`<dt>${t('vouchers.targets')}</dt><dd class="row">${Object.entries(voucher.sync.targets).map(([target, state]) => html`<span key=${target} class="row"><b>${target}</b><${SyncState} name=${state} /></span>`)}</dd>`}
      </dl>
    <//>
    ${kept.map(([name, part]) => html`<${Card} key=${name} id=${name} title=${t(`vouchers.${name}`)}><${Code} label=${t(`vouchers.${name}`)} text=${pretty(part)} /><//>`)}
    <${Versions} voucher=${voucher} />`;
}

/** Each version is an event of its own: what it said, and where it went. */
function Versions({ voucher }) {
  const subject = voucher.source_reference_no ?? voucher.source_id ?? voucher.voucher_no;
  const pages = usePages('/api/v1/events', { query: { limit: 100, source: `/vouchers/${voucher.source_system}`, subject }, channels: ['events'], key: (event) => event.number });
  const versions = pages.items.filter((event) => event.id.startsWith(`${voucher.voucher_no}:`));
  const columns = [
    { name: 'version', label: t('vouchers.version'), number: true, sort: false, view: (event) => event.data?.version },
    { name: 'at', label: t('events.at'), sort: false, view: (event) => html`<time title=${moment(event.at)}>${instant(event.at)}</time>` },
    { name: 'type', label: t('events.type'), sort: false, view: (event) => html`<${Type} name=${event.type} />` },
    { name: 'amount', label: t('vouchers.amount'), number: true, sort: false, view: (event) => html`<b class="amount">${amount(event.data?.amount)}</b> <small>${event.data?.currency}</small>` },
    { name: 'status', label: t('vouchers.status'), sort: false, view: (event) => word('voucher.status', event.data?.status) },
    { name: 'reason', label: t('vouchers.summary'), sort: false, wrap: true, view: (event) => event.data?.reason ?? event.data?.summary ?? '' },
    { name: 'number', label: t('events.number'), number: true, sort: false, view: (event) => html`<a href=${`/events/${event.number}`}>${event.number}</a>` },
  ];
  return html`<${Card} id="versions" class="card flush as-cards" flush title=${t('vouchers.versions')}>
      <${Loaded} from=${pages}>${() => html`<${Table} label=${t('vouchers.versions')} columns=${columns} rows=${versions} id=${(event) => event.number} open=${(event) => go(`/events/${event.number}`)} /><${Older} pages=${pages} />`}<//>
    <//>
    ${versions[0] && html`<h2 class="part">${t('vouchers.newest.ways')}</h2><${Ways} event=${versions[0].number} />`}`;
}
