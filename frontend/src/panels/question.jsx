import { useLayoutEffect, useRef, useState } from 'preact/hooks';

import * as state from '../state.js';
import { cancel, handOver, say } from '../store.js';
import { problemText, statusWords } from '../words.js';

/** Asks for confirmation before an action that cannot be undone, and shows why it was refused. */
export function Question() {
  const asked = state.question.value;
  return asked && <Dialog key={asked.kind} {...wording(asked)} />;
}

function wording(asked) {
  if (asked.kind === 'handover') {
    return {
      title: 'Hand leadership over?',
      text: `${asked.leader.holder} stops leading, and another replica takes over within a second. No delivery is interrupted.`,
      verb: 'Hand over',
      act: handOver,
    };
  }
  const { order } = asked;
  const out = order.status === 'LOADING' || order.status === 'IN_TRANSIT';
  return {
    title: `Cancel order ${order.order_id}?`,
    text: `It is ${statusWords(order.status).toLowerCase()}. ${out ? 'The drone brings the package back to the depot.' : 'The package has not left the depot.'} This cannot be undone.`,
    verb: 'Cancel order',
    keep: 'Keep order',
    tone: 'danger',
    act: () => cancel(order),
  };
}

function Dialog({ title, text, verb, keep = 'Not now', tone = 'primary', act }) {
  const dialog = useRef(null);
  const token = useRef(null);
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus?.();
  }, []);
  const done = () => (state.question.value = null);
  const confirm = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      say(await act(token.current?.value));
      done();
    } catch (error) {
      setRefusal(error.problem ?? {});
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="question-title" aria-describedby="question-text" onClose={done}>
      <form onSubmit={confirm}>
        <h2 id="question-title">{title}</h2>
        <p id="question-text">{text}</p>
        {refusal?.code === 'operator_only' && (
          <label class="token"><span>Operator’s token</span><input type="password" ref={token} autocomplete="off" required /></label>
        )}
        <p class="refusal" role="alert">{refusal && problemText(refusal.status ? refusal : null)}</p>
        <div class="dialog-actions">
          <button type="button" onClick={done} autofocus>{keep}</button>
          <button type="submit" class={tone} disabled={busy}>{busy ? 'One moment…' : verb}</button>
        </div>
      </form>
    </dialog>
  );
}
