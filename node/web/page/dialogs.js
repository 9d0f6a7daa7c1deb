// The dialogs. Each is a <dialog>, which keeps the keyboard focus inside and closes with Escape.
import { profilePicture } from './avatars.js';
import { el, button, field, iconButton, qrCode } from './dom.js';
import { fullTime, shortTime } from './format.js';
import { LostError } from './connection.js';
import { plain } from './message.js';
import { nodeSettings } from './settings.js';
import { text } from './strings.js';

let headings = 0;

/** Opens a dialog. `fill(content, { close, run, follow, signal })` adds its content. */
export function open(title, fill) {
  const id = `dialog-${++headings}`;
  const dialog = el('dialog', { 'aria-labelledby': id });
  const close = () => dialog.close();
  dialog.append(el('header', {}, el('h2', { id }, title), iconButton('close', text.close, close)));
  const content = dialog.appendChild(el('div', { className: 'content' }));
  const status = dialog.appendChild(el('p', { className: 'problem', role: 'alert' }));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  /** Runs a request of this dialog, and shows why it failed. */
  const run = (work) => async () => {
    status.textContent = '';
    try {
      await work();
    } catch (error) {
      status.textContent = error instanceof LostError ? text.reconnecting : error.message;
    }
  };
  /** Follows events of the model as long as the dialog is open. */
  const follow = (model, name, listener) => {
    model.addEventListener(name, listener);
    dialog.addEventListener('close', () => model.removeEventListener(name, listener));
  };
  const over = new AbortController();
  dialog.addEventListener('close', () => over.abort());
  fill(content, { close, run, follow, signal: over.signal });
  dialog.showModal();
  return { close, dialog };
}

function form(run, work, ...children) {
  return el('form', { onsubmit: (event) => { event.preventDefault(); run(work)(); } }, ...children);
}

/** Asks with a button for each answer, and one for none. Resolves with the answer, or null. */
export function choose(question, answers) {
  return new Promise((resolve) => {
    let chosen = null;
    const { dialog } = open(text.sure, (content, { close }) => {
      content.append(el('p', {}, question), el('div', { className: 'buttons' },
        answers.map(([answer, label]) => button(label, () => { chosen = answer; close(); }, { className: 'danger' })),
        button(text.no, close)));
    });
    dialog.addEventListener('close', () => resolve(chosen));
  });
}

export async function ask(question) {
  return await choose(question, [[true, text.yes]]) === true;
}

/** Terms and what they are. Entries without a value are left out. */
export function list(entries) {
  return el('dl', {}, entries.filter(([, value]) => value).map(([term, value]) => el('div', {}, el('dt', {}, term), el('dd', {}, value))));
}

export async function qr(connection, value) {
  const response = await connection.fetch('/qr', { method: 'POST', body: value });
  const rows = await response.json();
  return rows.length ? qrCode(rows, text.qrOf(value)) : null;
}

export function copyable(value, label) {
  return field(label, el('textarea', { value, readOnly: true, rows: 3, className: 'copyable', onfocus: (event) => event.target.select() }));
}

const RESULTS = 50;

export function search(app) {
  const { model } = app;
  open(text.search, (content, { close, run }) => {
    const input = el('input', { type: 'search', autocomplete: 'off' });
    // Otherwise the first Escape only empties the field.
    input.onkeydown = (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      close();
    };
    const places = [...model.conversations.values()].map((conversation) => [conversation.id, model.title(conversation)]);
    const place = el('select', {}, [['', text.everywhere], ...places].map(([value, label]) => el('option', { value }, label)));
    const since = el('input', { type: 'date' });
    const results = el('ul', { className: 'results' });
    const count = el('p', { role: 'status' });
    let shown = 0;
    const list = async (filter) => {
      const { messages, more: hasMore } = await app.connection.ask('history', { ...filter, limit: RESULTS });
      shown += messages.length;
      count.textContent = text.found(shown, messages.length === RESULTS || hasMore);
      results.append(...messages.toReversed().map((message) => el('li', {}, button(
        `${model.title(model.conversation(message.conversation))} · ${message.nick} · ${shortTime(message.sent_at)}: ${plain(message)}`,
        () => { close(); app.show(message); }))));
      more.hidden = messages.length < RESULTS && !hasMore;
      more.onclick = run(() => list({ ...filter, before: messages[0].id }));
    };
    const more = button(text.olderResults, null, { hidden: true });
    const begin = (filter) => {
      shown = 0;
      results.replaceChildren();
      if (place.value) filter.conversation = place.value;
      if (since.value) filter.since = new Date(`${since.value}T00:00`).toISOString();
      return list(filter);
    };
    const find = () => begin({ search: input.value.trim() });
    content.append(form(run, find, field(text.searchFor, input), el('div', { className: 'pair' }, field(text.searchIn, place), field(text.searchSince, since)),
      el('div', { className: 'buttons' }, button(text.search, null, { type: 'submit', className: 'primary' }),
        button(text.mentions, run(() => begin({ mentions: true }))))), count, results, more);
    queueMicrotask(() => input.focus());
  });
}

