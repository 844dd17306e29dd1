// Block Kit, drawn. https://docs.slack.dev/reference/block-kit/blocks

import { el, link } from './dom.js';
import { markdown } from './markdown.js';
import { glyph, mrkdwn, plain } from './mrkdwn.js';

/** Draws blocks. `names` turns ids into names; `press` is called with a block and the element pressed. */
export function draw(blocks, names, press) {
  return blocks.map((block) => {
    const render = BLOCKS[block.type] ?? unknown;
    const content = [render(block, { names, press: (element) => press(block, element) })].flat();
    return el('div', { class: `block ${block.type}`, 'data-block-id': block.block_id, 'data-block-type': block.type }, content);
  });
}

const BLOCKS = {
  actions: (block, kit) => (block.elements ?? []).map((element) => actor(element, kit)),
  context: (block, kit) => (block.elements ?? []).map((element) => el('span', { class: 'context-item' }, piece(element, kit))),
  divider: () => el('hr'),
  header: (block) => el('h3', {}, plain(block.text?.text ?? '')),
  image: (block) => picture(block),
  input: (block, kit) => input(block, kit),
  markdown: (block) => markdown(block.text ?? ''),
  rich_text: (block, kit) => (block.elements ?? []).map((element) => rich(element, kit)),
  section: (block, kit) => section(block, kit),
  table: (block, kit) => table(block, kit),
};

const unknown = (block) => el('span', { class: 'unknown' }, `[${block.type}]`);

/** A text object. */
export function text(object, names) {
  if (!object) return [];
  return object.type === 'mrkdwn' ? mrkdwn(object.text, names) : el('div', { class: 'text' }, plain(object.text));
}

function piece(element, kit) {
  return element.type === 'image' ? picture(element, 'small') : text(element, kit.names);
}

/** Pictures are not loaded: the page talks to this machine only. */
function picture(image, size = 'large') {
  const address = image.image_url ?? '';
  return el('span', { class: `picture ${size}`, title: address }, size === 'large' ? `🖼 ${image.alt_text ?? ''}` : '▪');
}

function section(block, kit) {
  const fields = (block.fields ?? []).map((field) => el('div', { class: 'field' }, text(field, kit.names)));
  return [
    el('div', { class: 'section-body' }, text(block.text, kit.names), fields.length ? el('div', { class: 'fields' }, fields) : []),
    block.accessory ? el('div', { class: 'accessory' }, actor(block.accessory, kit)) : [],
  ].flat();
}

/** Something to press or choose from. */
function actor(element, kit) {
  if (element.type === 'button') return button(element, kit);
  if (element.type === 'image') return picture(element);
  return el('button', { type: 'button', disabled: true, title: 'Not offered by the local Slack' }, `${element.placeholder?.text ?? element.type} ▾`);
}

function button(element, kit) {
  const attributes = {
    type: 'button',
    class: `action ${element.style ?? ''}`,
    'data-action-id': element.action_id,
    'data-value': element.value,
    'aria-label': element.accessibility_label,
    click: () => confirmed(element.confirm) && kit.press(element),
  };
  if (!element.url) return el('button', attributes, plain(element.text.text));
  const anchor = link(element.url, plain(element.text.text));
  anchor.className = attributes.class;
  return anchor;
}

const confirmed = (dialog) => !dialog || window.confirm(`${dialog.title?.text ?? ''}\n\n${dialog.text?.text ?? ''}`);

function input(block, kit) {
  const element = block.element ?? {};
  const id = `${block.block_id}-${element.action_id}`;
  const common = { id, 'data-input-block': block.block_id, 'data-input-action': element.action_id, 'data-input-type': element.type };
  return [el('label', { for: id }, plain(block.label?.text ?? '')), control(element, common), hint(block, kit)].flat();
}

function control(element, common) {
  if (element.options) {
    const options = element.options.map((option) => el('option', { value: option.value, selected: option.value === element.initial_option?.value }, option.text.text));
    return el('select', common, options);
  }
  const field = el(element.multiline ? 'textarea' : 'input', { ...common, placeholder: element.placeholder?.text });
  field.value = element.initial_value ?? '';
  return field;
}

const hint = (block) => (block.hint ? el('small', {}, block.hint.text) : []);

function table(block, kit) {
  const cell = (content, name) => el(name, {}, content.type === 'rich_text' ? BLOCKS.rich_text(content, kit) : plain(content.text ?? ''));
  const rows = (block.rows ?? []).map((row, index) => el('tr', {}, row.map((content) => cell(content, index ? 'td' : 'th'))));
  return el('table', {}, el('tbody', {}, rows));
}

const RICH = {
  rich_text_section: (element, kit) => el('div', { class: 'text' }, runs(element, kit)),
  rich_text_preformatted: (element, kit) => el('pre', {}, el('code', {}, runs(element, kit))),
  rich_text_quote: (element, kit) => el('blockquote', {}, runs(element, kit)),
  rich_text_list: (element, kit) =>
    el(element.style === 'ordered' ? 'ol' : 'ul', { class: `indent-${element.indent ?? 0}` }, element.elements.map((item) => el('li', {}, runs(item, kit)))),
};

const rich = (element, kit) => (RICH[element.type] ?? unknown)(element, kit);
const runs = (element, kit) => (element.elements ?? []).flatMap((run) => styled(run, kit));

const RUNS = {
  text: (run) => lines(run.text ?? ''),
  link: (run) => [link(run.url ?? '', run.text ?? run.url ?? '')],
  emoji: (run) => [glyph(run.name) ?? `:${run.name}:`],
  user: (run, kit) => [el('span', { class: 'mention' }, `@${kit.names.user(run.user_id) ?? run.user_id}`)],
  channel: (run, kit) => [el('span', { class: 'mention' }, `#${kit.names.channel(run.channel_id) ?? run.channel_id}`)],
};

const lines = (text) => text.split('\n').flatMap((line, index) => (index ? [el('br'), line] : [line]));
const STYLES = { bold: 'strong', italic: 'em', strike: 's', code: 'code' };

function styled(run, kit) {
  const content = (RUNS[run.type] ?? (() => [`[${run.type}]`]))(run, kit);
  return Object.entries(STYLES).reduce((inner, [style, tag]) => (run.style?.[style] ? [el(tag, {}, inner)] : inner), content);
}
