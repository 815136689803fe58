// History of leaders from the event stream: a list of terms, newest first.
//
// A term is {holder, epoch, since, lastStepAt, vacantAt, gap}. `vacantAt` is when its end was seen without a
// successor. `gap` is the time without a leader before it: {seconds, exact}, `null` if unknown. A leader that is replaced
// because it fell silent leaves no trace of when it died; then the gap counts from its last step and is an upper bound.
// Times are seconds since 1970, UTC.

/** Number of terms kept. */
export const KEPT = 50;

/** Returns the terms after another event `leader`, received at `at` (`null` for replayed history). */
export function foldLeader(terms, event, at) {
  const [latest, ...older] = terms;
  if (!event.holder) {
    if (!latest || latest.vacantAt !== undefined) return terms;
    return [{ ...latest, vacantAt: at }, ...older];
  }
  if (latest && latest.epoch >= event.epoch) return terms;
  const term = { holder: event.holder, epoch: event.epoch, since: event.since, gap: gap(latest, event.since) };
  return [term, ...terms].slice(0, KEPT);
}

/** Returns the terms after another event `saga`: a step decided by the leader of its epoch. */
export function foldStep(terms, event) {
  const [latest, ...older] = terms;
  if (!latest || latest.epoch !== event.epoch || latest.lastStepAt >= event.at) return terms;
  return [{ ...latest, lastStepAt: event.at }, ...older];
}

function gap(latest, since) {
  if (!latest) return null;
  if (typeof latest.vacantAt === 'number') return { seconds: Math.max(0, since - latest.vacantAt), exact: true };
  return { seconds: Math.max(0, since - (latest.lastStepAt ?? latest.since)), exact: false };
}
