// Small drawn marks: their shape carries the same information as their colour.

const STAGE = { PENDING: 0, ASSIGNED: 0.25, DISPATCHED: 0.4, LOADING: 0.55, IN_TRANSIT: 0.75 };

/** Progress of an order as a filling circle; its end as a tick, dash or cross; compensation as an arrow back. */
export function StatusMark({ status }) {
  return (
    <svg class={`mark s-${status}`} viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      {status in STAGE ? <Pie part={STAGE[status]} /> : <End status={status} />}
    </svg>
  );
}

function Pie({ part }) {
  const turn = part * 2 * Math.PI;
  const [x, y] = [8 + 5 * Math.sin(turn), 8 - 5 * Math.cos(turn)];
  return (
    <>
      <circle cx="8" cy="8" r="6.2" class="ring" />
      {part > 0 && <path class="fill" d={`M8 8V3A5 5 0 ${part > 0.5 ? 1 : 0} 1 ${x} ${y}Z`} />}
    </>
  );
}

const ENDS = {
  DELIVERED: 'M4.4 8.3l2.5 2.6 4.8-5.4',
  CANCELLED: 'M4.8 8h6.4',
  FAILED: 'M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6',
  COMPENSATING: 'M10.8 10.8c1-3-.6-4.8-5.4-4.6M7.6 3.8L5.2 6.2l2.4 2.4',
};

const End = ({ status }) => (
  <>
    <circle cx="8" cy="8" r="7" class={status === 'COMPENSATING' ? 'ring' : 'fill'} />
    <path class={status === 'COMPENSATING' ? 'stroke' : 'cut'} d={ENDS[status] ?? ''} />
  </>
);

/** Bar from 0 to 1; decorates the figure beside it. */
export function Bar({ part, tone = '' }) {
  return (
    <span class={`bar ${tone}`} aria-hidden="true">
      <span style={{ width: `${Math.round(Math.min(1, Math.max(0, part)) * 100)}%` }} />
    </span>
  );
}
