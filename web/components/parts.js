// Small parts: buttons, badges, cards, figures, bars, and what to show when there is nothing or something broke.

import { duration, number, percent, rate } from '../format.js';
import { t } from '../i18n.js';
import { toast } from '../toast.js';
import { html, useState } from '../view.js';
import { Icon } from './icons.js';

/** `kind`: `main` (one a view), `plain`, `quiet`, `danger`. While `run` works the button waits; it may return a promise. */
export function Button({ kind = 'plain', icon, run, href, disabled, title, small, children, type = 'button', ...rest }) {
  const [busy, setBusy] = useState(false);
  const classes = `button ${kind}${small ? ' small' : ''}${children ? '' : ' bare'}`;
  const inside = html`${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}`;
  if (href) return html`<a class=${classes} href=${href} title=${title} aria-label=${children ? undefined : title} ...${rest}>${inside}</a>`;
  const click = async (event) => {
    if (!run) return;
    const going = run(event);
    if (!going?.then) return;
    setBusy(true);
    try { await going; } finally { setBusy(false); }
  };
  return html`<button type=${type} class=${classes} onClick=${click} disabled=${disabled || busy} aria-busy=${busy}
    title=${title} aria-label=${children ? undefined : title} ...${rest}>${inside}</button>`;
}

const SIGNS = { good: '●', late: '◐', bad: '✕', warn: '!', off: '○', live: '▸', info: 'i' };

/** A state: colour, sign and word together. `tone`: good, late, warn, bad, off, live, info. */
export function State({ tone = 'off', children, title }) {
  return html`<span class=${`state ${tone}`} title=${title}><span class="sign" aria-hidden="true">${SIGNS[tone] ?? '○'}</span>${children}</span>`;
}

/** A small label. */
export function Badge({ tone = '', children, title }) {
  return html`<span class=${`badge ${tone}`} title=${title}>${children}</span>`;
}

/** A titled area; `actions` stand at the right of the title. */
export function Card({ title, note, actions, children, flush, id, ...rest }) {
  return html`<section class=${`card${flush ? ' flush' : ''}`} aria-labelledby=${title && id ? `${id}-title` : undefined} id=${id} ...${rest}>
    ${(title || actions) && html`<header>
      <h2 id=${id ? `${id}-title` : undefined}>${title}</h2>${note && html`<span class="note">${note}</span>`}
      ${actions && html`<div class="actions">${actions}</div>`}</header>`}
    ${children}
  </section>`;
}

/** One figure of a row of figures; a link when `href` is given, a switch when `run` is. */
export function Figure({ label, value, note, tone = '', href, run, pressed, title }) {
  const inside = html`<span class="label">${label}</span><span class="value">${value}</span>${note !== undefined && html`<span class="note">${note}</span>`}`;
  if (href) return html`<a class=${`figure ${tone}`} href=${href} title=${title}>${inside}</a>`;
  if (run) return html`<button type="button" class=${`figure ${tone}`} onClick=${run} aria-pressed=${pressed} title=${title}>${inside}</button>`;
  return html`<div class=${`figure ${tone}`} title=${title}>${inside}</div>`;
}

export function Figures({ children }) {
  return html`<div class="figures">${children}</div>`;
}

/** How far something is. Without `whole` it only says that something goes on. */
export function Progress({ part, whole, bad = 0, label, live }) {
  const known = whole > 0;
  const width = (value) => `${Math.max(0, Math.min(100, (value / whole) * 100))}%`;
  return html`<div class=${`progress${known ? '' : ' unknown'}${live ? ' live' : ''}`} role="progressbar" aria-label=${label}
    aria-valuemin="0" aria-valuemax=${known ? whole : undefined} aria-valuenow=${known ? part : undefined}>
    <div class="done" style=${{ width: known ? width(part) : undefined }}></div>
    ${known && bad > 0 && html`<div class="bad" style=${{ width: width(bad) }}></div>`}
  </div>`;
}

/** A task's slices as a bar with its rate and the time left. */
export function TaskProgress({ task, compact }) {
  const { planned = 0, done = 0, failed = 0 } = task.slices ?? {};
  const running = task.state === 'running';
  return html`<div class="task-progress">
    <${Progress} part=${done + failed} whole=${planned} bad=${failed} live=${running} label=${t('progress.of', { name: task.dataset })} />
    <div class="facts">
      <span>${planned ? percent(done + failed, planned) : t('progress.planning')}</span>
      <span>${t('progress.slices', { done: number(done + failed), planned: number(planned) })}</span>
      ${!compact && html`<span>${t('progress.rows', { rows: number(task.rows) })}</span>`}
      ${running && task.rows_per_second != null && html`<span>${rate(task.rows_per_second)}</span>`}
      ${running && task.seconds_left != null && html`<span>${t('progress.left', { time: duration(task.seconds_left) })}</span>`}
      ${failed > 0 && html`<span class="bad-text">${t('progress.failed', { count: number(failed) })}</span>`}
    </div>
  </div>`;
}

/** How much of a limit is used; with `left` the bar is what is left of it. */
export function Meter({ used, limit, label, left }) {
  const part = limit > 0 ? Math.min(1, used / limit) : 0;
  const shown = left ? 1 - part : part;
  const tone = part >= 0.95 ? 'bad' : part >= 0.8 ? 'warn' : 'good';
  return html`<div class=${`meter ${tone}`} role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${limit} aria-valuenow=${left ? Math.max(0, limit - used) : used}>
    <div style=${{ width: `${shown * 100}%` }}></div></div>`;
}

/** Nothing to show: says why and what to do. */
export function Empty({ title, text, children }) {
  return html`<div class="empty"><p class="title">${title}</p>${text && html`<p>${text}</p>`}${children && html`<div class="actions">${children}</div>`}</div>`;
}

/** A problem of api.js in the place of what could not be loaded. */
export function Failed({ problem, retry }) {
  if (!problem || problem.status === 401) return null;
  const offline = problem.status === 0;
  return html`<div class="failed" role="alert">
    <p class="title"><span class="sign" aria-hidden="true">✕</span>${offline ? t('problem.offline') : problem.detail || problem.message}</p>
    ${(offline || problem.hint) && html`<p>${offline ? t('problem.offline.hint') : problem.hint}</p>`}
    ${retry && html`<${Button} small icon="retry" run=${retry}>${t('again')}<//>`}
  </div>`;
}

/** Grey lines while something loads; they appear only when it takes long. */
export function Loading({ lines = 4 }) {
  return html`<div class="loading" role="status" aria-label=${t('loading')}>${Array.from({ length: lines }, (_, at) => html`<i key=${at}></i>`)}</div>`;
}

/** What useGet gave: loading, failed, or `children(data)`. */
export function Loaded({ from, lines, children }) {
  if (from.data !== undefined) {
    return html`${from.problem && html`<${Failed} problem=${from.problem} retry=${from.reload} />`}${children(from.data)}`;
  }
  if (from.problem) return html`<${Failed} problem=${from.problem} retry=${from.reload} />`;
  return html`<${Loading} lines=${lines} />`;
}

/** Text to paste somewhere, with a button that copies it. */
export function Code({ text, label }) {
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); toast.good(t('copied')); } catch { toast.info(t('copy.by.hand')); }
  };
  return html`<div class="code"><pre tabindex="0" aria-label=${label}>${text}</pre><${Button} small kind="quiet" icon="copy" title=${t('copy')} run=${copy} /></div>`;
}

export function Keys({ keys }) {
  return html`<span class="keys">${keys.map((key) => html`<kbd key=${key}>${key}</kbd>`)}</span>`;
}
