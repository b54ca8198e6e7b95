// Whether two tables hold the same rows: what is compared by schedule, its reports, one report with its differences.

import { act, api, useGet } from '../api.js';
import { Button, Card, Empty, Loaded, SelectField, Table } from '../components.js';
import { RunCard } from '../components/run.js';
import { ago, between, duration, moment, number } from '../format.js';
import { ComparedState } from '../gate.js';
import { said, t } from '../i18n.js';
import { Older, usePages } from '../paging.js';
import { may } from '../roles.js';
import { go, setQuery } from '../router.js';
import { cronInWords } from '../trigger.js';
import { html, useState } from '../view.js';
import { One } from './reconciliations/report.js';

const KINDS = ['missing', 'extra', 'different', 'duplicate'];

export default function Page({ params, query }) {
  return params.id ? html`<${One} id=${params.id} />` : html`<${Board} query=${query} />`;
}

function Board({ query }) {
  const { name = '' } = query;
  const [run, setRun] = useState(null);
  const definitions = useGet('/api/v1/reconciliations/definitions', { channels: ['events'], calm: 1200 });
  const pages = usePages('/api/v1/reconciliations', { query: { limit: 50, name }, channels: ['events'], seconds: 10, key: (one) => one.report });
  const start = async (one) => {
    const asked = await act(api.post(`/api/v1/reconciliations/definitions/${encodeURIComponent(one.name)}/run`), t('rec.run.done', { name: one.name }));
    if (asked) setRun(asked.id);
  };
  const names = (definitions.data?.items ?? []).map((one) => ({ value: one.name, label: one.name }));
  return html`
    <p class="note">${t('rec.about')}</p>
    ${run && html`<${Card} id="run"><${RunCard} id=${run} onEnd=${() => { setRun(null); pages.reload(); }} /><//>`}
    <${Loaded} from=${definitions} lines=${3}>${({ items }) => html`<${Definitions} items=${items} start=${start} />`}<//>
    <div class="toolbar"><${SelectField} label=${t('rec.definition')} value=${name} options=${[{ value: '', label: t('all') }, ...names]} onInput=${(value) => setQuery({ name: value })} /></div>
    <${Loaded} from=${pages} lines=${6}>${() => html`<${Reports} pages=${pages} />`}<//>`;
}

/** Source and target, one below the other. */
const sides = (one) => html`<span class="who told"><span class="mono">${one.source}</span><small class="mono">→ ${one.target}</small></span>`;

function Definitions({ items, start }) {
  const columns = [
    { name: 'name', label: t('rec.definition'), view: (one) => html`<b>${one.name}</b>` },
    { name: 'sides', label: t('rec.sides'), sort: false, wrap: true, view: (one) => sides(one.definition) },
    { name: 'schedule', label: t('jobs.when'), sort: false, view: (one) => (one.schedule ? cronInWords(one.schedule) : t('rec.by.hand')) },
    { name: 'last', label: t('rec.last'), sort: false, view: (one) => one.last && html`<a href=${`/reconciliations/${one.last.report}`}><${ComparedState} name=${one.last.outcome} /> <small>${ago(one.last.finished_at)}</small></a>` },
    { name: 'differences', label: t('rec.differences'), number: true, sort: false, view: (one) => one.last && html`<span class=${one.last.differences ? 'bad-text' : ''}>${number(one.last.differences)}</span>` },
    { name: 'actions', label: '', view: (one) => may('operate') && html`<span class="row-actions"><${Button} small icon="play" run=${() => start(one)}>${t('rec.run')}<//></span>` },
  ];
  return html`<${Card} id="definitions" class="card flush as-cards" flush title=${t('rec.definitions')}>
    <${Table} label=${t('rec.definitions')} columns=${columns} rows=${items} id=${(one) => one.name} empty=${html`<${Empty} title=${t('rec.none')} text=${t('rec.none.text')} />`} /><//>`;
}

function Reports({ pages }) {
  const count = (kind) => ({
    name: kind, label: t(`rec.kind.${kind}`), number: true, sort: false, hide: 'phone', view: (one) => (one.counts[kind] ? html`<b class="bad-text">${number(one.counts[kind])}</b>` : html`<span class="faint">0</span>`),
  });
  const columns = [
    { name: 'report', label: t('tasks.id'), number: true, sort: false, view: (one) => html`<a href=${`/reconciliations/${one.report}`}>${one.report}</a>` },
    { name: 'outcome', label: t('rec.result'), sort: false, view: (one) => html`<${ComparedState} name=${one.outcome} title=${said(one.note)} />` },
    { name: 'sides', label: t('rec.sides'), sort: false, wrap: true, view: (one) => html`${one.name ? html`<b>${one.name}</b> ` : ''}${sides(one)}` },
    { name: 'rows', label: t('rec.rows'), number: true, sort: false, view: (one) => number(one.counts.source_rows) },
    ...KINDS.map(count),
    { name: 'took', label: t('tasks.took'), number: true, sort: false, hide: 'phone', view: (one) => duration(between(one.started_at, one.finished_at)) },
    { name: 'finished_at', label: t('rec.finished'), sort: false, view: (one) => html`<time title=${moment(one.finished_at)}>${ago(one.finished_at)}</time>` },
  ];
  return html`<${Card} id="reports" class="card flush as-cards" flush title=${t('rec.reports')}>
    <${Table} label=${t('rec.reports')} columns=${columns} rows=${pages.items} id=${(one) => one.report} open=${(one) => go(`/reconciliations/${one.report}`)}
      empty=${html`<${Empty} title=${t('rec.reports.none')} text=${t('rec.reports.none.text')} />`} /><${Older} pages=${pages} /><//>`;
}
