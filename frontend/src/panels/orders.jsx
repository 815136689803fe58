import { useEffect, useRef } from 'preact/hooks';

import { Panel, Scroll } from '../parts/panel.jsx';
import { StatusMark } from '../parts/marks.jsx';
import * as state from '../state.js';
import { search, showAllStatuses, showMore, showOrder, toggleStatus } from '../store.js';
import { STATUSES, ageText, problemText, statusWords, timeText } from '../words.js';

const TYPING_PAUSE_MS = 200;

export function Orders() {
  return (
    <Panel id="orders" title="Orders" aside={<Search />}>
      <Filters />
      <Scroll label="List of orders">
        <List />
      </Scroll>
    </Panel>
  );
}

function Search() {
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const typed = (event) => {
    const text = event.currentTarget.value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(text), TYPING_PAUSE_MS);
  };
  return (
    <input
      type="search" class="search" placeholder="Find an order id" aria-label="Find an order id" spellcheck={false}
      autocomplete="off" defaultValue={state.searched.peek()} onInput={typed}
    />
  );
}

function Filters() {
  const counts = state.fleet.value?.orders ?? {};
  const chosen = state.statuses.value;
  const total = STATUSES.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
  return (
    <div class="filters" role="group" aria-label="Show orders by state">
      <Filter on={chosen.size === 0} onClick={showAllStatuses} name="All" count={total} />
      {STATUSES.map((status) => (
        <Filter
          key={status} on={chosen.has(status)} onClick={() => toggleStatus(status)} name={statusWords(status)}
          count={counts[status] ?? 0} mark={<StatusMark status={status} />}
        />
      ))}
    </div>
  );
}

const Filter = ({ on, onClick, name, count, mark }) => (
  <button type="button" class={`filter ${count === 0 ? 'none' : ''}`} aria-pressed={on} onClick={onClick}>
    {mark}<span class="name">{name}</span> <span class="figure">{count}</span>
  </button>
);

function List() {
  const page = state.page.value;
  const problem = state.pageProblem.value;
  if (!page) return <p class="quiet">{problem ? problemText(problem.unreachable ? null : problem) : 'Loading…'}</p>;
  if (page.orders.length === 0) {
    const wanted = state.searched.value || state.statuses.value.size;
    return <p class="quiet">{wanted ? 'No order matches.' : 'No orders yet.'}</p>;
  }
  return (
    <>
      <table class="orders">
        <caption class="unseen">Orders, newest first</caption>
        <thead>
          <tr><th scope="col">Order</th><th scope="col">State</th><th scope="col">Drone</th><th scope="col" class="right">Submitted</th><th scope="col" class="right">Since</th></tr>
        </thead>
        <tbody>{page.orders.map((order) => <Row key={order.message_id} order={order} />)}</tbody>
      </table>
      {page.next_cursor && page.orders.length < 1000 && <button type="button" class="more" onClick={showMore}>Show older ones</button>}
    </>
  );
}

function Row({ order }) {
  const chosen = order.message_id === state.selectedOrder.value;
  const show = () => showOrder(order.message_id);
  return (
    <tr class={chosen ? 'chosen' : ''} onClick={show} data-order={order.order_id}>
      <th scope="row"><button type="button" class="link" title={order.order_id} aria-current={chosen || undefined}>{order.order_id}</button></th>
      <td class="status">
        <StatusMark status={order.status} />{statusWords(order.status)}
        {order.parked && <span class="tag">parked</span>}
        {order.cancel_requested && order.status !== 'CANCELLED' && <span class="tag">cancelling</span>}
      </td>
      <td>{order.drone_id ?? '–'}</td>
      <td class="right">{timeText(order.created_at).slice(-8)}</td>
      <td class="right">{ageText(state.nowMs.value / 1000 - order.updated_at)}</td>
    </tr>
  );
}
