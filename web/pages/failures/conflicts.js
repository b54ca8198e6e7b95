// Conflicts: a source offers other values than a better one gave. A person takes the one or the other.

import { act, api, useGet } from '../../api.js';
import { Button, Card, Empty, Loaded, State } from '../../components.js';
import { ago, moment } from '../../format.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { html } from '../../view.js';

const shown = (value) => (value === null || value === undefined ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value));

function Conflict({ conflict, done }) {
  const names = Object.keys(conflict.offered ?? {});
  const different = conflict.differences;
  const key = typeof conflict.key === 'object' ? Object.values(conflict.key ?? {}).map(shown).join(' · ') : shown(conflict.key);
  const take = (side) => act(api.post(`/api/v1/conflicts/${conflict.id}/resolve`, { take: side }), t(`conflicts.took.${side}`)).then(done);
  const decide = may('operate') && !conflict.resolved_at;
  const state = conflict.resolved_at && html`<${State} tone="good" title=${moment(conflict.resolved_at)}>${t(`conflicts.took.${conflict.resolution}`)}<//>`;
  return html`<${Card} id=${`conflict-${conflict.id}`} title=${`${conflict.dataset} · ${key}`} note=${ago(conflict.at)} actions=${state}>
    <div class="table" tabindex="0" role="region" aria-label=${t('conflicts.compare', { key })}><table class="compare">
      <thead><tr><th scope="col">${t('conflicts.column')}</th><th scope="col" class="number">${t('conflicts.stored')}</th><th scope="col" class="number">${t('conflicts.offered', { source: conflict.source })}</th></tr></thead>
      <tbody>${different.map((name) => html`<tr key=${name}><th scope="row">${name}</th><td class="number mono">${shown(conflict.stored?.[name])}</td><td class="number mono differs">${shown(conflict.offered?.[name])}</td></tr>`)}</tbody>
    </table></div>
    <div class="row"><span class="note">${t('conflicts.same', { count: names.length - different.length })}</span>
      ${decide && html`<span class="right row"><${Button} small run=${() => take('stored')}>${t('conflicts.take.stored')}<//>
        <${Button} small run=${() => take('offered')}>${t('conflicts.take.offered', { source: conflict.source })}<//></span>`}</div>
  <//>`;
}

export function Conflicts({ dataset, all }) {
  const found = useGet('/api/v1/conflicts', { query: { limit: 200, dataset, all: all || null }, channels: ['overview'] });
  return html`<${Loaded} from=${found}>${({ items }) => (items.length
    ? html`<div class="conflicts">${items.map((conflict) => html`<${Conflict} key=${conflict.id} conflict=${conflict} done=${found.reload} />`)}</div>`
    : html`<${Empty} title=${t('conflicts.none')} text=${t('conflicts.none.text')} />`)}<//>`;
}
