// Lists that grow downwards: the first page stays fresh, older ones are fetched when somebody asks.

import { api, useGet } from './api.js';
import { Button } from './components.js';
import { t } from './i18n.js';
import { html, useEffect, useState } from './view.js';

/** As `useGet`, with `items` of all pages that were asked for and `older()` for one more, null when there is none. */
export function usePages(path, { query = {}, channels, seconds, calm, key = (item) => item.id } = {}) {
  const first = useGet(path, { query, channels, seconds, calm });
  const of = api.address(path, query);
  const [rest, setRest] = useState({ of, items: [], next: undefined, problem: null });
  useEffect(() => { setRest({ of, items: [], next: undefined, problem: null }); }, [of]);
  const older = rest.of === of ? rest : { items: [], next: undefined, problem: null };
  const top = first.data?.items ?? [];
  const shown = new Set(top.map(key));
  // What the first page has grown over is not shown twice.
  const items = [...top, ...older.items.filter((item) => !shown.has(key(item)))];
  const next = older.next === undefined ? first.data?.next : older.next;
  const more = async () => {
    try {
      const page = await api.get(path, { query: { ...query, before: next } });
      setRest((before) => (before.of === of
        ? { of, items: [...before.items, ...page.items], next: page.next ?? null, problem: null } : before));
    } catch (problem) {
      setRest((before) => ({ ...before, problem }));
    }
  };
  const has = next !== null && next !== undefined;
  return { ...first, items, older: has ? more : null, problem: first.problem ?? older.problem };
}

/** The button below such a list. */
export function Older({ pages }) {
  return pages.older ? html`<div class="older"><${Button} small run=${pages.older}>${t('list.older')}<//></div>` : null;
}
