// Keys: the first one shuts the door, a login opens it, and whoever may only read meets no button that would be refused.

import path from 'node:path';

import { Visitor } from './browser.js';
import { findings } from './accessible.js';
import { PAGES, filled, go, settled } from './pages.js';
import { assert } from './report.js';

/** Makes a key in the dialog of the settings and returns its text, which is shown once. */
async function makeKey(page, name, role) {
  await page.getByRole('button', { name: 'New key' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill(name);
  if (role) await dialog.getByLabel('Role', { exact: true }).selectOption(role);
  await dialog.getByRole('button', { name: 'New key' }).click();
  const text = (await dialog.locator('pre').innerText()).trim();
  assert(text.length > 20, `the key is shown: ${text.length} characters`);
  await dialog.getByRole('button', { name: 'I have copied it' }).click();
  await dialog.waitFor({ state: 'detached' });
  return text;
}

async function logIn(page, key) {
  await page.getByLabel('Key', { exact: true }).fill(key);
  await page.getByRole('button', { name: 'Log in' }).click();
}

async function logOut(page) {
  await page.locator('.head .tools').getByRole('button', { name: /log out/i }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click();
  await page.locator('.login form').waitFor();
}

export async function access(browser, stage, shots) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en' });
  const { page } = visitor;
  // The browser itself tells every answer of these kinds; the page must not.
  visitor.expect(/Failed to load resource: the server responded with a status of 401/);
  visitor.expect(/WebSocket connection to .* failed.*(401|closed)/);
  try {
    await page.goto(`${stage.url}/settings`);
    await settled(page, '#configuration tbody tr');
    const admin = await makeKey(page, 'boss');
    await page.locator('.login form').waitFor();
    const found = await findings(page);
    assert(!found.length, `axe-core on the login:\n${found.join('\n')}`);
    await page.screenshot({ path: path.join(shots, 'login.png') });
    await logIn(page, 'tg_this_is_no_key');
    await page.getByText('The key is unknown or has expired.').waitFor();
    await logIn(page, admin);
    await settled(page, '#configuration tbody tr');
    assert(!(await page.content()).includes(admin), 'the key stands on the page');
    const reader = await makeKey(page, 'reader', 'read');
    await page.locator('#keys').getByText('reader').waitFor();
    await logOut(page);
    await logIn(page, reader);
    await page.locator('.menu').waitFor({ state: 'attached' });
    await reads(visitor, stage, shots);
    await logOut(page);
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}

/** Clicks whatever a reader is offered, on every page: nothing is refused, and nothing would change anything. */
async function reads(visitor, stage, shots) {
  const { page } = visitor;
  const wrong = [];
  const heard = (answer) => {
    const method = answer.request().method();
    const { pathname } = new URL(answer.url());
    // The answer to the login may still be under way, and a plan changes nothing.
    if (['/api/v1/session', '/api/v1/plan'].includes(pathname) && answer.status() !== 403) return;
    if (answer.status() === 403 || method !== 'GET') wrong.push(`${method} ${new URL(answer.url()).pathname}: ${answer.status()}`);
  };
  page.on('response', heard);
  for (const one of PAGES.filter(({ name }) => name !== 'levels')) {
    await go(page, filled(one.path, stage));
    await settled(page, one.shows);
    if (['tasks', 'jobs', 'sources'].includes(one.name)) await page.screenshot({ path: path.join(shots, `reader-${one.name}.png`) });
    const buttons = page.locator('main button:not(.sort, [data-day], [role=tab], .choice button):visible:enabled');
    const count = Math.min(await buttons.count(), 12);
    for (let at = 0; at < count; at += 1) {
      const button = buttons.nth(at);
      if (!await button.isVisible().catch(() => false)) continue;
      await button.click({ timeout: 2000 }).catch(() => {});
      await page.keyboard.press('Escape');
    }
  }
  page.off('response', heard);
  assert(!wrong.length, `a reader was offered what is refused or changes something: ${[...new Set(wrong)].join(', ')}`);
}
