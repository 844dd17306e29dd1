// Building the page's nodes. Texts only ever become text nodes, so nothing a message says is HTML.

/** The node with a `data-` attribute. */
export const find = (name, root = document) => root.querySelector(`[data-${name}]`);

/** Makes an element: its attributes (functions are listeners), then its children. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') node.addEventListener(key, value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** A link that leaves the page; anything but the web and mail stays plain text. */
export function link(address, ...children) {
  const content = children.flat().length ? children : [address];
  if (!/^(https?:|mailto:)/i.test(address)) return el('span', {}, ...content);
  return el('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, ...content);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', month: 'long', day: 'numeric' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

const dateOf = (ts) => new Date(Number(ts) * 1000);

export const clock = (ts) => CLOCK.format(dateOf(ts));
export const full = (ts) => FULL.format(dateOf(ts));

/** The day of a message, as the divider above it names it. */
export function day(ts) {
  const date = dateOf(ts);
  return date.toDateString() === new Date().toDateString() ? 'Today' : DAY.format(date);
}

/** A stable colour for an id. */
export function colour(id) {
  let hash = 7;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return `hue-${Math.floor(hash / 45)}`;
}
