// Candles as pixels, and rows as files.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { DESK, Visitor } from './browser.js';
import { settled } from './pages.js';
import { assert, until } from './report.js';
import { get } from './stage.js';

/** Per canvas of the chart: how many pixels are near each colour; and, at one column of the first pane, which it has. */
function pixels(page, column) {
  return page.evaluate((at) => {
    const style = getComputedStyle(document.documentElement);
    const rgb = (name) => {
      const probe = document.createElement('i');
      probe.style.color = style.getPropertyValue(name);
      document.body.append(probe);
      const found = getComputedStyle(probe).color.match(/\d+/g).map(Number);
      probe.remove();
      return found;
    };
    const [up, down] = [rgb('--up'), rgb('--down')];
    const near = (data, place, colour) => colour.every((part, offset) => Math.abs(data[place + offset] - part) < 24) && data[place + 3] > 200;
    const frame = document.querySelector('.candles').getBoundingClientRect();
    const count = { up: 0, down: 0, columnUp: 0, columnDown: 0 };
    for (const canvas of document.querySelectorAll('.candles canvas')) {
      if (!canvas.width || !canvas.height) continue;
      const box = canvas.getBoundingClientRect();
      // Read from a copy: reading from the chart's own canvas makes the browser warn.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      // The candles: the pane at the top, without the axis at its right; the crosshair has a canvas of its own.
      const candles = box.top - frame.top < 20 && box.left - frame.left < 20 && box.height > 150;
      const x = at === null ? -1 : Math.round((at - box.left) * (canvas.width / box.width));
      for (let place = 0; place < data.length; place += 4) {
        const isUp = near(data, place, up);
        const isDown = !isUp && near(data, place, down);
        if (!isUp && !isDown) continue;
        count[isUp ? 'up' : 'down'] += 1;
        if (candles && (place / 4) % canvas.width === x) count[isUp ? 'columnUp' : 'columnDown'] += 1;
      }
    }
    return count;
  }, column);
}

const drawn = (page) => page.locator('.candles').getAttribute('data-drawn');

/** The bar under the crosshair at a place, once the reading rests. */
async function read(page, x, y) {
  await page.mouse.move(x, y);
  let last;
  return until('the reading to rest', async () => {
    const now = JSON.stringify(await page.locator('.reading').evaluate((element) => ({ ...element.dataset })));
    const rests = now === last;
    last = now;
    return rests && JSON.parse(now);
  });
}

/** Reads bars under the crosshair until rising and falling days were seen; each has its colour below it. */
async function colours(page) {
  const box = await page.locator('.candles').boundingBox();
  const seen = { up: 0, down: 0 };
  for (let x = box.x + 60; x < box.x + box.width - 120 && (seen.up < 2 || seen.down < 2); x += 13) {
    const bar = await read(page, x, box.y + 140);
    // Only well inside of a bar is the column of pixels its own.
    const beside = [await read(page, x - 2, box.y + 140), await read(page, x + 2, box.y + 140)];
    const rises = Number(bar.close) - Number(bar.open);
    if (!rises || beside.some((one) => one.day !== bar.day)) continue;
    // The last price is a dashed line across the pane: a candle has more than its pixel.
    const { columnUp, columnDown } = await pixels(page, x);
    if (columnUp + columnDown < 6) continue;
    assert(rises > 0 ? columnUp > columnDown : columnDown > columnUp,
      `${bar.day}, open ${bar.open}, close ${bar.close}, has ${columnUp} red and ${columnDown} green pixels`);
    seen[rises > 0 ? 'up' : 'down'] += 1;
  }
  assert(seen.up >= 2 && seen.down >= 2, `too few candles were met: ${JSON.stringify(seen)}`);
}

