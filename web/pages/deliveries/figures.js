// How deliveries fare: success, delay, what waits and what failed, of all receivers together and of each.

import { Card, Empty, Figure, Figures, Table } from '../../components.js';
import { ago, moment, number } from '../../format.js';
import { SubscriptionState, milliseconds, success, toneOfSuccess } from '../../gate.js';
import { t } from '../../i18n.js';
import { go, setQuery } from '../../router.js';
import { html } from '../../view.js';

const sum = (figures, name) => figures.reduce((whole, one) => whole + (one[name] ?? 0), 0);

/** Failures by error of all receivers, the most frequent first. */
function errorsOf(figures) {
  const all = new Map();
  for (const { errors } of figures) for (const [name, count] of Object.entries(errors)) all.set(name, (all.get(name) ?? 0) + count);
  return [...all].sort(([, one], [, other]) => other - one);
}

/** The mean over receivers weighs each alike: the service says no number of deliveries of the hour. */
function worst(figures, name) {
  const known = figures.map((one) => one[name]).filter((value) => typeof value === 'number');
  return known.length ? Math.max(...known) : null;
}

export function Totals({ figures }) {
  const attempts = sum(figures, 'attempts');
  const rate = attempts ? (sum(figures, 'delivered') / attempts) * 100 : null;
  const [backlog, retries, failed] = ['backlog', 'retries', 'failed'].map((name) => sum(figures, name));
  const stopped = sum(figures, 'dead') + sum(figures, 'parked');
  return html`<div class="gate-totals">
    <${Figures}>
      <${Figure} label=${t('figures.success')} value=${success(rate)} note=${t('figures.attempts', { count: number(attempts) })} tone=${toneOfSuccess(rate)} />
      <${Figure} label=${t('figures.mean')} value=${milliseconds(worst(figures, 'delay_mean_ms'))} note=${t('figures.hour.worst')} />
      <${Figure} label=${t('figures.p95')} value=${milliseconds(worst(figures, 'delay_p95_ms'))} note=${t('figures.hour.worst')} />
      <${Figure} label=${t('figures.backlog')} value=${number(backlog)} note=${t('figures.retries', { count: number(retries) })} tone=${backlog > 100 ? 'bad' : backlog > 50 ? 'warn' : ''} run=${() => setQuery({ view: 'unsettled', state: 'waiting' }, { push: true })} />
      <${Figure} label=${t('figures.stopped')} value=${number(stopped)} note=${t('figures.stopped.note')} tone=${stopped ? 'bad' : ''} run=${() => setQuery({ view: 'unsettled', state: 'dead' }, { push: true })} />
      <${Figure} label=${t('figures.failed')} value=${number(failed)} note=${t('figures.hour')} tone=${failed > 10 ? 'warn' : ''} />
    <//>
    <${Errors} errors=${errorsOf(figures)} />
  </div>`;
}

/** One bar an error code; a click lists its attempts. */
function Errors({ errors }) {
  if (!errors.length) return null;
  const most = errors[0][1];
  return html`<${Card} id="errors" title=${t('figures.errors')} note=${t('figures.hour')}>
    <ul class="bars">${errors.slice(0, 8).map(([name, count]) => html`<li key=${name}>
      <button type="button" class="told" onClick=${() => setQuery({ view: null, error: name, outcome: null }, { push: true })} title=${t('figures.errors.show', { error: name })}>${name}</button>
      <span class="bar" aria-hidden="true"><i style=${{ width: `${Math.max(2, (count / most) * 100)}%` }}></i></span><b>${number(count)}</b></li>`)}</ul>
  <//>`;
}

/** Each receiver: its state and why, and its figures. */
export function Endpoints({ figures, subscriptions }) {
  const rows = subscriptions.map((one) => ({ ...figures.find((found) => found.subscription === one.name), ...one }));
  const columns = [
    { name: 'name', label: t('deliveries.subscription'), view: (one) => html`<span class="who"><a href=${`/subscriptions/${encodeURIComponent(one.name)}`}><b>${one.name}</b></a><small class="mono">${one.url}</small></span>` },
    { name: 'state', label: t('figures.health'), wrap: true, view: (one) => html`<span><${SubscriptionState} name=${one.state} />${one.reason && html`<br /><small class="faint">${one.reason}</small>`}</span>` },
    { name: 'success_percent', label: t('figures.success'), number: true, view: (one) => html`<span class=${{ bad: 'bad-text', warn: 'late-text', good: 'good-text' }[toneOfSuccess(one.success_percent)] ?? ''}>${success(one.success_percent)}</span>` },
    { name: 'delay_mean_ms', label: t('figures.mean'), number: true, hide: 'phone', view: (one) => milliseconds(one.delay_mean_ms) },
    { name: 'delay_p95_ms', label: t('figures.p95'), number: true, view: (one) => milliseconds(one.delay_p95_ms) },
    { name: 'backlog', label: t('figures.backlog'), number: true, view: (one) => html`<span title=${one.oldest_at ? t('figures.oldest', { time: moment(one.oldest_at) }) : ''}>${number(one.backlog)}${one.oldest_at ? html` <small class="faint">${ago(one.oldest_at)}</small>` : ''}</span>` },
    { name: 'retries', label: t('figures.retrying'), number: true, hide: 'phone', view: (one) => number(one.retries) },
    { name: 'dead', label: t('figures.dead'), number: true, view: (one) => (one.dead ? html`<b class="bad-text">${number(one.dead)}</b>` : number(one.dead)) },
    { name: 'failed', label: t('figures.failed'), number: true, hide: 'phone', view: (one) => html`<span title=${Object.entries(one.errors ?? {}).map(([name, count]) => `${name} ${count}`).join(', ')}>${number(one.failed)}${one.failed_in_a_row ? html` <small class="bad-text">${t('figures.in.a.row', { count: number(one.failed_in_a_row) })}</small>` : ''}</span>` },
  ];
  return html`<${Card} id="endpoints" class="card flush as-cards" flush title=${t('figures.endpoints')} actions=${html`<a href="/subscriptions">${t('nav.subscriptions')}</a>`}>
    <${Table} label=${t('figures.endpoints')} columns=${columns} rows=${rows} id=${(one) => one.name} open=${(one) => go(`/subscriptions/${encodeURIComponent(one.name)}`)}
      empty=${html`<${Empty} title=${t('subs.none')} text=${t('subs.none.text')} />`} />
  <//>`;
}

