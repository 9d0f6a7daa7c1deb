// Files and folders that the user offers: what was chosen, dropped or pasted, and what the user says about it.
import { open } from './dialogs.js';
import { el, button, field } from './dom.js';
import { size } from './format.js';
import { text } from './strings.js';

const FILES_MAX = 10_000;

/** What was chosen or pasted. A file of a chosen folder has a path, which begins with the folder's name. */
export function chosen(files) {
  const items = [];
  const folders = new Map();
  for (const file of files) {
    const [name, ...path] = (file.webkitRelativePath ?? '').split('/');
    if (path.length === 0) items.push({ name: file.name || text.pasted, size: file.size, file });
    else {
      if (!folders.has(name)) folders.set(name, []);
      folders.get(name).push({ path: path.join('/'), file });
    }
  }
  return [...items, ...[...folders].map(([name, members]) => folder(name, members))];
}

/** What was dropped. The browser lets a page read the list of it at once only. */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === 'file')
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const result = [];
  for (const { entry, file } of items) {
    if (entry?.isDirectory) {
      const members = [];
      await collect(entry, '', members);
      if (members.length) result.push(folder(entry.name, members));
    } else if (file) result.push(...chosen([file]));
  }
  return result;
}

function folder(name, files) {
  return { name, files, size: files.reduce((sum, { file }) => sum + file.size, 0) };
}

/** Adds the files of a folder, and of those in it. */
async function collect(entry, path, files) {
  const reader = entry.createReader();
  // Each call has some of the entries, and the last one has none.
  for (let part; (part = await call(reader, 'readEntries')).length;) {
    for (const one of part) {
      if (files.length >= FILES_MAX) throw new Error(text.tooManyFiles(FILES_MAX));
      if (one.isDirectory) await collect(one, `${path}${one.name}/`, files);
      else files.push({ path: `${path}${one.name}`, file: await call(one, 'file') });
    }
  }
}

function call(object, method) {
  return new Promise((resolve, reject) => object[method](resolve, reject));
}

/** Asks what to say about the items. Resolves with it, or with null if the user does not offer them. */
export function caption(items, to) {
  return new Promise((resolve) => {
    let result = null;
    const { dialog } = open(text.offerTo(to), (content, { close }) => {
      const input = el('input', { autocomplete: 'off', dir: 'auto' });
      const line = (item) => el('li', {}, [item.name, item.files && text.files(item.files.length), size(item.size)].filter(Boolean).join(' · '));
      const submit = (event) => {
        event.preventDefault();
        result = input.value.trim();
        close();
      };
      content.append(el('ul', { className: 'lines' }, items.map(line)), el('form', { onsubmit: submit },
        field(items.length > 1 ? text.captionFirst : text.caption, input),
        el('div', { className: 'buttons' }, button(text.offer, null, { type: 'submit', className: 'primary' }), button(text.cancel, close))));
      queueMicrotask(() => input.focus());
    });
    dialog.addEventListener('close', () => resolve(result));
  });
}

/** The path and the body of the request that offers an item. */
export function request(conversation, item, words) {
  const path = [conversation, item.name, ...(words ? [words] : [])].map(encodeURIComponent).join('/');
  if (!item.files) return [`/upload/${path}`, item.file];
  // The browser reads the files while it sends them.
  const parts = item.files.flatMap((one) => [`${JSON.stringify({ path: one.path, size: one.file.size })}\n`, one.file]);
  return [`/folder/${path}`, new Blob(parts)];
}
