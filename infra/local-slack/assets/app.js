// The page: keeps the workspace's state, draws it, and sends what a person types and presses.

import { draw } from './blocks.js';
import { clock, colour, day, el, find, full } from './dom.js';
import { openModal } from './modal.js';
import { mrkdwn } from './mrkdwn.js';
import { complain, send } from './send.js';

const state = {
  team: {},
  bot: {},
  channels: [],
  users: [],
  /** Messages by channel and ts. */
  messages: new Map(),
  channel: new URLSearchParams(location.search).get('channel'),
  speaker: sessionStorage.getItem('speaker'),
  thread: null,
  unread: new Set(),
  connected: false,
};

const names = {
  user: (id) => (id === state.bot.user_id ? state.bot.name : state.users.find((user) => user.id === id)?.real_name),
  channel: (id) => state.channels.find((channel) => channel.id === id)?.name,
};

// --- Events from the server -----------------------------------------------------------------

const APPLY = {
  snapshot({ team, bot, channels, users, messages }) {
    Object.assign(state, { team, bot, channels, users });
    state.messages = new Map(Object.entries(messages).map(([id, list]) => [id, new Map(list.map((message) => [message.ts, message]))]));
    drawn.clear();
  },
  workspace({ channels, users }) {
    Object.assign(state, channels && { channels }, users && { users });
  },
  message({ channel, message }) {
    const timeline = state.messages.get(channel) ?? new Map();
    if (!timeline.has(message.ts) && channel !== state.channel) state.unread.add(channel);
    state.messages.set(channel, timeline.set(message.ts, message));
  },
  deleted({ channel, ts }) {
    state.messages.get(channel)?.delete(ts);
    drawn.delete(`true ${ts}`);
    drawn.delete(`false ${ts}`);
  },
  view({ user, view }) {
    if (user === state.speaker) openModal(view, state.speaker, names);
  },
};

function connect() {
  // The browser reconnects by itself; every connection begins with a snapshot.
  const live = new EventSource('/live');
  live.onopen = () => connected(true);
  live.onerror = () => connected(false);
  live.onmessage = ({ data }) => {
    const change = JSON.parse(data);
    APPLY[change.type]?.(change);
    if (change.type === 'snapshot') begin();
    redraw();
  };
}

function connected(is) {
  state.connected = is;
  find('connection').textContent = is ? 'Connected' : 'Connection lost; trying again…';
  document.getElementById('app').dataset.connected = String(is);
}

function begin() {
  if (!names.channel(state.channel)) state.channel = state.channels[0]?.id ?? null;
  if (!state.users.some((user) => user.id === state.speaker)) state.speaker = state.users[0]?.id ?? null;
}

// --- Drawing --------------------------------------------------------------------------------

/** Messages that a list shows. */
const MOST = 400;

let scheduled = false;

/** Many changes, one drawing a frame. */
function redraw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    drawSidebar();
    drawChannel();
    drawThread();
  });
}

function drawSidebar() {
  find('workspace').textContent = state.team.name ?? '';
  const item = (channel) =>
    el(
      'li',
      {},
      el(
        'button',
        {
          type: 'button',
          'data-channel-id': channel.id,
          'aria-current': channel.id === state.channel && 'page',
          class: state.unread.has(channel.id) ? 'unread' : '',
          click: () => openChannel(channel.id),
        },
        el('span', { 'aria-hidden': 'true' }, '#'),
        channel.name,
      ),
    );
  find('channels').replaceChildren(...state.channels.map(item));
  find('apps').replaceChildren(el('li', {}, avatar(state.bot.user_id ?? '', true), state.bot.name ?? ''));
  drawSpeaker();
}

function drawSpeaker() {
  const select = find('speaker');
  const wanted = JSON.stringify(state.users);
  if (select.dataset.speaker !== wanted) {
    select.dataset.speaker = wanted;
    select.replaceChildren(...state.users.map((user) => el('option', { value: user.id }, user.real_name)));
  }
  select.value = state.speaker ?? '';
}

const timeline = () => [...(state.messages.get(state.channel)?.values() ?? [])].sort((a, b) => (a.ts < b.ts ? -1 : 1));
const visible = (message) => !message.only_for || message.only_for === state.speaker;

function drawChannel() {
  const channel = state.channels.find((one) => one.id === state.channel);
  find('channel-name').textContent = channel ? `# ${channel.name}` : '';
  find('channel-topic').textContent = channel?.topic ?? '';
  const box = find('box', find('composer'));
  box.placeholder = channel ? `Message #${channel.name}, try /bm run fix the login bug` : '';
  const top = timeline().filter((message) => !message.thread_ts || message.thread_ts === message.ts);
  fill(find('messages'), top.filter(visible).slice(-MOST), true);
}

