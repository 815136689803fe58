// The stream of events: one connection that resumes where it broke off, and comes back with patience.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const KINDS = ['saga', 'leader', 'fleet', 'reset'];

/** Milliseconds before try `n` (from 1) of connecting again: doubling, and up to a quarter off at random. */
export function pauseMs(n, random = Math.random) {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (n - 1)) * (1 - random() / 4);
}

/**
 * Follows `events`. `on` has a function per kind of event, called with (data, revision), and `on.state(open, retryAtMs)`.
 * `connect` makes an EventSource; tests bring their own, and their own `timers`.
 */
export class Feed {
  constructor(on, { connect = (url) => new EventSource(url), timers = globalThis, random = Math.random } = {}) {
    this.on = on;
    this.connect = connect;
    this.timers = timers;
    this.random = random;
    this.revision = 0; // the latest seen: what the next connection resumes after
    this.failures = 0;
    this.source = null;
    this.timer = null;
  }

  /** Begin after `revision`. */
  start(revision) {
    this.stop();
    this.revision = revision;
    this.#open();
  }

  stop() {
    this.source?.close();
    this.source = null;
    this.timers.clearTimeout(this.timer);
  }

  /** Connect now instead of at the end of the pause, e.g. because the machine is online again. */
  hurry() {
    if (this.source === null && this.failures > 0) {
      this.timers.clearTimeout(this.timer);
      this.#open();
    }
  }

  #open() {
    const source = this.connect(`events?last_event_id=${this.revision}`);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.on.state(true, null);
    };
    source.onerror = () => this.#broken(source);
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        if (source === this.source) this.#received(kind, message);
      });
    }
  }

  #received(kind, message) {
    const revision = Number(message.lastEventId) || 0;
    // An event without an id of its own repeats the latest one, so this is right for `fleet` too.
    this.revision = Math.max(this.revision, revision);
    this.on[kind](kind === 'reset' ? null : JSON.parse(message.data), revision);
  }

  #broken(source) {
    if (source !== this.source) return;
    source.close(); // EventSource would come back by itself, but at once and for ever
    this.source = null;
    this.failures += 1;
    const pause = pauseMs(this.failures, this.random);
    this.timer = this.timers.setTimeout(() => this.#open(), pause);
    this.on.state(false, Date.now() + pause);
  }
}
