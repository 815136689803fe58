// The event stream: one connection that resumes where it broke and backs off between attempts.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const KINDS = ['saga', 'leader', 'fleet', 'reset'];

/** Returns the pause (ms) before reconnection attempt `n` (from 1): doubling, with up to a quarter of jitter. */
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
    this.revision = 0; // the latest seen; the next connection resumes after it
    this.failures = 0;
    this.source = null;
    this.timer = null;
  }

  /** Begins after `revision`. */
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

  /** Connects now instead of after the pause, for example because the machine is online again. */
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
    source.close(); // EventSource would reconnect by itself, but at once and forever
    this.source = null;
    this.failures += 1;
    const pause = pauseMs(this.failures, this.random);
    this.timer = this.timers.setTimeout(() => this.#open(), pause);
    this.on.state(false, Date.now() + pause);
  }
}
