// What people do besides syncing: failures, jobs, sources, choosing a day on a phone.

import path from 'node:path';

import { PHONE, Visitor } from './browser.js';
import { settled } from './pages.js';
import { assert, until } from './report.js';
import { get } from './stage.js';

async function as(browser, stage, work, size) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en', size });
  try {
    await work(visitor.page, visitor);
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}

export const failures = (browser, stage) => as(browser, stage, async (page) => {
  await page.goto(`${stage.url}/failures`);
  await settled(page, 'main table tbody tr');
  const row = page.locator('main tbody tr', { hasText: 'stk_limit' }).first();
  const { items } = await get(stage.url, '/api/v1/failures?dataset=stk_limit');
  assert(items.length > 0, 'a failure waits');
  await row.getByRole('button', { name: 'Try again' }).click();
  await until('the failure to be resolved', async () => {
    const now = await get(stage.url, '/api/v1/failures?dataset=stk_limit');
    return now.items.length < items.length;
  }, 60);
  // The page follows by itself.
  await until('the row to go', async () => await page.locator('main tbody tr', { hasText: 'stk_limit' }).count() < items.length);
});

export const jobs = (browser, stage, shots) => as(browser, stage, async (page) => {
  await page.goto(`${stage.url}/jobs`);
  await settled(page, '#jobs tbody tr');
  await page.getByRole('button', { name: 'New job' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('Not A Name');
  await dialog.getByText('only lower-case letters').waitFor();
  await dialog.getByLabel('Name', { exact: true }).fill('desk-evening');
  await dialog.getByLabel('Title', { exact: true }).fill('Evening at the desk');
  const cron = dialog.getByLabel('Cron, Asia/Shanghai');
  await cron.fill('0 18 * *');
  await dialog.getByText('five fields are wanted').waitFor();
  await cron.fill('30 18 * * 1-5');
  await dialog.getByText('18:30, Monday to Friday').waitFor();
  const times = await dialog.locator('.cron li').allInnerTexts();
  assert(times.length === 3 && times.every((text) => text.endsWith('18:30')), `the next three times: ${times.join(', ')}`);
  await dialog.getByRole('combobox', { name: 'Tables' }).fill('weekly');
  await page.getByRole('option', { name: /weekly/ }).first().click();
  await page.screenshot({ path: path.join(shots, 'job-dialog.png') });
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.waitFor({ state: 'detached' });
  const row = page.locator('#jobs tbody tr', { hasText: 'desk-evening' });
  await row.getByText('18:30, Monday to Friday').waitFor();
  await row.getByRole('button', { name: 'Run it now' }).click();
  await row.locator('.state', { hasText: 'success' }).waitFor({ timeout: 60_000 });
  await row.getByRole('button', { name: 'Pause' }).click();
  await row.locator('.state', { hasText: 'paused' }).waitFor();
  await row.getByRole('button', { name: 'Go on' }).click();
  await row.locator('.state', { hasText: 'active' }).waitFor();
  await row.getByRole('button', { name: 'Remove' }).click();
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
  await row.waitFor({ state: 'detached' });
});

export const sources = (browser, stage) => as(browser, stage, async (page) => {
  await page.goto(`${stage.url}/sources`);
  await settled(page, '.sources .card');
  const card = page.locator('#source-tushare');
  await card.locator('.state', { hasText: 'open' }).waitFor();
  await card.getByRole('button', { name: 'Probe now' }).click();
  await page.locator('.toast').first().waitFor();
  await page.locator('#mirrors pre').getByText('tushare.pro_api').waitFor();
  await card.getByRole('button', { name: /^(Replace|Set)$/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Token', { exact: true }).fill('world-token');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await until('the token to come from here', async () => {
    const { items } = await get(stage.url, '/api/v1/sources');
    return items.find((source) => source.name === 'tushare').token.set;
  });
  assert(!(await page.content()).includes('world-token'), 'the token stands on the page');
});

/** On a phone what is chosen stands at the foot of the window: never over the day it tells of, and only as long as one is chosen. */
export const phoneCoverage = (browser, stage, shots) => as(browser, stage, async (page) => {
  const covers = (selector) => page.evaluate((wanted) => {
    const cell = document.querySelector(wanted);
    const { left, width, top, height } = cell.getBoundingClientRect();
    return !cell.contains(document.elementFromPoint(left + width / 2, top + height / 2));
  }, selector);
  await page.goto(`${stage.url}/coverage/daily`);
  await settled(page, 'main button[data-day]');
  const lowest = await page.evaluate(() => {
    const seen = (cell) => cell.getBoundingClientRect().bottom < innerHeight;
    const cells = [...document.querySelectorAll('main button[data-day]')].filter(seen);
    return cells.reduce((low, cell) => (cell.getBoundingClientRect().bottom > low.getBoundingClientRect().bottom ? cell : low)).dataset.day;
  });
  const cell = `main button[data-day="${lowest}"]`;
  assert(!await covers(cell), `nothing is chosen, and ${lowest} is covered`);
  await page.locator(cell).click();
  await page.locator('#take').waitFor();
  await until('the chosen day to stand clear', async () => !await covers(cell));
  await page.screenshot({ path: path.join(shots, 'phone-chosen.png') });
}, PHONE);