function drawThread() {
  const panel = find('thread-panel');
  const first = state.thread && state.messages.get(state.channel)?.get(state.thread);
  panel.hidden = !first;
  if (!first) return;
  panel.dataset.threadTs = state.thread;
  find('thread-channel').textContent = `# ${names.channel(state.channel)}`;
  const replies = timeline().filter((message) => message.thread_ts === state.thread && message.ts !== state.thread);
  fill(find('thread-messages'), [first, ...replies.filter(visible)], false);
}

/** Nodes that are still right, by list and ts: an unchanged message keeps its node, so nothing flickers. */
const drawn = new Map();

function fill(list, messages, inChannel) {
  const nodes = [];
  let previous = null;
  for (const message of messages) {
    if (inChannel && (!previous || day(previous.ts) !== day(message.ts))) nodes.push(divider(day(message.ts)));
    nodes.push(node(list, message, previous, inChannel));
    if (!inChannel && message.ts === state.thread && messages.length > 1) nodes.push(divider(count(messages.length - 1, 'reply', 'replies')));
    previous = message;
  }
  if (!messages.length) nodes.push(welcome());
  patch(list, nodes);
  stayAtEnd(list);
}

/** Lists in which a person has scrolled up to read; the others follow the newest message. */
const reading = new WeakSet();

function stayAtEnd(list) {
  if (!reading.has(list)) list.scrollTop = list.scrollHeight;
}

function follow(list) {
  list.addEventListener('wheel', () => noteReading(list), { passive: true });
  list.addEventListener('keyup', () => noteReading(list));
  list.addEventListener('pointerup', () => noteReading(list));
  // The list shrinks when the box grows or a problem is shown.
  new ResizeObserver(() => stayAtEnd(list)).observe(list);
}

function noteReading(list) {
  requestAnimationFrame(() => {
    const fromEnd = list.scrollHeight - list.scrollTop - list.clientHeight;
    if (fromEnd > 60) reading.add(list);
    else reading.delete(list);
  });
}

/** Puts the nodes into the list, touching only what differs. */
function patch(list, nodes) {
  nodes.forEach((wanted, index) => {
    const present = list.childNodes[index];
    if (present === wanted || (present && present.isEqualNode(wanted) && !wanted.dataset?.messageTs)) return;
    if (present && present.dataset?.messageTs && present.dataset.messageTs === wanted.dataset?.messageTs) present.replaceWith(wanted);
    else list.insertBefore(wanted, present ?? null);
  });
  while (list.childNodes.length > nodes.length) list.lastChild.remove();
}

const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
const divider = (label) => el('div', { class: 'divider-line', role: 'separator' }, el('span', {}, label));

function welcome() {
  return el(
    'div',
    { class: 'welcome' },
    el('h2', {}, `This is the beginning of #${names.channel(state.channel) ?? ''}`),
    el('p', {}, 'Type ', el('code', {}, '/bm run fix the login bug'), ' to give an agent work, or mention ', el('span', { class: 'mention' }, '@Bematic'), '.'),
  );
}

function node(list, message, previous, inChannel) {
  const follows = Boolean(previous) && previous.user === message.user && message.ts - previous.ts < 300 && !message.only_for && !previous.only_for && !previous.reply_count;
  const key = `${inChannel} ${message.ts}`;
  const basis = [message, follows, state.users, state.channels];
  const known = drawn.get(key);
  if (known && known.basis.every((one, index) => one === basis[index])) return known.node;
  const fresh = messageNode(message, follows && !message.blocks, inChannel);
  if (known) fresh.classList.add('updated');
  drawn.set(key, { basis, node: fresh });
  return fresh;
}

function author(message) {
  if (message.user === 'USLACKBOT') return { name: 'Slackbot', isApp: true };
  if (message.bot_id) return { name: state.bot.name, isApp: true };
  return { name: names.user(message.user) ?? message.user, isApp: false };
}

function messageNode(message, follows, inChannel) {
  const { name, isApp } = author(message);
  const attributes = {
    class: `message ${follows ? 'follows' : ''} ${message.only_for ? 'only-you' : ''}`,
    'data-message-ts': message.ts,
    'data-thread-ts': message.thread_ts,
    'data-user': message.user,
    'data-ephemeral': message.only_for ? 'true' : 'false',
    role: 'article',
    'aria-label': `${name}, ${clock(message.ts)}`,
  };
  return el(
    'article',
    attributes,
    follows ? el('time', { class: 'gutter', title: full(message.ts) }, clock(message.ts)) : avatar(message.user, isApp),
    el(
      'div',
      { class: 'content' },
      message.only_for ? el('p', { class: 'notice' }, '👁 Only visible to you') : null,
      follows ? null : el('p', { class: 'byline' }, el('strong', {}, name), isApp ? el('span', { class: 'badge' }, 'APP') : null, el('time', { title: full(message.ts) }, clock(message.ts))),
      body(message),
      inChannel ? threadLine(message) : null,
    ),
    inChannel && !message.only_for ? tools(message) : null,
  );
}

