// The page: the lists, the open conversation, the message field, and the keyboard.
import { Avatars } from './avatars.js';
import { Connection, LostError } from './connection.js';
import { Model, ignoreLost } from './model.js';
import { Outbox } from './outbox.js';
import { VirtualList } from './list.js';
import { el, button, iconButton, field } from './dom.js';
import { finishRow, messageRow, plain } from './message.js';
import { size } from './format.js';
import { details } from './details.js';
import * as dialogs from './dialogs.js';
import { files } from './files.js';
import { links } from './links.js';
import { thisNode } from './node.js';
import * as offers from './offers.js';
import { programs } from './programs.js';
import { thread } from './thread.js';
import { text } from './strings.js';

const TOKEN = 'hobnob-token';
const DRAFTS = 'hobnob-drafts';
const PREFERENCES = 'hobnob-preferences';
const PREVIEW_BYTES_MAX = 32_000_000;
const SEARCH_PAGES_MAX = 400;
const TYPING_EVERY_MS = 3000;
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

class Preferences {
  theme = 'auto';
  notify = false;
  pictures = false;

  constructor() {
    Object.assign(this, JSON.parse(localStorage.getItem(PREFERENCES) ?? '{}'));
    this.#apply();
  }

  set(name, value) {
    this[name] = value;
    localStorage.setItem(PREFERENCES, JSON.stringify(this));
    this.#apply();
    if (name === 'notify' && value) Notification.requestPermission();
  }

  #apply() {
    document.documentElement.dataset.theme = this.theme;
  }
}

class App {
  preferences = new Preferences();
  #drafts = JSON.parse(sessionStorage.getItem(DRAFTS) ?? '{}');
  #about = null;
  #typedAt = 0;
  #pictures = new Map();
  #uploads = new Map();

