// A thread: the message that began it, and all replies.
import { el, button } from './dom.js';
import { fullTime, shortTime } from './format.js';
import { open } from './dialogs.js';
import { marked } from './markup.js';
import { plain, spoken } from './message.js';
import { text } from './strings.js';

/** Shows the thread of a message, and takes replies to the message that began it. */
export function thread(app, message) {
  const { connection, model, outbox } = app;
  const conversation = model.conversation(message.conversation);
  open(text.thread, (content, { close, run, follow }) => {
    let root = message.id;
    const list = el('ol', { className: 'thread', tabIndex: 0, 'aria-label': text.thread });
    const count = el('p', { className: 'note', role: 'status' });
    const read = run(async () => {
      const all = [];
      const filter = { conversation: conversation.id, thread: message.id, oldest: true };
      for (let more = true; more; filter.after = all.at(-1)?.id) {
        const page = await connection.ask('history', filter);
        all.push(...page.messages);
        more = page.more && page.messages.length > 0;
      }
      root = all[0]?.id ?? root;
      count.textContent = text.replies(Math.max(0, all.length - 1));
      list.replaceChildren(...all.map((one) => item(app, one, close)));
    });
    const input = el('textarea', { rows: 2, required: true, dir: 'auto' });
    const send = () => {
      const value = input.value.trim();
      if (!value) return;
      outbox.add(conversation.id, value, root);
      input.value = '';
    };
    input.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    };
    follow(model, 'arrived', ({ detail }) => detail.conversation === conversation && detail.message.reply_to && read());
    follow(model, 'message', ({ detail }) => detail.conversation === conversation && list.querySelector(`[data-id="${detail.id}"]`) && read());
    const label = text.threadReply;
    input.id = 'thread-reply';
    content.append(count, list, el('form', { className: 'field', onsubmit: (event) => { event.preventDefault(); send(); } },
      el('label', { for: input.id }, label), input, button(text.send, null, { type: 'submit', className: 'primary' })));
    read();
    queueMicrotask(() => input.focus());
  });
}

function item(app, message, close) {
  const author = message.from === app.model.me ? text.you : message.nick;
  const words = message.text !== undefined && !message.erased ? marked(spoken(message.nick, message.text)) : plain(message);
  const row = el('li', {},
    el('div', { className: 'about' }, el('span', { className: 'author' }, author),
      el('time', { dateTime: message.sent_at, title: fullTime(message.sent_at) }, shortTime(message.sent_at)),
      message.edited && el('span', { className: 'note' }, text.edited)),
    el('p', { className: 'text', dir: 'auto' }, words),
    button(text.goTo, () => { close(); app.show(message); }, { className: 'small' }));
  row.dataset.id = message.id;
  return row;
}
