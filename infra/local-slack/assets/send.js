// Sending to the server, and showing failures.

import { find } from './dom.js';

/** Sends to the server; gives its answer, or an error in words. */
export async function send(path, body) {
  try {
    const response = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const answer = response.headers.get('content-type')?.includes('json') ? await response.json() : { ok: false, error: await response.text() };
    return answer.ok === false ? { error: answer.errors?.join('; ') || answer.error } : answer;
  } catch {
    return { error: 'The local Slack does not answer. Is the stack up?' };
  }
}

/** Shows a problem at a form, or takes it away. */
export function complain(form, problem) {
  const place = find('problem', form);
  place.textContent = problem ?? '';
  place.hidden = !problem;
}