function body(message) {
  const press = (block, element) => pressed(message, block, element);
  const content = message.blocks?.length ? draw(message.blocks, names, press) : mrkdwn(message.text ?? '', names);
  const edited = message.edited && !message.bot_id ? el('span', { class: 'edited' }, ' (edited)') : null;
  return el('div', { class: 'body', 'data-message-body': true }, content, edited);
}

function threadLine(message) {
  if (!message.reply_count) return null;
  return el(
    'button',
    { type: 'button', class: 'replies', 'data-open-thread': message.ts, click: () => openThread(message.ts) },
    el('strong', {}, count(message.reply_count, 'reply', 'replies')),
    el('span', {}, `Last reply at ${clock(message.latest_reply)}`),
  );
}

function tools(message) {
  const open = { type: 'button', title: 'Reply in thread', 'aria-label': 'Reply in thread', 'data-reply-in-thread': message.ts, click: () => openThread(message.ts) };
  return el('div', { class: 'message-tools' }, el('button', open, '💬'));
}

function avatar(id, isApp) {
  if (id === 'USLACKBOT') return el('span', { class: 'avatar slackbot', 'aria-hidden': 'true' }, '#');
  if (isApp) return el('span', { class: 'avatar app', 'aria-hidden': 'true' }, 'B');
  const initials = (names.user(id) ?? '?').split(' ').map((word) => word[0]).slice(0, 2).join('');
  return el('span', { class: `avatar ${colour(id)}`, 'aria-hidden': 'true' }, initials);
}

// --- A person's actions ---------------------------------------------------------------------

function openChannel(id) {
  Object.assign(state, { channel: id, thread: null });
  state.unread.delete(id);
  history.replaceState(null, '', `?channel=${encodeURIComponent(id)}`);
  find('messages').replaceChildren();
  reading.delete(find('messages'));
  redraw();
  find('box', find('composer')).focus();
}

function openThread(ts) {
  state.thread = ts;
  find('thread-messages').replaceChildren();
  reading.delete(find('thread-messages'));
  redraw();
  requestAnimationFrame(() => find('box', find('thread-panel')).focus());
}

async function pressed(message, block, element) {
  const click = { channel: state.channel, user: state.speaker, message_ts: message.ts, action_id: element.action_id, block_id: block.block_id };
  const button = document.activeElement;
  button?.setAttribute('aria-busy', 'true');
  const answer = await send('/control/click', click);
  button?.removeAttribute('aria-busy');
  if (answer.error) complain(find('composer'), answer.error);
}

function composer(form) {
  const box = find('box', form);
  const button = find('send', form);
  const inThread = form.dataset.composer === 'thread';
  const past = [];
  const fit = () => {
    button.disabled = !box.value.trim();
    box.style.height = 'auto';
    box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
  };
  const submit = async () => {
    const text = box.value;
    if (!text.trim()) return;
    past.push(text);
    reading.delete(inThread ? find('thread-messages') : find('messages'));
    box.value = '';
    fit();
    complain(form, null);
    form.setAttribute('aria-busy', 'true');
    const answer = await send('/control/say', { channel: state.channel, user: state.speaker, text, ...(inThread && { thread_ts: state.thread }) });
    form.removeAttribute('aria-busy');
    const failed = answer.error ?? answer.delivery?.error;
    if (failed) complain(form, `Not delivered: ${failed}`);
  };
  form.addEventListener('submit', (event) => (event.preventDefault(), submit()));
  box.addEventListener('input', fit);
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === 'ArrowUp' && !box.value && past.length) {
      event.preventDefault();
      box.value = past.at(-1);
      fit();
    }
  });
  for (const hint of form.querySelectorAll('[data-insert]')) {
    hint.addEventListener('click', () => {
      box.value = 'now' in hint.dataset ? hint.dataset.insert : hint.dataset.insert + box.value;
      fit();
      if ('now' in hint.dataset) submit();
      box.focus();
    });
  }
}

// --- Start ----------------------------------------------------------------------------------

for (const form of document.querySelectorAll('form[data-composer]')) composer(form);
for (const list of [find('messages'), find('thread-messages')]) follow(list);
find('close-thread').addEventListener('click', () => {
  state.thread = null;
  redraw();
});
find('speaker').addEventListener('change', (event) => {
  state.speaker = event.target.value;
  sessionStorage.setItem('speaker', state.speaker);
  redraw();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && state.thread && !find('modal').open) {
    state.thread = null;
    redraw();
  }
});
connect();
