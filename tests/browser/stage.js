// What the store of the stage holds: a security with candles and statements, a day of the market, a task, a run.

const asked = async (url, path, options) => {
  const answer = await fetch(new URL(path, url), options);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
};

export const get = asked;

/** Asks the service, as a program does. */
export const post = (url, path, body) => asked(url, path, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});

export async function learn(url, range = '') {
  const [from, to] = range.split('..');
  const { items: securities } = await get(url, '/api/v1/securities?limit=50');
  const { items: tasks } = await get(url, '/api/v1/tasks?limit=200&dataset=daily');
  const { items: runs } = await get(url, '/api/v1/runs?limit=1');
  const { items: settings } = await get(url, '/api/v1/settings');
  let found = null;
  for (const { code, name, pinyin } of securities) {
    const { bars } = await get(url, `/api/v1/bars/${code}?limit=60`);
    const { periods } = await get(url, `/api/v1/statements/${code}?table=income`).catch(() => ({ periods: [] }));
    if (bars.length > 15 && periods.length) { found = { code, name, pinyin, bars }; break; }
  }
  if (!found) throw new Error('no security has candles and statements');
  const options = settings.map(({ option }) => option);
  return { url, from, to, options, ...found, day: found.bars.at(-2)[0], task: tasks[0]?.id, run: runs[0]?.id };
}
