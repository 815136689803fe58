import { useComputed, useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { fit, metresText, projection, roundStep } from '../geo.js';
import * as state from '../state.js';
import { showDrone, showOrder } from '../store.js';
import { Panel } from '../parts/panel.jsx';
import { phaseWords } from '../words.js';
import { Drone, Ground, Route, Target, Trail } from './layers.jsx';
import { Legend } from './legend.jsx';
import { sortDrones, spread } from './picture.js';
import { attach, following, groundAt, onKey, size, view, zoom } from './view.js';

/** Live map in metres around the depot. The tables show everything on it, too. */
export function FleetMap() {
  const frame = useRef(null);
  const ground = useComputed(() => state.fleet.value?.depot && projection(state.fleet.value.depot));
  useEffect(() => measure(frame.current), []);
  useEffect(() => attach(frame.current, (at, target) => tapped(at, target, ground.peek())), []);
  useSignalEffect(() => follow(ground.value));
  useSignalEffect(() => holdStill(frame.current, view.value));
  return (
    <Panel id="map" title="Map" aside={<Tools />} class="map-panel">
      <div
        data-picking={state.drafting.value || undefined} class="map" ref={frame} tabIndex={0} role="group" onKeyDown={onKey}
        aria-label="Map of the fleet. Arrow keys move it, plus and minus zoom, zero shows the whole fleet."
      >
        {ground.value && view.value && <Drawing ground={ground.value} />}
        {state.drafting.value && <p class="map-hint">Click where to deliver</p>}
      </div>
      <Legend />
    </Panel>
  );
}

function Tools() {
  return (
    <div class="map-tools" role="group" aria-label="Map view">
      <button type="button" class="tool" onClick={() => zoom(1.5)} aria-label="Zoom in">+</button>
      <button type="button" class="tool" onClick={() => zoom(1 / 1.5)} aria-label="Zoom out">−</button>
      <button
        type="button" class="tool wide" aria-pressed={following.value} onClick={() => (following.value = !following.value)}
      >
        Follow fleet
      </button>
    </div>
  );
}

function measure(element) {
  const observer = new ResizeObserver(([{ contentRect }]) => {
    size.value = { width: contentRect.width, height: contentRect.height };
  });
  observer.observe(element);
  return () => observer.disconnect();
}

/** Keeps everything that moves in view. Changes the view only if it no longer fits or is far too wide. */
function follow(ground) {
  const { width } = size.value;
  const body = state.fleet.value;
  if (!following.value || !ground || !body || width === 0) return;
  const places = body.drones.flatMap((d) => [d.position, d.destination]).filter(Boolean).map(ground.toMetres);
  const wanted = fit([{ x: 0, y: 0 }, ...places], size.value);
  const now = view.peek();
  const inside = now && places.every((p) => {
    const px = Math.abs(p.x - now.x) * now.scale;
    const py = Math.abs(p.y - now.y) * now.scale;
    return px < size.value.width / 2 - 20 && py < size.value.height / 2 - 20;
  });
  if (!inside || wanted.scale > now.scale * 1.8) view.value = wanted;
}

/** Drones glide between positions, except while the map itself moves. */
function holdStill(frame, _) {
  if (!frame) return;
  frame.classList.add('moving');
  clearTimeout(frame.stillTimer);
  frame.stillTimer = setTimeout(() => frame.classList.remove('moving'), 150);
}

function tapped(at, target, ground) {
  if (state.drafting.peek() && ground) {
    const { lat, lon } = ground.toDegrees(groundAt(at.x, at.y));
    state.draftPoint.value = { lat: Number(lat.toFixed(6)), lon: Number(lon.toFixed(6)) };
    return;
  }
  const id = target.closest?.('[data-drone]')?.dataset.drone;
  if (!id) return;
  showDrone(id);
  const drone = state.fleet.peek().drones.find((d) => d.drone_id === id);
  if (drone?.message_id && state.selectedDrone.peek() === id) showOrder(drone.message_id);
}

function Drawing({ ground }) {
  const { x, y, scale } = view.value;
  const { width, height } = size.value;
  const body = state.fleet.value;
  const { flying, resting } = sortDrones(body.drones, ground.toMetres);
  const shifts = spread(flying.map(({ place }) => ({ x: place.x * scale, y: -place.y * scale })), 64, 13);
  const chosen = (drone) => drone.drone_id === state.selectedDrone.value || (drone.message_id && drone.message_id === state.selectedOrder.value);
  const draft = state.draftPoint.value && ground.toMetres(state.draftPoint.value);
  return (
    <svg width={width} height={height} role="img" aria-label={summary(flying, resting)}>
      <g transform={`translate(${width / 2 - x * scale} ${height / 2 + y * scale})`}>
        <Ground body={body} ground={ground} scale={scale} resting={resting} />
        {flying.map((d) => <Trail key={d.drone_id} points={state.trails.value.get(d.drone_id)} ground={ground} scale={scale} />)}
        {flying.map((d) => d.target && <Route key={d.drone_id} drone={d} scale={scale} chosen={chosen(d)} />)}
        {flying.map((d) => d.destination && <Target key={d.drone_id} place={ground.toMetres(d.destination)} scale={scale} chosen={chosen(d)} label={d.order_id} />)}
        {state.drafting.value && draft && <Target place={draft} scale={scale} chosen label="new order" />}
        {flying.map((d, i) => <Drone key={d.drone_id} drone={d} scale={scale} chosen={chosen(d)} shift={shifts[i]} />)}
      </g>
      <ScaleBar scale={scale} height={height} />
    </svg>
  );
}

function ScaleBar({ scale, height }) {
  const metres = roundStep(130 / scale);
  const length = metres * scale;
  return (
    <g class="scale-bar" transform={`translate(14 ${height - 14})`}>
      <path d={`M0 -5V0H${length}V-5`} />
      <text x={length + 7} y="1">{metresText(metres)}</text>
    </g>
  );
}

function summary(flying, resting) {
  const said = flying.map((d) => `${d.drone_id} ${phaseWords(d.phase).toLowerCase()}`);
  if (resting.length) said.push(`${resting.length} idle at the depot`);
  return `Map: ${said.join(', ') || 'no drone was heard'}`;
}
