// The shell: menu, head, the page, and what lies above it.

import { act, api, session } from './api.js';
import { Button, Dialog, Failed, Icon, Keys, Loading, confirm } from './components.js';
import { Question } from './components/dialog.js';
import { setNow } from './format.js';
import { lang, t } from './i18n.js';
import { helpShown, ownShortcuts } from './keyboard.js';
import { live, status } from './live.js';
import { Login } from './login.js';
import { groups, pages } from './pages/index.js';
import { route } from './router.js';
import { choice } from './theme.js';
import { toast, toasts } from './toast.js';
import { html, render, useEffect, useErrorBoundary, useRef, useState } from './view.js';

const THEMES = ['auto', 'light', 'dark'];
const THEME_ICONS = { auto: 'auto', light: 'sun', dark: 'moon' };
const addressOf = (page) => page.path.replace(/\/:.*$/, '') || '/';

function Menu({ open, onClose }) {
  const now = route.use().page;
  const attention = useAttention();
  return html`<nav class=${`menu${open ? ' open' : ''}`} id="menu" aria-label=${t('nav')}>
    <a class="brand" href="/" onClick=${onClose}><img src="/icon.svg" alt="" width="24" height="24" /><span>Tidegate</span></a>
    ${groups.map((group) => html`<div class="group" key=${group}>
      <p id=${`menu-${group}`}>${t(`nav.group.${group}`)}</p>
      <ul aria-labelledby=${`menu-${group}`}>${pages.filter((page) => page.group === group).map((page) => html`<li key=${page.name}>
        <a href=${addressOf(page)} onClick=${onClose} aria-current=${page === now ? 'page' : undefined}><${Icon} name=${page.icon} /><span>${t(`nav.${page.name}`)}</span>${attention[page.name] ? html`<span class="count" title=${t('nav.attention')}>${attention[page.name]}</span>` : ''}</a>
      </li>`)}</ul>
    </div>`)}
    <div class="foot">${session.get()?.version ? `v${session.get().version}` : ''} · <a href="/docs" target="_blank" rel="noopener">API</a></div>
  </nav>`;
}

/** Of each page, which kinds of things that need a person are mended there. */
const MENDED = { failures: ['failure', 'quarantine', 'conflict'], deliveries: ['delivery'], subscriptions: ['receiver'], reconciliations: ['difference'] };

/** How many things wait for a person, by page, for the menu. */
function useAttention() {
  const [found, setFound] = useState({});
  useEffect(() => {
    let timer = null;
    const ask = () => {
      timer = null;
      api.get('/api/v1/overview').then((overview) => {
        const count = (kinds) => (overview.attention ?? []).filter((one) => kinds.includes(one.kind)).reduce((sum, one) => sum + (one.count || 1), 0);
        setFound(Object.fromEntries(Object.entries(MENDED).map(([page, kinds]) => [page, count(kinds)])));
      }, () => {});
    };
    const soon = () => { timer ??= setTimeout(ask, 5000); };
    ask();
    const leave = live.subscribe('overview', soon, soon);
    return () => { clearTimeout(timer); leave(); };
  }, []);
  return found;
}

function Link() {
  const now = status.use();
  return html`<span class=${`link ${now}`} role="status" title=${t(`live.${now}.title`)}><i aria-hidden="true"></i><span>${t(`live.${now}`)}</span></span>`;
}

function Head({ onMenu, menuOpen }) {
  const { page } = route.use();
  const theme = choice.use();
  const who = session.get();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const leave = async () => {
    if (!await confirm({ title: t('logout'), text: t('logout.text', { name: who.name }), yes: t('logout') })) return;
    await act(api.delete('/api/v1/session'));
    session.set(null);
  };
  return html`<header class="head">
    <button type="button" class="button quiet bare burger" aria-label=${t('nav')} aria-expanded=${menuOpen} aria-controls="menu" onClick=${onMenu}><${Icon} name="menu" size="18" /></button>
    <h1 tabindex="-1" id="title">${page ? t(`nav.${page.name}`) : t('nowhere')}</h1>
    <${Link} />
    <div class="tools">
      <button type="button" class="button quiet lang" lang=${lang.get() === 'zh' ? 'en' : 'zh-CN'} title=${t('lang.other')} onClick=${() => lang.set(lang.get() === 'zh' ? 'en' : 'zh')}>${lang.get() === 'zh' ? 'EN' : '中'}</button>
      <${Button} kind="quiet" icon=${THEME_ICONS[theme]} title=${t('theme.now', { name: t(`theme.${theme}`) })} run=${() => choice.set(next)} />
      <${Button} kind="quiet" icon="help" title=${t('keys.title')} run=${() => helpShown.set(true)} />
      ${who?.keys && html`<${Button} kind="quiet" icon="logout" title=${t('logout.who', { name: who.name, role: t(`role.${who.role}`) })} run=${leave} />`}
    </div>
  </header>`;
}

