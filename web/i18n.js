// Chinese and English. All text is in web/i18n; a test holds both languages to the same keys.

import { cell } from './cell.js';
import en from './i18n/en.js';
import { inChinese } from './i18n/said.js';
import zh from './i18n/zh.js';

const texts = { en, zh };

function first() {
  let stored = null;
  try { stored = localStorage.getItem('tidegate.lang'); } catch { /* private windows refuse */ }
  return texts[stored] ? stored : (/^zh/i.test(navigator.language) ? 'zh' : 'en');
}

/** `zh` or `en`. */
export const lang = cell(first());

lang.watch((value) => {
  try { localStorage.setItem('tidegate.lang', value); } catch { /* private windows refuse */ }
  document.documentElement.lang = value === 'zh' ? 'zh-CN' : 'en';
});

/** The text of a key in the language of the page; `{name}` is replaced by `values.name`. A key without text shows itself. */
export function t(key, values) {
  const text = texts[lang.get()][key] ?? texts.en[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole) : text;
}

/** Whether a text exists: for words that the service names, as states and kinds. */
export const has = (key) => key in texts[lang.get()];

/** A word of the service, such as a state, in the language of the page; itself where nobody translated it. */
export function word(group, name) {
  const key = `${group}.${name}`;
  return has(key) ? t(key) : String(name ?? '').replaceAll('_', ' ');
}

/** `title_zh` of a thing in Chinese, `title` in English. */
export function titleOf(thing) {
  return (lang.get() === 'zh' ? thing.title_zh || thing.title : thing.title || thing.title_zh) || thing.name || thing.id;
}

/** A sentence of the service, in the language of the page as far as it is known there. */
export function said(text) {
  return text && lang.get() === 'zh' ? inChinese(text) : text ?? '';
}
