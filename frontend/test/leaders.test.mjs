import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KEPT, foldLeader, foldStep } from '../src/leaders.js';

const a = { holder: 'a', epoch: 10, since: 100 };
const b = { holder: 'b', epoch: 20, since: 160.5 };

test('a vacancy that was seen is measured', () => {
  const terms = foldLeader(foldLeader(foldLeader([], a, 100), { holder: null }, 160), b, 160.6);
  assert.deepEqual(terms.map((t) => t.holder), ['b', 'a']);
  assert.deepEqual(terms[0].gap, { seconds: 0.5, exact: true });
});

test('a leader that fell silent is counted from its last step, as a bound', () => {
  let terms = foldStep(foldLeader([], a, 100), { epoch: 10, at: 159.5 });
  terms = foldStep(terms, { epoch: 10, at: 150 }); // an older one, told again
  terms = foldStep(terms, { epoch: 9, at: 170 }); // another leader's
  assert.deepEqual(foldLeader(terms, b, 160.6)[0].gap, { seconds: 1, exact: false });
});

test('a vacancy in replayed history has no time of its own', () => {
  const terms = foldLeader(foldStep(foldLeader([], a, null), { epoch: 10, at: 158.5 }), { holder: null }, null);
  assert.deepEqual(foldLeader(terms, b, null)[0].gap, { seconds: 2, exact: false });
});

test('what is told twice changes nothing, and the list is bounded', () => {
  const once = foldLeader([], a, 100);
  assert.equal(foldLeader(once, a, 101), once);
  assert.deepEqual(foldLeader([], { holder: null }, 1), []);
  let terms = [];
  for (let i = 1; i < 3 * KEPT; i += 1) terms = foldLeader(terms, { holder: 'x', epoch: i, since: i }, i);
  assert.equal(terms.length, KEPT);
});
