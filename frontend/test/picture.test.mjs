import assert from 'node:assert/strict';
import { test } from 'node:test';

import { sortDrones, spread } from '../src/map/picture.js';

const toMetres = ({ lat, lon }) => ({ x: lon, y: lat });
const drone = (phase, lat, destination = null) => ({ phase, position: { lat, lon: 0 }, destination });

test('drones at rest in the depot are apart, and others have their target', () => {
  const destination = { lat: 900, lon: 10 };
  const { flying, resting } = sortDrones(
    [drone('IDLE', 3), drone('IDLE', 700), drone('TO_DESTINATION', 5, destination), drone('LOADING', 0, destination),
      drone('RETURNING', 400, destination), { ...drone('IDLE', 0), position: null }],
    toMetres,
  );
  assert.equal(resting.length, 1);
  assert.deepEqual(flying.map((d) => d.target && [d.target.y, d.target.sure]), [null, [900, true], [900, false], [0, true]]);
});

test('labels that would cover each other move down', () => {
  const points = [{ x: 0, y: 0 }, { x: 10, y: 2 }, { x: 500, y: 0 }, { x: 5, y: 4 }];
  const shift = spread(points, 64, 13);
  const labels = points.map((p, i) => ({ x: p.x, y: p.y + shift[i] }));
  assert.deepEqual([shift[0], shift[2]], [0, 0]);
  for (const [i, a] of labels.entries()) {
    for (const b of labels.slice(i + 1)) assert.ok(Math.abs(a.x - b.x) >= 64 || Math.abs(a.y - b.y) >= 13 - 1e-6);
  }
});

test('labels come to rest wherever drones are, although 13 below a place is seldom 13 away from it', () => {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 500; round += 1) {
    const points = Array.from({ length: 12 }, () => ({ x: random() * 90, y: random() * 40 - 20 }));
    const shift = spread(points, 64, 13);
    assert.ok(shift.every((by) => by >= 0 && by <= 13 * 12));
  }
});
