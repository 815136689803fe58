import { FleetMap } from './map/map.jsx';
import { Alerts, Announcer } from './panels/alerts.jsx';
import { Bulkheads } from './panels/bulkheads.jsx';
import { Draft } from './panels/draft.jsx';
import { Drones } from './panels/drones.jsx';
import { Head } from './panels/head.jsx';
import { Leadership } from './panels/leadership.jsx';
import { Order } from './panels/order.jsx';
import { Orders } from './panels/orders.jsx';
import { Question } from './panels/question.jsx';
import { drafting } from './state.js';

const JUMPS = [['map', 'Map'], ['alerts', 'Alerts'], ['orders', 'Orders'], ['order', 'Order'], ['drones', 'Drones'], ['leadership', 'Leader'], ['bulkheads', 'Lanes']];

export const App = () => (
  <>
    <Head />
    <nav class="jumps" aria-label="Parts of the page">
      {JUMPS.map(([id, name]) => <a key={id} href={`#${id}`} onClick={(event) => jump(event, id)}>{name}</a>)}
    </nav>
    <main id="main" tabIndex={-1}>
      <FleetMap />
      <Alerts />
      <Orders />
      {drafting.value ? <Draft /> : <Order />}
      <Drones />
      <Leadership />
      <Bulkheads />
    </main>
    <Question />
    <Announcer />
  </>
);

/** Keeps the address bar linked to the shown order. */
function jump(event, id) {
  event.preventDefault();
  const panel = document.getElementById(id);
  panel.scrollIntoView();
  panel.focus({ preventScroll: true });
}
