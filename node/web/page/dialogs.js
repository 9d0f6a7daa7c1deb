// The dialogs. Each is a <dialog>, which keeps the keyboard focus inside and closes with Escape.
import { profilePicture } from './avatars.js';
import { el, button, field, iconButton, qrCode } from './dom.js';
import { shortTime } from './format.js';
import { LostError } from './connection.js';
import { plain } from './message.js';
import { nodeSettings } from './settings.js';
import { text } from './strings.js';

let headings = 0;

/** Opens a dialog. `fill(dialog, close)` adds its content. */
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
  fill(content, { close, run, follow });
  dialog.showModal();
  return { close, dialog };
}

function form(run, work, ...children) {
  return el('form', { onsubmit: (event) => { event.preventDefault(); run(work)(); } }, ...children);
}

export function ask(question) {
  return new Promise((resolve) => {
    let answer = false;
    const { dialog } = open(text.sure, (content, { close }) => {
      content.append(el('p', {}, question), el('div', { className: 'buttons' },
        button(text.yes, () => { answer = true; close(); }, { className: 'danger' }),
        button(text.no, close)));
    });
    dialog.addEventListener('close', () => resolve(answer));
  });
}

async function qr(connection, value) {
  const response = await connection.fetch('/qr', { method: 'POST', body: value });
  const rows = await response.json();
  return rows.length ? qrCode(rows, text.qrOf(value)) : null;
}

function copyable(value, label) {
  return field(label, el('textarea', { value, readOnly: true, rows: 3, className: 'copyable', onfocus: (event) => event.target.select() }));
}

