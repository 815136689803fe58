// The page's vocabulary: program codes in words.

export const STATUSES = [
  'PENDING', 'ASSIGNED', 'DISPATCHED', 'LOADING', 'IN_TRANSIT', 'COMPENSATING', 'DELIVERED', 'CANCELLED', 'FAILED',
];
const ENDED = new Set(['DELIVERED', 'CANCELLED', 'FAILED']);
export const hasEnded = (status) => ENDED.has(status);

const STATUS_WORDS = {
  PENDING: 'Waiting', ASSIGNED: 'Assigned', DISPATCHED: 'Dispatched', LOADING: 'Loading', IN_TRANSIT: 'In transit',
  COMPENSATING: 'Undoing', DELIVERED: 'Delivered', CANCELLED: 'Cancelled', FAILED: 'Failed',
};
export const statusWords = (status) => STATUS_WORDS[status] ?? humble(status);

const PHASE_WORDS = {
  IDLE: 'Idle', TO_PICKUP: 'To pickup', AWAITING_CLEARANCE: 'Awaiting clearance', LOADING: 'Loading',
  TO_DESTINATION: 'Delivering', DROPPING: 'Dropping', RETURNING: 'Returning', BRINGING_BACK: 'Bringing back',
  GROUNDED: 'Grounded', UNSPECIFIED: 'Unknown',
};
export const phaseWords = (phase) => PHASE_WORDS[phase] ?? humble(phase ?? 'unknown');

const REASON_WORDS = {
  attempts_exhausted: 'all attempts were used up',
  battery_empty: 'the battery ran empty',
  cleared_to_another_journal: 'the drone came back with another journal',
  customer_request: 'requested by the customer',
  deadline_exceeded: 'its deadline has passed',
  drone_grounded: 'the drone was taken out of service before loading',
  drone_grounded_with_package: 'the drone is grounded with the package',
  drone_knows_nothing_of_it: 'the drone does not know the order',
  drone_lost_with_package: 'the drone was lost with the package',
  goal_not_accepted: 'the drone did not accept the goal',
  journal_lost_with_package: 'the drone lost its journal while it had the package',
  no_capable_drone: 'no drone of the fleet can fly it',
  package_missing: 'the location of the package is unknown',
  recall_not_obeyed: 'the drone did not come back when recalled',
  reservation_expired: 'the drone fell silent before loading',
  too_many_unacknowledged_outcomes: 'the drone has too many unacknowledged reports',
};
/** Returns a reason code in plain words; `null` stays `null`. A colon separates a code from its detail. */
export function reasonWords(reason) {
  if (!reason) return null;
  const [code, ...rest] = reason.split(/:\s*/);
  const words = REASON_WORDS[code] ?? humble(code);
  return rest.length ? `${words} (${rest.join(': ')})` : words;
}

/** Returns the meaning of a saga event, as a sentence without a full stop. */
export function eventWords(event) {
  const drone = event.drone_id ?? 'the drone';
  const reason = reasonWords(event.reason);
  const because = reason ? `: ${reason}` : '';
  switch (event.type) {
    case 'accepted': return 'Accepted';
    case 'assigned': return `${drone} reserved, attempt ${event.attempt}`;
    case 'goal_accepted': return `${drone} accepted the goal`;
    case 'cleared': return `${drone} cleared to load`;
    case 'loaded': return `Package on board ${drone}`;
    case 'delivered': return `Delivered by ${drone}`;
    case 'abandoned': return `Given up${because}`;
    case 'compensated': return event.to_status === 'PENDING' ? 'Undone; waiting for another drone' : `Undone${because}`;
    case 'cancelled': return `Cancelled${because}`;
    case 'failed': return `Failed${because}`;
    case 'parked': return `Waiting for a person’s decision${because}`;
    case 'retried': return 'Retried by a person';
    case 'resolved': return `Settled by a person as ${statusWords(event.to_status).toLowerCase()}`;
    default: return humble(event.type) + because;
  }
}

const BREAKER_WORDS = { closed: 'closed', 'half-open': 'on trial', half_open: 'on trial', open: 'open' };
export const breakerWords = (state) => BREAKER_WORDS[state] ?? humble(state);

const LEVEL_WORDS = { CLEAR: 'yes', SLOW_DOWN: 'filling', FULL: 'full' };
export const levelWords = (level) => LEVEL_WORDS[level] ?? humble(String(level));

/** Turns `SOME_CODE` into `some code`. */
const humble = (code) => code.replaceAll('_', ' ').toLowerCase();

/** Formats a duration briefly: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function spanText(seconds) {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const two = (n) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Formats an age: no tenths, `now` below a second. */
export function ageText(seconds) {
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Formats a time of day in the reader's zone, `HH:MM:SS`, preceded by the date unless it is today. */
export function timeText(epochSeconds, now = new Date()) {
  const at = new Date(epochSeconds * 1000);
  const two = (n) => String(n).padStart(2, '0');
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === now.toDateString()) return clock;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

/** Returns the text of a refusal: the detail of a problem+json document, or else its status line. */
export function problemText(problem) {
  if (!problem) return 'The gateway cannot be reached.';
  const text = problem.detail || problem.title || `The gateway answered ${problem.status}.`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