export function join(app) {
  open(text.join, (content, { close, run }) => {
    const room = el('input', { required: true, autocomplete: 'off' });
    const secret = el('input', { type: 'password', autocomplete: 'off' });
    const joined = async (cmd, fields) => {
      const answer = await app.connection.ask(cmd, fields);
      await app.model.readStatus();
      close();
      app.openConversation(answer.room);
    };
    const joinIt = () => {
      const fields = { room: room.value.trim() };
      if (secret.value) fields.secret = base64(secret.value);
      return joined('join', fields);
    };
    content.append(form(run, joinIt, field(text.roomName, room), field(text.passphrase, secret),
      el('div', { className: 'buttons' },
        button(text.joinButton, null, { type: 'submit', className: 'primary' }),
        button(text.createButton, run(() => joined('create_room', { room: room.value.trim() }))))));
  });
}

function base64(value) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(value)));
}

export function add(app) {
  open(text.add, (content, { close, run }) => {
    const word = el('input', { required: true, autocomplete: 'off' });
    const find = async () => {
      const { peer } = await app.connection.ask('resolve', { target: word.value.trim() });
      close();
      app.openConversation(`@${peer}`);
    };
    content.append(form(run, find, field(text.addWord, word), button(text.addButton, null, { type: 'submit', className: 'primary' })));
  });
}

export function invite(app) {
  open(text.invite, (content, { close, run }) => {
    const shown = el('div', { className: 'code', 'aria-live': 'polite' });
    const rooms = [...app.model.rooms.keys()];
    const room = el('select', {}, [['', text.noRoom], ...rooms.map((name) => [name, name])].map(([value, label]) => el('option', { value }, label)));
    const share = el('input', { type: 'checkbox' });
    const hasRelay = app.model.status.relays.length > 0;
    const create = async () => {
      const fields = { ...(room.value ? { room: room.value } : {}), ...(share.checked ? { share_relay: true } : {}) };
      const { code, number, relay_token: token } = await app.connection.ask('invite', fields);
      shown.replaceChildren(el('p', {}, text.inviteNote), el('p', { className: 'big' }, code), await qr(app.connection, code) ?? '',
        text.relayToken[token] ? el('p', { className: 'note' }, text.relayToken[token]) : '');
      const { end, peer } = await app.connection.ask('invitation-end', { number });
      const words = text.inviteEnd[end];
      shown.replaceChildren(el('p', {}, typeof words === 'function' ? words(peer.name) : words));
    };
    const code = el('input', { required: true, autocomplete: 'off' });
    const accept = async () => {
      const { peer, needs_token: relay } = await app.connection.ask('accept-invite', { code: code.value.trim() });
      close();
      if (relay) app.say(text.needsToken(relay, peer.name));
      app.openConversation(`@${peer.peer}`);
    };
    content.append(field(text.inviteRoom, room), hasRelay ? el('label', { className: 'check' }, share, ' ', text.shareRelay) : '',
      button(text.inviteStart, run(create), { className: 'primary' }), shown,
      el('h3', {}, text.inviteAccept),
      form(run, accept, field(text.inviteCode, code), button(text.accept, null, { type: 'submit' })));
  });
}

