// One report: what was compared, every row that differs with its fields, its event and the likely cause.

import { useGet } from '../../api.js';
import { Button, Card, Empty, Figure, Figures, Loaded, State, Table } from '../../components.js';
import { NONE, ago, between, duration, moment, number } from '../../format.js';
import { ComparedState } from '../../gate.js';
import { has, said, t, word } from '../../i18n.js';
import { may } from '../../roles.js';
import { html, useState } from '../../view.js';
import { RepairDialog } from './repair.js';

const TONES = { missing: 'bad', extra: 'warn', different: 'bad', duplicate: 'warn' };

export function One({ id }) {
  const found = useGet(`/api/v1/reconciliations/${id}`);
  return html`<p class="back"><a href="/reconciliations">← ${t('nav.reconciliations')}</a></p>
    <${Loaded} from=${found}>${(report) => html`<${Whole} report=${report} />`}<//>`;
}

function Whole({ report }) {
  const { counts } = report;
  const [repairing, setRepairing] = useState(false);
  const [after, setAfter] = useState([]);
  const differences = useGet(`/api/v1/reconciliations/${report.report}/differences`, { query: { limit: 100, after: after.at(-1) } });
  const figure = (name, tone) => html`<${Figure} label=${t(`rec.kind.${name}`)} value=${number(counts[name])} tone=${counts[name] ? tone : ''} />`;
  return html`
    <${Card} id="report" title=${t('rec.report', { number: report.report })} note=${[report.name, ago(report.finished_at)].filter(Boolean).join(' · ')}
      actions=${html`<${ComparedState} name=${report.outcome} />${may('operate') && report.differences > 0 && html`<${Button} small kind="main" icon="check" run=${() => setRepairing(true)}>${t('rec.repair')}<//>`}`}>
      <dl class="facts"><dt>${t('rec.source')}</dt><dd class="mono told">${report.source}</dd><dt>${t('rec.target')}</dt><dd class="mono told">${report.target}</dd>
        <dt>${t('tasks.took')}</dt><dd>${duration(between(report.started_at, report.finished_at))} · ${moment(report.started_at)}</dd>
        ${report.note && html`<dt>${t('detail.note')}</dt><dd>${said(report.note)}</dd>`}</dl>
      <${Figures}>
        <${Figure} label=${t('rec.rows')} value=${number(counts.source_rows)} note=${t('rec.rows.target', { count: number(counts.target_rows) })} />
        ${figure('missing', 'bad')}${figure('extra', 'warn')}${figure('different', 'bad')}${figure('duplicate', 'warn')}
        <${Figure} label=${t('rec.looked')} value=${number(counts.rows_read)} note=${t('rec.ranges', { count: number(counts.ranges) })} />
      <//>
      ${(counts.unsettled > 0 || counts.passed > 0) && html`<p class="note">${t('rec.settled', { passed: number(counts.passed), unsettled: number(counts.unsettled) })}</p>`}
    <//>
    <${Loaded} from=${differences}>${({ items, next }) => html`<${Differences} report=${report} items=${items} next=${next} after=${after} setAfter=${setAfter} />`}<//>
    ${repairing && html`<${RepairDialog} report=${report} onClose=${() => { setRepairing(false); differences.reload(); }} />`}`;
}

/** Nothing, an empty text and blanks around a text are told apart from each other. */
const value = (text) => (text === null || text === undefined ? html`<i class="faint">NULL</i>` : text === '' ? html`<i class="faint">''</i>` : text.trim() === text ? text : html`<span class="blanks">“${text}”</span>`);

/** Each column that differs with both values; of a row that only one side has, all of its columns. */
function Fields({ report, one }) {
  const both = one.source.length === 1 && one.target.length === 1;
  if (!both) {
    const [side, rows] = one.source.length ? ['source', one.source] : ['target', one.target];
    return html`<span class="row-values"><small class="faint">${t(`rec.${side}`)}${rows.length > 1 ? ` × ${rows.length}` : ''}:</small> ${report.columns.slice(report.key_columns).map((column, at) => html`<span key=${column}><small>${column}</small> ${value(rows[0]?.[at + report.key_columns])}</span>`)}</span>`;
  }
  return html`<table class="fields-differ"><tbody>${one.fields.map((column) => {
    const at = report.columns.indexOf(column);
    return html`<tr key=${column}><th scope="row">${column}</th><td>${value(one.source[0][at])}</td><td class="arrow" aria-hidden="true">≠</td><td>${value(one.target[0][at])}</td></tr>`;
  })}</tbody></table>`;
}

function Differences({ report, items, next, after, setAfter }) {
  const columns = [
    { name: 'number', label: t('tasks.id'), number: true, sort: false },
    { name: 'kind', label: t('rec.kind'), sort: false, view: (one) => (one.repaired_at ? html`<${State} tone="good" title=${moment(one.repaired_at)}>${t('rec.repaired')}<//>` : html`<${State} tone=${TONES[one.kind]}>${word('rec.kind', one.kind)}<//>`) },
    { name: 'key', label: t('rec.key'), sort: false, view: (one) => html`<b class="mono told">${one.key.map((part) => part ?? NONE).join(' · ')}</b>` },
    { name: 'fields', label: t('rec.fields'), sort: false, wrap: true, view: (one) => html`<div class="told"><${Fields} report=${report} one=${one} /></div>` },
    { name: 'cause', label: t('rec.cause'), sort: false, wrap: true, view: (one) => (has(`rec.cause.${one.cause}`) ? t(`rec.cause.${one.cause}`) : one.cause_text) },
    { name: 'event', label: t('attempt.event'), sort: false, view: (one) => one.event && html`<span class="who"><a href=${`/events/${one.event}`}>${t('events.event', { number: one.event })}</a>${one.delivery && html`<small>${word('delivery.state', one.delivery)}</small>`}${one.attempt && html`<small>${t('attempt.number', { number: one.attempt })}</small>`}</span>` },
  ];
  return html`<${Card} id="differences" class="card flush as-cards" flush title=${t('rec.differences')} note=${number(report.differences)}>
    <${Table} label=${t('rec.differences')} columns=${columns} rows=${items} id=${(one) => one.number} empty=${html`<${Empty} title=${t('rec.equal')} text=${t('rec.equal.text')} />`} />
    ${(after.length > 0 || next) && html`<div class="pager"><${Button} small disabled=${!after.length} run=${() => setAfter(after.slice(0, -1))}>${t('data.before')}<//><${Button} small disabled=${!next} run=${() => setAfter([...after, next])}>${t('data.after')}<//></div>`}
  <//>`;
}
