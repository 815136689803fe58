import { Panel, Scroll } from '../parts/panel.jsx';
import * as state from '../state.js';
import { ageText, spanText, timeText } from '../words.js';

/** Shows the leader and its predecessors. */
export function Leadership() {
  const leader = state.fleet.value?.leader;
  const past = state.terms.value;
  return (
    <Panel id="leadership" title="Leadership" aside={<HandOver leader={leader} />}>
      <Scroll label="Leaders so far">
        <p class="in-office">
          {leader
            ? <><b>{leader.holder}</b><span>epoch {leader.epoch}, for {ageText(state.nowMs.value / 1000 - leader.since)}</span></>
            : <b class="alarm">{state.fleet.value ? 'No leader' : 'Not known yet'}</b>}
        </p>
        {past.length > 0 && (
          <table class="terms">
            <caption class="unseen">Leaders, newest first</caption>
            <thead><tr><th scope="col">From</th><th scope="col">Leader</th><th scope="col" class="right">Gap</th></tr></thead>
            <tbody>
              {past.map((term) => (
                <tr key={term.epoch}><td>{timeText(term.since)}</td><th scope="row">{term.holder}</th><td class="right">{gapText(term.gap)}</td></tr>
              ))}
            </tbody>
          </table>
        )}
        {past.some((t) => t.gap && !t.gap.exact) && <p class="footnote">≤: the previous leader fell silent; counted from its last step.</p>}
      </Scroll>
    </Panel>
  );
}

const gapText = (gap) => (gap ? `${gap.exact ? '' : '≤ '}${spanText(gap.seconds)}` : '–');

const HandOver = ({ leader }) => (
  <button type="button" disabled={!leader} onClick={() => (state.question.value = { kind: 'handover', leader })}>Hand over…</button>
);
