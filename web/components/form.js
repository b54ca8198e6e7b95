// Fields: each with its label, its hint and what is wrong with it.

import { addDays, dayOf } from '../format.js';
import { t } from '../i18n.js';
import { html, useEffect, useRef, useState } from '../view.js';
import { Icon } from './icons.js';

let number = 0;

/** A label, whatever is inside, and a hint or what is wrong. `children(id, describedBy)` draws the control. */
export function Field({ label, hint, wrong, children, wide }) {
  const [id] = useState(() => `field-${++number}`);
  const note = wrong || hint;
  return html`<div class=${`field${wrong ? ' wrong' : ''}${wide ? ' wide' : ''}`}>
    ${label && html`<label for=${id}>${label}</label>`}
    ${children(id, note ? `${id}-note` : undefined)}
    ${note && html`<span class="note" id=${`${id}-note`} role=${wrong ? 'alert' : undefined}>${note}</span>`}
  </div>`;
}

/** `onInput(text)`; any attribute of an input may be given. */
export function TextField({ label, hint, wrong, value, onInput, wide, type = 'text', ...rest }) {
  return html`<${Field} label=${label} hint=${hint} wrong=${wrong} wide=${wide}>${(id, note) => html`<input id=${id} type=${type} value=${value} aria-describedby=${note}
    aria-invalid=${wrong ? 'true' : undefined} onInput=${(event) => onInput(event.target.value)} autocomplete="off" spellcheck=${false} ...${rest} />`}<//>`;
}

/** options: [{ value, label }] or [{ group, options }]. */
export function SelectField({ label, hint, wrong, value, options, onInput, wide, ...rest }) {
  const one = (option) => html`<option key=${option.value} value=${option.value} selected=${option.value === value}>${option.label}</option>`;
  return html`<${Field} label=${label} hint=${hint} wrong=${wrong} wide=${wide}>${(id, note) => html`<select id=${id} value=${value} aria-describedby=${note}
    onChange=${(event) => onInput(event.target.value)} ...${rest}>${options.map((option) => (option.options
      ? html`<optgroup key=${option.group} label=${option.group}>${option.options.map(one)}</optgroup>` : one(option)))}</select>`}<//>`;
}

export function CheckField({ label, hint, value, onInput, disabled }) {
  return html`<label class="check"><input type="checkbox" checked=${value} disabled=${disabled} onChange=${(event) => onInput(event.target.checked)} /><span>${label}${hint && html`<small>${hint}</small>`}</span></label>`;
}

/** A search field; `/` focuses the first one of the page. Tells after a short rest. */
export function SearchField({ label, value, onInput, placeholder, wait = 200 }) {
  const [text, setText] = useState(value ?? '');
  const timer = useRef(null);
  useEffect(() => { setText(value ?? ''); }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const input = (event) => {
    const next = event.target.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onInput(next.trim()), wait);
  };
  return html`<label class="search"><${Icon} name="search" /><span class="unseen">${label}</span><input type="search" value=${text} onInput=${input} placeholder=${placeholder ?? label} autocomplete="off" spellcheck=${false} /></label>`;
}

/** One of few: `options` [{ value, label, title }]. */
export function Choice({ label, value, options, onInput }) {
  return html`<div class="choice" role="group" aria-label=${label}>${options.map((option) => html`<button key=${option.value} type="button" title=${option.title}
    aria-pressed=${option.value === value} onClick=${() => onInput(option.value)}>${option.label}</button>`)}</div>`;
}

/** Some of many: chips that are switched. `values` is a list. */
export function Chips({ label, values, options, onInput }) {
  const flip = (value) => onInput(values.includes(value) ? values.filter((one) => one !== value) : [...values, value]);
  return html`<div class="chips" role="group" aria-label=${label}>${options.map((option) => html`<button key=${option.value} type="button" class="chip" title=${option.title}
    aria-pressed=${values.includes(option.value)} onClick=${() => flip(option.value)}><span aria-hidden="true">${values.includes(option.value) ? '✓' : '+'}</span>${option.label}</button>`)}</div>`;
}

/** First and last day. `shortcuts` (days back) fill both; `wrong` speaks of both. `onInput({ from, to })` */
export function RangeField({ from, to, onInput, shortcuts = [], wrong, hint, max }) {
  const back = (days) => { const today = max ?? dayOf(); onInput({ from: addDays(today, 1 - days), to: today }); };
  return html`<div class=${`range${wrong ? ' wrong' : ''}`}>
    <div class="pair">
      <${TextField} type="date" label=${t('range.from')} value=${from} max=${to || max} onInput=${(value) => onInput({ from: value, to })} />
      <span class="dash" aria-hidden="true">–</span>
      <${TextField} type="date" label=${t('range.to')} value=${to} min=${from} max=${max} onInput=${(value) => onInput({ from, to: value })} />
    </div>
    ${shortcuts.length > 0 && html`<div class="shortcuts">${shortcuts.map((days) => html`<button key=${days} type="button" class="chip" onClick=${() => back(days)}>${t(days === 1 ? 'range.day' : 'range.days', { count: days })}</button>`)}</div>`}
    ${(wrong || hint) && html`<p class="note" role=${wrong ? 'alert' : undefined}>${wrong || hint}</p>`}
  </div>`;
}

/** tabs: [{ name, label, count }]; arrows move. Draw the panel yourself with `role="tabpanel"`. */
export function Tabs({ label, tabs, value, onInput }) {
  const list = useRef(null);
  const move = (event) => {
    const at = tabs.findIndex((tab) => tab.name === value);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    onInput(tabs[next].name);
    list.current.children[next].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${move}>${tabs.map((tab) => html`<button key=${tab.name} type="button" role="tab"
    aria-selected=${tab.name === value ? 'true' : 'false'} tabindex=${tab.name === value ? 0 : -1} onClick=${() => onInput(tab.name)}>${tab.label}${tab.count ? html` <span class="count">${tab.count}</span>` : ''}</button>`)}</div>`;
}
