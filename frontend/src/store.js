// Keeps the state up to date from one event stream and a few requests.

import { batch, effect } from '@preact/signals';

import * as api from './api.js';
import { Feed } from './feed.js';
import { foldLeader, foldStep } from './leaders.js';
import * as state from './state.js';
import { hasEnded } from './words.js';

/** Number of revisions that the first stream goes back, for the history of leaders. */
const LOOK_BACK = 5000;
const TRAIL = 40;
const LIST_PAUSE_MS = 700;
const DETAIL_PAUSE_MS = 250;
const LARGEST_PAGE = 1000;

/** Calls `work` soon, at most once per `pauseMs`, and never concurrently. */
function throttled(work, pauseMs) {
  let wanted = false;
  let running = false;
  return function run() {
    wanted = true;
    if (running) return;
    running = true;
    wanted = false;
    Promise.resolve(work()).finally(() => {
      setTimeout(() => {
        running = false;
        if (wanted) run();
      }, pauseMs);
    });
  };
}

function showFleet(body) {
  batch(() => {
    state.fleet.value = body;
    state.fleetAtMs.value = performance.now();
    state.nowMs.value = Date.now();
    state.trouble.value = null;
    state.trails.value = extend(state.trails.peek(), body.drones);
  });
}

/** Returns the trails, extended for each drone that moved; a drone at rest has none. */
function extend(trails, drones) {
  const next = new Map();
  for (const { drone_id: id, position, phase } of drones) {
    if (!position || phase === 'IDLE') continue;
    const trail = trails.get(id) ?? [];
    const last = trail.at(-1);
    const moved = !last || last.lat !== position.lat || last.lon !== position.lon;
    next.set(id, moved ? [...trail.slice(1 - TRAIL), position] : trail);
  }
  return next;
}

const reloadFleet = throttled(async () => {
  try {
    showFleet(await api.readFleet());
  } catch (refusal) {
    state.trouble.value = refusal.problem ?? { unreachable: true };
  }
}, 1000);

let asked = 0;
const reloadPage = throttled(async () => {
  const mine = ++asked;
  const question = {
    statuses: [...state.statuses.peek()],
    text: state.searched.peek().trim(),
    limit: state.limit.peek(),
  };
  try {
    const page = await api.listOrders(question);
    if (mine === asked) batch(() => ((state.page.value = page), (state.pageProblem.value = null)));
  } catch (refusal) {
    state.pageProblem.value = refusal.problem ?? { unreachable: true };
  }
}, LIST_PAUSE_MS);

const reloadDetail = throttled(async () => {
  const id = state.selectedOrder.peek();
  if (!id) return;
  try {
    const [order, { events }] = await Promise.all([api.readOrder(id), api.readEvents(id)]);
    if (id === state.selectedOrder.peek()) state.detail.value = { order, events };
  } catch (refusal) {
    // Keep what is shown: a failed request does not change the order.
    if (id === state.selectedOrder.peek() && !state.detail.peek()?.order) {
      state.detail.value = { problem: refusal.problem };
    }
  }
}, DETAIL_PAUSE_MS);

let replayedUntil = 0;
const feed = new Feed({
  saga(event) {
    state.terms.value = foldStep(state.terms.peek(), event);
    if (feed.revision <= replayedUntil) return;
    reloadPage();
    if (event.message_id === state.selectedOrder.peek()) reloadDetail();
  },
  leader(event, revision) {
    const live = revision > replayedUntil;
    state.terms.value = foldLeader(state.terms.peek(), event, live ? Date.now() / 1000 : null);
    if (live) reloadFleet();
  },
  fleet: showFleet,
  reset: () => begin(false),
  state(open, retryAtMs) {
    state.stream.value = { open, retryAtMs };
    if (open) refreshAll();
  },
});

function refreshAll() {
  reloadFleet();
  reloadPage();
  reloadDetail();
}

/** Loads everything and follows from there. With `history` the stream begins earlier, to include past leaders. */
async function begin(history) {
  feed.stop();
  try {
    const body = await api.readFleet();
    showFleet(body);
    const from = history ? Math.max(0, body.revision - LOOK_BACK) : body.revision;
    replayedUntil = body.revision;
    if (body.leader && body.leader.epoch <= from) state.terms.value = foldLeader(state.terms.peek(), body.leader, null);
    feed.start(from);
    refreshAll();
  } catch (refusal) {
    state.trouble.value = refusal.problem ?? { unreachable: true };
    state.stream.value = { open: false, retryAtMs: Date.now() + 2000 };
    setTimeout(() => begin(history), 2000);
  }
}

/** Starts everything; called once. */
export function start() {
  begin(true);
  setInterval(() => {
    state.nowMs.value = Date.now();
    // The stream is silent although it looks open: send a request, so that the page can name the cause.
    if (state.isStale.peek()) reloadFleet();
  }, 1000);
  window.addEventListener('online', () => feed.hurry());
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) feed.hurry();
  });
  const readHash = () => select(new URLSearchParams(location.hash.slice(1)).get('order'));
  window.addEventListener('hashchange', readHash);
  readHash();
  effect(() => {
    state.statuses.value;
    state.searched.value;
    state.limit.value;
    reloadPage();
  });
}

function select(id) {
  batch(() => {
    if (id !== state.selectedOrder.peek()) state.detail.value = null;
    state.selectedOrder.value = id;
    if (id) state.drafting.value = false;
  });
  reloadDetail();
}

/** Shows this order in full (`null`: none) and links to it in the address bar. */
export function showOrder(id) {
  history.pushState(null, '', id ? `#order=${encodeURIComponent(id)}` : location.pathname);
  select(id);
}

export function showDrone(id) {
  state.selectedDrone.value = state.selectedDrone.peek() === id ? null : id;
}

export function toggleStatus(status) {
  const next = new Set(state.statuses.peek());
  if (!next.delete(status)) next.add(status);
  batch(() => ((state.statuses.value = next), (state.limit.value = 50)));
}

export const showAllStatuses = () => (state.statuses.value = new Set());

export function search(text) {
  batch(() => ((state.searched.value = text), (state.limit.value = 50)));
}

export const showMore = () => (state.limit.value = Math.min(LARGEST_PAGE, state.limit.peek() + 100));

let notices = 0;
export function say(text, tone = 'good') {
  const id = ++notices;
  state.notice.value = { text, tone, id };
  setTimeout(() => {
    if (state.notice.peek()?.id === id) state.notice.value = null;
  }, 8000);
}

/** Requests the order's cancellation. Resolves with a notice; throws Refusal. */
export async function cancel(order) {
  const answer = await api.cancelOrder(order.message_id);
  reloadPage();
  reloadDetail();
  return hasEnded(answer.status)
    ? `Order ${order.order_id} is cancelled.`
    : `Order ${order.order_id} will be cancelled; a drone that has the package brings it back.`;
}

/** Asks the leader to hand over, with the operator's token if required. Resolves with a notice; throws Refusal. */
export async function handOver(token) {
  const answer = await api.handOver(token);
  reloadFleet();
  return `${answer.holder} was asked to hand over.`;
}

/** Submits an order and shows it. Throws Refusal. */
export async function submit(order) {
  const answer = await api.submitOrder(order);
  batch(() => ((state.drafting.value = false), (state.draftPoint.value = null)));
  reloadPage();
  showOrder(answer.message_id);
  return `Order ${answer.order_id} is accepted.`;
}
