// What is chosen: one day with its history, or a range; what it takes to fetch it, and the run that does.

import { Problem, act, api, useGet } from '../api.js';
import { Badge, Button, Card, CheckField, Empty, Failed, Loaded, Loading, RangeField, RunCard, State, Table } from '../components.js';
import { NONE, dayName, daysBetween, instant, isDay, minutes, moment, number } from '../format.js';
import { said, t } from '../i18n.js';
import { may } from '../roles.js';
import { html, useEffect, useState } from '../view.js';
import { TONES, rangesOf } from './cell.js';

const RANGES_SHOWN = 12;

function Day({ dataset, day }) {
  const found = useGet(`/api/v1/coverage/${dataset}/${day}`, { channels: [`coverage:${dataset}`] });
  return html`<${Loaded} from=${found} lines=${4}>${(cell) => html`
    <div class="row"><${State} tone=${TONES[cell.state]}>${t(`cover.${cell.state}`)}<//>${cell.why && html`<span class="soft">${said(cell.why)}</span>`}</div>
    <dl class="facts">
      <dt>${t('coverage.rows.stored')}</dt><dd>${number(cell.rows)}${cell.expected != null ? html` <span class="faint">${t('coverage.expected', { rows: number(cell.expected) })}</span>` : ''}</dd>
      ${cell.source && html`<dt>${t('coverage.source')}</dt><dd>${cell.source}</dd>`}
      ${cell.at && html`<dt>${t('coverage.at')}</dt><dd>${moment(cell.at)}</dd>`}
      ${cell.task != null && html`<dt>${t('coverage.task')}</dt><dd><a href=${`/tasks/${cell.task}`}>#${cell.task}</a></dd>`}
    </dl>
    <${Failures} failures=${cell.failures ?? []} dataset=${dataset} />
    <${Commits} commits=${cell.commits ?? []} />`}<//>`;
}

function Failures({ failures, dataset }) {
  if (!failures.length) return null;
  return html`<h3>${t('coverage.failures')}</h3><ul class="lines">${failures.map((one) => html`<li key=${one.id}>
    <span class="bad-text">✕ ${one.kind}</span> ${one.message} <a href=${`/failures?dataset=${dataset}`}>${t('coverage.failure.look')}</a></li>`)}</ul>`;
}

/** The commit's time leads to the task that made it. */
function when(row) {
  const title = [moment(row.at), row.area, row.task != null ? `${t('coverage.task')} ${row.task}` : ''].filter(Boolean).join(' · ');
  const text = instant(row.at, { seconds: false });
  return row.task != null ? html`<a href=${`/tasks/${row.task}`} title=${title}>${text}</a>` : html`<span title=${title}>${text}</span>`;
}

function Commits({ commits }) {
  const figure = (name) => ({ name, label: t(`commit.${name}`), number: true, view: (row) => number(row[name]) });
  const columns = [
    { name: 'at', label: t('commit.at'), view: (row) => when(row) },
    { name: 'source', label: t('commit.source') },
    figure('inserted'), figure('updated'), figure('unchanged'), figure('withdrawn'),
  ];
  return html`<h3>${t('coverage.commits')}</h3>
    <${Table} label=${t('coverage.commits')} columns=${columns} rows=${commits} id=${(row) => row.seq} empty=${html`<p class="faint">${t('coverage.commits.none')}</p>`} />`;
}

/** The plan of a work, asked for again when the work changes and has rested. */
function usePlan(work) {
  const key = JSON.stringify(work);
  const [state, setState] = useState({ key: null, plan: null, problem: null });
  const [count, again] = useState(0);
  useEffect(() => {
    if (!work) return undefined;
    const control = new AbortController();
    const timer = setTimeout(() => {
      api.post('/api/v1/plan', work, { signal: control.signal }).then(
        (plan) => setState({ key, plan, problem: null }),
        (problem) => { if (problem instanceof Problem) setState({ key, plan: null, problem }); },
      );
    }, 250);
    return () => { clearTimeout(timer); control.abort(); };
  }, [key, count]);
  return { ...state, waits: state.key !== key, again: () => again((before) => before + 1) };
}

