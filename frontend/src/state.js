// The page's state as signals. Only store.js changes it; everything else reads it.

import { computed, signal } from '@preact/signals';

/** The body of `GET /fleet`, `null` until the first one. */
export const fleet = signal(null);
/** When that body arrived, by the local monotonic clock, milliseconds. */
export const fleetAtMs = signal(0);
/** The stream: {open, retryAtMs} (wall clock), `open` `null` before the first try. */
export const stream = signal({ open: null, retryAtMs: null });
/** Why the gateway did not answer last time, `null` if it did. */
export const trouble = signal(null);
/** Wall clock for ages, ticking every second. */
export const nowMs = signal(Date.now());

/** Leadership terms, newest first (leaders.js). */
export const terms = signal([]);
/** Past positions: drone id to a list of {lat, lon}, oldest first. */
export const trails = signal(new Map());

/** Filters of the orders list. */
export const statuses = signal(new Set());
export const searched = signal('');
export const limit = signal(50);
/** {orders, next_cursor} or `null`; and the refusal of the last try. */
export const page = signal(null);
export const pageProblem = signal(null);

/** message_id of the order shown in full, `null` for none. */
export const selectedOrder = signal(null);
/** {order, events} of it, or {problem}; `null` while it is loaded. */
export const detail = signal(null);
export const selectedDrone = signal(null);

/** Content of the right column: `order`, or `new` while a new order is entered. */
export const drafting = signal(false);
export const draftPoint = signal(null);

/** Action to confirm: {kind: 'cancel', order} or {kind: 'handover'}; `null` for none. */
export const question = signal(null);
/** Notice of the last action: {text, tone, id}. */
export const notice = signal(null);

/** Age of the shown data (s); `null` before the first data. */
export const ageS = computed(() => {
  nowMs.value;
  if (!fleet.value) return null;
  return (performance.now() - fleetAtMs.value) / 1000 + (fleet.value.stale_s ?? 0);
});

/** Data older than this (s) is stale. */
export const STALE_S = 3;
export const isStale = computed(() => ageS.value !== null && ageS.value > STALE_S);
