// Paths of the dashboard: real addresses, the part after `?` is the page's own state.

import { cell } from './cell.js';
import { pages } from './pages/index.js';

function compiled(path) {
  const names = [];
  const pattern = path.replace(/\/:(\w+)(\?)?/g, (_, name, optional) => {
    names.push(name);
    return optional ? '(?:/([^/]+))?' : '/([^/]+)';
  });
  return { pattern: new RegExp(`^${pattern}/?$`), names };
}

const table = pages.map((page) => ({ page, ...compiled(page.path) }));

function read() {
  const path = location.pathname;
  const query = Object.fromEntries(new URLSearchParams(location.search));
  for (const { page, pattern, names } of table) {
    const found = pattern.exec(path);
    if (found) {
      const params = Object.fromEntries(names.map((name, at) => [name, found[at + 1] && decodeURIComponent(found[at + 1])]));
      return { page, params, query, path };
    }
  }
  return { page: null, params: {}, query, path };
}

/** `{ page, params, query, path }` of the address. */
export const route = cell(read());

/** Goes to an address of the dashboard; `replace` leaves no step in the history. */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
  const moved = location.pathname !== route.get().path;
  route.set(read());
  if (moved) scrollTo(0, 0);
}

/** Changes some of the page's state: `setQuery({ dataset: 'daily', day: null })`; null or '' removes. No step in the history unless `push`. */
export function setQuery(changes, { push = false } = {}) {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === '' || value === false) parameters.delete(name);
    else parameters.set(name, String(value));
  }
  const text = parameters.toString();
  go(location.pathname + (text ? `?${text}` : ''), { replace: !push });
}

addEventListener('popstate', () => route.set(read()));

/** Links of the dashboard change the page without loading it again. */
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.('a[href]');
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (link.getAttribute('href').startsWith('#') || !table.some(({ pattern }) => pattern.test(link.pathname))) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
