// Quarantine: rows that a rule refused. They are kept here and served nowhere; the next answer that is right replaces them.

import { useGet } from '../../api.js';
import { Badge, Card, Dialog, Empty, Loaded, Table } from '../../components.js';
import { ago, moment } from '../../format.js';
import { t } from '../../i18n.js';
import { html, useState } from '../../view.js';

const inWords = (row) => Object.entries(row ?? {}).map(([name, value]) => `${name} ${value ?? '–'}`).join(', ');

export function Quarantine({ dataset }) {
  const found = useGet('/api/v1/quarantine', { query: { limit: 500, dataset }, channels: ['overview'] });
  const [shown, setShown] = useState(null);
  const columns = [
    { name: 'id', label: t('tasks.id'), number: true },
    { name: 'dataset', label: t('tasks.dataset'), view: (one) => html`<b>${one.dataset}</b>` },
    { name: 'rule', label: t('quarantine.rule'), view: (one) => html`<${Badge} tone="warn">${one.rule}<//>` },
    { name: 'reason', label: t('quarantine.reason'), wrap: true },
    { name: 'source', label: t('failures.source') },
    { name: 'row', label: t('quarantine.row'), sort: false, wrap: true, hide: 'phone', view: (one) => html`<small class="clip">${inWords(one.row)}</small>` },
    { name: 'at', label: t('quarantine.at'), view: (one) => html`<time title=${moment(one.at)}>${ago(one.at)}</time>` },
  ];
  return html`
    <${Loaded} from=${found}>${({ items }) => html`<${Card} flush class="card flush as-cards"><${Table} label=${t('failures.quarantine')} columns=${columns} rows=${items} open=${setShown}
      empty=${html`<${Empty} title=${t('quarantine.none')} text=${t('quarantine.none.text')} />`} /><//>`}<//>
    ${shown && html`<${Dialog} title=${`${shown.dataset} · ${shown.rule}`} onClose=${() => setShown(null)} side>
      <p>${shown.reason}</p>
      <p class="note">${t('quarantine.from', { source: shown.source, time: moment(shown.at) })}</p>
      <dl class="facts">${Object.entries(shown.row ?? {}).map(([name, value]) => html`<dt key=${name}>${name}</dt><dd class="mono">${value === null ? '–' : String(value)}</dd>`)}</dl>
    <//>`}`;
}
