// What axe-core finds. Serious and critical findings fail.

import { readFileSync } from 'node:fs';

import { axeFile } from './browser.js';

const source = readFileSync(axeFile, 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Findings as text, one an element. */
export async function findings(page) {
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(`${source};0`);
  const violations = await page.evaluate(async (values) => {
    const found = await window.axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] });
    return found.violations;
  }, TAGS);
  const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  return grave.flatMap(({ id, impact, help, nodes }) => nodes.slice(0, 4).map((node) => (
    `${impact} ${id}: ${help}: ${node.target.join(' ')} ${node.html.slice(0, 160)} ${(node.any[0]?.message ?? '').slice(0, 200)}`)));
}
