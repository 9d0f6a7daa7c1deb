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
  const address = URL.createObjectURL(await response.blob());
  el('a', { href: address, download: name.replaceAll(/[\\/]/g, '_') }).click();
  // The browser has taken the content by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

const ENDINGS = { html: 'html', text: 'txt', json: 'jsonl' };

/** Saves the messages of a conversation, or of all, oldest first. */
async function saveMessages({ connection, model }, conversation, format) {
  const of = conversation ? `/${encodeURIComponent(conversation.id)}` : '';
  const response = await connection.fetch(`/messages/${format}${of}`, { method: 'POST' });
  await save(response, `${conversation ? model.title(conversation) : text.allMessages}.${ENDINGS[format]}`);
}

/** A button for each format. */
export function saveButtons(app, conversation, run) {
  return text.saveFormats.map(([format, label]) => button(label, run(() => saveMessages(app, conversation, format))));
}
