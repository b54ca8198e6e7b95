// The dashboard in a real Chromium, over the service at TIDEGATE_URL: every page in both languages, both themes and two
// widths; a range synced to its end; candles; the keyboard alone; keys and roles. Run by tests/it/dashboard.rs.
//
// TIDEGATE_BROWSER      the folder with the npm packages of package-lock.json
// TIDEGATE_URL          the service, open to everybody on this machine, with a store that has every table
// TIDEGATE_RANGE        FIRST..LAST: days of `daily` that are not stored yet
// TIDEGATE_SCREENSHOTS  where screenshots go
// TIDEGATE_CHECK        only checks whose name holds this

import { mkdirSync } from 'node:fs';

import { access } from './access.js';
import { DESK, PHONE, open } from './browser.js';
import { cron } from './cron.js';
import { candles, downloads } from './data.js';
import { deliver, furnish, receiver, reconcile, replay, signature } from './gate.js';
import { keyboard } from './keyboard.js';
import { failures, jobs, phoneCoverage, sources } from './acts.js';
import { Report } from './report.js';
import { learn } from './stage.js';
import { syncRange } from './sync.js';
import { walk } from './walk.js';

const url = process.env.TIDEGATE_URL;
const shots = process.env.TIDEGATE_SCREENSHOTS ?? 'target/screenshots';
mkdirSync(shots, { recursive: true });

/** In its short form the narrow pages are walked once in each language and once in each theme. */
const walked = (name, lang, theme) => name === 'desk' || process.env.TIDEGATE_LONG || (lang === 'zh') === (theme === 'light');

const report = new Report(process.env.TIDEGATE_CHECK);
const stage = await learn(url, process.env.TIDEGATE_RANGE);
const [tax, desk] = [await receiver(), await receiver()];
desk.status = 200;
const browser = await open();
try {
  await report.check('a range is synced to its end', () => syncRange(browser, stage, shots));
  await report.check('a failure is tried again and resolved', () => failures(browser, stage));
  await report.check('cron lines are told in words', () => cron(browser, stage));
  await report.check('a job is made, triggered, paused and removed', () => jobs(browser, stage, shots));
  await report.check('a source is probed, a token set and not shown', () => sources(browser, stage));
  await report.check('a chosen day stands clear on a phone', () => phoneCoverage(browser, stage, shots));
  await report.check('candles are drawn, red for a rising day', () => candles(browser, stage, shots));
  await report.check('rows are filtered and downloaded', () => downloads(browser, stage));
  await report.check('the keyboard suffices', () => keyboard(browser, stage, shots));
  await report.check('the gate is furnished', () => furnish(stage, desk));
  await report.check('an event is published, fails, and is sent again by a person', () => deliver(browser, stage, shots, tax));
  await report.check('a window is replayed', () => replay(browser, stage, shots, tax));
  await report.check('a signature that does not match is explained', () => signature(browser, stage, shots));
  await report.check('two tables are compared and the one is mended', () => reconcile(browser, stage, shots));
  Object.assign(stage, await learn(url, process.env.TIDEGATE_RANGE));
  for (const [name, size] of [['desk', DESK], ['phone', PHONE]]) {
    for (const lang of ['zh', 'en']) {
      await Promise.all(['light', 'dark'].filter((theme) => walked(name, lang, theme)).map((theme) => (
        report.check(`every page, ${name}, ${lang}, ${theme}`, () => walk(browser, stage, { lang, theme, size, name }, shots)))));
    }
  }
  await report.check('keys and roles', () => access(browser, stage, shots));
} finally {
  await browser.close();
  await tax.close();
  await desk.close();
}
process.exitCode = report.end();
