// Settings: how the dashboard looks here, keys of the API, and the configuration in force.

import { useGet } from '../api.js';
import { Card, Choice, Loaded, SearchField, Table } from '../components.js';
import { lang, t } from '../i18n.js';
import { may } from '../roles.js';
import { choice } from '../theme.js';
import { html, useState } from '../view.js';
import { Keys } from './settings/keys.js';

export default function Page() {
  return html`<${Looks} />${may('admin') && html`<${Keys} />`}<${Configuration} />`;
}

function Looks() {
  const theme = choice.use();
  const themes = ['auto', 'light', 'dark'].map((value) => ({ value, label: t(`theme.${value}`) }));
  const langs = [{ value: 'zh', label: '中文' }, { value: 'en', label: 'English' }];
  return html`<${Card} id="looks" title=${t('settings.looks')} note=${t('settings.looks.note')}><div class="row">
    <span class="note">${t('settings.language')}</span><${Choice} label=${t('settings.language')} value=${lang.get()} options=${langs} onInput=${lang.set} />
    <span class="note">${t('settings.theme')}</span><${Choice} label=${t('settings.theme')} value=${theme} options=${themes} onInput=${choice.set} />
  </div><//>`;
}

function Configuration() {
  const found = useGet('/api/v1/settings');
  const [text, setText] = useState('');
  const fits = (one) => [one.option, one.value, one.origin, one.meaning].some((part) => String(part ?? '').toLowerCase().includes(text.toLowerCase()));
  const columns = [
    { name: 'option', label: t('settings.option'), wrap: true, view: (one) => html`<span><span class="mono">${one.option}</span><br /><small class="faint">${one.meaning}</small></span>` },
    { name: 'value', label: t('settings.value'), wrap: true, view: (one) => html`<span class="mono">${one.value}</span>` },
    { name: 'origin', label: t('settings.origin'), view: (one) => html`<span class=${one.origin === 'default' ? 'faint' : ''}>${one.origin === 'default' ? t('settings.default') : one.origin}</span>` },
  ];
  return html`<${Card} id="configuration" title=${t('settings.configuration')} flush actions=${html`<${SearchField} label=${t('settings.search')} value=${text} onInput=${setText} />`}>
    <p class="note inset">${t('settings.configuration.note')}</p>
    <${Loaded} from=${found} lines=${10}>${({ items }) => html`<${Table} label=${t('settings.configuration')} columns=${columns} rows=${items.filter(fits)} id=${(one) => one.option} tall />`}<//>
  <//>`;
}