function Help() {
  if (!helpShown.use()) return null;
  const row = (keys, text) => html`<tr key=${text}><td><${Keys} keys=${keys} /></td><td>${text}</td></tr>`;
  return html`<${Dialog} title=${t('keys.title')} onClose=${() => helpShown.set(false)}>
    <table class="shortcuts"><tbody>
      ${pages.map((page) => row(['g', page.key], t(`nav.${page.name}`)))}
      ${row(['/'], t('keys.search'))}${row(['?'], t('keys.help'))}${row(['Esc'], t('keys.escape'))}
      ${row(['↑', '↓', 'Enter'], t('keys.table'))}
      ${ownShortcuts().map(({ key, text }) => row([key], text))}
    </tbody></table>
  <//>`;
}

function Toasts() {
  const shown = toasts.use();
  return html`<div class="toasts" role="log" aria-live="polite" aria-label=${t('toasts')}>${shown.map((one) => html`<div key=${one.id} class=${`toast ${one.kind}`}>
    <span class="sign" aria-hidden="true">${{ good: '✓', bad: '✕', info: 'i' }[one.kind]}</span>
    <div><p>${one.text}</p>${one.hint && html`<p class="hint">${one.hint}</p>`}</div>
    <${Button} kind="quiet" icon="close" title=${t('close')} run=${() => toast.close(one.id)} />
  </div>`)}</div>`;
}

const views = new Map();

function Page() {
  const { page, params, query } = route.use();
  const [, redraw] = useState(0);
  const [problem, setProblem] = useState(null);
  const [broken, mend] = useErrorBoundary((error) => console.error(error));
  const first = useRef(true);
  const name = page?.name;
  useEffect(() => {
    document.title = `${page ? t(`nav.${name}`) : t('nowhere')} · Tidegate`;
  });
  useEffect(() => {
    setProblem(null);
    mend();
    if (page && !views.has(name)) {
      page.load().then((module) => { views.set(name, module.default); redraw((count) => count + 1); }, setProblem);
    }
    if (!first.current) document.getElementById('title')?.focus({ preventScroll: true });
    first.current = false;
  }, [name]);
  if (!page) return html`<div class="empty"><p class="title">${t('nowhere')}</p><p>${t('nowhere.text')}</p><${Button} href="/">${t('nav.overview')}<//></div>`;
  if (problem || broken) return html`<${Failed} problem=${{ status: 1, detail: t('problem.page'), hint: String((problem || broken).message) }} retry=${() => location.reload()} />`;
  const View = views.get(name);
  return View ? html`<${View} key=${name} params=${params} query=${query} />` : html`<${Loading} />`;
}

function Shell() {
  const [open, setOpen] = useState(false);
  const { path } = route.use();
  useEffect(() => {
    if (!open) return undefined;
    const escape = (event) => { if (event.key === 'Escape') setOpen(false); };
    document.addEventListener('keydown', escape);
    return () => document.removeEventListener('keydown', escape);
  }, [open]);
  const skip = (event) => { event.preventDefault(); document.getElementById('main').focus(); };
  return html`<a class="skip" href="#main" onClick=${skip}>${t('skip')}</a>
    <${Menu} open=${open} onClose=${() => setOpen(false)} />
    ${open && html`<div class="veil" onClick=${() => setOpen(false)}></div>`}
    <div class="column">
      <${Head} onMenu=${() => setOpen(!open)} menuOpen=${open} />
      <main id="main" tabindex="-1" data-path=${path}><${Page} /></main>
    </div>
    <${Help} /><${Question} />`;
}

function App() {
  lang.use();
  const who = session.use();
  const [problem, setProblem] = useState(null);
  const ask = () => {
    setProblem(null);
    api.get('/api/v1/session').then((found) => { setNow(found.now); session.set(found); }, (found) => { if (found.status !== 401) setProblem(found); });
  };
  useEffect(ask, []);
  const inside = who === null ? html`<${Login} />`
    : who ? html`<${Shell} />`
      : problem ? html`<main class="login"><${Failed} problem=${problem} retry=${ask} /></main>` : null;
  return html`${inside}<${Toasts} />`;
}

const root = document.getElementById('app');
root.textContent = '';
render(html`<${App} />`, root);
