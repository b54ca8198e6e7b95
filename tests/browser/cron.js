// Cron lines in words and their next times, as the form of a job tells them.

import { Visitor } from './browser.js';
import { assert } from './report.js';

/** Friday, 2024-01-05 12:00 in Shanghai. */
const NOW = Date.parse('2024-01-05T12:00:00+08:00');

const LINES = [
  ['0 18 * * 1-5', '18:00, Monday to Friday', '周一至周五 18:00', '2024-01-05 18:00, 2024-01-08 18:00, 2024-01-09 18:00'],
  ['30 9,15 * * *', '09:30 and 15:30, every day', '每天 09:30和15:30', '2024-01-05 15:30, 2024-01-06 09:30, 2024-01-06 15:30'],
  ['0 2 * * 0', '02:00, Sunday', '周日 02:00', '2024-01-07 02:00, 2024-01-14 02:00, 2024-01-21 02:00'],
  ['0 3 1 * *', '03:00, day 1 of the month', '每月 1 日 03:00', '2024-02-01 03:00, 2024-03-01 03:00, 2024-04-01 03:00'],
  ['*/15 9-14 * * 1-5', 'every 15 minutes in the hours 09:00 to 14:00, Monday to Friday', '周一至周五 09:00至14:00 各小时内每 15 分钟', '2024-01-05 12:15, 2024-01-05 12:30, 2024-01-05 12:45'],
  ['0 2 29 2 *', '02:00, day 29 of February', '二月 29 日 02:00', '2024-02-29 02:00, 2028-02-29 02:00, 2032-02-29 02:00'],
  ['0 1 * 6-8 1', '01:00, Monday in June to August', '六月至八月的周一 01:00', '2024-06-03 01:00, 2024-06-10 01:00, 2024-06-17 01:00'],
  ['0 0 13 * 5', '00:00, day 13 of the month or Friday', '每月 13 日或周五 00:00', '2024-01-12 00:00, 2024-01-13 00:00, 2024-01-19 00:00'],
];

const WRONG = ['', '0 18 * *', '61 * * * *', '0 18 * * 9', 'sometimes', '0 0 5-2 * *', '*/0 * * * *', '1,,2 * * * *'];

export async function cron(browser, stage) {
  for (const [lang, place] of [['en', 1], ['zh', 2]]) {
    const visitor = await Visitor.arrive(browser, stage.url, { lang });
    try {
      await visitor.page.goto(stage.url);
      const told = await visitor.page.evaluate(async ([lines, wrong, now]) => {
        const library = await import('/cron.js');
        const shanghai = (time) => new Date(time + 8 * 3600_000).toISOString().slice(0, 16).replace('T', ' ');
        const one = (line) => {
          try {
            const read = library.parse(line);
            return [library.inWords(read), library.nextTimes(read, now, 3).map(shanghai).join(', ')];
          } catch (error) {
            return error instanceof library.CronError ? null : [String(error)];
          }
        };
        return [lines.map(one), wrong.filter((line) => one(line) !== null)];
      }, [LINES.map(([line]) => line), WRONG, NOW]);
      LINES.forEach((expected, at) => {
        const [words, times] = told[0][at] ?? [];
        assert(words === expected[place] && times === expected[3], `${expected[0]}: ${words}: ${times}`);
      });
      assert(!told[1].length, `taken for a cron line: ${told[1].join(' | ')}`);
      assert(!visitor.faults.length, visitor.faults.join('\n'));
    } finally {
      await visitor.leave();
    }
  }
}
