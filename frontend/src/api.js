// Requests to the gateway that served the page.

/** A refused or unanswered request; `problem` is the gateway's document, `null` if it was not reached. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem?.detail ?? 'unreachable');
    this.problem = problem;
  }
}

/** Returns the JSON of an answer below 400. Throws Refusal for any other, and after `timeoutMs` without an answer. */
export async function request(path, { method = 'GET', body, token, timeoutMs = 8000 } = {}) {
  let response;
  let document;
  try {
    response = await fetch(path, {
      method,
      cache: 'no-store',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { ...(body && { 'Content-Type': 'application/json' }), ...(token && { Authorization: `Bearer ${token}` }) },
      body: body && JSON.stringify(body),
    });
    document = await response.json().catch(() => null);
  } catch {
    throw new Refusal(null);
  }
  if (!response.ok) throw new Refusal({ status: response.status, ...document });
  return document;
}

/** Returns orders, newest first, filtered by `statuses` (all if empty) and by `text` in one of their ids. */
export function listOrders({ statuses, text, limit }) {
  const query = new URLSearchParams({ newest: 'true', limit: String(limit) });
  for (const status of statuses) query.append('status', status);
  if (text) query.set('q', text);
  return request(`orders?${query}`);
}

export const readFleet = () => request('fleet', { timeoutMs: 3000 });
export const readOrder = (id) => request(`orders/${encodeURIComponent(id)}`);
export const readEvents = (id) => request(`orders/${encodeURIComponent(id)}/events`);
export const cancelOrder = (id) => request(`orders/${encodeURIComponent(id)}`, { method: 'DELETE' });
export const handOver = (token) => request('leader/handover', { method: 'POST', token, timeoutMs: 15000 });
export const submitOrder = (order) => request('orders', { method: 'POST', body: order });
