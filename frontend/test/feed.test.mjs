import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Feed, pauseMs } from '../src/feed.js';

/** An EventSource and timers that the test moves by hand. */
function stage() {
  const sources = [];
  const pending = [];
  const heard = [];
  const connect = (url) => {
    const source = { url, listeners: {}, closed: false };
    source.addEventListener = (kind, run) => (source.listeners[kind] = run);
    source.close = () => (source.closed = true);
    source.say = (kind, data, id) => source.listeners[kind]({ data: JSON.stringify(data), lastEventId: id });
    sources.push(source);
    return source;
  };
  const timers = {
    setTimeout: (run, ms) => pending.push({ run, ms }),
    clearTimeout: () => pending.splice(0),
  };
  const on = { state: (open) => heard.push(open ? 'open' : 'lost') };
  for (const kind of ['saga', 'leader', 'fleet', 'reset']) on[kind] = (_, revision) => heard.push(`${kind} ${revision}`);
  return { sources, pending, heard, feed: new Feed(on, { connect, timers, random: () => 0 }) };
}

test('it resumes after the last revision that it heard', () => {
  const { sources, pending, heard, feed } = stage();
  feed.start(7);
  sources[0].onopen();
  sources[0].say('saga', {}, '12');
  sources[0].say('fleet', {}, '12');
  sources[0].onerror();
  pending.shift().run();
  assert.deepEqual(sources.map((s) => s.url), ['events?last_event_id=7', 'events?last_event_id=12']);
  assert.deepEqual(heard, ['open', 'saga 12', 'fleet 12', 'lost']);
  assert.ok(sources[0].closed);
});

test('it waits longer each time, with a bound, and forgets that once it was heard', () => {
  const { sources, pending, feed } = stage();
  feed.start(0);
  for (let i = 0; i < 8; i += 1) {
    sources.at(-1).onerror();
    assert.equal(pending[0].ms, Math.min(15000, 500 * 2 ** i));
    pending.shift().run();
  }
  sources.at(-1).onopen();
  sources.at(-1).onerror();
  assert.equal(pending[0].ms, 500);
  assert.ok(pauseMs(3, () => 1) < pauseMs(3, () => 0));
});

test('what an abandoned connection says is not heard, nor does its end count', () => {
  const { sources, pending, heard, feed } = stage();
  feed.start(0);
  feed.start(50);
  sources[0].say('saga', {}, '3');
  sources[0].onerror();
  assert.deepEqual([heard, pending, feed.revision], [[], [], 50]);
});

test('it can be hurried while it waits, and only then', () => {
  const { sources, feed } = stage();
  feed.start(0);
  feed.hurry();
  assert.equal(sources.length, 1);
  sources[0].onerror();
  feed.hurry();
  assert.equal(sources.length, 2);
});
