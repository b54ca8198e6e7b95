// Asks for a key where the service wants one.

import { api, session } from './api.js';
import { Button, TextField } from './components.js';
import { setNow } from './format.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { html, useState } from './view.js';

export function Login() {
  const [key, setKey] = useState('');
  const [problem, setProblem] = useState(null);
  const enter = async (event) => {
    event.preventDefault();
    setProblem(null);
    try {
      await api.post('/api/v1/session', { key: key.trim() });
      const found = await api.get('/api/v1/session');
      setNow(found.now);
      session.set(found);
      live.restart();
    } catch (found) {
      setProblem(found);
    }
  };
  const wrong = problem && (problem.status === 0 ? t('problem.offline') : problem.status === 401 ? t('login.wrong') : problem.detail);
  return html`<main class="login" id="main">
    <form class="card" onSubmit=${enter}>
      <h1><img src="/icon.svg" alt="" width="28" height="28" />Tidegate</h1>
      <p>${t('login.text')}</p>
      <${TextField} label=${t('login.key')} type="password" value=${key} onInput=${setKey} wrong=${wrong} autofocus autocomplete="current-password" required />
      <${Button} kind="main" type="submit" disabled=${!key.trim()}>${t('login.enter')}<//>
      <p class="note">${t('login.hint')}<code>tidegate keys create NAME --role operate</code></p>
    </form>
  </main>`;
}
