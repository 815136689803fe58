// Leadership as the stream tells it: a list of terms, newest first.
//
// A term is {holder, epoch, since, lastStepAt, vacantAt, gap}. `vacantAt` is when its end was seen, with nobody in office
// after it. `gap` is how long nobody decided before it: {seconds, exact}, `null` where nothing is known. A leader that is
// replaced because it fell silent leaves no trace of when it died; then its last step is taken, and the gap is a bound.
// Times are seconds since 1970, UTC.

/** How many terms are kept. */
export const KEPT = 50;

/** Terms after one more event `leader`. `at`: when it was received; `null` where it is replayed history. */
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

/** Terms after one more event `saga`: a step that the leader of its epoch has decided. */
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
