// What the page knows: people, rooms, conversations, messages and files. No element is made here.

import { LostError } from './connection.js';

const MARKERS = 'hobnob-read';
const TYPING_MS = 6000;

export class Conversation {
  messages = [];
  byId = new Map();
  /** Whether the node may have older messages than the first of these. */
  more = true;
  /** Whether the newest messages are here. */
  loaded = false;
  loading = false;
  newest = '';
  /** The last message before the connection was lost. */
  last = null;
  /** The messages that others answer. */
  replied = new Set();
  /** The first message that was unread when the user opened the conversation. */
  firstUnread = null;

  constructor(id) {
    this.id = id;
    this.isRoom = id.startsWith('#');
  }
}

export class Model extends EventTarget {
  me = null;
  nick = '';
  status = null;
  rights = [];
  peers = new Map();
  rooms = new Map();
  files = new Map();
  notices = [];
  /** By conversation, the rule about alerts that the user has set. */
  rules = new Map();
  /** Who types: by conversation, the moment until which each peer's typing counts. */
  typing = new Map();
  /** By conversation, how far each peer has read own messages. */
  #read = new Map();
  #shownRead = new Map();
  #renames = 0;
  conversations = new Map();
  current = null;
  /** Whether the user looks at the end of the open conversation. */
  watching = true;
  #markers = JSON.parse(localStorage.getItem(MARKERS) ?? '{}');

  constructor(connection) {
    super();
    this.connection = connection;
    connection.addEventListener('line', ({ detail }) => this.#line(detail));
  }

  /** Reads everything again, after a connection began. */
  async load() {
    const ask = (cmd, fields) => this.connection.ask(cmd, fields);
    await ask('subscribe');
    const [status, { peers }, { files }, recent, { activity }, { rules }] = await Promise.all([
      ask('status'), ask('peers'), ask('files'), ask('history'), ask('activity'), ask('notify-rules'),
    ]);
    this.rules = new Map(rules.map(({ conversation, rule }) => [conversation, rule]));
    this.#status(status);
    this.peers = new Map(peers.map((peer) => [peer.peer, peer]));
    this.files = new Map(files.map((file) => [file.id, file]));
    for (const conversation of this.conversations.values()) {
      conversation.loaded = false;
      conversation.last = conversation.messages.findLast((message) => !message.renamed)?.id ?? null;
    }
    for (const message of recent.messages) this.#note(message);
    for (const line of activity) this.#activity(line);
    if (this.current) await this.open(this.current.id);
    this.#tell('everything');
  }

  #status(status) {
    this.status = status;
    this.me = status.peer;
    this.nick = status.nick;
    this.rooms = new Map(status.rooms.map((room) => [room.room, room]));
    for (const room of this.rooms.keys()) this.conversation(room);
    for (const notice of status.notices) this.#notice(notice);
  }

  async readStatus() {
    this.#status(await this.connection.ask('status'));
    this.#tell('lists');
  }

