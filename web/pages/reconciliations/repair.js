// A repair: what would be done with counts, then the act with a person's word for it, and how to take it back.

import { act, api } from '../../api.js';
import { Button, Chips, Dialog, Figure, Figures, State, TextField } from '../../components.js';
import { number } from '../../format.js';
import { t } from '../../i18n.js';
import { may } from '../../roles.js';
import { html, useState } from '../../view.js';

const KINDS = ['missing', 'extra', 'different', 'duplicate'];
const words = (text) => text.split(/\s*;\s*|\n/).map((one) => one.trim()).filter(Boolean);

export function RepairDialog({ report, onClose }) {
  const [form, setForm] = useState({ kinds: [], keys: '', column: '', from: '', to: '' });
  const [planned, setPlanned] = useState(null);
  const [done, setDone] = useState(null);
  const [typed, setTyped] = useState('');
  const set = (change) => { setForm({ ...form, ...change }); setPlanned(null); setTyped(''); };
  const body = () => {
    const chosen = { kinds: form.kinds, keys: words(form.keys) };
    if (form.column.trim()) chosen.only = { column: form.column.trim(), from: form.from.trim() || null, to: form.to.trim() || null };
    return chosen;
  };
  const path = `/api/v1/reconciliations/${report.report}/repair`;
  const plan = async () => { const answer = await act(api.post(path, body())); if (answer) setPlanned(answer); };
  const repair = async () => {
    const answer = await act(api.post(path, { ...body(), apply: true, confirmed: planned.rows }), t('rec.repair.done'));
    if (answer) setDone(answer);
  };
  const sure = planned && planned.rows > 0 && typed.trim() === String(planned.rows);
  const actions = done ? html`<${Button} kind="main" run=${onClose}>${t('close')}<//>`
    : html`<${Button} run=${onClose}>${t('cancel')}<//><${Button} kind=${planned ? 'plain' : 'main'} run=${plan}>${t('rec.dry.run')}<//>
      ${planned && may('admin') && html`<${Button} kind="danger" disabled=${!sure} run=${repair}>${t('rec.repair.now')}<//>`}`;
  return html`<${Dialog} wide title=${t('rec.repair.title', { number: report.report })} onClose=${onClose} actions=${actions}>
    ${!done && html`<p class="note">${t('rec.repair.about', { target: report.target })}</p>
      <div class="fields">
        <div class="field wide"><span>${t('rec.kinds')}</span><${Chips} label=${t('rec.kinds')} values=${form.kinds} options=${KINDS.map((value) => ({ value, label: `${t(`rec.kind.${value}`)} ${number(report.counts[value])}` }))} onInput=${(kinds) => set({ kinds })} /></div>
        <${TextField} wide label=${t('rec.keys')} hint=${t('rec.keys.hint')} value=${form.keys} onInput=${(keys) => set({ keys })} />
        <${TextField} label=${t('rec.only.column')} value=${form.column} onInput=${(column) => set({ column })} />
        <${TextField} label=${t('range.from')} value=${form.from} onInput=${(from) => set({ from })} />
        <${TextField} label=${t('range.to')} value=${form.to} onInput=${(to) => set({ to })} />
      </div>`}
    ${(done ?? planned) && html`<${Result} result=${done ?? planned} />`}
    ${!done && planned && planned.rows > 0 && may('admin') && html`<${TextField} label=${t('rec.confirm', { rows: planned.rows })} value=${typed} onInput=${setTyped} inputmode="numeric" />`}
    ${!done && planned && !may('admin') && html`<p class="note">${t('rec.admin')}</p>`}
  <//>`;
}

function Result({ result }) {
  const line = (name, count, tone) => count > 0 && html`<li key=${name}><${State} tone=${tone}>${t(`rec.repair.${name}`, { count: number(count) })}<//></li>`;
  return html`<div id="plan" role="status" class="stack">
    <${Figures}>
      <${Figure} label=${t(result.applied ? 'rec.rows.changed' : 'rec.rows.would')} value=${number(result.rows)} />
      <${Figure} label=${t('rec.inserted')} value=${number(result.inserted)} /><${Figure} label=${t('rec.updated')} value=${number(result.updated)} /><${Figure} label=${t('rec.deleted')} value=${number(result.deleted)} tone=${result.deleted ? 'warn' : ''} />
    <//>
    <ul class="plain-list">${line('verified', result.verified, 'good')}${line('still.different', result.still_different, 'bad')}${line('changed.since', result.changed_since.length, 'warn')}
      ${line('equal.already', result.equal_already, 'info')}${line('before', result.repaired_before, 'info')}${line('not.chosen', result.not_chosen, 'off')}</ul>
    ${result.undo_file && html`<${Undo} result=${result} />`}
  </div>`;
}

/** The file by which a repair is taken back: it has every changed row as it was. */
function Undo({ result }) {
  const name = result.undo_file.split('/').pop();
  return html`<p>${t('rec.undo')}</p><p class="row"><a class="button" download=${name} href=${`/api/v1/reconciliations/${result.report}/undo/${encodeURIComponent(name)}`}>${t('rec.undo.download')}</a><span class="mono told">${name}</span></p>
    <p class="note"><span class="mono told">tidegate repair --undo ${name}</span></p>`;
}