export async function candles(browser, stage, shots) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'zh', size: DESK });
  const { page } = visitor;
  try {
    await page.goto(`${stage.url}/data/kline/${stage.code}?adjust=none`);
    await settled(page, '.candles[data-drawn]');
    const count = await pixels(page, null);
    assert(count.up > 300 && count.down > 300, `both colours are there: ${JSON.stringify(count)}`);
    await colours(page);
    const known = await get(stage.url, `/api/v1/bars/${stage.code}?limit=1`);
    await page.mouse.move(5, 5);
    const first = await drawn(page);
    for (const [name, shows] of [['周', 'weekly'], ['月', 'monthly'], ['日', 'daily']]) {
      await page.getByRole('button', { name, exact: true }).click();
      await until(`candles of ${shows}`, async () => (await drawn(page))?.includes(` ${shows} `));
    }
    await until('the days to come back', async () => await drawn(page) === first);
    const close = await page.locator('.reading').getAttribute('data-close');
    assert(Number(close) === known.bars[0][4], `the newest close is ${close}, the service says ${known.bars[0][4]}`);
    await page.getByRole('button', { name: '后复权', exact: true }).click();
    const adjusted = await get(stage.url, `/api/v1/bars/${stage.code}?adjust=hfq&limit=1`);
    await until('adjusted prices', async () => Number(await page.locator('.reading').getAttribute('data-close')) === adjusted.bars[0][4]);
    // By keys: the bar before the newest.
    await page.locator('.candles').focus();
    const newest = await page.locator('.reading').getAttribute('data-day');
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowLeft');
    await until('the bar before', async () => (await page.locator('.reading').getAttribute('data-day')) < newest);
    await page.screenshot({ path: path.join(shots, 'candles.png') });
    await page.getByLabel('以表格显示').check();
    await settled(page, '#candles table tbody tr');
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}

/** Adds a filter, orders, and takes the rows as a file of each format. */
export async function downloads(browser, stage) {
  const visitor = await Visitor.arrive(browser, stage.url, { lang: 'en' });
  const { page } = visitor;
  try {
    await page.goto(`${stage.url}/data/table`);
    await settled(page, '#catalogue tbody tr');
    await page.getByRole('combobox', { name: 'Table' }).fill('dai');
    await page.getByRole('option', { name: /^daily\b(?!_)/ }).first().click();
    await settled(page, '#rows tbody tr');
    await page.getByRole('button', { name: /Columns and filters/ }).click();
    await page.getByLabel('Column', { exact: true }).selectOption('ts_code');
    await page.getByLabel('Values', { exact: true }).fill(stage.code);
    await page.getByRole('button', { name: 'Add the filter' }).click();
    await until('one security', async () => {
      const codes = await page.locator('#rows tbody tr td:first-child').allInnerTexts();
      return codes.length > 0 && codes.every((code) => code === stage.code);
    });
    await page.getByRole('button', { name: 'trade_date' }).click();
    await page.getByRole('button', { name: 'trade_date' }).click();
    const days = await until('the newest first', async () => {
      const found = await page.locator('#rows tbody tr td:nth-child(2)').allInnerTexts();
      return found.length > 1 && found[0] > found.at(-1) ? found : null;
    });
    const starts = { csv: 'ts_code,', parquet: 'PAR1', arrow: 'ARROW1', json: '[' };
    for (const [format, text] of Object.entries(starts)) {
      const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: format, exact: true }).click()]);
      const bytes = readFileSync(await download.path());
      const head = bytes.subarray(0, 80).toString('latin1');
      assert(format === 'json' ? /^[[{]/.test(head) : head.startsWith(text) || format === 'arrow', `${download.suggestedFilename()} begins with ${head}`);
      if (format === 'csv') {
        const lines = bytes.toString().trim().split('\n');
        assert(lines.length - 1 >= days.length, `the file has ${lines.length - 1} rows, the page ${days.length}`);
        assert(lines.slice(1).every((line) => line.includes(stage.code)), 'the file has other securities');
      }
    }
    assert(!visitor.faults.length, visitor.faults.join('\n'));
  } finally {
    await visitor.leave();
  }
}
