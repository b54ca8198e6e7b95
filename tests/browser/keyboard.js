// Without a mouse: skip link, shortcuts, dialog, table rows, tabs, the combobox, the cells of the calendar.

import path from 'node:path';

import { Visitor } from './browser.js';
import { settled } from './pages.js';
import { assert, until } from './report.js';

const focused = (page, read) => page.evaluate(read);

/** Tab until the focus fits, at most `most` times. */
async function tabTo(page, what, fits, { most = 60, key = 'Tab' } = {}) {
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press(key);
    if (await page.evaluate(fits)) return;
  }
  throw new Error(`${what} is not reached by ${most} tabs: ${await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200))}`);
}

export async function keyboard(browser, stage, shots) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en' });
  const { page } = visitor;
  const at = (pattern) => until(`the address ${pattern}`, () => pattern.test(new URL(page.url()).pathname + new URL(page.url()).search));
  try {
    await page.goto(stage.url);
    await settled(page, 'main .figures');
    await page.keyboard.press('Tab');
    assert(await focused(page, () => document.activeElement.className) === 'skip', 'the first tab is the skip link');
    await page.keyboard.press('Enter');
    assert(await focused(page, () => document.activeElement.id) === 'main', 'the skip link skips');
    await shortcutsAndDialog(page, at);
    await tables(page, at);
    await combobox(page, stage, at);
    await calendar(page, shots);
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}

async function shortcutsAndDialog(page, at) {
  for (const [key, where] of [['t', /^\/tasks$/], ['j', /^\/jobs$/], ['d', /^\/data$/], ['o', /^\/$/]]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await at(where);
  }
  const dialog = page.getByRole('dialog');
  // The page that is left may still have the focus in a field, where it is a letter like others.
  await until('the help', async () => {
    await page.keyboard.press('?');
    return dialog.isVisible();
  });
  for (let presses = 0; presses < 6; presses += 1) {
    await page.keyboard.press('Tab');
    const inside = await focused(page, () => Boolean(document.activeElement.closest('dialog')) || document.activeElement === document.body);
    assert(inside, 'the focus leaves the dialog');
  }
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  // The menu, by tabs and Enter.
  await tabTo(page, 'the menu', () => document.activeElement.getAttribute('href') === '/sources', { key: 'Shift+Tab' });
  await page.keyboard.press('Enter');
  await at(/^\/sources$/);
  await until('the focus on the title of the new page', () => focused(page, () => document.activeElement.id === 'title'));
}

async function tables(page, at) {
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await settled(page, 'main table tbody tr');
  await tabTo(page, 'a row', () => document.activeElement.tagName === 'TR');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await at(/^\/tasks\/\d+$/);
  await settled(page, '#phases');
  await page.keyboard.press('g');
  await page.keyboard.press('f');
  await settled(page, '[role=tablist]');
  await tabTo(page, 'the tabs', () => document.activeElement.getAttribute('role') === 'tab');
  await page.keyboard.press('ArrowRight');
  await at(/view=quarantine/);
  assert(await focused(page, () => document.activeElement.getAttribute('aria-selected')) === 'true', 'the focus follows the tab');
}

async function combobox(page, stage, at) {
  await page.keyboard.press('g');
  await page.keyboard.press('d');
  await settled(page, '[role=combobox]');
  const name = (text) => page.locator('#candles h2').filter({ hasText: text }).waitFor();
  await tabTo(page, 'the combobox', () => document.activeElement.getAttribute('role') === 'combobox');
  for (const typed of [stage.pinyin, stage.name, stage.code.slice(0, 6)]) {
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.insertText(typed);
    await until(`${stage.code} among what fits ${typed}`, async () => {
      const options = await page.getByRole('option').allInnerTexts();
      return options.some((text) => text.includes(stage.code));
    });
    const box = page.getByRole('combobox');
    assert(await box.getAttribute('aria-expanded') === 'true', 'it says that it is open');
    for (let presses = 0; presses < 12; presses += 1) {
      const active = await box.getAttribute('aria-activedescendant');
      if ((await page.locator(`[id="${active}"]`).innerText()).includes(stage.code)) break;
      await page.keyboard.press('ArrowDown');
    }
    await page.keyboard.press('Enter');
    await at(new RegExp(`/data/kline/${stage.code}`));
    await name(stage.name);
    assert(await box.getAttribute('aria-expanded') === 'false', 'it closes');
  }
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.insertText('zzzzzz');
  await page.locator('.combobox-none:visible').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.combobox-none:visible').waitFor({ state: 'detached' }).catch(() => {});
}

/** Arrow keys go from day to day; Shift makes a range, and the plan of it is told. */
async function calendar(page, shots) {
  await page.evaluate(() => { document.activeElement?.blur(); });
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await settled(page, 'main button[data-day]');
  await tabTo(page, 'a day', () => Boolean(document.activeElement.matches('button[data-day]')), { most: 120 });
  const day = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.title);
  const first = await day();
  await page.keyboard.press('ArrowLeft');
  await until('another day', async () => await day() !== first);
  await page.keyboard.press('Shift+ArrowLeft');
  await page.keyboard.press('Shift+ArrowLeft');
  await until('a range is chosen', () => page.locator('button[data-day][aria-pressed=true]').count().then((count) => count >= 2));
  await page.screenshot({ path: path.join(shots, 'coverage-range.png') });
}
