// A range of days is asked for on the page and followed to its end, without loading anything again.

import path from 'node:path';

import { Visitor } from './browser.js';
import { settled } from './pages.js';
import { assert, until } from './report.js';
import { get } from './stage.js';

export async function syncRange(browser, stage, shots) {
  const { from, to } = stage;
  const before = await get(stage.url, `/api/v1/sync-status?start_date=${from}&end_date=${to}&dataset=daily`);
  assert(before.data.totals.success === 0, 'the range is there already');
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en' });
  const { page } = visitor;
  try {
    await page.goto(`${stage.url}/sync`);
    await settled(page, '#range form');
    await page.getByLabel('From', { exact: true }).fill('2020-01-01');
    await until('too many days are refused at once', () => page.locator('#range [role=alert]').count());
    assert(await page.getByRole('button', { name: 'Start sync' }).isDisabled(), 'a range that is too long can be started');
    await page.getByLabel('From', { exact: true }).fill(from);
    await page.getByLabel('To', { exact: true }).fill(to);
    await page.getByRole('button', { name: 'Start sync' }).click();
    await page.locator('#run').waitFor();
    await page.screenshot({ path: path.join(shots, 'sync-running.png') });
    const done = page.locator('#run .state.good, #run .state.warn, #run .state.bad').first();
    await done.waitFor({ timeout: 60_000 });
    assert(await page.locator('#run .state.good').count(), `the run is not green: ${await page.locator('#run').innerText()}`);
    // The list of days follows by itself.
    const after = await until('the days to be whole', async () => {
      const { data } = await get(stage.url, `/api/v1/sync-status?start_date=${from}&end_date=${to}&dataset=daily`);
      return data.totals.pending === 0 && data.totals.success > 0 ? data : null;
    });
    const figure = page.locator('.figure', { hasText: 'Success' }).locator('.value').first();
    await until('the figure of whole days', async () => Number(await figure.innerText()) === after.totals.success);
    const rows = await page.locator('#days tbody tr').count();
    assert(rows === after.total, `${rows} days are listed, ${after.total} are told`);
    await page.screenshot({ path: path.join(shots, 'sync-done.png') });
    const coverage = await get(stage.url, `/api/v1/coverage/daily?from=${from}&to=${to}`);
    const open = coverage.days.filter((day) => day.state !== 'closed');
    assert(open.every((day) => day.state === 'present'), `not whole: ${JSON.stringify(open.find((day) => day.state !== 'present'))}`);
    assert(open.length === after.totals.success, `${open.length} trading days, ${after.totals.success} whole`);
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}
