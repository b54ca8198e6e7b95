// What happened, in order: when, how long after the beginning, what, and its details.

import { Button } from '../../components.js';
import { between, dayOf, duration, moment, number } from '../../format.js';
import { said, t, word } from '../../i18n.js';
import { html, useState } from '../../view.js';

const TONES = {
  'slice.committed': 'good', 'task.completed': 'good', 'run.finished': 'good', 'failure.resolved': 'good', 'dataset.whole': 'good',
  'rows.quarantined': 'warn', 'rows.conflicting': 'warn', 'source.set_aside': 'warn', 'task.paused': 'off',
  'slice.failed': 'bad', 'task.failed': 'bad', 'task.started': 'live', 'run.started': 'live',
};
const SHOWN = 60;

/** What the line says anyway, or what only the program needs. */
const HIDDEN = new Set(['seq', 'fence', 'state', 'task', 'dataset']);

/** Names and values worth a look; figures of nothing are left out. */
function details(data) {
  const tells = ([name, value]) => !HIDDEN.has(name) && ['string', 'number', 'boolean'].includes(typeof value) && value !== '' && value !== 0;
  return Object.entries(data ?? {}).filter(tells).sort(([one], [other]) => (other === 'area') - (one === 'area'));
}

const shown = (value) => (typeof value === 'number' ? number(value, Number.isInteger(value) ? 0 : 2) : said(String(value)));

/** The sentence of the service, where the details do not say the same. */
function sentence(event) {
  return event.data?.area || ['task.created', 'task.started'].includes(event.kind) ? '' : said(event.text ?? '');
}

/** events: [{ at, kind, text, data }], oldest first; long lists show their beginning and their end. */
export function Timeline({ events, from }) {
  const [all, setAll] = useState(false);
  const half = SHOWN / 2;
  const parts = all || events.length <= SHOWN ? [events] : [events.slice(0, half), events.slice(-half)];
  const begun = dayOf(from);
  const line = (event, at) => html`<li key=${at} class=${TONES[event.kind] ?? 'info'}>
    <time title=${moment(event.at)}>${dayOf(event.at) === begun ? moment(event.at).slice(11) : moment(event.at).slice(5)}</time>
    <span class="after">${event.at >= from ? `+${duration(Math.max(0, between(from, event.at)))}` : ''}</span>
    <span class="what"><b>${word('event', event.kind)}</b>${sentence(event) && html` <span>${sentence(event)}</span>`}
      ${details(event.data).length > 0 && html`<small>${details(event.data).map(([name, value]) => html`<span key=${name}>${word('detail', name)} <b>${shown(value)}</b></span>`)}</small>`}</span>
  </li>`;
  return html`<ol class="timeline">
    ${parts[0].map(line)}
    ${parts.length > 1 && html`<li class="gap"><${Button} small run=${() => setAll(true)}>${t('timeline.more', { count: events.length - SHOWN })}<//></li>`}
    ${parts[1]?.map((event, at) => line(event, half + at))}
  </ol>`;
}
