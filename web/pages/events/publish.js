// A test event by hand: what a publisher would send, and what is wrong with it before it goes out.

import { act, api } from '../../api.js';
import { Button, Dialog, Field, TextField } from '../../components.js';
import { t } from '../../i18n.js';
import { go } from '../../router.js';
import { html, useState } from '../../view.js';

const EXAMPLE = '{\n  "amount": "100.00"\n}';

/** An identifier that nobody else has. */
const fresh = () => `test-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;

/** The event in the JSON form of CloudEvents; the content goes out digit by digit as it was typed. */
function structured({ type, source, id, subject, key, content }) {
  const attributes = { specversion: '1.0', id: id.trim(), source: source.trim(), type: type.trim(), datacontenttype: 'application/json' };
  if (subject.trim()) attributes.subject = subject.trim();
  if (key.trim()) attributes.partitionkey = key.trim();
  const head = JSON.stringify(attributes);
  return content.trim() ? `${head.slice(0, -1)},"data":${content.trim()}}` : head;
}

function wrongContent(text) {
  if (!text.trim()) return undefined;
  try { JSON.parse(text); return undefined; } catch (error) { return t('events.content.wrong', { why: error.message }); }
}

export function PublishDialog({ onClose }) {
  const [form, setForm] = useState(() => ({ type: 'test.event', source: '/dashboard', id: fresh(), subject: '', key: '', content: EXAMPLE }));
  const set = (change) => setForm({ ...form, ...change });
  const wrong = wrongContent(form.content);
  const ready = form.type.trim() && form.source.trim() && form.id.trim() && !wrong;
  const publish = async (event) => {
    event?.preventDefault();
    if (!ready) return;
    const done = await act(api.post('/api/v1/events', structured(form), { type: 'application/cloudevents+json' }), t('events.published'));
    if (!done) return;
    onClose();
    go(`/events/${done.event}`);
  };
  const actions = html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind="main" disabled=${!ready} run=${publish}>${t('events.publish.now')}<//>`;
  return html`<${Dialog} title=${t('events.publish')} onClose=${onClose} actions=${actions}>
    <p class="note">${t('events.publish.note')}</p>
    <form class="fields" onSubmit=${publish}>
      <${TextField} label=${t('events.type')} value=${form.type} onInput=${(type) => set({ type })} required />
      <${TextField} label=${t('events.source')} value=${form.source} onInput=${(source) => set({ source })} required />
      <${TextField} label=${t('events.id')} hint=${t('events.id.hint')} value=${form.id} onInput=${(id) => set({ id })} required />
      <${TextField} label=${t('events.subject')} value=${form.subject} onInput=${(subject) => set({ subject })} />
      <${TextField} label=${t('events.key')} hint=${t('events.key.hint')} value=${form.key} onInput=${(key) => set({ key })} />
      <${Field} wide label=${t('events.content')} wrong=${wrong} hint=${t('events.content.hint')}>${(id, note) => html`<textarea id=${id} class="mono" rows="7" spellcheck=${false}
        aria-describedby=${note} aria-invalid=${wrong ? 'true' : undefined} value=${form.content} onInput=${(event) => set({ content: event.target.value })}></textarea>`}<//>
      <button type="submit" hidden></button>
    </form>
  <//>`;
}
