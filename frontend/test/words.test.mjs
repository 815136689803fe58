import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ageText, eventWords, problemText, reasonWords, spanText, statusWords } from '../src/words.js';

test('codes become words, even unknown ones', () => {
  assert.equal(statusWords('IN_TRANSIT'), 'In transit');
  assert.equal(statusWords('SOMETHING_NEW'), 'something new');
  assert.equal(reasonWords(null), null);
  assert.equal(reasonWords('reservation_expired'), 'the drone fell silent before loading');
  assert.equal(reasonWords('wind_too_strong: 17 m/s'), 'wind too strong (17 m/s)');
});

test('an event becomes a sentence with its reason', () => {
  const event = { type: 'abandoned', drone_id: 'drone_2', attempt: 1, reason: 'customer_request', to_status: 'COMPENSATING' };
  assert.equal(eventWords(event), 'Given up: requested by the customer');
  assert.equal(eventWords({ ...event, type: 'assigned', reason: null }), 'drone_2 reserved, attempt 1');
  assert.equal(eventWords({ ...event, type: 'compensated', to_status: 'PENDING' }), 'Undone; waiting for another drone');
});

test('spans and ages', () => {
  assert.equal(spanText(0.44), '0.4 s');
  assert.equal(spanText(9.96), '10 s');
  assert.equal(spanText(59.7), '1 min 00 s');
  assert.equal(spanText(185), '3 min 05 s');
  assert.equal(spanText(7800), '2 h 10 min');
  assert.equal(ageText(0.4), 'now');
  assert.equal(ageText(59.9), '59 s');
});

test('a refusal has the text of the gateway, or says that it cannot be reached', () => {
  assert.equal(problemText({ status: 409, detail: 'order x is DELIVERED already' }), 'Order x is DELIVERED already');
  assert.equal(problemText({ status: 502 }), 'The gateway answered 502.');
  assert.equal(problemText(null), 'The gateway cannot be reached.');
});
