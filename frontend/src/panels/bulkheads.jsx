import { Bar } from '../parts/marks.jsx';
import { Panel, Scroll } from '../parts/panel.jsx';
import * as state from '../state.js';
import { breakerWords, levelWords } from '../words.js';

const TONES = { FULL: 'bad', SLOW_DOWN: 'warn' };

/** Shows how full each drone class is, and the breakers that are open or on trial. */
export function Bulkheads() {
  const { lanes = [], breakers = [] } = state.fleet.value ?? {};
  const tripped = breakers.filter(({ state: s }) => s !== 'closed');
  return (
    <Panel id="bulkheads" title="Lanes and breakers">
      <Scroll label="Lanes and breakers">
        <table class="lanes">
          <caption class="unseen">Lanes</caption>
          <thead><tr><th scope="col">Lane</th><th scope="col" class="right">Waiting</th><th scope="col" class="right">Out</th><th scope="col">Open</th></tr></thead>
          <tbody>{lanes.map((lane) => <Lane key={lane.drone_class} lane={lane} />)}</tbody>
        </table>
        <h3>Breakers</h3>
        {tripped.length === 0
          ? <p class="quiet">{breakers.length ? 'All closed.' : 'Not known yet.'}</p>
          : (
            <ul class="breakers">
              {tripped.map((b) => <li key={b.service}><span>{b.service}</span><span class="alarm">{breakerWords(b.state)}</span></li>)}
              {breakers.length > tripped.length && <li class="calm">{breakers.length - tripped.length} closed</li>}
            </ul>
          )}
      </Scroll>
    </Panel>
  );
}

const Lane = ({ lane }) => (
  <tr>
    <th scope="row">{lane.drone_class}</th>
    <td class="right" title={`${lane.waiting} of at most ${lane.bound}`}><Bar part={lane.waiting / lane.bound} tone={TONES[lane.level] ?? ''} />{lane.waiting}</td>
    <td class="right">{lane.in_flight}</td>
    <td class={lane.level in TONES ? 'alarm' : 'calm'}>{levelWords(lane.level)}</td>
  </tr>
);
