// Checks by name: what passed, what failed and why, how long each took.

export class Report {
  constructor(only) {
    Object.assign(this, { only, passed: 0, failed: 0, started: Date.now() });
  }

  /** Runs one check; a throw is its failure, and the next one runs all the same. */
  async check(name, work) {
    if (this.only && !name.includes(this.only)) return;
    const began = Date.now();
    try {
      await work();
      this.passed += 1;
      console.log(`ok      ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAILED  ${name} (${Date.now() - began} ms)\n${String(error.stack || error).replace(/^/gm, '        ')}`);
    }
  }

  /** The last line, and the exit code. */
  end() {
    console.log(`${this.passed} passed, ${this.failed} failed in ${((Date.now() - this.started) / 1000).toFixed(1)} s`);
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}

export function assert(truth, text) {
  if (!truth) throw new Error(text);
}

/** Asks again and again until the answer is not falsy, and returns it. */
export async function until(what, ask, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < deadline) {
    try {
      const found = await ask();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  throw new Error(`waited ${seconds} s in vain for ${what}${last ? `: ${last.message}` : ''}`);
}
