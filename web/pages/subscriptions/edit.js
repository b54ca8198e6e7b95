// The form of a subscription: where to, which events, how they are signed and ordered, how often and how fast.

import { act, api } from '../../api.js';
import { Button, Dialog, SelectField, TextField } from '../../components.js';
import * as cron from '../../cron.js';
import { t } from '../../i18n.js';
import { html, useState } from '../../view.js';
import { FORMS, OPS } from './words.js';

const words = (text) => text.split(/[\s,]+/).filter(Boolean);
const orderOf = (order) => (order && typeof order === 'object' ? { order: 'data', path: order.data } : { order: order ?? 'key', path: '' });

function first(one) {
  const batch = one?.mode?.batch;
  return {
    name: one?.name ?? '', title: one?.title ?? '', url: one?.url ?? '', types: (one?.types ?? ['*']).join(', '), form: one?.form ?? 'standard',
    source_system: one?.source_system ?? '', ...orderOf(one?.order_by), mode: batch ? 'batch' : 'realtime', size: String(batch?.size ?? 100),
    delay_s: String((batch?.delay_ms ?? 5000) / 1000), cron: batch?.cron ?? '', pause_s: String((batch?.pause_ms ?? 0) / 1000),
    per_second: one?.per_second ? String(one.per_second) : '', retries: one?.retry_seconds ? one.retry_seconds.join(', ') : '',
    timeout: one?.timeout_seconds ? String(one.timeout_seconds) : '', when_dead: one?.when_dead ?? 'block', secret: '',
    filters: (one?.filters ?? []).map(({ field, op, value }) => ({ field, op, value: op === 'exists' ? '' : typeof value === 'string' ? value : JSON.stringify(value) })),
  };
}

/** What was typed as a JSON value; a text where it is none. */
function valueOf(op, text) {
  if (op === 'exists') return null;
  if (op === 'in' && !text.trim().startsWith('[')) return text.split(',').map((one) => valueOf('eq', one.trim()));
  try { return JSON.parse(text); } catch { return text; }
}

function modeOf(form) {
  if (form.mode === 'realtime') return 'realtime';
  const line = form.cron.trim();
  return { batch: { size: Number(form.size), delay_ms: line ? 0 : Math.round(Number(form.delay_s) * 1000), cron: line || null, pause_ms: Math.round(Number(form.pause_s) * 1000) } };
}

function bodyOf(form, one) {
  const numberOr = (text) => (text.trim() === '' ? null : Number(text));
  const body = {
    title: form.title.trim() || null, url: form.url.trim(), types: words(form.types), form: form.form, source_system: form.source_system.trim() || null,
    order_by: form.order === 'data' ? { data: form.path.trim().replace(/^data\./, '') } : form.order, mode: modeOf(form), per_second: numberOr(form.per_second),
    retry_seconds: form.retries.trim() ? words(form.retries).map(Number) : null, timeout_seconds: numberOr(form.timeout), when_dead: form.when_dead,
    filters: form.filters.filter(({ field }) => field.trim()).map(({ field, op, value }) => ({ field: field.trim(), op, value: valueOf(op, value) })),
  };
  if (one) return { ...body, revision: one.revision };
  return { name: form.name.trim(), ...body, ...form.secret.trim() ? { secret: form.secret.trim() } : {} };
}

function wrongCron(line) {
  if (!line.trim()) return undefined;
  try { cron.parse(line); return undefined; } catch (error) { return error.message; }
}

const choices = (values, group) => values.map((value) => ({ value, label: t(`${group}.${value}`) }));

/** Conditions on fields; all of them must hold. */
function Filters({ filters, onInput }) {
  const set = (at, change) => onInput(filters.map((one, place) => (place === at ? { ...one, ...change } : one)));
  return html`<fieldset class="filters-edit field wide"><legend>${t('subs.filters')}</legend>
    ${filters.map((one, at) => html`<div class="filter-line" key=${at}>
      <${TextField} label=${t('subs.filter.field')} placeholder="data.amount" value=${one.field} onInput=${(field) => set(at, { field })} />
      <${SelectField} label=${t('subs.filter.op')} value=${one.op} options=${choices(OPS, 'subs.op')} onInput=${(op) => set(at, { op })} />
      ${one.op !== 'exists' && html`<${TextField} label=${t('subs.filter.value')} placeholder=${one.op === 'in' ? 'CNY, USD' : '100'} value=${one.value} onInput=${(value) => set(at, { value })} />`}
      <${Button} icon="close" title=${t('subs.filter.remove')} run=${() => onInput(filters.filter((_, place) => place !== at))} />
    </div>`)}
    <div><${Button} small icon="plus" run=${() => onInput([...filters, { field: '', op: 'eq', value: '' }])}>${t('subs.filter.add')}<//></div>
  </fieldset>`;
}