  conversation(id) {
    let conversation = this.conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(id);
      this.conversations.set(id, conversation);
    }
    return conversation;
  }

  /** Opens a conversation, and reads its newest messages. */
  async open(id) {
    const conversation = this.conversation(id);
    const isOther = this.current !== conversation;
    const marker = this.#markers[id];
    this.current = conversation;
    this.markRead();
    if (isOther) this.#noteFirstUnread(conversation, marker);
    this.#tell('opened');
    if (conversation.loaded) return;
    const page = await this.connection.ask('history', { conversation: id });
    this.#join(conversation, page);
    conversation.loaded = true;
    if (isOther) this.#noteFirstUnread(conversation, marker);
    this.#tell('messages', { conversation });
  }

  /** Takes the newest page of a conversation. What is here comes before it, in it, or after it. */
  #join(conversation, { messages, more }) {
    const inPage = new Set(messages.map((message) => message.id));
    const newest = messages.at(-1)?.received_at ?? '';
    // Without the message that was the last one, there is a gap of unknown size. Then older messages
    // are read again when they are needed.
    const meets = inPage.has(conversation.last);
    const end = conversation.messages.findIndex((message) => message.id === conversation.last) + 1;
    const before = meets ? conversation.messages.slice(0, end).filter((message) => !inPage.has(message.id)) : [];
    const after = conversation.messages.slice(end).filter((message) => !inPage.has(message.id) && message.received_at >= newest);
    if (!meets) conversation.more = more;
    for (const message of messages) this.#put(conversation, message);
    conversation.messages = [...before, ...messages.map((message) => conversation.byId.get(message.id)), ...after];
    conversation.byId = new Map(conversation.messages.map((message) => [message.id, message]));
  }

  #noteFirstUnread(conversation, marker) {
    const isNew = (message) => message.received_at > marker && message.from !== this.me;
    conversation.firstUnread = marker === undefined ? null : conversation.messages.find(isNew)?.id ?? null;
  }

  isFirstUnread(message) {
    return this.conversations.get(message.conversation)?.firstUnread === message.id;
  }

  /** Reads older messages. True if there were some. */
  async older(conversation) {
    if (conversation.loading || !conversation.more || !conversation.loaded) return false;
    conversation.loading = true;
    try {
      const before = conversation.messages.find((message) => !message.renamed)?.id;
      const page = await this.connection.ask('history', { conversation: conversation.id, before });
      conversation.more = page.more;
      const fresh = page.messages.filter((message) => !conversation.byId.has(message.id));
      for (const message of fresh) {
        conversation.byId.set(message.id, message);
        this.#noteReply(conversation, message);
      }
      conversation.messages = [...fresh, ...conversation.messages];
      return fresh.length > 0;
    } catch (error) {
      if (error instanceof LostError) return false;
      throw error;
    } finally {
      conversation.loading = false;
      this.#tell('older', { conversation });
    }
  }

  /** Reads one message again, with its edits and reactions. */
  async #again(id, conversationId) {
    const conversation = this.conversations.get(conversationId);
    if (!conversation?.byId.has(id)) return;
    try {
      // A page that ends with this message: the ones before the next one.
      const index = conversation.messages.findIndex((message) => message.id === id);
      const next = conversation.messages.slice(index + 1).find((message) => !message.renamed)?.id;
      const page = await this.connection.ask('history', { conversation: conversationId, before: next, limit: 1 });
      const message = page.messages.find((message) => message.id === id);
      if (!message) return;
      Object.assign(this.#cleared(conversation.byId.get(id)), message);
      this.#tell('message', { conversation, id });
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
    }
  }

  #cleared(message) {
    for (const key of Object.keys(message)) delete message[key];
    return message;
  }

  /** The name to show of a peer. */
  name(peer) {
    if (peer === this.me) return this.nick;
    return this.peers.get(peer)?.name ?? peer.slice(0, 8);
  }

  title(conversation) {
    return conversation.isRoom ? conversation.id : this.name(conversation.id.slice(1));
  }

  peerOf(conversation) {
    return conversation.isRoom ? null : this.peers.get(conversation.id.slice(1));
  }

  unread(conversation) {
    const marker = this.#markers[conversation.id];
    if (marker === undefined) return 0;
    let count = 0;
    for (let index = conversation.messages.length - 1; index >= 0; index -= 1) {
      const message = conversation.messages[index];
      if (message.received_at <= marker) break;
      if (message.from !== this.me) count += 1;
    }
    return count;
  }

  markRead() {
    if (!this.current || document.hidden || !this.watching) return;
    this.#mark(this.current);
    this.#showRead(this.current);
    this.#tell('lists');
  }

  #mark(conversation) {
    this.#markers[conversation.id] = conversation.newest || new Date().toISOString();
    this.#storeMarkers();
  }

  #storeMarkers() {
    localStorage.setItem(MARKERS, JSON.stringify(this.#markers));
  }

  /** Shows the author of the newest message that it was read. The node decides who learns it. */
  #showRead(conversation) {
    const newest = conversation.messages.findLast((message) => message.from !== this.me);
    if (!newest || this.#shownRead.get(conversation.id) === newest.id) return;
    this.#shownRead.set(conversation.id, newest.id);
    this.connection.ask('read', { message: newest.id }).catch(() => {});
  }

  /** The peers that have read an own message. */
  readers(message) {
    const marks = this.#read.get(message.conversation);
    if (!marks || message.from !== this.me) return [];
    const { byId } = this.conversation(message.conversation);
    return [...marks].filter(([, id]) => (byId.get(id)?.received_at ?? '') >= message.received_at).map(([peer]) => peer);
  }

  isRead(message) {
    return this.readers(message).length > 0;
  }

  /** Sets which messages of a conversation alert the user. Without a rule, the default applies. */
  async setRule(id, rule) {
    const of = id.startsWith('#') ? { room: id } : { target: id.slice(1) };
    await this.connection.ask('notify', rule ? { ...of, rule } : of);
    if (rule) this.rules.set(id, rule);
    else this.rules.delete(id);
    this.#tell('lists');
  }

  /** Whether a peer waits for the user's decision. */
  isRequest(id) {
    const peer = this.peers.get(id);
    return Boolean(peer && !peer.contact && peer.request > 0 && !peer.blocked && !peer.ignored);
  }

  #activity(line) {
    const { peer, conversation } = line;
    if (line.away !== undefined) {
      const known = this.peers.get(peer);
      if (known) Object.assign(known, { away: line.away, status: line.text });
      return this.#tell('lists');
    }
    if (line.typing !== undefined) {
      const typing = this.typing.get(conversation) ?? new Map();
      if (line.typing) typing.set(peer, Date.now() + TYPING_MS);
      else typing.delete(peer);
      this.typing.set(conversation, typing);
      if (line.typing) setTimeout(() => this.#tell('typing'), TYPING_MS + 50);
      return this.#tell('typing');
    }
    const marks = this.#read.get(conversation) ?? new Map();
    this.#read.set(conversation, marks.set(peer, line.read));
    return this.#tell('read', { conversation: this.conversation(conversation) });
  }

  /** The names of those who type in a conversation now. */
  typists(conversation) {
    const typing = this.typing.get(conversation.id) ?? new Map();
    const now = Date.now();
    return [...typing].filter(([, until]) => until > now).map(([peer]) => this.name(peer));
  }

  /** Notes a message of the recent history. */
  #note(message) {
    const conversation = this.conversation(message.conversation);
    if (this.#markers[conversation.id] === undefined) this.#mark(conversation);
    this.#put(conversation, message);
  }

  /** The answered message leads to the thread. */
  #noteReply(conversation, message) {
    const to = message.reply_to?.id;
    if (to === undefined || conversation.replied.has(to)) return;
    conversation.replied.add(to);
    this.#tell('message', { conversation, id: to });
  }

  #put(conversation, message) {
    this.#noteReply(conversation, message);
    const known = conversation.byId.get(message.id);
    if (known) {
      Object.assign(this.#cleared(known), message);
      return false;
    }
    conversation.byId.set(message.id, message);
    conversation.messages.push(message);
    if (message.received_at > conversation.newest) conversation.newest = message.received_at;
    return true;
  }

  #line(line) {
    switch (line.event) {
      case 'message': return this.#message(line);
      case 'receipt': return this.#receipt(line);
      case 'amended': return this.#again(line.message, line.conversation);
      case 'activity': return this.#activity(line);
      case 'erased': return this.#erased(line);
      case 'peer':
        this.setPeer(line);
        if (line.rooms) this.readStatus().catch(ignoreLost);
        return this.#tell('lists');
      case 'file':
        this.files.set(line.id, line);
        return this.#tell('message', { conversation: this.conversation(line.conversation), id: line.id });
      case 'notice':
        return this.#notice(line) && this.#tell('notice', line);
      case 'listening':
        return this.readStatus().catch(ignoreLost);
      case 'lagged':
        return this.load().catch(ignoreLost);
      default:
        return undefined;
    }
  }

  /** A peer is like this now. The node shows other messages when the user has changed who is hidden. */
  setPeer(peer) {
    const before = this.peers.get(peer.peer);
    this.#renamed(before, peer);
    this.peers.set(peer.peer, peer);
    const hidden = (one) => Boolean(one?.ignored || one?.blocked);
    if (hidden(before) === hidden(peer)) return;
    for (const conversation of this.conversations.values()) {
      Object.assign(conversation, { messages: [], more: true, loaded: false });
      conversation.byId.clear();
    }
    this.load().catch(ignoreLost);
  }

  /** The conversations with somebody who has another name now say so. */
  #renamed(before, { peer, nick }) {
    if (!before?.nick || !nick || before.nick === nick) return;
    this.#renames += 1;
    const here = (conversation) => (conversation.isRoom
      ? this.rooms.get(conversation.id)?.here.includes(peer) || conversation.messages.some(({ from }) => from === peer)
      : conversation.id === `@${peer}`);
    for (const conversation of this.conversations.values()) {
      if (!here(conversation) || !conversation.loaded) continue;
      // It counts as own, so that it is neither unread nor reported as read.
      const line = { id: `renamed-${this.#renames}`, from: this.me, renamed: [before.nick, nick], received_at: conversation.newest };
      conversation.byId.set(line.id, line);
      conversation.messages.push(line);
      this.#tell('messages', { conversation });
    }
  }

  #message(line) {
    const { event, v, ...message } = line;
    const conversation = this.conversation(message.conversation);
    if (this.#markers[conversation.id] === undefined) {
      this.#markers[conversation.id] = '';
      this.#storeMarkers();
    }
    // A reply comes without the quoted text, which the history has.
    const quoted = message.reply_to && conversation.byId.get(message.reply_to.id);
    if (quoted) message.reply_to.text = quoted.text;
    const added = this.#put(conversation, message);
    // No event about the peer counts its requests.
    const stranger = message.request && added ? this.peers.get(message.from) : null;
    if (stranger) stranger.request = (stranger.request ?? 0) + 1;
    this.typing.get(conversation.id)?.delete(message.from);
    this.#tell('typing');
    if (conversation === this.current) this.markRead();
    this.#tell('messages', { conversation });
    if (added) this.#tell('arrived', { conversation, message });
    if (message.topic !== undefined) this.readStatus().catch(ignoreLost);
  }

  #receipt({ id, state }) {
    for (const conversation of this.conversations.values()) {
      const message = conversation.byId.get(id);
      if (!message) continue;
      // In a room, the history decides: a message is delivered once everybody has it.
      if (conversation.isRoom) this.#again(id, conversation.id);
      else {
        message.state = state;
        this.#tell('message', { conversation, id });
      }
      return;
    }
  }

  #erased({ conversation: of, ids, by_author: byAuthor }) {
    const conversation = this.conversations.get(of);
    if (!conversation) return;
    const gone = new Set(ids);
    if (byAuthor) {
      for (const id of ids) {
        const message = conversation.byId.get(id);
        if (!message) continue;
        for (const key of ['text', 'file', 'kind', 'bytes', 'reactions', 'edited', 'reply_to']) delete message[key];
        message.erased = 'deleted';
        this.#tell('message', { conversation, id });
      }
      return;
    }
    conversation.messages = conversation.messages.filter((message) => !gone.has(message.id));
    for (const id of ids) conversation.byId.delete(id);
    this.#tell('messages', { conversation });
  }

  #notice(notice) {
    if (this.notices.some((other) => other.number === notice.number)) return false;
    this.notices.push(notice);
    return true;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

export function ignoreLost(error) {
  if (!(error instanceof LostError)) throw error;
}
