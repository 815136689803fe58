import { arc } from './picture.js';

const Sample = ({ children, text }) => (
  <li>
    <svg viewBox="-14 -12 28 24" width="28" height="24" aria-hidden="true">{children}</svg>
    {text}
  </li>
);
const NOSE = 'M7 0L-5 -4.8L-2.6 0L-5 4.8Z';

export const Legend = () => (
  <ul class="legend" aria-label="Legend">
    <Sample text="with package"><path class="drone loaded body" d={NOSE} /></Sample>
    <Sample text="empty"><path class="drone body" d={NOSE} /></Sample>
    <Sample text="battery"><circle class="charge-track" r="8" /><path class="charge" d={arc(8, 0.7)} /></Sample>
    <Sample text="flies to"><path class="route loaded" d="M-12 0H12" /></Sample>
    <Sample text="will fly to"><path class="route loaded planned" d="M-12 0H12" /></Sample>
    <Sample text="flies home"><path class="route empty" d="M-12 0H12" /></Sample>
    <Sample text="destination"><g class="target" transform="translate(0 8)"><path d="M0 0L-4.5 -8A5.2 5.2 0 1 1 4.5 -8Z" /><circle cy="-10.6" r="1.7" /></g></Sample>
    <Sample text="no-fly zone"><g class="zone"><rect x="-10" y="-7" width="20" height="14" /></g></Sample>
    <Sample text="breaker open"><path class="drone warn" d="M0 -6L6 5H-6Z" /></Sample>
  </ul>
);
