// The form of a job: when, on which days, and what. A cron line is told in words, with its next three times.

import { act, api, useGet } from '../../api.js';
import { Button, CheckField, Choice, Dialog, SelectField, TextField } from '../../components.js';
import { Combobox } from '../../components/combobox.js';
import * as cron from '../../cron.js';
import { dayName, moment, now } from '../../format.js';
import { t, titleOf, word } from '../../i18n.js';
import { html, useState } from '../../view.js';

const KINDS = ['cron', 'every', 'event', 'continuous'];
const EVENTS = ['published', 'whole', 'disclosure'];
const DAYS = ['trading', 'any', 'next_trading', 'after_trading'];
const ACTIONS = ['sync', 'check', 'poll'];
const EXAMPLES = ['0 18 * * 1-5', '*/15 9-14 * * 1-5', '0 2 * * 1', '0 3 1 * *'];

function first(job) {
  const trigger = job?.trigger ?? { kind: 'cron', expression: EXAMPLES[0] };
  const work = job?.work ?? {};
  return {
    id: job?.id ?? '', title: job ? titleOf(job) : '', kind: trigger.kind, expression: trigger.expression ?? EXAMPLES[0],
    minutes: String((trigger.seconds ?? 3600) / 60), seconds: String(trigger.every_seconds ?? 30), on: trigger.on ?? 'published',
    dataset: trigger.dataset ?? '', days: job?.days ?? 'trading', action: work.action ?? 'sync', datasets: work.datasets ?? [],
    span: work.all_history ? 'history' : work.days_back ? 'back' : 'due', back: String(work.days_back ?? 7), force: Boolean(work.force),
    catch_up: job?.catch_up ?? '', attempts: job?.attempts === null || job?.attempts === undefined ? '' : String(job.attempts),
  };
}

function triggerOf(form) {
  switch (form.kind) {
    case 'every': return { kind: 'every', seconds: Math.round(Number(form.minutes) * 60) };
    case 'event': return { kind: 'event', on: form.on, ...form.on === 'disclosure' ? {} : { dataset: form.dataset } };
    case 'continuous': return { kind: 'continuous', every_seconds: Number(form.seconds) || null };
    default: return { kind: 'cron', expression: form.expression.trim() };
  }
}

/** What the form says, as the service takes it; what of the work the form does not show stays as it was. */
function bodyOf(form, job) {
  const work = { ...job?.work, action: form.action, datasets: form.datasets, all_history: form.span === 'history', force: form.force };
  work.days_back = form.span === 'back' ? Number(form.back) : null;
  const body = { title: form.title.trim() || form.id, title_zh: form.title.trim() || form.id, trigger: triggerOf(form), days: form.days, work };
  if (job && form.title === titleOf(job)) { delete body.title; delete body.title_zh; }
  if (form.catch_up) body.catch_up = form.catch_up;
  if (form.attempts !== '') body.attempts = Number(form.attempts);
  return job ? { ...body, revision: job.revision } : { id: form.id.trim(), ...body };
}

/** The line in words and its next three times, or what is wrong with it. */
function CronField({ value, onInput, days }) {
  let told;
  let wrong;
  try {
    const line = cron.parse(value);
    const times = cron.nextTimes(line, now(), 3);
    told = times.length ? { words: cron.inWords(line), times } : null;
    if (!told) wrong = t('cron.never');
  } catch (error) {
    wrong = error.message;
  }
  return html`
    <${TextField} label=${t('cron')} hint=${t('cron.hint')} wrong=${wrong} value=${value} onInput=${onInput} class="mono" wide />
    <div class="field wide cron" role="status">${told && html`<p><b>${told.words}</b></p>
      <ol>${told.times.map((time) => html`<li key=${time}>${dayName(moment(time).slice(0, 10))} ${moment(time).slice(11, 16)}</li>`)}</ol>
      ${days !== 'any' && html`<p class="note">${t(`cron.days.${days}`)}</p>`}`}</div>
    <div class="field wide"><div class="chips" role="group" aria-label=${t('cron.examples')}>${EXAMPLES.map((line) => html`<button key=${line} type="button" class="chip mono" onClick=${() => onInput(line)} title=${cron.inWords(cron.parse(line))}>${line}</button>`)}</div></div>`;
}

function Datasets({ chosen, onInput, known }) {
  const search = async (text) => {
    const typed = text.trim().toLowerCase();
    return known.filter((one) => !chosen.includes(one.name) && [one.name, one.title, one.title_zh].some((part) => part?.toLowerCase().includes(typed))).slice(0, 40);
  };
  return html`<div class="field wide"><span>${t('jobs.tables')}</span>
    <${Combobox} label=${t('jobs.tables')} placeholder=${t('jobs.tables.hint')} search=${search} keyOf=${(one) => one.name}
      show=${(one) => html`<span class="mono">${one.name}</span><b>${titleOf(one)}</b>`} onPick=${(one) => onInput([...chosen, one.name])} />
    <div class="chips">${chosen.map((name) => html`<button key=${name} type="button" class="chip" aria-label=${t('jobs.tables.remove', { name })} onClick=${() => onInput(chosen.filter((one) => one !== name))}>${name} ×</button>`)}
      ${!chosen.length && html`<span class="note">${t('work.all.tables')}</span>`}</div></div>`;
}

