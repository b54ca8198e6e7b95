// Runs and tasks as they go: a snapshot, and what the live link says after it.

import { useGet } from './api.js';
import { live } from './live.js';
import { useEffect, useRef, useState } from './view.js';

const SHOWN_AFTER_MS = 8_000;

export const ended = (run) => !['pending', 'running'].includes(run.state);

export const active = (task) => task.state === 'running' || task.state === 'paused';

/** The tasks that run now: those of the snapshot `tasks`, kept current; one that ends stays a moment, to be seen. */
export function useRunning(tasks) {
  const [known, setKnown] = useState(new Map());
  useEffect(() => {
    if (!tasks) return;
    setKnown((before) => {
      const next = new Map(tasks.filter(active).map((task) => [task.id, task]));
      for (const [id, task] of before) if (!next.has(id) && task.leaves) next.set(id, task);
      return next;
    });
  }, [tasks]);
  useEffect(() => {
    const timers = new Set();
    const leave = live.subscribe('tasks', (task) => {
      const leaves = !active(task);
      setKnown((before) => {
        if (leaves && !before.has(task.id)) return before;
        return new Map(before).set(task.id, { ...task, leaves });
      });
      if (!leaves) return;
      const timer = setTimeout(() => {
        timers.delete(timer);
        setKnown((before) => { const next = new Map(before); next.delete(task.id); return next; });
      }, SHOWN_AFTER_MS);
      timers.add(timer);
    });
    return () => { leave(); for (const timer of timers) clearTimeout(timer); };
  }, []);
  return [...known.values()].sort((one, other) => one.id - other.id);
}

/** One run with its tasks (`task_list`), current until it ends. */
export function useRun(id) {
  const found = useGet(id ? `/api/v1/runs/${id}` : null);
  const [pushed, setPushed] = useState(null);
  useEffect(() => { setPushed(null); }, [found.data]);
  const base = pushed ?? found.data;
  const newest = useRef(base);
  newest.current = base;
  const over = base ? ended(base) : false;
  useEffect(() => {
    if (!id || over) return undefined;
    const change = (told) => {
      if (newest.current) setPushed(newest.current = told(newest.current));
    };
    const run = (told) => {
      if (told.id !== id) return;
      change((before) => ({ ...before, ...told }));
      if (ended(told)) found.reload();
    };
    const task = (told) => {
      if (told.run !== id) return;
      change((before) => {
        const others = (before.task_list ?? []).filter((one) => one.id !== told.id);
        return { ...before, task_list: [...others, told].sort((one, other) => one.id - other.id) };
      });
    };
    const leave = [live.subscribe('runs', run, found.reload), live.subscribe('tasks', task, () => {})];
    // What a lost push would leave behind.
    const timer = setInterval(found.reload, 5_000);
    return () => { clearInterval(timer); for (const one of leave) one(); };
  }, [id, over]);
  return { ...found, data: base };
}

/** What all tasks of a run have done, as one. */
export function sumOf(run) {
  const tasks = run.task_list ?? [];
  const sum = { planned: 0, done: 0, failed: 0, partial: 0, rows: 0, rows_per_second: null, seconds_left: null };
  for (const task of tasks) {
    for (const name of ['planned', 'done', 'failed', 'partial']) sum[name] += task.slices?.[name] ?? 0;
    sum.rows += task.rows ?? 0;
    if (task.state !== 'running') continue;
    if (task.rows_per_second != null) sum.rows_per_second = (sum.rows_per_second ?? 0) + task.rows_per_second;
    // Tasks of one run go side by side: the slowest says when.
    if (task.seconds_left != null) sum.seconds_left = Math.max(sum.seconds_left ?? 0, task.seconds_left);
  }
  return sum;
}
