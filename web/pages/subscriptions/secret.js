// A secret is shown once, when it is made; another one counts beside it for a while.

import { act, api } from '../../api.js';
import { Button, Code, Dialog, TextField } from '../../components.js';
import { t } from '../../i18n.js';
import { html, useState } from '../../view.js';

export function SecretDialog({ made, onClose }) {
  const half = made.secrets?.find((term) => term.public_half)?.public_half;
  return html`<${Dialog} title=${t('secret.title', { name: made.name })} onClose=${onClose} actions=${html`<${Button} kind="main" run=${onClose}>${t('key.noted')}<//>`}>
    <p><b>${t('secret.once')}</b></p><${Code} text=${made.secret} label=${t('secret.secret')} />
    ${half && html`<p>${t('secret.public')}</p><${Code} text=${half} label=${t('secret.public')} />`}
  <//>`;
}

/** `path` is where the secret is rotated. */
export function RotateDialog({ name, path, onClose, done }) {
  const [hours, setHours] = useState('24');
  const [secret, setSecret] = useState('');
  const wrong = hours !== '' && !(Number(hours) >= 0 && Number(hours) <= 720) ? t('secret.overlap.wrong') : undefined;
  const rotate = async (event) => {
    event?.preventDefault();
    const answer = await act(api.post(path, { ...hours === '' ? {} : { overlap_hours: Number(hours) }, ...secret.trim() ? { secret: secret.trim() } : {} }), t('secret.rotated', { name }));
    if (!answer) return;
    onClose();
    done(answer);
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${Boolean(wrong)} run=${rotate}>${t('secret.rotate')}<//>`;
  return html`<${Dialog} title=${t('secret.rotate.title', { name })} onClose=${onClose} actions=${actions}>
    <p class="note">${t('secret.rotate.about')}</p>
    <form class="fields" onSubmit=${rotate}>
      <${TextField} type="number" min="0" max="720" label=${t('secret.overlap')} hint=${t('secret.overlap.hint')} wrong=${wrong} value=${hours} onInput=${setHours} />
      <${TextField} type="password" label=${t('secret.own')} hint=${t('secret.own.hint')} value=${secret} onInput=${setSecret} autocomplete="new-password" />
      <button type="submit" hidden></button>
    </form>
  <//>`;
}
