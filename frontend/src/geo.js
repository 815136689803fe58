// Positions on the ground in local metres, east and north of an origin.

const A_M = 6378137.0; // WGS 84, semi-major axis
const E2 = 6.69437999014e-3; // first eccentricity, squared
const RAD = Math.PI / 180;

/** Brings a longitude or a difference of two into -180 … 180 degrees. */
const wrap = (degrees) => degrees - 360 * Math.round(degrees / 360);

/**
 * A projection around `origin` ({lat, lon}, degrees). `toMetres({lat, lon})` gives {x, y}: metres east and north;
 * `toDegrees` is its inverse. By the ellipsoid's radii at the origin: some metres of error at 20 km, for a picture.
 */
export function projection(origin) {
  const sine = Math.sin(origin.lat * RAD);
  const w = 1 - E2 * sine * sine;
  const perLat = ((A_M * (1 - E2)) / w ** 1.5) * RAD;
  const perLon = (A_M / Math.sqrt(w)) * Math.cos(origin.lat * RAD) * RAD;
  return {
    toMetres: ({ lat, lon }) => ({ x: wrap(lon - origin.lon) * perLon, y: (lat - origin.lat) * perLat }),
    toDegrees: ({ x, y }) => ({ lat: origin.lat + y / perLat, lon: wrap(origin.lon + x / perLon) }),
  };
}

/** Returns the distance between two points of the plane (m). */
export const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** Returns the largest of 1, 2 or 5 times a power of ten that is at most `limit`. */
export function roundStep(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return [5, 2, 1].find((m) => m * power <= limit) * power;
}

/** Formats a distance: `850 m`, `1.2 km`, `12 km`. */
export function metresText(metres) {
  if (metres < 1000) return `${Math.round(metres)} m`;
  const km = metres / 1000;
  return `${km < 10 && !Number.isInteger(km) ? km.toFixed(1) : Math.round(km)} km`;
}

/**
 * Where a view of `size` ({width, height}, pixels) must look to show all `points`: {x, y, scale}, scale in pixels per
 * metre. At least `least` metres across, with `margin` pixels around.
 */
export function fit(points, size, { least = 1500, margin = 48 } = {}) {
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const [west, east] = [Math.min(...xs), Math.max(...xs)];
  const [south, north] = [Math.min(...ys), Math.max(...ys)];
  const room = { width: Math.max(size.width - 2 * margin, 40), height: Math.max(size.height - 2 * margin, 40) };
  const scale = Math.min(room.width / Math.max(east - west, least), room.height / Math.max(north - south, least));
  return { x: (west + east) / 2, y: (south + north) / 2, scale };
}
