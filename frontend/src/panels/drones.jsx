import { DRONE_SILENT_S, LOW_BATTERY } from '../map/picture.js';
import { Bar } from '../parts/marks.jsx';
import { Panel, Scroll } from '../parts/panel.jsx';
import * as state from '../state.js';
import { showDrone, showOrder } from '../store.js';
import { ageText, breakerWords, phaseWords } from '../words.js';

const byName = (a, b) => a.drone_id.localeCompare(b.drone_id, 'en', { numeric: true });

export function Drones() {
  const drones = [...(state.fleet.value?.drones ?? [])].sort(byName);
  const busy = drones.filter((d) => d.phase !== 'IDLE' && d.phase !== 'UNSPECIFIED').length;
  return (
    <Panel id="drones" title="Drones" aside={<span class="aside">{busy} of {drones.length} busy</span>}>
      <Scroll label="Table of drones">
        <table class="drones">
          <caption class="unseen">Drones</caption>
          <thead>
            <tr>
              <th scope="col">Drone</th><th scope="col" class="roomy">Class</th><th scope="col">Does</th><th scope="col">Order</th>
              <th scope="col" class="right">Battery</th>
            </tr>
          </thead>
          <tbody>{drones.map((drone) => <Row key={drone.drone_id} drone={drone} />)}</tbody>
        </table>
        {drones.length === 0 && <p class="quiet">No drone was heard yet.</p>}
      </Scroll>
    </Panel>
  );
}

function Row({ drone }) {
  const chosen = state.selectedDrone.value === drone.drone_id;
  const silent = drone.heard_s === null || drone.heard_s > DRONE_SILENT_S;
  return (
    <tr class={chosen ? 'chosen' : ''}>
      <th scope="row">
        <button type="button" class="link" aria-pressed={chosen} onClick={() => showDrone(drone.drone_id)}>{drone.drone_id}</button>
      </th>
      <td class="roomy">{drone.drone_class ?? '–'}</td>
      <td title={phaseWords(drone.phase)}>
        {phaseWords(drone.phase)}
        {silent && <span class="tag">{drone.heard_s === null ? 'never heard' : `silent ${ageText(drone.heard_s)}`}</span>}
        {drone.breaker !== 'closed' && <span class="tag">breaker {breakerWords(drone.breaker)}</span>}
      </td>
      <td>
        {drone.message_id
          ? <button type="button" class="link" onClick={() => showOrder(drone.message_id)}>{drone.order_id ?? drone.message_id}</button>
          : '–'}
      </td>
      <td class="right"><Battery part={drone.energy_fraction} /></td>
    </tr>
  );
}

function Battery({ part }) {
  if (part === null) return '–';
  return <span class="battery"><Bar part={part} tone={part < LOW_BATTERY ? 'bad' : ''} />{Math.round(part * 100)} %</span>;
}
