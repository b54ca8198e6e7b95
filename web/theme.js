// Light, dark, or as the system says.

import { cell } from './cell.js';

const system = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try { return localStorage.getItem('tidegate.theme') || 'auto'; } catch { return 'auto'; }
}

/** What the person chose: `light`, `dark` or `auto`. */
export const choice = cell(stored());
/** What is shown: `light` or `dark`. Charts watch it to draw themselves again. */
export const theme = cell(document.documentElement.dataset.theme || 'light');

function apply() {
  const dark = choice.get() === 'dark' || (choice.get() === 'auto' && system.matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  theme.set(dark ? 'dark' : 'light');
}

choice.watch((value) => {
  try { localStorage.setItem('tidegate.theme', value); } catch { /* private windows refuse */ }
  apply();
});
system.addEventListener('change', apply);
apply();
