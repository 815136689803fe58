// What the page knows, as signals. Only store.js changes it; everything else reads.

import { computed, signal } from '@preact/signals';

/** The body of `GET /fleet`, `null` until the first one. */
export const fleet = signal(null);
/** When that body arrived, by the local monotonic clock, milliseconds. */
export const fleetAtMs = signal(0);
/** The stream: {open, retryAtMs} (wall clock), `open` `null` before the first try. */
export const stream = signal({ open: null, retryAtMs: null });
/** Why the gateway did not answer last time, `null` if it did. */
export const trouble = signal(null);
/** A wall clock for ages, ticking each second. */
export const nowMs = signal(Date.now());

/** Leadership terms, newest first (leaders.js). */
export const terms = signal([]);
/** Where drones were: drone id to a list of {lat, lon}, oldest first. */
export const trails = signal(new Map());

/** What the orders list is asked for. */
export const statuses = signal(new Set());
export const searched = signal('');
export const limit = signal(50);
/** {orders, next_cursor} or `null`; and the refusal of the last try. */
export const page = signal(null);
export const pageProblem = signal(null);

/** message_id of the order that is shown in full, `null`: none. */
export const selectedOrder = signal(null);
/** {order, events} of it, or {problem}; `null` while it is loaded. */
export const detail = signal(null);
export const selectedDrone = signal(null);

/** What the right column is for: `order`, or `new` while an order is made up. */
export const drafting = signal(false);
export const draftPoint = signal(null);

/** What to confirm: {kind: 'cancel', order} or {kind: 'handover'}; `null`: nothing. */
export const question = signal(null);
/** The last thing that was done, for the notice: {text, tone, id}. */
export const notice = signal(null);

/** Seconds since what is shown was true; `null` before anything is shown. */
export const ageS = computed(() => {
  nowMs.value;
  if (!fleet.value) return null;
  return (performance.now() - fleetAtMs.value) / 1000 + (fleet.value.stale_s ?? 0);
});

/** Data older than this (s) is called stale. */
export const STALE_S = 3;
export const isStale = computed(() => ageS.value !== null && ageS.value > STALE_S);
