// Links to files, for people without hobnob.
import { open, qr, copyable } from './dialogs.js';
import { el, button, field, select } from './dom.js';
import { fullTime, size } from './format.js';
import { text } from './strings.js';

export function links(app) {
  const { connection } = app;
  open(text.links, (content, { run, signal }) => {
    const file = el('input', { type: 'file', required: true });
    const times = select(text.linkTimes);
    const seconds = select(text.linkSeconds);
    const anywhere = el('input', { type: 'checkbox' });
    const progress = el('p', { role: 'status' });
    const make = run(async () => {
      const [one] = file.files;
      const head = { name: one.name, anywhere: anywhere.checked, ...number('times', times), ...number('seconds', seconds) };
      try {
        progress.textContent = text.uploading(one.name, 0);
        await connection.put('/link', new Blob([`${JSON.stringify(head)}\n`, one]), (done, all) => {
          progress.textContent = text.uploading(one.name, Math.floor((100 * done) / all));
        });
        file.value = '';
      } finally {
        progress.textContent = '';
      }
    });
    const list = el('ul', { className: 'files', 'aria-live': 'polite' });
    const drawn = new Map();
    const draw = (all) => {
      for (const [key, row] of drawn) {
        if (all.some((link) => link.number === key)) continue;
        row.element.remove();
        drawn.delete(key);
      }
      for (const link of all) {
        let row = drawn.get(link.number);
        if (!row) {
          row = rowOf(app, link, run);
          drawn.set(link.number, row);
          list.prepend(row.element);
        }
        row.update(link);
      }
    };
    content.append(el('p', { className: 'note' }, text.linksNote),
      el('form', { onsubmit: (event) => { event.preventDefault(); make(); } }, field(text.linkFile, file),
        el('div', { className: 'pair' }, field(text.linkFor, times), field(text.linkUntil, seconds)),
        el('label', { className: 'check' }, anywhere, ' ', text.linkAnywhere),
        el('div', { className: 'buttons' }, button(text.linkMake, null, { type: 'submit', className: 'primary' }))),
      progress, list);
    run(async () => {
      for (let seen = 0; !signal.aborted;) {
        const answer = await connection.fetch(`/links/${seen}`, { signal }).then((response) => response.json(), (error) => {
          if (signal.aborted) return null;
          throw error;
        });
        if (!answer) return;
        seen = answer.seen;
        draw(answer.links);
      }
    })();
  });
}

function number(name, input) {
  return input.value ? { [name]: Number(input.value) } : {};
}

/** A link: what does not change, its state, and a button to end it or to remove it from the list. */
function rowOf(app, link, run) {
  const { connection } = app;
  const state = el('p', { className: 'note' });
  const code = el('div');
  const end = button('', run(() => connection.fetch(`/link/${link.number}`, { method: 'DELETE' })), { className: 'small' });
  const working = el('div', { className: 'group' },
    ...link.links.map((one) => copyable(one, text.linkOf(link.name))), code,
    el('p', { className: 'note path' }, text.linkFingerprint(link.fingerprint)),
    el('p', { className: 'note path' }, text.linkHashes(link)));
  run(async () => code.replaceChildren(await qr(connection, link.links[0]) ?? ''))();
  const element = el('li', {}, el('p', { className: 'file-name' }, `${link.name} · ${size(link.size)}`), state, working, end);
  const update = (now) => {
    working.hidden = Boolean(now.ended);
    state.textContent = text.linkState({ ...now, until: now.until && fullTime(now.until) });
    end.textContent = now.ended ? text.linkRemove : text.linkEnd;
    end.setAttribute('aria-label', `${end.textContent}: ${link.name}`);
  };
  return { element, update };
}
