// Intakes: ways in which publishers' events come without a call; how each stands, what waits, what was refused.

import { act, api, useGet } from '../../api.js';
import { Badge, Button, Card, Code, Dialog, Empty, Figure, Figures, Loaded, State, Table } from '../../components.js';
import { ago, bytes, moment, number } from '../../format.js';
import { TakingState } from '../../gate.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { html, useState } from '../../view.js';

const path = (one) => `/api/v1/intakes/${encodeURIComponent(one.name)}`;

function lag(one) {
  if (one.lag === null || one.lag === undefined) return t('intakes.lag.unknown');
  return one.lag_unit === 'bytes' ? bytes(one.lag) : t(`intakes.lag.${one.lag_unit}`, { count: number(one.lag) });
}

/** What it takes from: a table, a slot, a stream. */
const place = ({ definition }) => definition.outbox?.table ?? definition.redis?.stream ?? [...definition.replication?.tables ?? [], ...definition.replication?.prefixes ?? []].join(', ');

export function Intakes() {
  const found = useGet('/api/v1/intakes', { channels: ['events'], calm: 1200, seconds: 5 });
  const [shown, setShown] = useState(null);
  const [tried, setTried] = useState(null);
  const tell = (one, name) => act(api.post(`${path(one)}/${name}`), t(`subs.${name}.done`, { name: one.name })).then(found.reload);
  const test = async (one) => { const answer = await act(api.post(`${path(one)}/test`)); if (answer) setTried({ name: one.name, items: answer.items }); };
  const actions = (one) => may('operate') && html`<span class="row-actions">
    <${Button} small icon="check" title=${t('intakes.test')} run=${() => test(one)} />
    ${one.state === 'paused' ? html`<${Button} small icon="play" title=${t('subs.resume')} run=${() => tell(one, 'resume')} />` : html`<${Button} small icon="pause" title=${t('subs.pause')} run=${() => tell(one, 'pause')} />`}</span>`;
  const columns = [
    { name: 'name', label: t('subs.name'), view: (one) => html`<span class="who"><b>${one.name}</b><small>${t(`intakes.${one.kind}`)} · <span class="mono told">${place(one)}</span></small></span>` },
    { name: 'state', label: t('tasks.state'), wrap: true, view: (one) => html`<span><${TakingState} name=${one.state} />${one.error && html`<br /><small class="bad-text">${one.error}</small>`}</span>` },
    { name: 'lag', label: t('intakes.lag'), number: true, view: (one) => html`<span class=${one.lagging ? 'bad-text' : ''}>${lag(one)}</span>` },
    { name: 'published', label: t('intakes.published'), number: true, view: (one) => number(one.published) },
    { name: 'repeated', label: t('intakes.repeated'), number: true, hide: 'phone', view: (one) => number(one.repeated) },
    { name: 'refused', label: t('intakes.refused'), number: true, view: (one) => html`<span class=${one.refused ? 'bad-text' : ''}>${number(one.refused)}</span>` },
    { name: 'seen_at', label: t('intakes.seen'), hide: 'phone', view: (one) => html`<time class="faint" title=${moment(one.seen_at)}>${ago(one.seen_at)}</time>` },
    { name: 'actions', label: '', view: actions },
  ];
  return html`<${Loaded} from=${found}>${({ items }) => html`<${Card} id="intakes" class="card flush as-cards" flush>
      <${Table} label=${t('subs.intakes')} columns=${columns} rows=${items} id=${(one) => one.name} open=${(one) => setShown(one.name)}
        empty=${html`<${Empty} title=${t('intakes.none')} text=${t('intakes.none.text')} />`} /><//>
      ${shown && items.some((one) => one.name === shown) && html`<${One} one=${items.find((one) => one.name === shown)} onClose=${() => setShown(null)} />`}`}<//>
    ${tried && html`<${Dialog} title=${t('intakes.test.title', { name: tried.name })} onClose=${() => setTried(null)} actions=${html`<${Button} kind="main" run=${() => setTried(null)}>${t('close')}<//>`}>
      <ul class="plain-list found">${tried.items.map((item) => html`<li key=${item.what}><${State} tone=${item.problem ? 'bad' : 'good'}>${item.what}<//>${item.problem && html`<p class="soft">${item.problem}</p>`}${item.hint && html`<p class="note">→ ${item.hint}</p>`}</li>`)}</ul>
    <//>`}`;
}

function One({ one, onClose }) {
  return html`<${Dialog} wide title=${one.name} onClose=${onClose}>
    <p class="row"><${TakingState} name=${one.state} />${one.since && html`<span class="soft">${t('intakes.since', { when: ago(one.since) })}</span>`}${!one.has_url && html`<${Badge} tone="bad">${t('intakes.no.url')}<//>`}</p>
    ${one.error && html`<p class="bad-text">${one.error}</p>`}${one.hint && html`<p class="note">→ ${one.hint}</p>`}
    ${one.next_try && html`<p class="soft">${t('failures.next', { when: ago(one.next_try) })} · ${t('figures.in.a.row', { count: number(one.failures) })}</p>`}
    <${Figures}>
      <${Figure} label=${t('intakes.lag')} value=${lag(one)} tone=${one.lagging ? 'bad' : ''} /><${Figure} label=${t('intakes.published')} value=${number(one.published)} />
      <${Figure} label=${t('intakes.repeated')} value=${number(one.repeated)} note=${t('intakes.repeated.note')} /><${Figure} label=${t('intakes.refused')} value=${number(one.refused)} tone=${one.refused ? 'bad' : ''} />
      <${Figure} label=${t('intakes.ignored')} value=${number(one.ignored)} />
    <//>
    <dl class="facts">${one.place && html`<dt>${t('intakes.place')}</dt><dd class="mono told">${one.place}</dd>`}${one.worker && html`<dt>${t('intakes.worker')}</dt><dd class="mono told">${one.worker}</dd>`}</dl>
    <h3>${t('inbounds.definition')}</h3><${Code} label=${t('inbounds.definition')} text=${JSON.stringify(one.definition, null, 2)} />
  <//>`;
}