export function search(app) {
  open(text.search, (content, { close, run }) => {
    const input = el('input', { type: 'search', autocomplete: 'off' });
    const results = el('ul', { className: 'results' });
    const count = el('p', { role: 'status' });
    const list = async (filter) => {
      const { messages } = await app.connection.ask('history', filter);
      count.textContent = text.found(messages.length);
      results.replaceChildren(...messages.reverse().map((message) => el('li', {}, button(
        `${app.model.title(app.model.conversation(message.conversation))} · ${message.nick} · ${shortTime(message.sent_at)}: ${plain(message)}`,
        () => { close(); app.show(message); }))));
    };
    const find = () => list({ search: input.value.trim() });
    content.append(form(run, find, field(text.searchFor, input), el('div', { className: 'buttons' },
      button(text.search, null, { type: 'submit', className: 'primary' }),
      button(text.mentions, run(() => list({ mentions: true, limit: 50 }))))), count, results);
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
    const create = async () => {
      const { code, number } = await app.connection.ask('invite');
      shown.replaceChildren(el('p', {}, text.inviteNote), el('p', { className: 'big' }, code), await qr(app.connection, code) ?? '');
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
    content.append(button(text.inviteStart, run(create), { className: 'primary' }), shown,
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
    content.append(el('h3', {}, text.notices), news, button(text.logOut, () => app.logOut()));
    run(async () => picture.replaceChildren(await qr(app.connection, model.status.ticket) ?? ''))();
    run(async () => {
      const words = await Promise.all(model.notices.map((notice) => app.words(notice)));
      if (words.length) news.replaceChildren(...words.map((line) => el('li', {}, line)));
    })();
  });
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

/** Details of a conversation, and what the user can do with it. */
export function details(app, conversation) {
  const { model, connection } = app;
  open(model.title(conversation), (content, { close, run, follow }) => {
    const done = (work) => run(async () => { await work(); await model.readStatus(); close(); });
    const target = conversation.id.slice(1);
    const of = conversation.isRoom ? { room: conversation.id } : { target };
    const buttons = el('div', { className: 'stack' });
    const offer = (label, work, properties) => buttons.append(button(label, work, properties));
    const erase = (cmd, question) => async () => {
      if (!await ask(question)) return;
      await app.erase(cmd, of);
    };
    if (conversation.isRoom) {
      const room = model.rooms.get(conversation.id);
      content.append(el('p', {}, room?.open === false ? text.roomSecret : text.roomOpen));
      if (room?.fingerprint) content.append(el('p', {}, text.fingerprint(room.fingerprint)));
      const members = el('ul');
      const listMembers = () => members.replaceChildren(...(model.rooms.get(conversation.id)?.here ?? []).map((peer) => el('li', {}, model.name(peer))));
      listMembers();
      follow(model, 'lists', listMembers);
      content.append(el('h3', {}, text.members), members);
      if (room?.open === false) {
        const ticket = el('div');
        offer(text.ticket, run(async () => {
          const answer = await connection.ask('room_ticket', of);
          ticket.replaceChildren(copyable(answer.ticket, text.ticketNote), await qr(connection, answer.ticket) ?? '');
        }));
        content.append(ticket);
      }
      offer(text.part, done(async () => {
        await connection.ask('part', of);
        app.leave(conversation);
      }));
    } else {
      const peer = model.peers.get(target) ?? {};
      content.append(el('p', { className: 'path' }, target));
      const policy = (label, cmd) => offer(label, done(async () => model.peers.set(target, await connection.ask(cmd, { target }))));
      if (!peer.contact) policy(text.acceptContact, 'accept-contact');
      else policy(text.removeContact, 'remove-contact');
      policy(...(peer.ignored ? [text.unignore, 'unignore'] : [text.ignore, 'ignore']));
      policy(...(peer.blocked ? [text.unblock, 'unblock'] : [text.block, 'block']));
      offer(text.kick, done(() => connection.ask('kick', { target })));
      offer(text.why, () => doctor(app, target));
      const others = [...model.peers.values()].filter((other) => other.contact && other.peer !== target);
      if (peer.contact && others.length) {
        const other = el('select', {}, others.map((it) => el('option', { value: it.peer }, it.name)));
        const introduce = done(() => connection.ask('introduce', { target, other: other.value }));
        content.append(el('form', { onsubmit: (event) => { event.preventDefault(); introduce(); } },
          field(text.introduceTo, other), button(text.introduce, null, { type: 'submit' })));
      }
      const number = el('div', { 'aria-live': 'polite' });
      offer(text.verify, run(async () => {
        const answer = await connection.ask('verify', { target });
        const confirm = !answer.peer.verified || answer.peer.by_code === true;
        number.replaceChildren(el('p', {}, text.verifyNote), el('p', { className: 'big' }, answer.safety_number),
          button(confirm ? text.verifyYes : text.verifyNo, done(async () => {
            const { peer } = await connection.ask('verify', { target, confirm });
            model.peers.set(target, peer);
          })));
      }));
      content.append(number);
    }
    const keep = el('select', { onchange: run(() => keep.value && connection.ask('keep', keep.value === 'forever' ? of : { ...of, seconds: Number(keep.value) })) },
      text.keepTimes.map(([value, label]) => el('option', { value }, label)));
    const notify = el('select', { onchange: run(() => connection.ask('notify', notify.value ? { ...of, rule: notify.value } : of)) },
      text.notifyRules.map(([value, label]) => el('option', { value }, label)));
    run(async () => {
      const { rules } = await connection.ask('notify-rules');
      notify.value = rules.find((it) => it.conversation === conversation.id)?.rule ?? '';
    })();
    const pinned = el('ul', { className: 'results' });
    const pinnedHeading = el('h3', { hidden: true }, text.pinned);
    const listPins = run(async () => {
      const { messages } = await connection.ask('pins', { conversation: conversation.id });
      pinnedHeading.hidden = !messages.length;
      pinned.replaceChildren(...messages.map((message) => el('li', {},
        button(`${message.nick} · ${shortTime(message.sent_at)}: ${plain(message)}`, () => { close(); app.show(message); }), ' ',
        button(text.unpin, run(async () => { await connection.ask('pin', { message: message.id, off: true, wait: 'queued' }); await listPins(); })))));
    });
    listPins();
    follow(model, 'arrived', ({ detail }) => detail.message.pin && detail.conversation === conversation && listPins());
    content.append(pinnedHeading, pinned);
    if (conversation.isRoom) {
      const newest = () => model.rooms.get(conversation.id)?.topic?.text ?? '';
      let shown = newest();
      const topic = el('input', { value: shown, maxLength: 512 });
      follow(model, 'lists', () => {
        // What the user is typing stays.
        if (topic.value === shown) topic.value = newest();
        shown = newest();
      });
      const set = done(() => connection.ask('topic', { room: conversation.id, topic: topic.value.trim(), wait: 'queued' }));
      content.append(el('form', { onsubmit: (event) => { event.preventDefault(); set(); } }, field(text.topic, topic), button(text.save, null, { type: 'submit' })));
    }
    content.append(buttons, field(text.notifyAbout, notify), field(text.keep, keep));
    const name = model.title(conversation);
    offer(text.clear, done(erase('clear', text.clearSure(name))), { className: 'danger' });
    if (!conversation.isRoom) {
      offer(text.forget, done(async () => {
        await erase('forget', text.forgetSure(name))();
        app.leave(conversation);
      }), { className: 'danger' });
    }
  });
}
