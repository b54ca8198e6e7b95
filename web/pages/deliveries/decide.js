// What a person decides about deliveries: send at once, leave out for good, or set aside so that the key goes on.

import { act, api } from '../../api.js';
import { Button, confirm } from '../../components.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { html } from '../../view.js';

const ICONS = { retry: 'retry', park: 'pause', skip: 'close' };
const QUESTIONS = new Set(['skip']);

/** Decides about `chosen`: `{ event }`, `{ key }` or `{ all: true }` of a subscription. */
export async function decide(decision, subscription, chosen, done) {
  if (QUESTIONS.has(decision)) {
    const asked = { title: t(`decide.${decision}.title`), text: t(`decide.${decision}.text`), yes: t(`decide.${decision}`), danger: true };
    if (!await confirm(asked)) return;
  }
  if (await act(api.post(`/api/v1/deliveries/${decision}`, { subscription, ...chosen }), t(`decide.${decision}.done`)) !== undefined) done?.();
}

/** Buttons for one delivery; what is settled can be sent again. */
export function DeliveryActions({ way, event, done }) {
  if (!may('operate')) return null;
  const open = way.delivery;
  const offered = !open ? ['retry'] : open.state === 'waiting' ? ['retry', 'skip'] : open.state === 'dead' ? ['retry', 'park', 'skip'] : ['retry', 'skip'];
  const run = (name) => () => decide(name, way.subscription, { event: Number(event) }, done);
  return html`<span class="row-actions">${offered.map((name) => html`<${Button} key=${name} small icon=${ICONS[name]} run=${run(name)}>${t(name === 'retry' && !open ? 'decide.again' : `decide.${name}`)}<//>`)}</span>`;
}
