// What needs a person: slices that failed, rows that a rule refused, rows on which sources disagree.

import { useGet } from '../api.js';
import { CheckField, SelectField, Tabs } from '../components.js';
import { t } from '../i18n.js';
import { setQuery } from '../router.js';
import { html } from '../view.js';
import { Conflicts } from './failures/conflicts.js';
import { Failures } from './failures/list.js';
import { Quarantine } from './failures/quarantine.js';

const VIEWS = { failures: Failures, quarantine: Quarantine, conflicts: Conflicts };

export default function Page({ query }) {
  const view = VIEWS[query.view] ? query.view : 'failures';
  const { dataset = '' } = query;
  const all = query.all === 'true';
  const datasets = useGet('/api/v1/datasets', { query: { limit: 500 } });
  const names = (datasets.data?.items ?? []).map((one) => ({ value: one.name, label: one.name }));
  const tabs = Object.keys(VIEWS).map((name) => ({ name, label: t(`failures.${name}`) }));
  return html`
    <${Tabs} label=${t('nav.failures')} tabs=${tabs} value=${view} onInput=${(name) => setQuery({ view: name === 'failures' ? null : name }, { push: true })} />
    <div role="tabpanel" aria-label=${t(`failures.${view}`)} class="stack">
      <p class="note">${t(`failures.${view}.about`)}</p>
      <div class="toolbar">
        <${SelectField} label=${t('tasks.dataset')} value=${dataset} options=${[{ value: '', label: t('all') }, ...names]} onInput=${(value) => setQuery({ dataset: value })} />
        ${view !== 'quarantine' && html`<${CheckField} label=${t('failures.all')} value=${all} onInput=${(value) => setQuery({ all: value ? 'true' : null })} />`}
      </div>
      <${VIEWS[view]} key=${view} dataset=${dataset} all=${all} />
    </div>`;
}
