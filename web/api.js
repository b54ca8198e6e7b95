// The service over HTTP: problems become errors with a hint, equal answers stay the same object, requests end with their view.

import { cell } from './cell.js';
import { live } from './live.js';
import { toast } from './toast.js';
import { useCallback, useEffect, useRef, useState } from './view.js';

/** What the service answered instead of what was asked for (RFC 9457), or that it did not answer at all (`status` 0). */
export class Problem extends Error {
  constructor({ status = 0, title = '', detail = '', hint = null, retry_after = null, type = '' }) {
    super(detail || title);
    Object.assign(this, { status, title, detail: detail || title, hint, retryAfter: retry_after, type });
  }
}

/** Who is logged in: `undefined` until known, `null` when a key is asked for. */
export const session = cell(undefined);

let held = false;

/** While the first key is shown, answers that ask for one do not take the page away. */
export function holdSession(on) {
  held = on;
}

const answers = new Map();
const ANSWERS_MAX = 200;

function address(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === null || value === undefined || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  const text = parameters.toString();
  return text ? `${path}${path.includes('?') ? '&' : '?'}${text}` : path;
}

async function problemOf(response) {
  let told = {};
  try { told = await response.json(); } catch { /* a proxy, or a link that broke */ }
  if (response.status === 401 && !held) session.set(null);
  return new Problem({ ...told, status: response.status, title: told.title || response.statusText });
}

async function ask(method, path, { query, body, signal, raw, text: asText, type } = {}) {
  const url = address(path, query);
  const headers = { Accept: 'application/json', 'X-Tidegate-Request': '1' };
  if (body !== undefined) headers['Content-Type'] = type ?? 'application/json';
  let response;
  try {
    response = await fetch(url, {
      method, headers, signal, credentials: 'same-origin', body: typeof body === 'string' || body === undefined ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ type: 'offline', title: 'offline', detail: '' });
  }
  if (!response.ok) throw await problemOf(response);
  if (raw) return response;
  if (asText) return response.text();
  if (response.status === 204) return null;
  const tag = response.headers.get('ETag');
  const before = method === 'GET' && tag ? answers.get(url) : undefined;
  if (before && before.tag === tag) return before.data;
  const text = await response.text();
  const data = text ? JSON.parse(text) : null;
  if (method === 'GET' && tag) {
    answers.delete(url);
    answers.set(url, { tag, data });
    if (answers.size > ANSWERS_MAX) answers.delete(answers.keys().next().value);
  }
  return data;
}

export const api = {
  /** `api.get('/api/v1/tasks', { query: { limit: 20 }, signal })`; `raw: true` gives the response itself, `text: true` its text. */
  get: (path, options) => ask('GET', path, options),
  /** A body that is a text goes out as it is; `type` is its media type. */
  post: (path, body, options) => ask('POST', path, { ...options, body: body ?? {} }),
  put: (path, body, options) => ask('PUT', path, { ...options, body }),
  delete: (path, options) => ask('DELETE', path, options),
  address,
};

/** Does something that changes the service: shows `done` when it worked, the problem and its hint when not. Returns the answer or undefined. */
export async function act(promise, done) {
  try {
    const answer = await promise;
    if (done) toast.good(done);
    return answer ?? true;
  } catch (problem) {
    if (problem.name !== 'AbortError' && problem.status !== 401) toast.problem(problem);
    return undefined;
  }
}

/**
 * Keeps an answer on the page: `const { data, problem, loading, reload } = useGet(path, { query, channels, seconds })`.
 * `path` null asks nothing. A word on one of `channels` (live.js) asks again, at most once a `calm` milliseconds;
 * `concerns(data)` may say that a word does not matter here; `seconds` asks again by the clock, `text` keeps
 * the answer as text. The answer before stays while the next one is on its way.
 */
export function useGet(path, { query, channels = [], concerns, seconds = 0, calm = 700, text = false } = {}) {
  const url = path && address(path, query);
  const [state, setState] = useState({ url: null, data: undefined, problem: null });
  const runner = useRef(null);
  const reload = useCallback(() => runner.current?.(), []);
  useEffect(() => {
    if (!url) return undefined;
    const control = new AbortController();
    let busy = false;
    let again = false;
    // One request at a time: words that come while it is on its way lead to one more, and never cut it off.
    const run = async () => {
      again = busy;
      if (busy) return;
      busy = true;
      do {
        again = false;
        const next = await api.get(url, { signal: control.signal, text }).then((data) => ({ data }), (problem) => ({ problem }));
        if (control.signal.aborted) return;
        setState((before) => {
          const { data = before.url === url ? before.data : undefined, problem = null } = next;
          return before.url === url && before.data === data && before.problem === problem ? before : { url, data, problem };
        });
      } while (again);
      busy = false;
    };
    runner.current = run;
    run();
    return () => { control.abort(); if (runner.current === run) runner.current = null; };
  }, [url]);
  useEffect(() => {
    if (!url || !channels.length) return undefined;
    let timer = null;
    const soon = () => { timer ??= setTimeout(() => { timer = null; reload(); }, calm); };
    const heard = (data) => { if (!concerns || concerns(data)) soon(); };
    const leave = channels.map((channel) => live.subscribe(channel, heard, soon));
    return () => { clearTimeout(timer); for (const one of leave) one(); };
  }, [url && channels.join(' ')]);
  useEffect(() => {
    if (!url || !seconds) return undefined;
    const timer = setInterval(() => { if (!document.hidden) reload(); }, seconds * 1000);
    return () => clearInterval(timer);
  }, [url, seconds]);
  const current = state.url === url;
  const problem = current ? state.problem : null;
  return { data: current ? state.data : undefined, before: state.data, problem, loading: Boolean(url) && (!current || (state.data === undefined && !problem)), reload };
}
