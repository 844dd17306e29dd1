// Slack's mrkdwn, drawn. https://docs.slack.dev/messaging/formatting-message-text

import { el, link } from './dom.js';
import { emoji } from './emoji.js';

const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>' };

/** Slack escapes exactly these three. */
export const unescape = (text) => text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]);

/** Draws a text; `names` turns ids into names. */
export function mrkdwn(text, names) {
  return splitFences(text).flatMap(({ code, text }) => (code ? [fence(text)] : paragraphs(text, names)));
}

/** A plain text, in which Slack only draws emoji. */
export const plain = (text) => withEmoji(unescape(text));

export function fence(text) {
  return el('pre', {}, el('code', {}, unescape(text.replace(/^\n/, '').replace(/\n$/, ''))));
}

function splitFences(text) {
  const parts = text.split('```');
  // A fence that never closes is text.
  const closed = parts.length % 2 === 0 ? [...parts.slice(0, -2), parts.slice(-2).join('```')] : parts;
  return closed
    .map((part, index) => ({ code: index % 2 === 1, text: part }))
    .filter((part) => part.code || part.text !== '');
}

const KINDS = [
  ['quote', /^(?:&gt;|>) ?(.*)$/],
  ['bullet', /^\s*[•◦▪] (.*)$/],
];

function paragraphs(text, names) {
  const groups = [];
  for (const line of text.replace(/^\n/, '').replace(/\n$/, '').split('\n')) {
    const [kind, pattern] = KINDS.find(([, pattern]) => pattern.test(line)) ?? ['text'];
    const content = pattern ? line.match(pattern)[1] : line;
    if (groups.at(-1)?.kind === kind) groups.at(-1).lines.push(content);
    else groups.push({ kind, lines: [content] });
  }
  return groups.map(({ kind, lines }) => DRAW[kind](lines, names));
}

const DRAW = {
  text: (lines, names) => el('div', { class: 'text' }, joined(lines, names)),
  quote: (lines, names) => el('blockquote', {}, joined(lines, names)),
  bullet: (lines, names) => el('ul', {}, lines.map((line) => el('li', {}, inline(line, names)))),
};

function joined(lines, names) {
  return lines.flatMap((line, index) => (index ? [el('br'), ...inline(line, names)] : inline(line, names)));
}

const before = '(?<![\\p{L}\\p{N}])';
const after = '(?![\\p{L}\\p{N}])';
const marked = (mark) => `${before}[${mark}](?=\\S)([^${mark}\\n]*?[^\\s${mark}])[${mark}]${after}`;
const INLINE = new RegExp(
  ['`([^`\\n]+)`', '<([^<>\\n]+)>', marked('*'), marked('_'), marked('~'), ':([a-z0-9_+-]+):'].join('|'),
  'gu',
);

/** Draws what may stand within a line. */
export function inline(text, names) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(unescape(text.slice(at, match.index)), span(match, names));
    at = match.index + match[0].length;
  }
  nodes.push(unescape(text.slice(at)));
  return nodes.filter((node) => node !== '');
}

function span([whole, code, angle, bold, italic, strike, short], names) {
  if (code !== undefined) return el('code', {}, unescape(code));
  if (angle !== undefined) return reference(angle, names);
  if (bold !== undefined) return el('strong', {}, inline(bold, names));
  if (italic !== undefined) return el('em', {}, inline(italic, names));
  if (strike !== undefined) return el('s', {}, inline(strike, names));
  return glyph(short) ?? whole;
}

/** What stands between angle brackets: a person, a channel, everyone, a date, a link. */
function reference(content, names) {
  const bar = content.indexOf('|');
  const target = bar < 0 ? content : content.slice(0, bar);
  const label = bar < 0 ? undefined : unescape(content.slice(bar + 1));
  if (target.startsWith('@')) return mention(`@${names.user(target.slice(1)) ?? label ?? target.slice(1)}`);
  if (target.startsWith('#')) return mention(`#${names.channel(target.slice(1)) ?? label ?? target.slice(1)}`);
  if (target.startsWith('!date')) return el('span', {}, label ?? target);
  if (target.startsWith('!')) return mention(`@${target.slice(1)}`);
  return label ? link(unescape(target), label) : link(unescape(target));
}

const mention = (text) => el('span', { class: 'mention' }, text);

function withEmoji(text) {
  return text.split(/(:[a-z0-9_+-]+:)/).map((part) => {
    const short = part.match(/^:([a-z0-9_+-]+):$/);
    return (short && glyph(short[1])) || part;
  });
}

/** A drawn emoji, or nothing if the name is unknown. */
export function glyph(name) {
  const char = emoji(name);
  return char && el('span', { class: 'emoji', role: 'img', 'aria-label': name.replaceAll('_', ' '), title: `:${name}:` }, char);
}
