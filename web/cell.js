// One value that views watch: `cell.use()` in a view, `cell.get()` and `cell.set()` anywhere.

import { useEffect, useRef, useState } from './view.js';

export function cell(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const watcher of [...watchers]) watcher(value);
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    use() {
      const [, redraw] = useState(0);
      const seen = useRef(value);
      seen.current = value;
      useEffect(() => {
        const watcher = () => redraw((count) => count + 1);
        watchers.add(watcher);
        // It may have changed between drawing and this effect.
        if (!Object.is(seen.current, value)) watcher();
        return () => watchers.delete(watcher);
      }, []);
      return value;
    },
  };
}

/** A cell that outlives the visit, in the browser's own storage. */
export function kept(name, otherwise) {
  const key = `tidegate.${name}`;
  let stored = null;
  try { stored = JSON.parse(localStorage.getItem(key)); } catch { /* as written by early versions, or refused */ }
  const made = cell(stored ?? otherwise);
  made.watch((value) => {
    try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* private windows refuse */ }
  });
  return made;
}
