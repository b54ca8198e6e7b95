// The event gate on its pages: an event is published, its receiver fails and then works, a person sends it again, a
// signature is explained, two tables are compared and the one is mended.

import http from 'node:http';
import path from 'node:path';

import { Visitor } from './browser.js';
import { settled } from './pages.js';
import { assert, until } from './report.js';
import { get, post } from './stage.js';

/** A receiver on loopback: it answers with `status` and keeps what it was sent. */
export async function receiver() {
  const heard = [];
  const state = { status: 503, heard };
  const server = http.createServer((request, answer) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      heard.push({ headers: request.headers, body: Buffer.concat(parts).toString('utf8'), status: state.status });
      answer.writeHead(state.status, { 'content-type': 'application/json' });
      answer.end(state.status < 300 ? '{"taken": true}' : '{"error": "the tax desk is closed"}');
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  state.url = `http://127.0.0.1:${server.address().port}/hook`;
  state.close = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  return state;
}

/** What pages of the gate are walked with: vouchers, intakes, a webhook, and who receives. */
export async function furnish(stage, desk) {
  const { url } = stage;
  await post(url, '/api/v1/subscriptions', { name: 'desk', title: 'Desk of settlements', url: desk.url, types: ['voucher.*', 'invoice.*'], filters: [{ field: 'data.amount', op: 'exists' }], per_second: 50 });
  await post(url, '/api/v1/inbounds', { name: 'invoices', forms: ['standard', 'mission'], source: '/settlement', others: 'keep' });
  await post(url, '/api/v1/intakes', { name: 'orders', url: 'redis://127.0.0.1:1/0', source: '/orders', redis: { stream: 'orders' } });
  const defined = await fetch(new URL('/api/v1/reconciliations/definitions/copy', url), { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ source: 'store:stock_basic', target: 'copy#stock_basic' }) });
  assert(defined.ok, `the definition is refused: ${await defined.text()}`);
  const voucher = { source_system: 'settlement', source_module: 'l1_contract', source_id: '1001', source_reference_no: 'HT-1001', direction: 'debit', amount: '123456789012.3400', currency: 'CNY', summary: 'Goods of March', counterparty_name: 'Red Star Mill', target_systems: ['desk'], items: [{ line: 1, amount: 100.10 }] };
  const made = await post(url, '/api/v1/vouchers', voucher);
  stage.voucher = made.voucher.voucher_no;
}

async function as(browser, stage, work) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en' });
  try {
    await work(visitor.page);
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}

const shot = (page, shots, name) => page.screenshot({ path: path.join(shots, `gate-${name}.png`) });

export const deliver = (browser, stage, shots, tax) => as(browser, stage, async (page) => {
  await subscribe(page, stage, shots, tax);
  await publish(page, stage, shots);
  await decide(page, stage, shots, tax);
});

