// The contents of the map, computed from the fleet: positions in metres, no pixels, no markup.

const AT_DEPOT_M = 40;
/** Charge below which a drone is marked (part of a full battery). */
export const LOW_BATTERY = 0.25;
/** A drone that was not heard for longer than this (s) is silent: the value of core/policies.py. */
export const DRONE_SILENT_S = 3;

/** Returns the drones with position and target in metres, those at rest in the depot separately. */
export function sortDrones(drones, toMetres) {
  const flying = [];
  const resting = [];
  for (const drone of drones) {
    if (!drone.position) continue;
    const place = toMetres(drone.position);
    if (drone.phase === 'IDLE' && Math.hypot(place.x, place.y) < AT_DEPOT_M) resting.push(drone);
    else flying.push({ ...drone, place, target: targetOf(drone, toMetres) });
  }
  return { flying, resting };
}

const HOMEWARD = new Set(['RETURNING', 'BRINGING_BACK', 'TO_PICKUP']);
const OUTWARD = new Set(['TO_DESTINATION', 'DROPPING']);

/** Returns the drone's target {x, y, sure}; `sure` is false if it is not flying there yet. */
function targetOf(drone, toMetres) {
  if (HOMEWARD.has(drone.phase)) return { x: 0, y: 0, sure: true };
  if (!drone.destination) return null;
  return { ...toMetres(drone.destination), sure: OUTWARD.has(drone.phase) };
}

const ROUNDING_PX = 1e-6;

/** Returns a downward offset for each label of `width` × `height` pixels, so that labels do not overlap. */
export function spread(points, width, height) {
  const placed = [];
  const order = points.map((p, i) => [p, i]).sort(([a], [b]) => a.y - b.y || a.x - b.x);
  const shift = new Array(points.length).fill(0);
  for (const [point, index] of order) {
    let y = point.y;
    for (let moved = true; moved; ) {
      moved = false;
      for (const other of placed) {
        // Rounding may leave the label slightly too near to `other`; without this it would be moved forever.
        if (Math.abs(other.x - point.x) < width && Math.abs(other.y - y) < height - ROUNDING_PX) {
          y = other.y + height;
          moved = true;
        }
      }
    }
    placed.push({ x: point.x, y });
    shift[index] = y - point.y;
  }
  return shift;
}

/** Returns an SVG path for an arc around the origin: `part` of a full circle, clockwise from the top. */
export function arc(radius, part) {
  const turn = Math.min(0.9999, Math.max(0, part)) * 2 * Math.PI;
  const [x, y] = [radius * Math.sin(turn), -radius * Math.cos(turn)];
  return `M0 ${-radius}A${radius} ${radius} 0 ${part > 0.5 ? 1 : 0} 1 ${x.toFixed(2)} ${y.toFixed(2)}`;
}
