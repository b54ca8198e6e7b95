// What the cells mean.

import { t } from '../i18n.js';
import { html } from '../view.js';
import { STATES } from './cell.js';

export function Legend() {
  return html`<ul class="legend" aria-label=${t('coverage.legend')}>${Object.entries(STATES).filter(([state]) => state !== 'closed').map(([state, sign]) => html`<li key=${state} title=${t(`cover.${state}.title`)}>
    <span class=${`cell ${state}`} aria-hidden="true">${sign}</span>${t(`cover.${state}`)}</li>`)}</ul>`;
}