/** A subscription is made, its secret is shown once, and a test shows request and answer. */
async function subscribe(page, stage, shots, tax) {
  await page.goto(`${stage.url}/subscriptions`);
  await settled(page, '#subscriptions');
  await page.getByRole('button', { name: 'New subscription' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('tax');
  await dialog.getByLabel('Address', { exact: true }).fill(tax.url);
  await dialog.getByLabel('Event types', { exact: true }).fill('contract.*');
  await dialog.getByLabel('Waits before retries').fill('0.1');
  await shot(page, shots, 'subscription-dialog');
  await dialog.getByRole('button', { name: 'Create' }).click();
  stage.secret = (await dialog.locator('pre').first().innerText()).trim();
  assert(stage.secret.startsWith('whsec_'), `the secret is shown: ${stage.secret.slice(0, 6)}`);
  await shot(page, shots, 'secret');
  await dialog.getByRole('button', { name: 'I have copied it' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.locator('#subscriptions tbody tr', { hasText: 'tax' }).getByRole('link').click();
  await settled(page, '#subscription');
  assert(!(await page.content()).includes(stage.secret), 'the secret stands on the page');
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await dialog.getByRole('button', { name: 'Send' }).click();
  await dialog.getByText('HTTP 503').waitFor();
  await dialog.getByText('the tax desk is closed').waitFor();
  await shot(page, shots, 'trial');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
}

/** An event is published by hand; its page shows its content digit by digit, and every attempt as it is made. */
async function publish(page, stage, shots) {
  await page.goto(`${stage.url}/events`);
  await settled(page, '#events tbody tr');
  await page.getByRole('button', { name: 'Publish a test event' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Type', { exact: true }).fill('contract.confirmed');
  await dialog.getByLabel('Order key').fill('HT-1');
  const content = dialog.getByLabel('Content', { exact: true });
  await content.fill('{"amount": 1000');
  await dialog.getByText('This is no JSON').waitFor();
  await content.fill('{"amount": 12345678901234567890.1200}');
  await dialog.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.waitForURL(/\/events\/\d+$/);
  await settled(page, '#event');
  stage.event = Number(new URL(page.url()).pathname.split('/').pop());
  assert((await page.locator('#content pre').innerText()).includes('12345678901234567890.1200'), 'a digit of the amount is lost');
  const card = page.locator('#way-tax');
  await card.locator('.state', { hasText: 'dead' }).waitFor();
  assert(await card.locator('.timeline li').count() === 2, `${await card.locator('.timeline li').count()} attempts are shown, two were made`);
  await shot(page, shots, 'event');
}

/** The blocked key is seen, the receiver works again, and a person retries. */
async function decide(page, stage, shots, tax) {
  await page.goto(`${stage.url}/`);
  await settled(page, '#attention');
  await page.locator('#attention li', { hasText: 'tax' }).first().waitFor();
  await shot(page, shots, 'attention');
  await page.goto(`${stage.url}/deliveries?view=blocked`);
  const row = page.locator('#blocked tbody tr', { hasText: 'HT-1' });
  await row.waitFor();
  await page.locator('#errors .bars li', { hasText: 'HTTP_503' }).waitFor();
  await shot(page, shots, 'blocked');
  Object.assign(tax, { status: 200 });
  const before = tax.heard.length;
  await row.getByRole('button', { name: 'Retry' }).click();
  await until('the receiver to have it', () => tax.heard.length > before);
  await row.waitFor({ state: 'detached' });
  stage.request = tax.heard.at(-1);
  assert(stage.request.body.includes('12345678901234567890.1200'), `sent: ${stage.request.body}`);
  const of = tax.heard.filter((one) => one.body.includes('12345678901234567890.1200'));
  assert(of.length === 3 && new Set(of.map((one) => one.headers['webhook-id'])).size === 1, 'three attempts carry one webhook-id');
  await page.goto(`${stage.url}/deliveries/${stage.event}/tax`);
  await settled(page, '#answer');
  await page.locator('#delivery .state', { hasText: 'delivered' }).waitFor();
  await page.locator('#answer').getByText('"taken": true').waitFor();
  assert(!(await page.locator('main').innerText()).includes(stage.request.headers['webhook-signature']), 'a signature stands on the page');
  await shot(page, shots, 'delivery');
}

/** A window goes out again: counted first, then followed. */
export const replay = (browser, stage, shots, tax) => as(browser, stage, async (page) => {
  await page.goto(`${stage.url}/deliveries`);
  await settled(page, '#attempts tbody tr');
  await page.getByRole('button', { name: 'Replay a window' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Subscription', { exact: true }).selectOption('tax');
  await dialog.getByLabel('First event').fill(String(stage.event));
  await dialog.getByLabel('only what never arrived').uncheck();
  await dialog.getByRole('button', { name: 'Preview' }).click();
  await dialog.locator('#preview .figure', { hasText: 'Would go out' }).locator('.value', { hasText: /^1$/ }).waitFor();
  await shot(page, shots, 'replay');
  const before = tax.heard.length;
  await dialog.getByRole('button', { name: 'Start' }).click();
  await page.locator('#replays tbody tr .state', { hasText: 'done' }).waitFor();
  await until('the event to arrive again', () => tax.heard.length > before);
});

/** A body that was changed, then the one that was sent. */
export const signature = (browser, stage, shots) => as(browser, stage, async (page) => {
  const { headers, body } = stage.request;
  await page.goto(`${stage.url}/signatures`);
  await settled(page, '#request form');
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join('\n');
  await page.getByLabel('Headers', { exact: true }).fill(`POST /hook HTTP/1.1\n${lines}`);
  await page.getByLabel('Body', { exact: true }).fill(body.replace('.1200', '.12'));
  await page.getByLabel('Secret', { exact: true }).fill(stage.secret);
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  const verdict = page.locator('#verdict');
  await verdict.getByText('The signature does not match').waitFor();
  assert(await verdict.locator('.reasons li').count() > 0, 'no reason is told');
  await shot(page, shots, 'signature');
  await page.getByLabel('Body', { exact: true }).fill(body);
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await verdict.getByText('The signature matches').waitFor();
  await page.getByRole('button', { name: 'a subscription' }).click();
  await page.getByLabel('Subscription', { exact: true }).selectOption('tax');
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await verdict.getByText('The signature matches').waitFor();
});

/** The definition that the stage made is run, its report read, and its target mended. */
export const reconcile = (browser, stage, shots) => as(browser, stage, async (page) => {
  await page.goto(`${stage.url}/reconciliations`);
  await settled(page, '#definitions tbody tr');
  await page.locator('#definitions tbody tr', { hasText: 'copy' }).getByRole('button', { name: 'Run now' }).click();
  await page.locator('#reports tbody tr', { hasText: 'different' }).first().waitFor();
  await shot(page, shots, 'reconciliations');
  const { items } = await get(stage.url, '/api/v1/reconciliations');
  stage.report = items[0].report;
  await page.goto(`${stage.url}/reconciliations/${stage.report}`);
  await settled(page, '#differences tbody tr');
  const keys = page.locator('#differences b.told');
  await keys.first().waitFor();
  const listed = await keys.count();
  assert(listed === items[0].differences, `${listed} of ${items[0].differences} differences are listed`);
  await shot(page, shots, 'report');
  await page.getByRole('button', { name: 'Repair' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Dry run' }).click();
  const rows = (await dialog.locator('#plan .figure .value').first().innerText()).trim();
  const now = dialog.getByRole('button', { name: 'Repair now' });
  assert(await now.isDisabled(), 'a repair can be done without its number');
  await dialog.getByLabel(/type the number of rows/).fill(rows);
  await shot(page, shots, 'repair');
  await now.click();
  await dialog.getByText(`${rows} rows were compared again and are equal`).waitFor();
  const download = page.waitForEvent('download');
  await dialog.getByRole('link', { name: 'Download the undo file' }).click();
  assert(/\.undo\.jsonl$/.test((await download).suggestedFilename()), 'the undo file comes down');
  await shot(page, shots, 'repaired');
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.locator('#differences .state', { hasText: 'repaired' }).first().waitFor();
});
