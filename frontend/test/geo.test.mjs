import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fit, metresText, projection, roundStep } from '../src/geo.js';

const depot = { lat: 37.7577, lon: -122.3876 };

test('a degree of latitude is 111 km, one of longitude shorter; and back again', () => {
  const { toMetres, toDegrees } = projection(depot);
  const place = { lat: depot.lat + 0.01, lon: depot.lon - 0.02 };
  const { x, y } = toMetres(place);
  assert.ok(Math.abs(y - 1109.9) < 0.5, `${y}`); // meridian arc of WGS 84 at that latitude: 110.99 km per degree
  assert.ok(Math.abs(x + 1762.1) < 1, `${x}`); // 88.10 km per degree
  const back = toDegrees({ x, y });
  assert.ok(Math.abs(back.lat - place.lat) < 1e-12 && Math.abs(back.lon - place.lon) < 1e-12);
});

test('the map is the same across the antimeridian as elsewhere', () => {
  for (const lon of [179.98, 180, -180, -179.99]) {
    const there = projection({ lat: -17, lon });
    const here = projection({ lat: -17, lon: 10 });
    for (const east of [-0.3, -0.02, 0, 0.01, 0.3]) {
      const place = { lat: -17.01, lon: ((lon + east + 540) % 360) - 180 };
      const { x, y } = there.toMetres(place);
      const expected = here.toMetres({ lat: -17.01, lon: 10 + east });
      assert.ok(Math.abs(x - expected.x) < 1e-4 && y === expected.y, `${lon} ${east}: ${x}`);
      const back = there.toDegrees({ x, y });
      assert.ok(Math.abs(back.lon) <= 180 && Math.abs(there.toMetres(back).x - x) < 1e-4, `${back.lon}`);
    }
  }
});

test('steps are round and never above the limit', () => {
  for (const [limit, step] of [[1, 1], [1.99, 1], [2, 2], [499, 200], [5000, 5000], [0.07, 0.05]]) {
    assert.ok(Math.abs(roundStep(limit) - step) < 1e-9, `${limit}: ${roundStep(limit)}`);
  }
  assert.equal(metresText(850), '850 m');
  assert.equal(metresText(1200), '1.2 km');
  assert.equal(metresText(2000), '2 km');
});

test('a view that fits shows every point', () => {
  const size = { width: 400, height: 200 };
  const points = [{ x: -3000, y: 0 }, { x: 5000, y: 4000 }];
  const { x, y, scale } = fit(points, size);
  for (const p of points) {
    assert.ok(Math.abs(p.x - x) * scale <= 200 - 47 && Math.abs(p.y - y) * scale <= 100 - 47);
  }
  assert.ok(fit([points[0]], size).scale <= (200 - 96) / 1500); // one point alone is not looked at from within
});
