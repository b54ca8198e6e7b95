// Shortcuts: `g` and a letter goes to a page, `?` explains, `/` looks for the search field. Escape closes what is on top.

import { cell } from './cell.js';
import { pages } from './pages/index.js';
import { go } from './router.js';

/** Whether the list of shortcuts is shown. */
export const helpShown = cell(false);

/** Shortcuts of the page that is shown: key -> { text, run }. */
const own = new Map();
const GO_MS = 1200;
let going = -GO_MS;

const typing = (element) => element?.closest?.('input, textarea, select, [contenteditable]');

/** Adds a shortcut while a view is shown; call within useEffect and return what it returns. */
export function shortcut(key, text, run) {
  own.set(key, { text, run });
  return () => { if (own.get(key)?.run === run) own.delete(key); };
}

export const ownShortcuts = () => [...own].map(([key, { text }]) => ({ key, text }));

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || typing(event.target)) return;
  if (document.querySelector('dialog[open]') && event.key !== 'Escape') return;
  const now = event.timeStamp;
  if (now - going < GO_MS) {
    going = -GO_MS;
    const page = pages.find((one) => one.key === event.key);
    if (page) { event.preventDefault(); go(page.path.replace(/\/:.*$/, '') || '/'); }
    return;
  }
  if (event.key === 'g') { going = now; return; }
  if (event.key === '?') { event.preventDefault(); helpShown.set(true); return; }
  if (event.key === '/') {
    const search = document.querySelector('main input[type=search]');
    if (search) { event.preventDefault(); search.focus(); search.select(); }
    return;
  }
  const found = own.get(event.key);
  if (found) { event.preventDefault(); found.run(); }
});
