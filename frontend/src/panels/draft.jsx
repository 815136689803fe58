import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';

import { Panel, Scroll } from '../parts/panel.jsx';
import * as state from '../state.js';
import { say, submit } from '../store.js';
import { problemText } from '../words.js';

const PRIORITIES = ['low', 'normal', 'high', 'urgent'];
const freshId = () => `desk-${new Date().toISOString().slice(2, 19).replace(/\D/g, '')}`;

/** Form for a new order. The gateway validates it and names the field that is wrong. */
export function Draft() {
  const form = useRef(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => form.current.elements.lat.focus(), []);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      say(await submit(read(form.current.elements)));
    } catch (refusal) {
      setProblem(refusal.problem ?? {});
      setBusy(false);
    }
  };
  const wrong = (name) => (problem?.field === name ? { 'aria-invalid': true, 'aria-describedby': 'draft-refusal' } : {});
  useSignalEffect(() => fillIn(form.current, state.draftPoint.value));
  const lanes = state.fleet.value?.lanes ?? [];
  const close = <button type="button" class="quiet-button" onClick={() => (state.drafting.value = false)}>Close</button>;
  return (
    <Panel id="order" title="New order" aside={close}>
      <Scroll label="New order">
        <form class="draft" ref={form} onSubmit={send}>
          <p class="quiet wide">Click the map or type the destination.</p>
          <Field name="Latitude"><input name="lat" type="number" step="any" min="-90" max="90" required onInput={typed} {...wrong('destination.lat')} /></Field>
          <Field name="Longitude"><input name="lon" type="number" step="any" min="-180" max="180" required onInput={typed} {...wrong('destination.lon')} /></Field>
          <Field name="Weight, kg"><input name="weight" type="number" step="any" min="0.001" required defaultValue="1" {...wrong('package_weight_kg')} /></Field>
          <Field name="Priority"><select name="priority" defaultValue="normal">{PRIORITIES.map((p) => <option key={p} selected={p === 'normal'}>{p}</option>)}</select></Field>
          <Field name="Drone class"><select name="class"><option value="">any</option>{lanes.map((l) => <option key={l.drone_class}>{l.drone_class}</option>)}</select></Field>
          <Field name="Order id"><input name="id" required pattern="[A-Za-z0-9._\-]+" maxLength={64} defaultValue={freshId()} {...wrong('order_id')} /></Field>
          <p class="refusal wide" id="draft-refusal" role="alert">{problem && problemText(problem.status ? problem : null)}</p>
          <button type="submit" class="primary wide" disabled={busy}>{busy ? 'One moment…' : 'Submit'}</button>
        </form>
      </Scroll>
    </Panel>
  );
}

const Field = ({ name, children }) => <label><span>{name}</span>{children}</label>;

/** Shows the typed coordinates on the map once they are valid. */
function typed(event) {
  const { lat, lon } = event.currentTarget.form.elements;
  const point = { lat: lat.valueAsNumber, lon: lon.valueAsNumber, typed: true };
  state.draftPoint.value = Number.isFinite(point.lat) && Number.isFinite(point.lon) ? point : null;
}

/** Copies a click on the map into the form. Text being typed stays as it is. */
function fillIn(form, point) {
  if (!form || !point || point.typed) return;
  form.elements.lat.value = point.lat;
  form.elements.lon.value = point.lon;
}

function read(fields) {
  const order = {
    order_id: fields.id.value,
    destination: { lat: fields.lat.valueAsNumber, lon: fields.lon.valueAsNumber },
    package_weight_kg: fields.weight.valueAsNumber,
    priority: fields.priority.value,
  };
  if (fields.class.value) order.drone_class = fields.class.value;
  return order;
}
