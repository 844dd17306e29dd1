// The Markdown of `markdown` blocks, drawn: what agents write, not all of CommonMark.

import { el, link } from './dom.js';
import { glyph } from './mrkdwn.js';

/** Draws a text of several blocks. */
export function markdown(text) {
  const lines = text.replaceAll('\r\n', '\n').split('\n');
  const nodes = [];
  for (let at = 0; at < lines.length; ) {
    const rule = RULES.find(([test]) => test(lines, at));
    const [node, next] = rule[1](lines, at);
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

const ITEM = /^(\s*)([-*+]|\d+[.)]) +(.*)$/;
const FENCE = /^\s*(```+|~~~+)(.*)$/;
const isBreak = (line) => line.trim() === '' || FENCE.test(line) || /^(#{1,6} |>|\s*([-*+]|\d+[.)]) )/.test(line);

const RULES = [
  [(lines, at) => lines[at].trim() === '', (_, at) => [null, at + 1]],
  [(lines, at) => FENCE.test(lines[at]), fence],
  [(lines, at) => /^#{1,6} /.test(lines[at]), heading],
  [(lines, at) => /^\s*([-*_])( *\1){2,}\s*$/.test(lines[at]), (_, at) => [el('hr'), at + 1]],
  [(lines, at) => lines[at].startsWith('>'), quote],
  [(lines, at) => ITEM.test(lines[at]), list],
  [(lines, at) => isTable(lines, at), table],
  [() => true, paragraph],
];

/** The end of the run of lines that pass, from `at`. */
function runEnd(lines, at, passes) {
  let end = at;
  while (end < lines.length && passes(lines[end])) end += 1;
  return end;
}

function fence(lines, at) {
  const mark = lines[at].match(FENCE)[1];
  const end = runEnd(lines, at + 1, (line) => !line.trim().startsWith(mark));
  return [el('pre', {}, el('code', {}, lines.slice(at + 1, end).join('\n'))), end + 1];
}

function heading(lines, at) {
  const [, marks, text] = lines[at].match(/^(#{1,6}) +(.*?)[ #]*$/) ?? [null, '#', lines[at]];
  return [el(`h${Math.min(marks.length + 2, 6)}`, {}, inline(text)), at + 1];
}

function quote(lines, at) {
  const end = runEnd(lines, at, (line) => line.startsWith('>'));
  const inner = lines.slice(at, end).map((line) => line.replace(/^> ?/, '')).join('\n');
  return [el('blockquote', {}, markdown(inner)), end];
}

function list(lines, at) {
  const end = runEnd(lines, at, (line) => ITEM.test(line) || /^\s{2,}\S/.test(line));
  const indent = lines[at].match(ITEM)[1].length;
  const items = [];
  for (const line of lines.slice(at, end)) {
    const item = line.match(ITEM);
    if (item && item[1].length <= indent + 1) items.push([item[3]]);
    else items.at(-1).push(line.slice(Math.min(indent + 2, line.search(/\S|$/))));
  }
  const ordered = /\d/.test(lines[at].match(ITEM)[2]);
  const draw = ([first, ...rest]) => el('li', {}, task(first), rest.length ? markdown(rest.join('\n')) : []);
  return [el(ordered ? 'ol' : 'ul', {}, items.map(draw)), end];
}

function task(text) {
  const box = text.match(/^\[([ xX])\] (.*)$/);
  return box ? [box[1] === ' ' ? '☐ ' : '☑ ', ...inline(box[2])] : inline(text);
}

const cells = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
const isTable = (lines, at) => lines[at].includes('|') && /^[\s|:-]*-[\s|:-]*$/.test(lines[at + 1] ?? '');

function table(lines, at) {
  const end = runEnd(lines, at + 2, (line) => line.includes('|'));
  const row = (line, cell) => el('tr', {}, cells(line).map((text) => el(cell, {}, inline(text))));
  const body = lines.slice(at + 2, end).map((line) => row(line, 'td'));
  return [el('table', {}, el('thead', {}, row(lines[at], 'th')), el('tbody', {}, body)), end];
}

function paragraph(lines, at) {
  const end = Math.max(at + 1, runEnd(lines, at, (line) => !isBreak(line)));
  const content = lines.slice(at, end).flatMap((line, index) => (index ? [el('br'), ...inline(line)] : inline(line)));
  return [el('p', {}, content), end];
}

const INLINE = new RegExp(
  [
    /(`+)(.+?)\1(?!`)/, // code
    /!?\[([^\]\n]*)\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)/, // link, image
    /\*\*(?=\S)(.+?\S|\S)\*\*|__(?=\S)(.+?\S|\S)__/, // bold
    /\*(?=\S)([^*\n]*?[^\s*])\*|(?<!\w)_(?=\S)([^_\n]*?[^\s_])_(?!\w)/, // italic
    /~~(?=\S)(.+?)~~/, // strike
    /(https?:\/\/[^\s<>()]+[^\s<>().,:;!?])/, // bare link
    /:([a-z0-9_+-]+):/, // emoji
    /\\([!-/:-@[-`{-~])/, // escaped
  ]
    .map((part) => part.source)
    .join('|'),
  'g',
);

function inline(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(at, match.index), span(match));
    at = match.index + match[0].length;
  }
  return [...nodes, text.slice(at)].filter((node) => node !== '');
}

function span(match) {
  const [whole, , code, label, address, bold1, bold2, italic1, italic2, strike, bare, short, escaped] = match;
  if (code !== undefined) return el('code', {}, code.trim());
  if (address !== undefined) return link(address, inline(label || address));
  if (bold1 ?? bold2) return el('strong', {}, inline(bold1 ?? bold2));
  if (italic1 ?? italic2) return el('em', {}, inline(italic1 ?? italic2));
  if (strike !== undefined) return el('s', {}, inline(strike));
  if (bare !== undefined) return link(bare);
  if (short !== undefined) return glyph(short) ?? whole;
  return escaped;
}