  constructor(token) {
    this.connection = new Connection(token);
    this.model = new Model(this.connection);
    this.avatars = new Avatars(this.model, {
      shows: (peer) => this.actions.showsPictureOf(peer),
      ready: () => { this.#lists(); this.list.refreshAll(); },
    });
    this.outbox = new Outbox(this.connection, () => this.#pending());
    this.#build();
    this.#listen();
    this.connection.open();
  }

  // The elements of the page.

  #build() {
    this.lists = el('div', { className: 'lists' });
    this.banner = el('p', { className: 'banner', role: 'status' }, text.connecting);
    this.live = el('p', { className: 'hidden', 'aria-live': 'polite' });
    this.heading = el('h2', {}, text.title);
    this.presence = el('span', { className: 'presence' });
    this.scroller = el('div', { className: 'scroller', role: 'feed', tabIndex: 0, onkeydown: (event) => this.#rowKeys(event) });
    this.typing = el('p', { className: 'note typing', role: 'status' });
    this.pending = el('div', { className: 'pending' });
    this.request = el('section', { className: 'request', 'aria-label': text.request, hidden: true });
    this.newest = button(text.toNewest, () => this.list.toEnd(), { className: 'newest', hidden: true });
    this.input = el('textarea', { rows: 1, oninput: () => this.#typed(), onkeydown: (event) => this.#inputKeys(event), onpaste: (event) => this.#pasted(event), dir: 'auto' });
    this.input.id = 'compose';
    this.label = el('label', { for: 'compose', className: 'hidden' });
    this.aboutLine = el('div', { className: 'about-line', hidden: true });
    const [chosen, folder] = [['attach', {}], ['attachFolder', { webkitdirectory: true }]].map(([label, properties]) => {
      const input = el('input', { type: 'file', multiple: true, hidden: true, 'aria-label': text[label], ...properties });
      input.onchange = () => {
        const items = offers.chosen(input.files);
        input.value = '';
        this.#offer(items);
      };
      return input;
    });
    this.composer = el('form', { className: 'composer', hidden: true, onsubmit: (event) => { event.preventDefault(); this.#submit(); } },
      this.aboutLine,
      iconButton('attach', text.attach, () => chosen.click()), chosen, iconButton('folder', text.attachFolder, () => folder.click()), folder, this.label, this.input,
      button(text.send, null, { type: 'submit', className: 'primary' }));
    const nav = el('nav', { 'aria-label': text.conversations },
      el('header', {}, el('h1', {}, text.title),
        iconButton('search', text.search, () => dialogs.search(this)),
        iconButton('keys', text.keys, () => dialogs.keys()),
        iconButton('settings', text.settings, () => dialogs.settings(this))),
      this.lists,
      el('div', { className: 'bottom' },
        button(text.join, () => dialogs.join(this)), button(text.add, () => dialogs.add(this)),
        button(text.invite, () => dialogs.invite(this)), button(text.allFiles, () => files(this)),
        button(text.links, () => links(this)), button(text.programs, () => programs(this)),
        button(text.thisNode, () => thisNode(this)), button(text.doctor, () => dialogs.doctor(this))));
    // The lists with the title are not there on narrow screens.
    this.main = el('main', {},
      el('h1', { className: 'hidden narrow' }, text.title),
      el('header', {}, iconButton('back', text.back, () => this.#showLists(), { className: 'back' }),
        el('div', { className: 'title' }, this.heading, this.presence),
        iconButton('details', text.details, () => details(this, this.model.current), { className: 'details', hidden: true })),
      el('p', { className: 'empty' }, text.noConversation),
      this.scroller, this.newest, this.typing, this.pending, this.request, this.composer,
      el('div', { className: 'drop', 'aria-hidden': 'true' }, text.drop));
    document.body.replaceChildren(
      el('a', { href: '#compose', className: 'skip' }, text.skip), this.banner, el('div', { className: 'app' }, nav, this.main), this.live);
    document.body.classList.add('listing');
    this.list = new VirtualList(this.scroller, {
      key: (message) => message.id,
      render: (message) => messageRow(this.model, message, this.actions),
      finish: (message, row) => finishRow(this.model, message, row, this.actions),
      older: () => this.#older(),
      ended: (atEnd) => this.#ended(atEnd),
    });
  }

  #listen() {
    const { connection, model } = this;
    connection.addEventListener('admitted', async ({ detail }) => {
      model.rights = detail.rights;
      try {
        await model.load();
        this.banner.hidden = true;
        document.body.dataset.ready = 'true';
        this.outbox.run(model.me).catch((error) => this.say(error.message));
      } catch (error) {
        ignoreLost(error);
      }
    });
    connection.addEventListener('lost', () => {
      delete document.body.dataset.ready;
      this.banner.textContent = text.reconnecting;
      this.banner.hidden = false;
    });
    connection.addEventListener('forbidden', () => this.logOut());
    model.addEventListener('everything', () => this.#everything());
    model.addEventListener('lists', () => this.#lists());
    model.addEventListener('opened', () => this.#opened());
    model.addEventListener('messages', ({ detail }) => this.#messages(detail.conversation));
    model.addEventListener('older', ({ detail }) => {
      if (detail.conversation === model.current) this.list.set(detail.conversation.messages);
    });
    model.addEventListener('message', ({ detail }) => {
      if (detail.conversation === model.current) this.list.refresh(detail.id);
    });
    model.addEventListener('typing', () => this.#typists());
    model.addEventListener('read', ({ detail }) => {
      if (detail.conversation === model.current) this.list.refreshAll();
    });
    model.addEventListener('arrived', ({ detail }) => this.#arrived(detail));
    model.addEventListener('notice', async ({ detail }) => this.say(await this.words(detail)));
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      connection.hurry();
      model.markRead();
    });
    window.addEventListener('online', () => connection.hurry());
    document.addEventListener('keydown', (event) => this.#pageKeys(event));
    for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
      this.main.addEventListener(name, (event) => this.#dragged(event));
    }
  }

  #everything() {
    this.#lists();
    this.list.refreshAll();
    const last = sessionStorage.getItem('hobnob-open');
    if (!this.model.current && last && this.model.conversations.has(last)) this.openConversation(last);
    else if (!this.model.current && matchMedia('(min-width: 700px)').matches && this.model.conversations.size) {
      this.openConversation(this.model.rooms.keys().next().value ?? this.model.conversations.keys().next().value);
    }
  }

  // The lists of rooms and people.

  #lists() {
    const { model } = this;
    const focused = document.activeElement?.dataset?.conversation;
    const known = [...model.conversations.values()];
    const rooms = known.filter((conversation) => conversation.isRoom);
    const direct = known.filter((conversation) => !conversation.isRoom).map((conversation) => conversation.id.slice(1));
    const refused = (id) => model.peers.get(id)?.blocked || model.peers.get(id)?.ignored;
    const others = [...model.peers.values()].filter((peer) => peer.contact || peer.state !== 'offline' || refused(peer.peer)).map((peer) => peer.peer);
    const ids = [...new Set([...direct, ...others])].filter((id) => id !== model.me)
      .sort((one, other) => this.#rank(one) - this.#rank(other) || model.name(one).localeCompare(model.name(other)));
    const requests = ids.filter((id) => model.isRequest(id));
    const people = ids.filter((id) => !model.isRequest(id) && !refused(id));
    const unwanted = ids.filter(refused);
    const entries = (peers) => peers.map((id) => this.#entry(model.conversations.get(`@${id}`) ?? { id: `@${id}`, isRoom: false, messages: [] }));
    this.lists.replaceChildren(
      this.#section(text.rooms, rooms.map((conversation) => this.#entry(conversation))),
      ...(requests.length ? [this.#section(text.requests, requests.map((id) => this.#entry(model.conversation(`@${id}`))), text.requestsNote)] : []),
      this.#section(text.people, entries(people), people.length ? null : text.noPeople),
      ...(unwanted.length ? [this.#section(text.unwanted, entries(unwanted))] : []));
    if (focused) this.lists.querySelector(`[data-conversation="${CSS.escape(focused)}"]`)?.focus();
    this.#title();
    this.#showRequest();
  }

  /** A stranger has written: the user decides. Or the peer's user has to. */
  #showRequest() {
    const { current } = this.model;
    const id = current && !current.isRoom ? current.id.slice(1) : null;
    const peer = id && this.model.peers.get(id);
    const asks = Boolean(id) && this.model.isRequest(id);
    const waits = Boolean(peer?.awaits_consent);
    const shown = asks ? `asks ${id}` : waits ? `waits ${id}` : '';
    this.request.hidden = shown === '';
    // The same buttons stay, with the focus on them.
    if (this.request.dataset.shown === shown) return;
    this.request.dataset.shown = shown;
    const name = id ? this.model.name(id) : '';
    const policy = (label, cmd, properties) => button(label, () => this.run(async () => {
      this.model.setPeer(await this.connection.ask(cmd, { target: id }));
      this.#lists();
      this.input.focus();
    }), properties);
    if (asks) {
      this.request.replaceChildren(el('p', {}, text.requestFrom(name)), el('div', { className: 'buttons' },
        policy(text.acceptContact, 'accept-contact', { className: 'primary' }),
        button(text.deleteRequest, () => this.run(async () => {
          await this.erase('forget', { target: id });
          this.leave(current);
          await this.model.load();
        })),
        policy(text.ignore, 'ignore'), policy(text.block, 'block', { className: 'danger' })));
    } else this.request.replaceChildren(waits ? el('p', { className: 'note' }, text.awaitsConsent(name)) : '');
  }

  #rank(id) {
    const peer = this.model.peers.get(id);
    return peer?.state === 'online' ? 0 : peer?.state === 'suspect' ? 1 : 2;
  }

  #section(title, entries, note) {
    return el('section', {}, el('h2', {}, title), note && el('p', { className: 'note' }, note), el('ul', {}, entries.map((entry) => el('li', {}, entry))));
  }

  #entry(conversation) {
    const { model } = this;
    const unread = model.unread(conversation);
    const peer = model.peerOf(conversation);
    const room = model.rooms.get(conversation.id);
    const about = conversation.isRoom
      ? [room ? (room.open ? text.roomOpen : text.roomSecret) : null, room ? text.here(room.here.length) : null]
      : [text[peer?.state ?? 'offline'], peer?.away && text.away(peer.status), peer?.formerly && text.formerly(peer.formerly), text.path[peer?.path], peer?.verified && (peer.by_code ? text.verifiedByCode : text.verified), peer?.blocked && text.blocked, peer?.ignored && text.ignored];
    if (model.rules.get(conversation.id) === 'none') about.push(text.muted);
    const entry = button('', () => this.openConversation(conversation.id), {
      className: 'entry', 'aria-current': conversation.id === model.current?.id ? 'true' : null,
    });
    entry.dataset.conversation = conversation.id;
    entry.append(
      el('span', { className: 'mark', 'aria-hidden': 'true' },
        el('span', { className: `dot ${conversation.isRoom ? 'room' : peer?.state ?? 'offline'}` }),
        conversation.isRoom ? null : this.avatars.of(conversation.id.slice(1))),
      el('span', { className: 'name' }, model.title(conversation)),
      unread ? el('span', { className: 'badge', 'aria-label': text.unread(unread) }, unread > 99 ? '99+' : unread) : '',
      el('span', { className: 'note' }, about.filter(Boolean).join(' · ')));
    return entry;
  }

  #title() {
    const unread = [...this.model.conversations.values()].reduce((sum, conversation) => sum + this.model.unread(conversation), 0);
    document.title = unread ? `(${unread}) ${text.title}` : text.title;
    const { current } = this.model;
    if (!current) return;
    const peer = this.model.peerOf(current);
    const room = this.model.rooms.get(current.id);
    this.heading.textContent = this.model.title(current);
    this.presence.textContent = current.isRoom
      ? room ? [room.topic?.text, text.here(room.here.length)].filter(Boolean).join(' · ') : ''
      : [text[peer?.state ?? 'offline'], peer?.away && text.away(peer.status), text.path[peer?.path], peer?.verified && (peer.by_code ? text.verifiedByCode : text.verified)].filter(Boolean).join(' · ');
  }

  #showLists() {
    document.body.classList.add('listing');
    this.model.current = null;
    sessionStorage.removeItem('hobnob-open');
    this.#lists();
    this.lists.querySelector('button')?.focus();
  }

  // The open conversation.

  openConversation(id) {
    this.#keepDraft();
    document.body.classList.remove('listing');
    sessionStorage.setItem('hobnob-open', id);
    this.model.watching = true;
    return this.model.open(id).catch(ignoreLost);
  }

  /** Closes a conversation that is gone. */
  leave(conversation) {
    this.model.conversations.delete(conversation.id);
    if (this.model.current === conversation) this.#showLists();
    this.heading.textContent = text.title;
    document.body.classList.remove('open');
  }

  #opened() {
    const { current } = this.model;
    const name = this.model.title(current);
    document.body.classList.add('open');
    this.main.querySelector('.details').hidden = false;
    this.composer.hidden = false;
    if (this.shown !== current.id) {
      this.shown = current.id;
      this.#stopAbout();
      this.input.value = this.#drafts[current.id] ?? '';
      this.#grow();
      this.list.set(current.messages, { stay: false });
      if (matchMedia('(min-width: 700px)').matches) this.input.focus();
    }
    this.label.textContent = text.compose(name);
    this.input.placeholder = text.compose(name);
    this.scroller.setAttribute('aria-label', text.messages(name));
    this.#lists();
    this.#pending();
    this.#typists();
  }

  #messages(conversation) {
    if (conversation !== this.model.current) return this.#lists();
    this.list.set(conversation.messages);
    this.scroller.classList.toggle('none', conversation.loaded && conversation.messages.length === 0);
    return this.#lists();
  }

  #older() {
    const { current } = this.model;
    if (current) this.model.older(current);
  }

  #ended(atEnd) {
    this.model.watching = atEnd;
    this.newest.hidden = atEnd;
    if (atEnd) this.model.markRead();
  }

  #arrived({ conversation, message }) {
    const { model } = this;
    if (message.from === model.me) return;
    const name = model.peers.get(message.from)?.name ?? message.nick;
    if (conversation === model.current) this.live.textContent = text.newMessage(name, plain(message));
    if (message.notify && document.hidden && this.preferences.notify && Notification.permission === 'granted') {
      const shown = new Notification(name, { body: plain(message), tag: conversation.id });
      shown.onclick = () => { window.focus(); this.openConversation(conversation.id); };
    }
  }

  /** Shows a message, however old it is. */
  async show(message) {
    if (!this.model.conversations.has(message.conversation)) await this.model.readStatus().catch(ignoreLost);
    const conversation = this.model.conversation(message.conversation);
    await this.openConversation(conversation.id);
    for (let page = 0; page < SEARCH_PAGES_MAX && !conversation.byId.has(message.id); page += 1) {
      if (!await this.model.older(conversation)) break;
    }
    const row = this.list.show(message.id);
    row?.classList.add('found');
    row?.focus({ preventScroll: true });
  }

  /** Messages that the node has not confirmed, and uploads. */
  #pending() {
    const current = this.model?.current;
    if (!this.pending || !current) return;
    const waiting = this.outbox.of(current.id).map((item) => el('div', { className: 'message own waiting' },
      el('p', { className: 'text', dir: 'auto' }, item.text),
      item.why === null ? el('span', { className: 'note' }, text.waiting)
        : el('span', { className: 'problem' }, item.why, ' ', button(text.cancel, () => {
          this.input.value = item.text;
          this.#typed();
          this.outbox.drop(item.key);
        }))));
    const uploads = [...this.#uploads.values()].filter((upload) => upload.conversation === current.id).map((upload) => el('div', { className: 'note' },
      upload.why ?? text.uploading(upload.name, upload.percent), ' ',
      upload.why ? button(text.close, () => { this.#uploads.delete(upload.key); this.#pending(); })
        : el('progress', { max: 100, value: upload.percent, 'aria-label': upload.name })));
    this.pending.replaceChildren(...waiting, ...uploads);
  }

  // The message field.

  #typed() {
    this.#grow();
    this.#keepDraft();
    this.#showTyping();
  }

  /** Shows others that the user types, if the node's settings permit it. */
  #showTyping() {
    const { current } = this.model;
    const off = this.input.value === '';
    if (!current || this.#about?.edit || (!off && Date.now() - this.#typedAt < TYPING_EVERY_MS)) return;
    if (off && this.#typedAt === 0) return;
    this.#typedAt = off ? 0 : Date.now();
    this.connection.ask('typing', { conversation: current.id, ...(off ? { off } : {}) }).catch(() => {});
  }

  #typists() {
    const names = this.model.current ? this.model.typists(this.model.current) : [];
    this.typing.textContent = names.length ? text.typing(names.join(', ')) : '';
  }

  #grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, 200)}px`;
  }

  #keepDraft() {
    if (!this.model.current || this.#about?.edit) return;
    this.#drafts[this.model.current.id] = this.input.value;
    sessionStorage.setItem(DRAFTS, JSON.stringify(this.#drafts));
  }

  #submit() {
    const value = this.input.value.trim();
    const { current } = this.model;
    if (!value || !current) return;
    const about = this.#about;
    this.#stopAbout();
    this.input.value = '';
    this.#typed();
    if (about?.edit) this.run(() => this.connection.ask('edit', { message: about.edit, text: value, wait: 'queued' }), value);
    else this.outbox.add(current.id, value, about?.reply);
    this.list.toEnd();
  }

  #setAbout(about, line) {
    this.#about = about;
    this.aboutLine.hidden = false;
    this.aboutLine.replaceChildren(line, ' ', button(text.cancel, () => this.#stopAbout()));
    this.input.focus();
  }

  #stopAbout() {
    if (this.#about?.edit && this.model.current) this.input.value = this.#drafts[this.model.current.id] ?? '';
    this.#about = null;
    this.aboutLine.hidden = true;
  }

  #inputKeys(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && this.#about) {
      this.#stopAbout();
    } else if (event.key === 'ArrowUp' && this.input.value === '') {
      event.preventDefault();
      this.list.last()?.focus();
    }
  }

  /** Keys on a message: arrows move, letters act. */
  #rowKeys(event) {
    const row = event.target.closest('.message');
    const id = row?.dataset.id;
    if (event.target === this.scroller && ['ArrowUp', 'ArrowDown', 'End'].includes(event.key)) {
      event.preventDefault();
      this.list.last()?.focus({ preventScroll: true });
    }
    if (!id || event.target !== row || event.ctrlKey || event.altKey || event.metaKey) return;
    const message = this.model.current.byId.get(id);
    if (message.renamed && !event.key.startsWith('Arrow') && event.key !== 'End') return;
    const keys = {
      ArrowUp: () => this.list.beside(id, -1)?.focus({ preventScroll: true }),
      ArrowDown: () => (this.list.beside(id, 1) ?? this.input).focus({ preventScroll: true }),
      End: () => this.list.last()?.focus({ preventScroll: true }),
      Escape: () => this.input.focus(),
      r: () => this.actions.reply(message),
      e: () => message.from === this.model.me && message.text !== undefined && this.actions.edit(message),
      d: () => this.actions.remove(message),
      t: () => this.actions.thread(message),
      i: () => this.actions.info(message),
      p: () => this.actions.pin(message),
      x: () => this.actions.chooseReaction(message, row),
    };
    const act = keys[event.key];
    if (!act || !message) return;
    event.preventDefault();
    act();
  }

  #pageKeys(event) {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      if (!document.querySelector('dialog[open]')) dialogs.search(this);
    } else if (event.altKey && ['ArrowUp', 'ArrowDown'].includes(event.key)) {
      event.preventDefault();
      const entries = [...this.lists.querySelectorAll('.entry')];
      const at = entries.findIndex((entry) => entry.dataset.conversation === this.model.current?.id);
      const step = event.key === 'ArrowUp' ? -1 : 1;
      if (!event.shiftKey) return entries[at + step]?.click();
      // The next one with unread messages, and after the last one the first.
      const round = step > 0 ? [...entries.slice(at + 1), ...entries.slice(0, at + 1)] : [...entries.slice(0, Math.max(at, 0)).reverse(), ...entries.slice(Math.max(at, 0)).reverse()];
      round.find((entry) => entry.querySelector('.badge'))?.click();
    } else if (event.key === '?' && !event.target.closest('input, textarea, select') && !document.querySelector('dialog[open]')) {
      event.preventDefault();
      dialogs.keys();
    }
    return undefined;
  }

  // Files.

  #dragged(event) {
    if (![...event.dataTransfer.types].includes('Files') || !this.model.current) return;
    event.preventDefault();
    const over = event.type === 'dragover' || event.type === 'dragenter';
    this.main.classList.toggle('dragging', over);
    if (event.type === 'drop') this.run(async () => this.#offer(await offers.dropped(event.dataTransfer)));
  }

  #pasted(event) {
    const { files } = event.clipboardData;
    if (files.length === 0) return;
    event.preventDefault();
    this.#offer(offers.chosen(files));
  }

