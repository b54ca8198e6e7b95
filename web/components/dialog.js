// Dialogs: the browser's own, so that focus stays inside and Escape closes; and questions before something is done.

import { cell } from '../cell.js';
import { t } from '../i18n.js';
import { html, useEffect, useRef, useState } from '../view.js';
import { Button } from './parts.js';

/** `<${Dialog} title onClose wide actions=${...}>`; shown as long as it is drawn. */
export function Dialog({ title, onClose, wide, side, actions, children }) {
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => { if (dialog.open) dialog.close(); before?.focus?.(); };
  }, []);
  const outside = (event) => { if (event.target === element.current) onClose(); };
  const cancel = (event) => { event.preventDefault(); onClose(); };
  return html`<dialog ref=${element} class=${`${wide ? 'wide' : ''}${side ? ' side' : ''}`} aria-label=${title} onCancel=${cancel} onMouseDown=${outside}>
    <div class="sheet">
      <header><h2>${title}</h2><${Button} kind="quiet" icon="close" title=${t('close')} run=${onClose} /></header>
      <div class="inside">${children}</div>
      ${actions && html`<footer>${actions}</footer>`}
    </div>
  </dialog>`;
}

const question = cell(null);

/** Asks before something is done: `if (await confirm({ title, text, yes, danger })) ...` */
export function confirm(asked) {
  return new Promise((resolve) => question.set({ ...asked, answer: (value) => { question.set(null); resolve(value); } }));
}

/** Draws the question of `confirm`; once, in the shell. */
export function Question() {
  const asked = question.use();
  const [typed, setTyped] = useState('');
  useEffect(() => setTyped(''), [asked]);
  if (!asked) return null;
  const actions = html`<${Button} run=${() => asked.answer(false)}>${asked.no ?? t('cancel')}<//>
    <${Button} kind=${asked.danger ? 'danger' : 'main'} disabled=${asked.type && typed !== asked.type} run=${() => asked.answer(true)}>${asked.yes ?? t('yes')}<//>`;
  return html`<${Dialog} title=${asked.title} onClose=${() => asked.answer(false)} actions=${actions}>
    <p>${asked.text}</p>
    ${asked.type && html`<label class="field"><span>${t('confirm.type', { word: asked.type })}</span><input value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>`}
  <//>`;
}
