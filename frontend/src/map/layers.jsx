// The layers of the map. Positions are metres; `scale` converts them to pixels. North is up, so y is inverted.

import { metresText, roundStep } from '../geo.js';
import { phaseWords } from '../words.js';
import { DRONE_SILENT_S, LOW_BATTERY, arc } from './picture.js';

const at = (place, scale) => `translate(${place.x * scale} ${-place.y * scale})`;
const outline = (points, scale) => points.map((p) => `${(p.x * scale).toFixed(1)},${(-p.y * scale).toFixed(1)}`).join(' ');

/** Static layer: distance rings, the service area, no-fly zones, the depot. */
export function Ground({ body, ground, scale, resting }) {
  const radius = body.service_radius_m;
  const step = roundStep(110 / scale);
  const rings = [];
  for (let r = step; r < radius * 0.999 && rings.length < 40; r += step) rings.push(r);
  return (
    <g class="ground">
      <defs>
        <pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <path class="hatch" d="M0 0V7" />
        </pattern>
      </defs>
      <circle class="area" r={radius * scale} />
      {rings.map((r) => (
        <g key={r}>
          <circle class="ring-line" r={r * scale} />
          <text class="ring-text" y={r * scale - 4}>{metresText(r)}</text>
        </g>
      ))}
      <path class="axis" d={`M${-radius * scale} 0H${radius * scale}M0 ${-radius * scale}V${radius * scale}`} />
      <text class="ring-text strong" y={radius * scale + 14}>service radius {metresText(radius)}</text>
      {(body.no_fly_zones ?? []).map((zone) => <Zone key={zone.name} zone={zone} ground={ground} scale={scale} />)}
      <g class="depot">
        <path d="M-8 6V-3L0 -9L8 -3V6Z" />
        <text x="-12" y="20">depot{resting.length > 0 ? `, ${resting.length} idle` : ''}</text>
      </g>
    </g>
  );
}

function Zone({ zone, ground, scale }) {
  const points = zone.polygon.map(ground.toMetres);
  const middle = { x: mean(points.map((p) => p.x)), y: mean(points.map((p) => p.y)) };
  return (
    <g class="zone">
      <polygon points={outline(points, scale)} />
      <text transform={at(middle, scale)}>{zone.name.replaceAll('_', ' ')}</text>
    </g>
  );
}

const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

export function Trail({ points, ground, scale }) {
  if (!points || points.length < 2) return null;
  return <polyline class="trail" points={outline(points.map(ground.toMetres), scale)} />;
}

export function Route({ drone, scale, chosen }) {
  const { place, target } = drone;
  const kind = drone.package_on_board ? 'loaded' : 'empty';
  return (
    <path
      class={`route ${kind} ${target.sure ? '' : 'planned'} ${chosen ? 'chosen' : ''}`}
      d={`M${place.x * scale} ${-place.y * scale}L${target.x * scale} ${-target.y * scale}`}
    />
  );
}

export function Target({ place, scale, chosen, label }) {
  return (
    <g class={`target ${chosen ? 'chosen' : ''}`} transform={at(place, scale)}>
      <path d="M0 0L-4.5 -8A5.2 5.2 0 1 1 4.5 -8Z" />
      <circle cy="-10.6" r="1.7" />
      {chosen && label && <text y="12">{label}</text>}
    </g>
  );
}

/** Drone symbol: points to its target, filled with a package on board, ringed by its remaining charge. */
export function Drone({ drone, scale, chosen, shift }) {
  const { place, phase, energy_fraction: energy, breaker } = drone;
  const low = energy !== null && energy < LOW_BATTERY;
  const classes = ['drone', chosen && 'chosen', drone.package_on_board && 'loaded', phase === 'GROUNDED' && 'grounded', drone.heard_s > DRONE_SILENT_S && 'silent'];
  // Only style transitions are smooth, so the position is a style and not an attribute.
  return (
    <g class={classes.filter(Boolean).join(' ')} data-drone={drone.drone_id} style={{ transform: `translate(${place.x * scale}px, ${-place.y * scale}px)` }}>
      <circle class="grip" r="16" />
      {energy !== null && <circle class="charge-track" r="10" />}
      {energy !== null && <path class={`charge ${low ? 'low' : ''}`} d={arc(10, energy)} />}
      {drone.heading_rad === null || drone.heading_rad === undefined
        ? <circle class="body" r="4.5" />
        : <path class="body" d="M7 0L-5 -4.8L-2.6 0L-5 4.8Z" transform={`rotate(${(-drone.heading_rad * 180) / Math.PI})`} />}
      {breaker !== 'closed' && <path class="warn" d="M8 -13L12.5 -5.5H3.5Z" />}
      <text x="14" y={4 + shift}>{drone.drone_id.replace(/^drone_/, '')}</text>
      <title>{`${drone.drone_id}: ${phaseWords(phase).toLowerCase()}${energy === null ? '' : `, battery ${Math.round(energy * 100)} %`}`}</title>
    </g>
  );
}