function Batch({ form, set }) {
  const wrong = wrongCron(form.cron);
  return html`
    <${TextField} type="number" min="1" label=${t('subs.batch.size')} value=${form.size} onInput=${(size) => set({ size })} />
    <${TextField} label=${t('subs.batch.cron')} hint=${t('subs.batch.cron.hint')} wrong=${wrong} value=${form.cron} onInput=${(line) => set({ cron: line })} />
    ${!form.cron.trim() && html`<${TextField} type="number" min="0" step="any" label=${t('subs.batch.wait')} value=${form.delay_s} onInput=${(delay) => set({ delay_s: delay })} />`}
    <${TextField} type="number" min="0" step="any" label=${t('subs.batch.pause')} value=${form.pause_s} onInput=${(pause) => set({ pause_s: pause })} />`;
}

export function SubscriptionDialog({ subscription: one, onClose, done }) {
  const [form, setForm] = useState(() => first(one));
  const set = (change) => setForm({ ...form, ...change });
  const nameWrong = !one && form.name && !/^[a-z0-9][a-z0-9_-]{0,63}$/.test(form.name) ? t('subs.name.wrong') : undefined;
  const ready = (one || (form.name && !nameWrong)) && form.url.trim() && words(form.types).length > 0 && !(form.mode === 'batch' && wrongCron(form.cron));
  const save = async (event) => {
    event?.preventDefault();
    if (!ready) return;
    const body = bodyOf(form, one);
    const answer = await act(one ? api.put(`/api/v1/subscriptions/${encodeURIComponent(one.name)}`, body) : api.post('/api/v1/subscriptions', body), t(one ? 'subs.changed' : 'subs.made', { name: one?.name ?? form.name }));
    if (!answer) return;
    onClose();
    done(answer);
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!ready} run=${save}>${t(one ? 'jobs.save' : 'jobs.create')}<//>`;
  return html`<${Dialog} wide title=${one ? t('subs.change.title', { name: one.name }) : t('subs.new')} onClose=${onClose} actions=${actions}>
    <form class="fields" onSubmit=${save}>
      ${!one && html`<${TextField} label=${t('subs.name')} hint=${t('subs.name.hint')} wrong=${nameWrong} value=${form.name} onInput=${(name) => set({ name })} required />`}
      <${TextField} label=${t('subs.title')} value=${form.title} onInput=${(title) => set({ title })} />
      <${TextField} wide type="url" label=${t('subs.url')} hint=${t('subs.url.hint')} placeholder="https://tax.example/webhooks" value=${form.url} onInput=${(url) => set({ url })} required />
      <${TextField} wide label=${t('subs.types')} hint=${t('subs.types.hint')} value=${form.types} onInput=${(types) => set({ types })} required />
      <${Filters} filters=${form.filters} onInput=${(filters) => set({ filters })} />
      <${SelectField} label=${t('subs.form')} hint=${t(`subs.form.${form.form}.hint`)} value=${form.form} options=${choices(FORMS, 'subs.form')} onInput=${(value) => set({ form: value })} />
      ${form.form === 'mission' && html`<${TextField} label="X-Source-System" value=${form.source_system} onInput=${(value) => set({ source_system: value })} />`}
      ${!one && html`<${TextField} type="password" label=${t('secret.own')} hint=${t('secret.own.hint')} value=${form.secret} onInput=${(secret) => set({ secret })} autocomplete="new-password" />`}
      <${SelectField} label=${t('subs.order')} value=${form.order} options=${choices(['key', 'subject', 'data', 'none'], 'subs.order')} onInput=${(order) => set({ order })} />
      ${form.order === 'data' && html`<${TextField} label=${t('subs.order.path')} placeholder="contract.no" value=${form.path} onInput=${(path) => set({ path })} />`}
      <${SelectField} label=${t('subs.mode')} value=${form.mode} options=${choices(['realtime', 'batch'], 'subs')} onInput=${(mode) => set({ mode })} />
      ${form.mode === 'batch' && html`<${Batch} form=${form} set=${set} />`}
      <${TextField} type="number" min="0.01" step="any" label=${t('subs.rate')} hint=${t('subs.rate.hint')} value=${form.per_second} onInput=${(value) => set({ per_second: value })} />
      <${TextField} label=${t('subs.retries')} hint=${t('subs.retries.hint')} value=${form.retries} placeholder="1, 2, 4, 60, 600" onInput=${(retries) => set({ retries })} />
      <${TextField} type="number" min="0.1" step="any" label=${t('subs.timeout')} hint=${t('subs.timeout.hint')} value=${form.timeout} onInput=${(timeout) => set({ timeout })} />
      <${SelectField} label=${t('subs.dead')} hint=${t(`subs.dead.${form.when_dead}.hint`)} value=${form.when_dead} options=${choices(['block', 'park'], 'subs.dead')} onInput=${(value) => set({ when_dead: value })} />
      <button type="submit" hidden></button>
    </form>
  <//>`;
}
