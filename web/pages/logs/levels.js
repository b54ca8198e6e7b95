// The level of each module's log, changed while the service runs.

import { act, api, useGet } from '../../api.js';
import { Button, Card, Loaded, SelectField, TextField } from '../../components.js';
import { t, word } from '../../i18n.js';
import { html, useState } from '../../view.js';

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'];
const MODULES = ['engine', 'scheduler', 'serve', 'store', 'source', 'mirror'];

export function Levels() {
  const found = useGet('/api/v1/log-levels');
  const [name, setName] = useState('');
  const save = (levels) => act(api.put('/api/v1/log-levels', levels), t('levels.saved')).then(found.reload);
  const options = LEVELS.map((value) => ({ value, label: word('level', value) }));
  return html`<${Card} id="levels" title=${t('logs.levels')} note=${t('levels.note')}>
    <${Loaded} from=${found}>${(levels) => {
      const stated = levels.levels;
      const names = [...new Set([...MODULES, ...Object.keys(stated)])].sort();
      return html`<div class="fields">${names.map((module) => html`<${SelectField} key=${module} label=${module} value=${stated[module] ?? ''}
          options=${[{ value: '', label: t('levels.default', { level: word('level', levels.default) }) }, ...options]} onInput=${(value) => save({ [module]: value || null })} />`)}</div>
        <form class="fields where" onSubmit=${(event) => { event.preventDefault(); if (name.trim()) save({ [name.trim()]: 'debug' }).then(() => setName('')); }}>
          <${TextField} label=${t('levels.module')} hint=${t('levels.module.hint')} value=${name} onInput=${setName} />
          <div class="field go"><${Button} type="submit" icon="plus" disabled=${!name.trim()}>${t('levels.add')}<//></div>
        </form>`;
    }}<//>
  <//>`;
}
