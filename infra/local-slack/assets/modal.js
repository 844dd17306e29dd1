// Modals that the app opens.

import { draw } from './blocks.js';
import { el, find } from './dom.js';
import { complain, send } from './send.js';

/** Shows a view to the speaker. */
export function openModal(view, speaker, names) {
  const dialog = find('modal');
  const problem = el('p', { class: 'problem', role: 'alert', hidden: true, 'data-problem': true });
  const close = () => dialog.close();
  const form = el(
    'form',
    { method: 'dialog', submit: (event) => (event.preventDefault(), submitModal(view, form, speaker, names)) },
    el('header', {}, el('h2', {}, view.title.text), el('button', { type: 'button', class: 'close', 'aria-label': 'Close', click: close }, '✕')),
    el('div', { class: 'modal-body' }, draw(view.blocks, names, () => {}), problem),
    el('footer', {}, el('button', { type: 'button', class: 'action', click: close }, view.close?.text ?? 'Cancel'), view.submit ? el('button', { type: 'submit', class: 'action primary' }, view.submit.text) : null),
  );
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

async function submitModal(view, form, speaker, names) {
  const values = {};
  for (const field of form.querySelectorAll('[data-input-action]')) {
    const { inputBlock, inputAction, inputType } = field.dataset;
    const chosen = field.tagName === 'SELECT' ? { selected_option: { value: field.value } } : { value: field.value || null };
    values[inputBlock] = { ...values[inputBlock], [inputAction]: { type: inputType, ...chosen } };
  }
  const answer = await send('/control/submit', { user: speaker, view, values });
  const failed = answer.error ?? answer.delivery?.error;
  const errors = answer.answer?.response_action === 'errors' ? Object.values(answer.answer.errors).join(' ') : failed;
  if (errors) complain(form, errors);
  else if (answer.answer?.response_action === 'update') openModal({ ...view, ...answer.answer.view }, speaker, names);
  else find('modal').close();
}