function Days({ days }) {
  const ranges = rangesOf(days);
  const text = (range) => (range.from === range.to ? range.from : `${range.from} – ${range.to.slice(0, 4) === range.from.slice(0, 4) ? range.to.slice(5) : range.to} (${range.count})`);
  return html`<ul class="ranges">${ranges.slice(0, RANGES_SHOWN).map((range) => html`<li key=${range.from}>${text(range)}</li>`)}
    ${ranges.length > RANGES_SHOWN && html`<li class="faint">${t('coverage.ranges.more', { count: ranges.length - RANGES_SHOWN })}</li>`}</ul>`;
}

function Plan({ plan }) {
  const items = plan.items ?? [];
  return html`<div class="plan">
    <p class="sum"><b>${t('plan.calls', { count: number(plan.calls) })}</b> · ${t('plan.rows', { count: number(plan.rows) })} · ${t('plan.minutes', { time: minutes(plan.minutes) })}</p>
    ${items.map((item, at) => html`<div key=${at} class="item">
      <div class="row"><b>${items.length > 1 ? `${item.dataset} · ` : ''}${item.source ?? NONE}</b>${item.estimated && html`<${Badge} title=${t('plan.estimated.title')}>${t('plan.estimated')}<//>`}<span class="soft">${t('plan.slices', { slices: number(item.slices), calls: number(item.calls), time: minutes(item.minutes) })}</span></div>
      ${item.days?.length > 0 && html`<${Days} days=${item.days} />`}
      ${item.note && html`<p class="soft">${said(item.note)}</p>`}
    </div>`)}
  </div>`;
}

function Take({ dataset, from, to }) {
  const [force, setForce] = useState(false);
  const [run, setRun] = useState(null);
  // A table without points of time is one state, and is asked for as a whole.
  const work = dataset.time ? { datasets: [dataset.name], from, to, force } : { datasets: [dataset.name], force };
  const found = usePlan(run ? null : work);
  const start = async () => {
    const started = await act(api.post('/api/v1/runs', work), t('coverage.started'));
    if (started?.id) setRun(started.id);
  };
  if (run) return html`<${RunCard} id=${run} onEnd=${() => setRun(null)} />`;
  const calls = found.plan?.calls ?? 0;
  const nothing = found.plan && !found.waits && calls === 0;
  return html`
    <${CheckField} label=${t('coverage.force')} hint=${t('coverage.force.hint')} value=${force} onInput=${setForce} />
    ${found.problem && !found.waits && html`<${Failed} problem=${found.problem} retry=${found.again} />`}
    ${found.plan ? html`<div class=${found.waits ? 'waits' : ''}>${nothing ? html`<p class="calm"><span aria-hidden="true">✓</span>${t('coverage.nothing')}</p>${(found.plan.items ?? []).filter((item) => item.note).map((item, at) => html`<p class="soft" key=${at}>${said(item.note)}</p>`)}` : html`<${Plan} plan=${found.plan} />`}</div>`
    : !found.problem && html`<${Loading} lines=${3} />`}
    ${may('operate') && html`<div class="row"><${Button} kind="main" icon="play" disabled=${found.waits || !calls} run=${start}>${t('coverage.start')}<//></div>`}`;
}

export function Panel({ dataset, from, to, settled, onRange }) {
  if (!from) {
    return html`<aside class="panel"><${Card} id="chosen" title=${t('coverage.chosen')}>
      <${Empty} title=${t('coverage.choose')} text=${t('coverage.choose.text')} /><//></aside>`;
  }
  const single = from === to;
  const range = ({ from: first, to: last }) => {
    if (isDay(first) && isDay(last)) onRange(first, last);
  };
  const title = !dataset.time ? t('coverage.whole') : single ? dayName(from) : `${from} – ${to}`;
  return html`<aside class="panel open">
    <${Card} id="chosen" title=${title} note=${single ? '' : t('coverage.days', { count: daysBetween(from, to) })}
      actions=${html`<${Button} small kind="quiet" icon="close" title=${t('coverage.clear')} run=${() => onRange(null)} />`}>
      <div class="stack">
        ${dataset.time && html`<${RangeField} from=${from} to=${to} onInput=${range} />`}
        ${settled && single && html`<${Day} key=${from} dataset=${dataset.name} day=${from} />`}
      </div>
    <//>
    ${settled && html`<${Card} id="take" title=${t('coverage.take')}><div class="stack"><${Take} key=${`${from} ${to}`} dataset=${dataset} from=${from} to=${to} /></div><//>`}
  </aside>`;
}