export function settings(app) {
  open(text.settings, (content, { run }) => {
    const { model, preferences } = app;
    const nick = el('input', { value: model.nick, required: true, maxLength: 64 });
    const rename = async () => {
      await app.connection.ask('nick', { nick: nick.value.trim() });
      await model.readStatus();
    };
    const choose = el('input', { type: 'file', accept: 'image/png,image/jpeg,image/gif,image/webp' });
    const setPicture = async (fields) => {
      await app.connection.ask('set-picture', fields);
      await model.readStatus();
      choose.value = '';
    };
    choose.onchange = run(async () => setPicture({ bytes: await profilePicture(choose.files[0]) }));
    const status = el('input', { maxLength: 200 });
    const away = (fields) => run(() => app.connection.ask('away', fields()));
    const theme = el('select', { onchange: () => preferences.set('theme', theme.value) },
      text.themes.map(([value, label]) => el('option', { value, selected: preferences.theme === value }, label)));
    const check = (name, label) => el('label', { className: 'check' },
      el('input', { type: 'checkbox', checked: preferences[name], onchange: (event) => preferences.set(name, event.target.checked) }), ' ', label);
    const news = el('ul', {}, el('li', {}, text.noNotices));
    content.append(
      form(run, rename, field(text.nick, nick), button(text.save, null, { type: 'submit', className: 'primary' })),
      field(text.picture, choose),
      el('div', { className: 'buttons' }, button(text.removePicture, run(() => setPicture({})))),
      field(text.awayText, status),
      el('div', { className: 'buttons' }, button(text.awayButton, away(() => ({ text: status.value.trim() }))), button(text.backButton, away(() => ({ back: true })))),
      field(text.theme, theme), check('notify', text.notify), check('pictures', text.pictures),
      copyable(model.me, text.myId), copyable(model.status.ticket, text.myTicket));
    const picture = content.appendChild(el('div'));
    if (model.rights.includes('manage')) content.append(nodeSettings(app, run));
    content.append(rules(app, run));
    content.append(el('h3', {}, text.notices), news, button(text.logOut, () => app.logOut()));
    run(async () => picture.replaceChildren(await qr(app.connection, model.status.ticket) ?? ''))();
    run(async () => {
      const words = await Promise.all(model.notices.map((notice) => app.words(notice)));
      if (words.length) news.replaceChildren(...words.map((line) => el('li', {}, line)));
    })();
  });
}

/** The conversations with a rule about alerts. */
function rules(app, run) {
  const { model } = app;
  const list = el('ul', { className: 'lines' });
  const words = new Map(text.notifyRules);
  const draw = () => list.replaceChildren(...[...model.rules].map(([id, rule]) => el('li', {},
    `${model.title(model.conversation(id))}: ${words.get(rule) ?? rule} `,
    button(text.noRule, run(async () => { await model.setRule(id, null); draw(); list.querySelector('button')?.focus(); }), { 'aria-label': text.noRuleOf(model.title(model.conversation(id))) }))));
  draw();
  return el('div', { className: 'group' }, el('h3', {}, text.rules), el('p', { className: 'note' }, text.rulesNote), list);
}

/** What is known of a message. */
export function info(app, message) {
  const { model } = app;
  open(text.info, (content, { run }) => {
    const names = (peers) => peers.map((peer) => model.name(peer)).join(', ');
    const own = message.from === model.me;
    const state = message.state && (message.reason ? `${text.state[message.state]}: ${message.reason}` : text.state[message.state]);
    content.append(list([
      [text.author, own ? text.you : message.nick], [text.sentAt, fullTime(message.sent_at)], [text.receivedAt, fullTime(message.received_at)],
      [text.stateName, own && state], [text.readBy, own && names(model.readers(message))],
      [text.confirmedBy, message.confirmed !== undefined && String(message.confirmed)],
      [text.earlier, message.edited?.earlier.length && el('ul', {}, message.edited.earlier.map((words) => el('li', { className: 'text' }, words)))],
      [text.reactionsOf, (message.reactions ?? []).map(({ emoji, by }) => text.reacted(emoji, names(by.map(({ peer }) => peer)))).join('; ')],
      [text.messageId, message.id],
    ]));
    if (message.text !== undefined && !message.erased) {
      const copied = el('span', { role: 'status' });
      content.append(el('div', { className: 'buttons' }, button(text.copy, run(async () => {
        await navigator.clipboard.writeText(message.text);
        copied.textContent = text.copied;
      })), copied));
    }
  });
}

/** What the keys do. */
export function keys() {
  open(text.keys, (content) => content.append(list(text.keyList)));
}

/** `doctor`, or `why` for a peer. */
export function doctor(app, target) {
  open(target ? text.why : text.doctor, (content, { run }) => {
    const lines = el('ul', { className: 'lines' }, el('li', {}, text.doctorRuns));
    content.append(el('div', { role: 'status' }, lines));
    run(async () => {
      const answer = target ? await app.connection.ask('why', { target }) : await app.connection.ask('doctor');
      const response = await app.connection.fetch('/words/diagnosis', { method: 'POST', body: JSON.stringify(answer) });
      lines.replaceChildren(...(await response.json()).map((line) => el('li', {}, line)));
    })();
  });
}
