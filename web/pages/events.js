// What was published: the log with its events, each with its content and its ways to subscriptions; a test event.

import { useGet } from '../api.js';
import { Button, Card, Code, Empty, Loaded, SearchField, Table, Tabs } from '../components.js';
import { ago, instant, moment, number } from '../format.js';
import { Type } from '../gate.js';
import { t } from '../i18n.js';
import { member, pretty } from '../json.js';
import { Older, usePages } from '../paging.js';
import { may } from '../roles.js';
import { go, setQuery } from '../router.js';
import { html, useState } from '../view.js';
import { PublishDialog } from './events/publish.js';
import { Ways } from './events/ways.js';

export default function Page({ params, query }) {
  if (params.number) return html`<${One} number=${params.number} />`;
  return html`<${EventTabs} value="events" /><div role="tabpanel" aria-label=${t('nav.events')} class="stack"><${Log} query=${query} /></div>`;
}

/** Events and vouchers lie side by side. */
export function EventTabs({ value }) {
  const tabs = ['events', 'vouchers'].map((name) => ({ name, label: t(`nav.${name}`) }));
  return html`<${Tabs} label=${t('events.tabs')} tabs=${tabs} value=${value} onInput=${(name) => go(`/${name}`)} />`;
}

function Log({ query }) {
  const { type = '', source = '', subject = '' } = query;
  const [publishing, setPublishing] = useState(false);
  const pages = usePages('/api/v1/events', { query: { limit: 100, type, source, subject, content: 'false' }, channels: ['events'], key: (event) => event.number });
  const columns = [
    { name: 'number', label: t('events.number'), number: true, sort: false, view: (event) => html`<a href=${`/events/${event.number}`}>${event.number}</a>` },
    { name: 'at', label: t('events.at'), sort: false, view: (event) => html`<time title=${moment(event.at)}>${instant(event.at)}</time>` },
    { name: 'type', label: t('events.type'), sort: false, wrap: true, view: (event) => html`<b><${Type} name=${event.type} /></b>` },
    { name: 'source', label: t('events.source'), sort: false, view: (event) => html`<span class="mono faint">${event.source}</span>` },
    { name: 'subject', label: t('events.subject'), sort: false, wrap: true, view: (event) => event.subject ?? '' },
    { name: 'key', label: t('events.key'), sort: false, hide: 'phone', view: (event) => event.key ?? '' },
    { name: 'id', label: t('events.id'), sort: false, hide: 'phone', view: (event) => html`<span class="mono faint">${event.id}</span>` },
  ];
  return html`
    <div class="toolbar">
      <${SearchField} label=${t('events.by.type')} value=${type} onInput=${(value) => setQuery({ type: value })} />
      <${SearchField} label=${t('events.by.source')} value=${source} onInput=${(value) => setQuery({ source: value })} />
      <${SearchField} label=${t('events.by.subject')} value=${subject} onInput=${(value) => setQuery({ subject: value })} />
      ${may('operate') && html`<${Button} kind="main" icon="plus" run=${() => setPublishing(true)}>${t('events.publish')}<//>`}
    </div>
    <${Loaded} from=${pages} lines=${10}>${(page) => html`<${Card} id="events" class="card flush as-cards" flush title=${t('events.log')} note=${t('events.last', { number: number(page.last) })}>
      <${Table} label=${t('events.log')} columns=${columns} rows=${pages.items} id=${(event) => event.number} open=${(event) => go(`/events/${event.number}`)}
        empty=${html`<${Empty} title=${t(pages.older ? 'events.none.here' : 'events.none')} text=${t(pages.older ? 'events.none.here.text' : 'events.none.text')} />`} />
      <${Older} pages=${pages} /><//>`}<//>
    ${publishing && html`<${PublishDialog} onClose=${() => setPublishing(false)} />`}`;
}

/** One event: what it says, exactly, and what became of it. */
function One({ number: name }) {
  const found = useGet(`/api/v1/events/${name}`, { text: true });
  return html`<p class="back"><a href="/events">← ${t('events.log')}</a></p>
    <${Loaded} from=${found}>${(text) => html`<${Whole} text=${text} />`}<//>`;
}

function Whole({ text }) {
  const event = JSON.parse(text);
  const fact = (name, value) => value && html`<dt>${t(`events.${name}`)}</dt><dd>${value}</dd>`;
  const content = member(text, 'data');
  return html`
    <${Card} id="event" title=${t('events.event', { number: event.number })} note=${ago(event.at)}>
      <p class="lead"><${Type} name=${event.type} /></p>
      <dl class="facts">
        ${fact('at', moment(event.at))}${fact('time', event.time && moment(event.time))}
        ${fact('source', html`<a href=${`/events?source=${encodeURIComponent(event.source)}`} class="mono">${event.source}</a>`)}
        ${fact('id', html`<span class="mono">${event.id}</span>`)}
        ${fact('subject', event.subject && html`<a href=${`/events?subject=${encodeURIComponent(event.subject)}`}>${event.subject}</a>`)}
        ${fact('key', event.key)}${fact('schema', event.dataschema)}${fact('content.type', event.datacontenttype && html`<span class="mono">${event.datacontenttype}</span>`)}
        ${Object.entries(event.extensions).map(([extension, value]) => html`<dt key=${extension} class="mono">${extension}</dt><dd>${value}</dd>`)}
      </dl>
    <//>
    <${Card} id="content" title=${t('events.content')}>
      ${content !== undefined ? html`<${Code} label=${t('events.content')} text=${pretty(content)} />`
        : event.data_base64 !== undefined ? html`<p class="note">${t('events.bytes')}</p><${Code} label=${t('events.content')} text=${event.data_base64} />`
          : html`<p class="soft">${t('events.no.content')}</p>`}
    <//>
    <${Ways} event=${event.number} />`;
}
