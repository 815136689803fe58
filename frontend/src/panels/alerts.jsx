import { useSignalEffect } from '@preact/signals';
import { useRef, useState } from 'preact/hooks';

import { Panel, Scroll } from '../parts/panel.jsx';
import * as state from '../state.js';
import { showDrone, showOrder } from '../store.js';
import { ageText, reasonWords } from '../words.js';
import { culprit } from './head.jsx';

const SHOWN = 100;
const key = (alert) => `${alert.code} ${alert.subject}`;
/** Returns the gateway's summary as a sentence, with a code at its end in words. */
const words = (summary) => {
  const text = summary.replace(/: ([a-z]+(?:_[a-z]+)+)$/, (_, code) => `: ${reasonWords(code)}`);
  return text.charAt(0).toUpperCase() + text.slice(1);
};

export function Alerts() {
  const alerts = ordered(state.fleet.value?.alerts ?? []);
  const critical = alerts.filter((a) => a.severity === 'critical').length;
  const count = alerts.length > 0 && <span class={`count ${critical ? 'critical' : 'warning'}`}>{alerts.length}</span>;
  return (
    <Panel id="alerts" title="Alerts" aside={count}>
      <Scroll label="List of alerts">
        {alerts.length === 0
          ? <p class="quiet">{state.fleet.value ? 'Nothing needs attention.' : 'Not known yet.'}</p>
          : <ul class="alerts">{alerts.slice(0, SHOWN).map((alert) => <Alert key={key(alert)} alert={alert} />)}</ul>}
      </Scroll>
    </Panel>
  );
}

const ordered = (alerts) => [...alerts].sort((a, b) => (a.severity > b.severity) - (a.severity < b.severity) || b.since - a.since);

function Alert({ alert }) {
  const open = opener(alert);
  return (
    <li class={alert.severity}>
      <span class="severity">{alert.severity}</span>
      <span class="what">{words(alert.summary)}</span>
      <time>{ageText(state.nowMs.value / 1000 - alert.since)}</time>
      {open && <button type="button" class="link" onClick={open} aria-label={`Show ${alert.subject}`}>Show</button>}
    </li>
  );
}

function opener({ code, subject }) {
  if (code.startsWith('order_')) return () => showOrder(subject);
  if (state.fleet.value.drones.some((d) => d.drone_id === subject)) return () => showDrone(subject);
  return null;
}

/** Announces new alerts and completed actions to screen readers, and shows the latter for a while. */
export function Announcer() {
  const known = useRef(null);
  const [news, setNews] = useState('');
  useSignalEffect(() => {
    const alerts = state.fleet.value?.alerts;
    if (!alerts) return;
    const fresh = known.current && alerts.filter((alert) => !known.current.has(key(alert)));
    known.current = new Set(alerts.map(key));
    if (fresh?.length) setNews(`New alert: ${fresh.map((a) => words(a.summary)).join('. ')}`);
  });
  const notice = state.notice.value;
  return (
    <>
      <div class="unseen" aria-live="polite">{news}</div>
      <div class="unseen" role="status">{state.isStale.value ? `The data is stale. ${culprit()}` : ''}</div>
      <div class="notices" aria-live="polite">{notice && <p key={notice.id} class={`notice ${notice.tone}`}>{notice.text}</p>}</div>
    </>
  );
}