  async #offer(items) {
    const { current } = this.model;
    if (!current || items.length === 0) return;
    const conversation = current.id;
    const words = await offers.caption(items, this.model.title(current));
    if (words === null) return;
    for (const [index, item] of items.entries()) {
      const upload = { key: Symbol(item.name), conversation, name: item.name, percent: 0, why: null };
      this.#uploads.set(upload.key, upload);
      const progress = (done, all) => {
        upload.percent = all ? Math.floor((100 * done) / all) : 0;
        this.#pending();
      };
      progress(0, item.size);
      try {
        // As on the command line, the words are about the first one.
        await this.connection.put(...offers.request(conversation, item, index ? '' : words), progress);
        this.#uploads.delete(upload.key);
      } catch (error) {
        upload.why = text.uploadFailed(item.name, error.message || text.reconnecting);
      }
      this.#pending();
    }
  }

  /** What the user can do with a message. */
  actions = {
    reply: (message) => this.#setAbout({ reply: message.id }, `${text.replyingTo(message.nick)}: ${plain(message).slice(0, 80)}`),
    edit: (message) => {
      this.#keepDraft();
      this.#setAbout({ edit: message.id }, text.editing);
      this.input.value = message.text;
      this.#grow();
    },
    react: (message, emoji, off) => this.run(() => this.connection.ask('react', { message: message.id, emoji, ...(off ? { off } : {}), wait: 'queued' })),
    thread: (message) => thread(this, message),
    info: (message) => dialogs.info(this, message),
    pin: (message) => this.run(() => this.connection.ask('pin', { message: message.id, wait: 'queued' })),
    chooseReaction: (message, beside) => {
      const { close } = dialogs.open(text.react, (content) => {
        const react = (emoji) => {
          close();
          const mine = message.reactions?.some((reaction) => reaction.emoji === emoji && reaction.by.some(({ peer }) => peer === this.model.me));
          this.actions.react(message, emoji, mine);
          beside.focus?.();
        };
        const other = el('input', { required: true, autocomplete: 'off', maxLength: 32 });
        content.append(el('div', { className: 'emojis' }, text.reactions.map((emoji) => button(emoji, () => react(emoji)))),
          el('form', { onsubmit: (event) => { event.preventDefault(); react(other.value.trim()); } },
            field(text.otherEmoji, other), button(text.react, null, { type: 'submit' })));
      });
    },
    remove: async (message) => {
      const own = message.from === this.model.me;
      const choices = own && !message.erased ? [['everywhere', text.yes], ['here', text.removeHere]] : [['everywhere', text.yes]];
      const choice = await dialogs.choose(own ? text.removeOwn : text.removeOther, choices);
      if (!choice) return;
      const here = choice === 'here' ? { here: true } : {};
      this.run(() => (own && !here.here && message.state === 'queued' ? this.#cancel(message) : this.erase('delete', { message: message.id, ...here })));
    },
    accept: (message) => this.run(() => this.connection.ask('accept', { offer: message.id })),
    pause: (message) => this.run(() => this.connection.ask('pause', { offer: message.id })),
    decline: (message) => this.run(() => this.connection.ask('decline', { offer: message.id })),
    download: (message) => this.run(async () => {
      const response = await this.connection.fetch(`/ticket/${message.id}`, { method: 'POST' });
      el('a', { href: await response.text(), download: message.file.name }).click();
    }),
    avatar: (peer) => this.avatars.of(peer),
    picture: (message) => this.#pictures.get(message.id)?.url,
    showsPictureOf: (peer) => this.preferences.pictures || this.model.peers.get(peer)?.verified,
    loadPicture: async (message) => {
      if (this.#pictures.has(message.id) || message.file.size > PREVIEW_BYTES_MAX) return;
      this.#pictures.set(message.id, {});
      try {
        const response = await this.connection.fetch(`/content/${message.id}`);
        const type = PICTURES.includes(message.file.media) ? message.file.media : 'image/png';
        const blob = new Blob([await response.arrayBuffer()], { type });
        const picture = new Image();
        picture.src = URL.createObjectURL(blob);
        await picture.decode();
        this.#pictures.set(message.id, { url: picture.src });
        this.list.refresh(message.id);
      } catch {
        // A preview that fails is left out. The file itself can still be saved.
      }
    },
  };

  // Requests.

  /** Cancels a message that has not left this node, or deletes it if it just has. */
  async #cancel(message) {
    try {
      await this.connection.ask('cancel', { message: message.id });
    } catch (error) {
      if (error.code !== 'has-gone-out') throw error;
      await this.erase('delete', { message: message.id });
    }
  }

  /** Erases, and asks again if messages are not delivered yet. */
  async erase(cmd, fields) {
    try {
      await this.connection.ask(cmd, fields);
    } catch (error) {
      if (error.code !== 'undelivered' || !await dialogs.ask(text.undelivered)) throw error;
      await this.connection.ask(cmd, { ...fields, yes: true });
    }
  }

  /** Runs a request. If it fails, shows why, and puts back what was typed. */
  async run(work, typed) {
    try {
      await work();
    } catch (error) {
      if (typed !== undefined && this.input.value === '') {
        this.input.value = typed;
        this.#typed();
      }
      this.say(error instanceof LostError ? text.reconnecting : error.message);
    }
  }

  async words(notice) {
    const { event, v, ...fields } = notice;
    const response = await this.connection.fetch('/words/notice', { method: 'POST', body: JSON.stringify(fields) });
    return response.json();
  }

  /** Shows a line for some seconds, and reads it to screen readers. */
  say(line) {
    const shown = el('p', { className: 'toast', role: 'alert' }, line);
    document.body.append(shown);
    setTimeout(() => shown.remove(), 8000);
  }

  logOut() {
    sessionStorage.removeItem(TOKEN);
    location.reload();
  }
}

/** The page without a token. */
function login() {
  const code = el('input', { autocomplete: 'off', required: true });
  const problem = el('p', { className: 'problem', role: 'alert' });
  const submit = async (event) => {
    event.preventDefault();
    const response = await fetch('/login', { method: 'POST', body: `token=${code.value.trim()}`, headers: { 'Content-Type': 'text/plain' } });
    const token = (await response.text()).match(/hobnob-token-[a-z2-7]+/);
    if (!response.ok || !token) {
      problem.textContent = text.loginWrong;
      return;
    }
    sessionStorage.setItem(TOKEN, token[0]);
    location.reload();
  };
  document.body.replaceChildren(el('main', { className: 'login' }, el('h1', {}, text.title), el('p', {}, text.loginNote),
    el('form', { onsubmit: submit }, field(text.loginCode, code), button(text.loginButton, null, { type: 'submit', className: 'primary' })), problem));
}

const token = sessionStorage.getItem(TOKEN);
document.title = text.title;
if (token) window.hobnob = new App(token);
else login();
