// Through every page, in one language, theme and width: it shows what it is for, fits, reads, and says nothing on the console.

import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { findings } from './accessible.js';
import { Visitor } from './browser.js';
import { PAGES, filled, go, settled, untranslated } from './pages.js';
import { assert } from './report.js';

/** Elements that reach over the right edge of a page that must not scroll sideways. */
function tooWide(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    const over = [...document.querySelectorAll('main *, header *')].filter((element) => element.getBoundingClientRect().right > width + 1);
    return over.slice(0, 5).map((element) => `${element.tagName}.${element.className}`);
  });
}

export async function walk(browser, stage, { lang, theme, size, name }, shots) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang, theme, size });
  const { page } = visitor;
  const folder = path.join(shots, `${name}-${lang}-${theme}`);
  mkdirSync(folder, { recursive: true });
  const wrong = [];
  // What axe-core found, and on which pages.
  const found = new Map();
  try {
    await page.goto(stage.url);
    for (const one of PAGES) {
      try {
        await go(page, filled(one.path, stage));
        await settled(page, one.shows);
        await page.screenshot({ path: path.join(folder, `${one.name}.png`) });
        const seen = await page.evaluate(() => ({
          lang: document.documentElement.lang, theme: document.documentElement.dataset.theme, title: document.querySelector('h1')?.innerText,
        }));
        assert(seen.lang.startsWith(lang) && seen.theme === theme && seen.title, `${JSON.stringify(seen)}`);
        if (lang === 'zh') assert(/\p{Script=Han}/u.test(seen.title), `${seen.title} is no Chinese title`);
        const raw = await untranslated(page, stage.options);
        assert(!raw.length, `texts are missing: ${raw.join(', ')}`);
        const wide = await tooWide(page);
        assert(!wide.length, `wider than the screen: ${wide.join(', ')}`);
        for (const finding of await findings(page)) {
          found.set(finding, [...found.get(finding) ?? [], one.name]);
        }
      } catch (error) {
        wrong.push(`${one.name}: ${error.message}`);
      }
    }
    const live = await page.locator('.head .link').getAttribute('class');
    if (!/\blive\b/.test(live)) wrong.push(`the live link is ${live}`);
    if (!visitor.sockets) wrong.push('no web socket was opened');
    wrong.push(...[...found].map(([finding, names]) => `axe-core on ${names.join(', ')}: ${finding}`), ...visitor.faults);
  } finally {
    await visitor.leave();
  }
  assert(!wrong.length, wrong.join('\n'));
  return visitor.requests;
}
