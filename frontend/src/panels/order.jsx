import { distance, metresText, projection } from '../geo.js';
import { Panel, Scroll } from '../parts/panel.jsx';
import { StatusMark } from '../parts/marks.jsx';
import * as state from '../state.js';
import { showOrder } from '../store.js';
import { eventWords, hasEnded, problemText, reasonWords, spanText, statusWords, timeText } from '../words.js';

/** Shows one order in full: the request and every event. */
export function Order() {
  const id = state.selectedOrder.value;
  const detail = state.detail.value;
  if (!id) {
    return <Panel id="order" title="Order"><p class="quiet">Select an order to see its history.</p></Panel>;
  }
  if (!detail?.order) {
    const text = detail ? problemText(detail.problem) : 'Loading…';
    return <Panel id="order" title="Order" aside={<Close />}><p class="quiet">{text}</p></Panel>;
  }
  const { order, events } = detail;
  return (
    <Panel id="order" title={`Order ${order.order_id}`} aside={<Actions order={order} />}>
      <Scroll label="The order and its history">
        <Facts order={order} />
        <Timeline order={order} events={events} />
      </Scroll>
    </Panel>
  );
}

const Close = () => <button type="button" class="quiet-button" onClick={() => showOrder(null)} aria-label="Close the order">Close</button>;

function Actions({ order }) {
  return (
    <div class="actions">
      {!hasEnded(order.status) && (
        <button
          type="button" class="danger" disabled={order.cancel_requested}
          onClick={() => (state.question.value = { kind: 'cancel', order })}
        >
          {order.cancel_requested ? 'Cancelling' : 'Cancel order…'}
        </button>
      )}
      <Close />
    </div>
  );
}

function Facts({ order }) {
  const asked = order.order;
  const reason = reasonWords(order.reason);
  return (
    <>
      <p class="state" data-testid="order-state">
        <StatusMark status={order.status} /><b>{statusWords(order.status)}</b>
        {order.parked && <span class="tag">waiting for a person’s decision</span>}
        {reason && <span class="reason">{reason}</span>}
      </p>
      <dl class="facts">
        <Fact name="Drone" value={order.drone_id ?? 'none yet'} />
        <Fact name="Attempt" value={order.attempt || 'none yet'} />
        <Fact name="Weight" value={`${asked.package_weight_kg} kg`} />
        <Fact name="Priority" value={asked.priority ?? 'normal'} />
        <Fact name="Class" value={asked.drone_class ?? 'any'} />
        <Fact name="Deadline" value={asked.deadline_s ? timeText(order.created_at + asked.deadline_s) : 'none'} />
        <Fact name="Destination" value={whereText(asked)} wide />
        <Fact name="Message id" value={order.message_id} wide />
      </dl>
    </>
  );
}

const Fact = ({ name, value, wide }) => <div class={wide ? 'wide' : ''}><dt>{name}</dt><dd>{value}</dd></div>;

function whereText(asked) {
  const { lat, lon } = asked.destination;
  const depot = asked.pickup ?? state.fleet.value?.depot;
  const plane = depot && projection(depot);
  const away = plane ? `, ${metresText(distance(plane.toMetres(asked.destination), { x: 0, y: 0 }))} from its pickup` : '';
  return `${lat.toFixed(5)}, ${lon.toFixed(5)}${away}`;
}

function Timeline({ order, events }) {
  if (events.length === 0) return <p class="quiet">Submitted {timeText(order.created_at)}; no leader has accepted it yet.</p>;
  return (
    <ol class="timeline" aria-label="History">
      {events.map((event, i) => <Step key={event.sequence} event={event} before={events[i - 1]} start={order.created_at} />)}
      {!hasEnded(order.status) && <li class="now"><span class="gap">{spanText(state.nowMs.value / 1000 - events.at(-1).at)}</span><span class="what">so far in this state</span></li>}
    </ol>
  );
}

function Step({ event, before, start }) {
  const since = event.at - (before ? before.at : start);
  const another = before && before.epoch !== event.epoch;
  return (
    <>
      {another && <li class="epoch"><span class="what">New leader from here on, epoch {event.epoch}</span></li>}
      <li class={`s-${event.to_status}`}>
        <time>{timeText(event.at)}</time>
        <StatusMark status={event.to_status} />
        <span class="what">{eventWords(event)}</span>
        <span class="gap">+{spanText(since)}</span>
      </li>
    </>
  );
}
