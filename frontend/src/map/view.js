// The visible part of the ground, and how touch, wheel and keys move it.

import { signal } from '@preact/signals';

import { distance } from '../geo.js';

const CLOSEST = 2; // pixels per metre
const FURTHEST = 0.002;
const STEP_PX = 60;

/** {x, y, scale}: centre (m) and pixels per metre; `null` until the map is measured. */
export const view = signal(null);
/** True while the view follows the fleet; moving it by hand ends that. */
export const following = signal(true);
/** {width, height} in pixels. */
export const size = signal({ width: 0, height: 0 });

const clamp = (scale) => Math.min(CLOSEST, Math.max(FURTHEST, scale));

/** Returns the ground position below a point of the map (pixels from its corner). */
export function groundAt(px, py) {
  const { x, y, scale } = view.peek();
  const { width, height } = size.peek();
  return { x: x + (px - width / 2) / scale, y: y - (py - height / 2) / scale };
}

export function pan(dx, dy) {
  const now = view.peek();
  following.value = false;
  view.value = { ...now, x: now.x - dx / now.scale, y: now.y + dy / now.scale };
}

/** Zooms by `factor` around a point (default: the centre). */
export function zoom(factor, px = size.peek().width / 2, py = size.peek().height / 2) {
  const now = view.peek();
  const fixed = groundAt(px, py);
  const scale = clamp(now.scale * factor);
  const k = now.scale / scale;
  following.value = false;
  view.value = { x: fixed.x + (now.x - fixed.x) * k, y: fixed.y + (now.y - fixed.y) * k, scale };
}

/** Centres the view on `place` (m) at the current scale. */
export function centre(place) {
  following.value = false;
  view.value = { ...view.peek(), x: place.x, y: place.y };
}

const KEYS = {
  ArrowLeft: () => pan(STEP_PX, 0),
  ArrowRight: () => pan(-STEP_PX, 0),
  ArrowUp: () => pan(0, STEP_PX),
  ArrowDown: () => pan(0, -STEP_PX),
  '+': () => zoom(1.4),
  '=': () => zoom(1.4),
  '-': () => zoom(1 / 1.4),
  0: () => (following.value = true),
};

export function onKey(event) {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
}

/**
 * Follow pointers and wheel on `element`; `onTap(px, py)` is a click that was no drag. Returns what undoes it.
 * The wheel zooms only where the page itself has nothing to scroll, or with Ctrl, so that it never traps a reader.
 */
export function attach(element, onTap) {
  const fingers = new Map();
  let travelled = 0;
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const down = (event) => {
    if (event.button !== 0 || event.target.closest('button')) return;
    if (fingers.size === 0) travelled = 0;
    fingers.set(event.pointerId, place(event));
  };
  const move = (event) => {
    const before = fingers.get(event.pointerId);
    if (!before || !view.peek()) return;
    const after = place(event);
    travelled += distance(before, after);
    if (travelled < 4) return;
    if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, after);
    if (other) {
      pan((after.x - before.x) / 2, (after.y - before.y) / 2);
      zoom(distance(after, other) / Math.max(1, distance(before, other)), (after.x + other.x) / 2, (after.y + other.y) / 2);
    } else {
      pan(after.x - before.x, after.y - before.y);
    }
  };
  const up = (event) => {
    const was = fingers.delete(event.pointerId);
    if (was && event.type === 'pointerup' && travelled < 4) onTap(place(event), event.target);
  };
  const wheel = (event) => {
    const page = document.scrollingElement;
    if (!view.peek() || (!event.ctrlKey && page.scrollHeight > page.clientHeight + 1)) return;
    event.preventDefault();
    const at = place(event);
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), at.x, at.y);
  };
  const listeners = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, wheel };
  for (const [name, run] of Object.entries(listeners)) element.addEventListener(name, run, { passive: false });
  return () => {
    for (const [name, run] of Object.entries(listeners)) element.removeEventListener(name, run);
  };
}
