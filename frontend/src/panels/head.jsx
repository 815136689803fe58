import { signal } from '@preact/signals';

import * as state from '../state.js';
import { ageText, spanText } from '../words.js';

const THEMES = ['auto', 'light', 'dark'];
const theme = signal(document.documentElement.dataset.theme ?? 'auto');

export function Head() {
  const body = state.fleet.value;
  return (
    <header class="head">
      <img src="static/icon.svg" width="26" height="26" alt="" />
      <h1>Drone orchestrator <span class="region">{body?.region ?? ''}</span></h1>
      <Leader leader={body?.leader} />
      <Freshness />
      <div class="head-tools">
        <button type="button" class="primary" onClick={draft}>New order</button>
        <button type="button" onClick={turnTheme} aria-label={`Theme: ${theme.value}. Change it.`}>
          <ThemeMark />
          <span class="theme-name">{theme.value}</span>
        </button>
      </div>
    </header>
  );
}

function Leader({ leader }) {
  if (!state.fleet.value) return <p class="leader-now" />;
  if (!leader) return <p class="leader-now none">No leader</p>;
  return <p class="leader-now">Led by <b>{leader.holder}</b></p>;
}

/** Shows the age of the data, prominently when it is stale. The Announcer does it for screen readers. */
function Freshness() {
  const age = state.ageS.value;
  const stale = state.isStale.value || (age === null && state.trouble.value);
  return (
    <p class={`freshness ${stale ? 'stale' : age === null ? 'waiting' : 'live'}`} data-testid="freshness">
      {stale ? staleWords(age) : age === null ? 'Connecting…' : <><span class="dot" aria-hidden="true" />Live</>}
    </p>
  );
}

function staleWords(age) {
  const shown = age === null ? 'Nothing to show yet' : `Stale: data from ${ageText(age)} ago`;
  return `${shown}. ${culprit()}${retryWords()}`;
}

export function culprit() {
  const trouble = state.trouble.value;
  if (trouble?.detail) return `The gateway says: ${trouble.detail}`;
  if (trouble || state.stream.value.open === false) return 'The gateway cannot be reached.';
  if ((state.fleet.value?.stale_s ?? 0) > state.STALE_S) return 'The gateway cannot reach the store.';
  return 'The gateway sends no data.';
}

function retryWords() {
  const { open, retryAtMs } = state.stream.value;
  if (open !== false || retryAtMs === null) return '';
  const left = Math.ceil((retryAtMs - state.nowMs.value) / 1000);
  return left > 0 ? ` Next try in ${spanText(left).replace('.0', '')}.` : ' Trying again…';
}

function draft() {
  state.draftPoint.value = null;
  state.drafting.value = true;
}

function turnTheme() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
  theme.value = next;
  if (next === 'auto') {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem('theme');
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem('theme', next);
  }
}

const ThemeMark = () => (
  <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
    <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6" />
    <path d="M8 2a6 6 0 0 1 0 12Z" fill="currentColor" />
  </svg>
);
