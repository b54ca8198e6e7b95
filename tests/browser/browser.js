// A real Chromium on an empty profile, and pages that tell whatever they should not do: words on the console, requests that
// leave the host, sockets to elsewhere.

import { createRequire } from 'node:module';
import path from 'node:path';

const folder = process.env.TIDEGATE_BROWSER;
if (!folder) throw new Error('TIDEGATE_BROWSER is not set: scripts/test prepares the folder of npm packages and sets it');
const require = createRequire(path.join(folder, 'package.json'));
const { chromium } = require('playwright-core');

/** The text of axe-core, to be evaluated in a page. */
export const axeFile = require.resolve('axe-core/axe.min.js');

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-default-apps', '--hide-scrollbars',
  // Whatever a page asks of another host fails at once, and is told below.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
/** Longer than anything here takes on a machine that does other things too. */
const PATIENCE_MS = 60_000;

export async function open() {
  const executablePath = process.env.TIDEGATE_CHROMIUM || '/usr/bin/chromium';
  return chromium.launch({ executablePath, headless: true, args: FLAGS, chromiumSandbox: false });
}

/** One visitor: a page of their own language, theme and width, with everything wrong that it did in `faults`. */
export class Visitor {
  static async arrive(browser, url, { lang = 'en', theme = 'light', size = DESK } = {}) {
    const context = await browser.newContext({
      viewport: size, locale: lang === 'zh' ? 'zh-CN' : 'en-US', colorScheme: theme, timezoneId: 'America/New_York',
      reducedMotion: 'reduce', acceptDownloads: true,
    });
    context.setDefaultTimeout(PATIENCE_MS);
    const visitor = new Visitor();
    Object.assign(visitor, { context, url, lang, theme, size, faults: [], requests: 0, sockets: 0, expected: [] });
    await context.route(() => true, (route) => visitor.#judge(route));
    await context.addInitScript((kept) => {
      for (const [name, text] of kept) localStorage.getItem(name) ?? localStorage.setItem(name, text);
    }, [['tidegate.lang', lang], ['tidegate.theme', theme]]);
    visitor.page = await context.newPage();
    visitor.#listen(visitor.page);
    return visitor;
  }

  /** What a page may say once: a refusal that the check provokes is told by the browser too. */
  expect(pattern) {
    this.expected.push(pattern);
  }

  #fault(text) {
    if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(text);
  }

  #own(address) {
    return new URL(address).host === new URL(this.url).host;
  }

  async #judge(route) {
    const address = route.request().url();
    this.requests += 1;
    if (this.#own(address)) return route.continue();
    this.#fault(`a request left the host: ${address}`);
    return route.abort();
  }

  #listen(page) {
    page.on('console', (message) => {
      if (['error', 'warning', 'assert'].includes(message.type())) {
        this.#fault(`console ${message.type()}: ${message.text()} (${message.location().url})`);
      }
    });
    page.on('pageerror', (error) => this.#fault(`uncaught: ${error.stack || error}`));
    page.on('crash', () => this.#fault('the page crashed'));
    page.on('websocket', (socket) => {
      this.sockets += 1;
      if (!this.#own(socket.url().replace(/^ws/, 'http'))) this.#fault(`a socket left the host: ${socket.url()}`);
    });
    page.on('popup', (popup) => this.#fault(`a second window opened: ${popup.url()}`));
  }

  async leave() {
    await this.context.close();
  }
}
