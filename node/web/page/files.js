// The files of all conversations, and files that the user saves or brings.
import { el, button } from './dom.js';
import { open } from './dialogs.js';
import { shortTime } from './format.js';
import { fileCard } from './message.js';
import { text } from './strings.js';

const FILES_MAX = 200;

/** All offers, the newest first. */
export function files(app) {
  const { model } = app;
  open(text.allFiles, (content, { close, run, follow }) => {
    const list = el('ul', { className: 'files' });
    const count = el('p', { className: 'note', role: 'status' });
    const row = (file) => {
      const conversation = model.conversation(file.conversation);
      const result = el('li', {},
        el('p', { className: 'note' }, [...new Set([model.title(conversation), file.own ? text.you : file.nick, shortTime(file.received_at)])].join(' · ')),
        fileCard(model, { id: file.id, from: file.from, file }, app.actions),
        button(text.goTo, () => { close(); app.show(file); }, { className: 'small' }));
      result.dataset.id = file.id;
      return result;
    };
    const read = run(async () => {
      const answer = await app.connection.ask('files');
      for (const file of answer.files) model.files.set(file.id, file);
      const newest = answer.files.reverse().slice(0, FILES_MAX);
      count.textContent = newest.length ? '' : text.noFiles;
      list.replaceChildren(...newest.map(row));
    });
    follow(model, 'message', ({ detail }) => {
      const file = model.files.get(detail.id);
      const shown = list.querySelector(`[data-id="${CSS.escape(detail.id)}"]`);
      if (!file || !shown) return;
      // The focus stays on the button that does the same.
      const focused = shown.contains(document.activeElement) ? [...shown.querySelectorAll('button')].indexOf(document.activeElement) : -1;
      const fresh = row(file);
      shown.replaceWith(fresh);
      if (focused >= 0) (fresh.querySelectorAll('button')[focused] ?? fresh.querySelector('button')).focus();
    });
    content.append(count, list);
    read();
  });
}

/** Lets the browser save the body of a response under a name. */
export async function save(response, name) {
  saveBlob(await response.blob(), name);
}

export function saveBlob(blob, name) {
  const address = URL.createObjectURL(blob);
  el('a', { href: address, download: name.replaceAll(/[\\/]/g, '_') }).click();
  // The browser has taken the content by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Saves the messages of a conversation, or of all, oldest first: as lines of text, or as JSON lines. */
export async function saveMessages(app, conversation, json) {
  const { model, connection } = app;
  const lines = [];
  const filter = { oldest: true, ...(conversation ? { conversation: conversation.id } : {}) };
  for (let more = true; more;) {
    const page = await connection.ask('history', filter);
    lines.push(...page.messages.map((message) => (json ? JSON.stringify(message) : line(model, message, !conversation))));
    filter.after = page.messages.at(-1)?.id;
    more = page.more && filter.after !== undefined;
  }
  const name = conversation ? model.title(conversation) : text.allMessages;
  saveBlob(new Blob([`${lines.join('\n')}\n`], { type: 'text/plain' }), `${name}.${json ? 'jsonl' : 'txt'}`);
}

function line(model, message, named) {
  const place = named ? `${model.title(model.conversation(message.conversation))} ` : '';
  const words = message.file?.name ?? message.text ?? message.topic ?? (message.erased ? text[message.erased] : '');
  // Each message is one line that begins with its time, and further lines that are indented.
  return `${message.sent_at} ${place}${message.nick}: ${words.replaceAll('\n', '\n    ')}`;
}
