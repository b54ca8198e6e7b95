// Why a signature does not match: a request as its receiver saw it, checked, and told in words.

import { act, api, useGet } from '../api.js';
import { Button, Card, Choice, Field, SelectField, State, TextField } from '../components.js';
import { said, t, word } from '../i18n.js';
import { html, useState } from '../view.js';
import { FORMS } from './subscriptions/words.js';

/** Lines `Name: value` as headers; `wrong` is the first line that is none. */
export function headersOf(text) {
  const headers = {};
  for (const line of text.split('\n').map((one) => one.replace(/\r$/, '').trim()).filter(Boolean)) {
    const at = line.indexOf(':');
    if (at < 1 || /\s/.test(line.slice(0, at))) {
      // What a request begins with, `POST /hook HTTP/1.1`, is pasted along now and then.
      if (/^[A-Z]+ \S+ HTTP\//.test(line)) continue;
      return { headers, wrong: line };
    }
    headers[line.slice(0, at)] = line.slice(at + 1).trim();
  }
  return { headers };
}

export default function Page({ query }) {
  const found = useGet('/api/v1/subscriptions');
  const names = (found.data?.items ?? []).map((one) => ({ value: one.name, label: one.name }));
  const [form, setForm] = useState({ headers: '', body: '', by: query.subscription ? 'subscription' : 'secret', secret: '', subscription: query.subscription ?? '', form: '', at: '' });
  const [verdict, setVerdict] = useState(null);
  const set = (change) => { setForm({ ...form, ...change }); setVerdict(null); };
  const { headers, wrong } = headersOf(form.headers);
  const chosen = form.subscription || names[0]?.value || '';
  const ready = Object.keys(headers).length > 0 && !wrong && (form.by === 'secret' ? form.secret : chosen);
  const check = async (event) => {
    event?.preventDefault();
    if (!ready) return;
    const body = { headers, body: form.body };
    if (form.by === 'secret') Object.assign(body, { secret: form.secret, ...form.form ? { form: form.form } : {} });
    else body.subscription = chosen;
    if (form.at) body.at = `${form.at.length === 16 ? `${form.at}:00` : form.at}+08:00`;
    const answer = await act(api.post('/api/v1/signatures/check', body));
    if (answer) setVerdict(answer);
  };
  const forms = [{ value: '', label: t('sig.form.by.headers') }, ...FORMS.map((value) => ({ value, label: t(`subs.form.${value}`) }))];
  const area = (name, rows, label, hint, problem) => html`<${Field} wide label=${label} hint=${hint} wrong=${problem}>${(id, note) => html`<textarea id=${id} class="mono" rows=${rows} spellcheck=${false} aria-describedby=${note}
    value=${form[name]} onInput=${(event) => set({ [name]: event.target.value })}></textarea>`}<//>`;
  return html`<p class="note">${t('sig.about')}</p>
    <div class="signature">
      <${Card} id="request" title=${t('sig.request')}><form class="fields" onSubmit=${check}>
        ${area('headers', 6, t('sig.headers'), t('sig.headers.hint'), wrong ? t('sig.headers.wrong', { line: wrong.slice(0, 60) }) : undefined)}
        ${area('body', 8, t('sig.body'), t('sig.body.hint'))}
        <div class="field"><span>${t('sig.with')}</span><${Choice} label=${t('sig.with')} value=${form.by} options=${['secret', 'subscription'].map((value) => ({ value, label: t(`sig.with.${value}`) }))} onInput=${(by) => set({ by })} /></div>
        ${form.by === 'secret' ? html`
          <${TextField} key="secret" type="password" label=${t('secret.secret')} hint=${t('sig.secret.hint')} value=${form.secret} onInput=${(secret) => set({ secret })} autocomplete="off" />
          <${SelectField} key="form" label=${t('subs.form')} value=${form.form} options=${forms} onInput=${(value) => set({ form: value })} />`
    : html`<${SelectField} key="subscription" label=${t('deliveries.subscription')} value=${chosen} options=${names.length ? names : [{ value: '', label: t('subs.none') }]} onInput=${(subscription) => set({ subscription })} />`}
        <${TextField} type="datetime-local" step="1" label=${t('sig.at')} hint=${t('sig.at.hint')} value=${form.at} onInput=${(at) => set({ at })} />
        <div class="field wide"><div><${Button} kind="main" type="submit" icon="check" disabled=${!ready}>${t('sig.check')}<//></div></div>
      </form><//>
      <${Verdict} verdict=${verdict} />
    </div>`;
}

function Verdict({ verdict }) {
  return html`<${Card} id="verdict" title=${t('sig.verdict')}><div role="status">
    ${!verdict && html`<p class="soft">${t('sig.verdict.none')}</p>`}
    ${verdict && html`<p class="lead"><${State} tone=${verdict.matches ? 'good' : 'bad'}>${t(verdict.matches ? 'sig.matches' : 'sig.matches.not')}<//></p>
      <p class="soft">${t('sig.form.was', { form: t(`subs.form.${verdict.form}`) })}${verdict.made_with > 0 ? ` · ${t('sig.made.with.old')}` : ''}</p>
      <ol class="reasons">${verdict.reasons.map((reason) => html`<li key=${reason.code}><b>${word('sig.reason', reason.code)}</b><p>${said(reason.text)}</p></li>`)}</ol>`}
  </div><//>`;
}
