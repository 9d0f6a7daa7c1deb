// Messages that the node has not confirmed to be on disk. The tab's storage keeps them, so a reload or
// a restart of the node loses none and sends none twice.
//
// One message is sent at a time. If the connection ends before the answer, the message may be on disk
// or not. Its client id makes the node send it once. A reply has none, so the own messages in the
// history since then decide.

import { LostError } from './connection.js';

const KEY = 'hobnob-outbox';
const CONFIRMED_MAX = 100;

export class Outbox {
  #connection;
  #changed;
  #busy = false;
  #items;
  #confirmed;
  #lastKey = 0;

  constructor(connection, changed) {
    this.#connection = connection;
    this.#changed = changed;
    const stored = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
    this.#items = stored.items ?? [];
    this.#confirmed = stored.confirmed ?? [];
    this.#lastKey = this.#items.reduce((last, item) => Math.max(last, item.key), 0);
  }

  of(conversation) {
    return this.#items.filter((item) => item.conversation === conversation);
  }

  add(conversation, text, replyTo) {
    this.#items.push({ key: ++this.#lastKey, clientId: crypto.randomUUID(), conversation, text, replyTo, begunAt: null, why: null });
    this.#store();
    this.run();
  }

  /** Drops a message that the node has refused. */
  drop(key) {
    this.#items = this.#items.filter((item) => item.key !== key);
    this.#store();
    this.run();
  }

  async run(me) {
    if (me) this.me = me;
    if (this.#busy || !this.me) return;
    this.#busy = true;
    try {
      let item;
      while ((item = this.#items.find((item) => item.why === null))) await this.#deliver(item);
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
    } finally {
      this.#busy = false;
    }
  }

  async #deliver(item) {
    try {
      let id = item.replyTo && item.begunAt ? await this.#find(item) : null;
      if (id === null) {
        item.begunAt ??= new Date(Date.now() - 1000).toISOString();
        this.#store();
        id = (await this.#connection.ask(...request(item))).id;
      }
      this.#confirmed = [...this.#confirmed, id].slice(-CONFIRMED_MAX);
      this.#items = this.#items.filter((other) => other !== item);
    } catch (error) {
      if (error instanceof LostError) throw error;
      // The node refuses it. The user sees the reason and may copy the text.
      item.why = error.message;
    }
    this.#store();
  }

  /** The id of the reply in the history, if the node has it although its answer was lost. */
  async #find(item) {
    const filter = { conversation: item.conversation, since: item.begunAt, oldest: true };
    for (;;) {
      const page = await this.#connection.ask('history', filter);
      const same = page.messages.find((message) => message.from === this.me
        && message.text === item.text && message.reply_to?.id === item.replyTo
        && !this.#confirmed.includes(message.id));
      if (same) return same.id;
      if (!page.more || page.messages.length === 0) return null;
      filter.after = page.messages.at(-1).id;
    }
  }

  #store() {
    sessionStorage.setItem(KEY, JSON.stringify({ items: this.#items, confirmed: this.#confirmed }));
    this.#changed();
  }
}

function request({ conversation, text, replyTo, clientId }) {
  if (replyTo) return ['reply', { message: replyTo, text, wait: 'queued' }];
  const wait = { wait: 'queued', client_id: clientId };
  if (conversation.startsWith('#')) return ['broadcast', { room: conversation, text, ...wait }];
  return ['send', { target: conversation.slice(1), text, ...wait }];
}