function When({ form, set, known }) {
  const options = (group, values) => values.map((value) => ({ value, label: t(`${group}.${value}`) }));
  const names = known.map((one) => ({ value: one.name, label: `${one.name} · ${titleOf(one)}` }));
  return html`
    <div class="field wide"><span>${t('jobs.when')}</span><${Choice} label=${t('jobs.when')} value=${form.kind} options=${options('trigger.kind', KINDS)} onInput=${(kind) => set({ kind })} /></div>
    ${form.kind === 'cron' && html`<${CronField} value=${form.expression} onInput=${(expression) => set({ expression })} days=${form.days} />`}
    ${form.kind === 'every' && html`<${TextField} type="number" min="1" label=${t('trigger.minutes')} value=${form.minutes} onInput=${(minutes) => set({ minutes })} />`}
    ${form.kind === 'continuous' && html`<${TextField} type="number" min="1" label=${t('trigger.seconds')} hint=${t('trigger.seconds.hint')} value=${form.seconds} onInput=${(seconds) => set({ seconds })} />`}
    ${form.kind === 'event' && html`<${SelectField} label=${t('trigger.event')} value=${form.on} options=${options('trigger.event', EVENTS)} onInput=${(on) => set({ on })} />
      ${form.on !== 'disclosure' && html`<${SelectField} label=${t('tasks.dataset')} value=${form.dataset} options=${[{ value: '', label: t('choose') }, ...names]} onInput=${(dataset) => set({ dataset })} />`}`}
    <${SelectField} label=${t('jobs.days')} value=${form.days} options=${options('days', DAYS)} onInput=${(days) => set({ days })} />`;
}

export function JobDialog({ job, onClose, done }) {
  const [form, setForm] = useState(() => first(job));
  const set = (changes) => setForm((before) => ({ ...before, ...changes }));
  const datasets = useGet('/api/v1/datasets');
  const known = datasets.data?.items ?? [];
  const idWrong = form.id && !/^[a-z0-9_-]{1,64}$/.test(form.id) ? t('jobs.id.wrong') : undefined;
  const save = async (event) => {
    event?.preventDefault();
    const body = bodyOf(form, job);
    const asked = job ? api.put(`/api/v1/jobs/${job.id}`, body) : api.post('/api/v1/jobs', body);
    if (await act(asked, t(job ? 'jobs.changed' : 'jobs.created', { title: form.title || form.id })) === undefined) return;
    onClose();
    done();
  };
  const ready = (job || (form.id && !idWrong)) && (form.kind !== 'event' || form.on === 'disclosure' || form.dataset);
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!ready} run=${save}>${t(job ? 'jobs.save' : 'jobs.create')}<//>`;
  const spans = ['due', 'back', 'history'].map((value) => ({ value, label: t(`jobs.span.${value}`) }));
  return html`<${Dialog} title=${job ? t('jobs.change.title', { title: titleOf(job) }) : t('jobs.new')} onClose=${onClose} actions=${actions} wide>
    <form class="fields" onSubmit=${save}>
      ${!job && html`<${TextField} label=${t('jobs.id')} hint=${t('jobs.id.hint')} wrong=${idWrong} value=${form.id} onInput=${(id) => set({ id })} required />`}
      <${TextField} label=${t('jobs.title')} value=${form.title} onInput=${(title) => set({ title })} maxlength="200" />
      <${When} form=${form} set=${set} known=${known} />
      <${SelectField} label=${t('jobs.action')} value=${form.action} options=${ACTIONS.map((value) => ({ value, label: word('action', value) }))} onInput=${(action) => set({ action })} />
      <${Datasets} chosen=${form.datasets} onInput=${(next) => set({ datasets: next })} known=${known} />
      <${SelectField} label=${t('jobs.span')} value=${form.span} options=${spans} onInput=${(span) => set({ span })} />
      ${form.span === 'back' && html`<${TextField} type="number" min="1" label=${t('jobs.back')} value=${form.back} onInput=${(back) => set({ back })} />`}
      <${SelectField} label=${t('jobs.catch.up')} value=${form.catch_up} options=${['', 'once', 'skip'].map((value) => ({ value, label: t(`jobs.catch.up.${value || 'otherwise'}`) }))} onInput=${(value) => set({ catch_up: value })} />
      <${TextField} type="number" min="0" max="10" label=${t('jobs.attempts')} hint=${t('jobs.attempts.hint')} value=${form.attempts} onInput=${(attempts) => set({ attempts })} />
      <${CheckField} label=${t('jobs.force')} hint=${t('jobs.force.hint')} value=${form.force} onInput=${(force) => set({ force })} />
      <button type="submit" hidden></button>
    </form>
  <//>`;
}
