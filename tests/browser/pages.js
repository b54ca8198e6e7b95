// Every page of the dashboard with what it must show, and how one goes there and waits until it has settled.

import { assert } from './report.js';

/** `{code}`, `{task}`, `{run}` and the like are filled in by the stage. */
export const PAGES = [
  { name: 'overview', path: '/', shows: 'main .figures' },
  { name: 'coverage', path: '/coverage/daily', shows: 'main button[data-day]' },
  { name: 'sync', path: '/sync?from={from}&to={to}', shows: '#range form' },
  { name: 'tasks', path: '/tasks', shows: 'main table tbody tr' },
  { name: 'task', path: '/tasks/{task}', shows: '#phases .spans .bar' },
  { name: 'runs', path: '/runs', shows: 'main table tbody tr' },
  { name: 'run', path: '/runs/{run}', shows: '#run .figures' },
  { name: 'failures', path: '/failures?all=true', shows: 'main table tbody tr' },
  { name: 'quarantine', path: '/failures?view=quarantine', shows: 'main table tbody tr' },
  { name: 'conflicts', path: '/failures?view=conflicts', shows: 'main .empty, main .conflicts' },
  { name: 'kline', path: '/data/kline/{code}', shows: '.candles[data-drawn]' },
  { name: 'kline-table', path: '/data/kline/{code}?as=table&period=weekly', shows: '#candles table tbody tr' },
  { name: 'tables', path: '/data/table', shows: '#catalogue tbody tr' },
  { name: 'rows', path: '/data/table/daily?order=-trade_date', shows: '#rows tbody tr' },
  { name: 'statements', path: '/data/statements/{code}', shows: '.statements tbody tr' },
  { name: 'market', path: '/data/market?day={day}', shows: '.market tbody tr' },
  { name: 'events', path: '/events', shows: '#events tbody tr' },
  { name: 'event', path: '/events/{event}', shows: '#way-tax .timeline li' },
  { name: 'vouchers', path: '/vouchers', shows: '#vouchers tbody tr' },
  { name: 'voucher', path: '/vouchers/{voucher}', shows: '#versions tbody tr' },
  { name: 'deliveries', path: '/deliveries', shows: '#attempts tbody tr' },
  { name: 'unsettled', path: '/deliveries?view=unsettled', shows: '#unsettled' },
  { name: 'blocked', path: '/deliveries?view=blocked', shows: '#blocked' },
  { name: 'replays', path: '/deliveries?view=replays', shows: '#replays tbody tr' },
  { name: 'delivery', path: '/deliveries/{event}/tax', shows: '#request pre' },
  { name: 'subscriptions', path: '/subscriptions', shows: '#subscriptions tbody tr' },
  { name: 'subscription', path: '/subscriptions/tax', shows: '#secrets li' },
  { name: 'inbounds', path: '/subscriptions?view=inbounds', shows: '#inbounds tbody tr' },
  { name: 'intakes', path: '/subscriptions?view=intakes', shows: '#intakes tbody tr' },
  { name: 'signatures', path: '/signatures?subscription=tax', shows: '#verdict' },
  { name: 'reconciliations', path: '/reconciliations', shows: '#reports tbody tr' },
  { name: 'report', path: '/reconciliations/{report}', shows: '#differences tbody tr' },
  { name: 'sources', path: '/sources', shows: '.sources .card' },
  { name: 'jobs', path: '/jobs', shows: '#jobs tbody tr' },
  { name: 'logs', path: '/logs', shows: '#records tbody tr' },
  { name: 'changes', path: '/logs?view=changes', shows: '#records tbody tr' },
  { name: 'levels', path: '/logs?view=levels', shows: '#levels select' },
  { name: 'settings', path: '/settings', shows: '#configuration tbody tr' },
];

export const filled = (path, stage) => path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(stage[name]));

/** Goes to an address as a link of the page does, without loading the dashboard again. */
export async function go(page, address) {
  await page.evaluate((to) => {
    history.pushState(null, '', to);
    dispatchEvent(new PopStateEvent('popstate'));
  }, address);
}

/** Waits until nothing loads any more and the page shows what it is for; a page that shows a problem is wrong. */
export async function settled(page, shows) {
  await page.waitForFunction((selector) => {
    const main = document.querySelector('main');
    return main && document.querySelector(selector) && !main.querySelector('.loading, [aria-busy="true"]');
  }, shows).catch(async (error) => {
    const seen = await page.locator('main').innerText().catch(() => '');
    throw new Error(`${page.url()} never shows ${shows}: ${error.message.split('\n')[0]}\n${seen.slice(0, 1500)}`);
  });
  await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
  const failed = await page.locator('main .failed[role=alert]').allInnerTexts();
  assert(!failed.length, `${page.url()} shows a problem: ${failed.join(' / ')}`);
}

/** The keys of texts that stand on the page instead of their text. What the service says may look like them. */
export function untranslated(page, options) {
  return page.evaluate(async (known) => {
    const { default: texts } = await import('/i18n/en.js');
    const groups = new Set(Object.keys(texts).map((key) => key.split('.')[0]));
    const told = [...document.querySelectorAll('#configuration, #records, .timeline, pre, .told')].map((part) => part.innerText).join(' ');
    const words = document.body.innerText.match(/[a-z_]+(?:\.[a-z_]+)+/g) ?? [];
    const looksLikeKey = (word) => word in texts || groups.has(word.split('.')[0]);
    return [...new Set(words.filter((word) => looksLikeKey(word) && !known.includes(word) && !told.includes(word)))];
  }, options);
}
