// Choosing a security by code, name or the initials of its pinyin; the last one is remembered.

import { api, useGet } from '../../api.js';
import { kept } from '../../cell.js';
import { Combobox } from '../../components/combobox.js';
import { t } from '../../i18n.js';
import { html } from '../../view.js';

const SHOWN = 12;

/** The code that was looked at last. */
export const lastCode = kept('security', '');

async function search(text, signal) {
  const answer = await api.get('/api/v1/securities', { query: { q: text.trim(), limit: SHOWN }, signal });
  return answer.items;
}

const show = (one) => html`<span class="mono">${one.code}</span><b>${one.name}</b><small>${one.industry ?? ''}</small>${one.delist_date && html`<small>${t('data.delisted')}</small>`}`;

export function Security({ code, name, onPick }) {
  const pick = (one) => { lastCode.set(one.code); onPick(one.code); };
  return html`<div class="field security"><span>${t('data.security')}</span>
    <${Combobox} label=${t('data.security')} placeholder=${t('data.security.example')} text=${code ? `${code}${name ? ` ${name}` : ''}` : ''} search=${search} show=${show} keyOf=${(one) => one.code} onPick=${pick} /></div>`;
}

/** The code of the address, else the last one, else the first that the store has; `null` where it has none. */
export function useCode(named) {
  const last = lastCode.use();
  const first = useGet(named || last ? null : '/api/v1/securities', { query: { limit: 1 } });
  const code = named || last || first.data?.items[0]?.code;
  return { code: code ?? null, loading: !code && first.loading, problem: first.problem };
}
