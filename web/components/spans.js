// One bar in parts, with the figures of each: where something went.

import { duration, percent } from '../format.js';
import { t } from '../i18n.js';
import { html } from '../view.js';

/** parts: [{ name, label, title, seconds }]; parts of nothing are listed and not drawn. */
export function Spans({ label, parts }) {
  const whole = parts.reduce((sum, part) => sum + part.seconds, 0);
  if (!whole) return html`<p class="note">${t('spans.none')}</p>`;
  const words = parts.filter((part) => part.seconds > 0).map((part) => `${part.label} ${percent(part.seconds, whole)}`).join(', ');
  return html`<div class="spans">
    <div class="bar" role="img" aria-label=${`${label}: ${words}`}>${parts.map((part, at) => part.seconds > 0 && html`
      <i key=${part.name} class=${`span-${at + 1}`} style=${{ flexGrow: part.seconds }} title=${`${part.label} ${duration(part.seconds)}`}></i>`)}</div>
    <ul>${parts.map((part, at) => html`<li key=${part.name} title=${part.title}>
      <i class=${`span-${at + 1}`} aria-hidden="true"></i><span>${part.label}</span><b>${duration(part.seconds)}</b><small>${percent(part.seconds, whole)}</small>
    </li>`)}</ul>
  </div>`;
}
