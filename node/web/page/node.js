// This node: its addresses and relays, mail that is held, messages that are carried by hand, and backups.
import { el, button, field } from './dom.js';
import { open, list } from './dialogs.js';
import { save, saveButtons } from './files.js';
import { fullTime, size } from './format.js';
import { text } from './strings.js';

export function thisNode(app) {
  const { connection, model } = app;
  open(text.thisNode, (content, { run }) => {
    const about = el('div', { className: 'group' });
    const mail = el('ul', { className: 'lines' });
    const readAbout = run(async () => {
      await model.readStatus();
      const { version } = await connection.ask('ping');
      const { status } = model;
      about.replaceChildren(list([
        [text.nickShort, status.nick], [text.version, version], [text.myId, status.peer],
        [text.addresses, status.addrs.join(', ') || text.none],
      ]), el('h3', {}, text.relays), status.relays.length
        ? el('ul', { className: 'lines' }, status.relays.map((relay) => el('li', {}, text.relay(relay))))
        : el('p', { className: 'note' }, text.noRelays));
    });
    const readMail = run(async () => mail.replaceChildren(
      ...mailLines(await connection.ask('mailbox'), model).map((line) => el('li', {}, line))));
    content.append(about, el('h3', {}, text.mailbox), mail);
    if (model.rights.includes('manage')) content.append(carried(app, run), backup(app, run), lock(app, run));
    content.append(el('h3', {}, text.saveMessages), el('p', { className: 'note' }, text.saveNote), el('div', { className: 'buttons' },
      saveButtons(app, null, run)));
    readAbout();
    readMail();
  });
}

/** Who holds mail for whom, a line each. */
export function mailLines({ held_by: heldBy, deposited, holding }, model, only) {
  const name = (id) => (model.peers.has(id) ? model.name(id) : id.slice(0, 8));
  const time = (at) => (at ? fullTime(at) : null);
  const forPeers = deposited.filter(({ peer }) => !only || peer === only).map((one) => text.deposited({
    name: one.name, messages: one.messages, files: one.files_waiting, holder: one.holder && name(one.holder), at: time(one.at), refused: one.refused,
  }));
  if (only) return forPeers;
  const forMe = heldBy.map((holder) => text.holder({
    name: holder.at ?? holder.name ?? holder.id.slice(0, 8), up: holder.up, envelopes: holder.envelopes,
    bytes: size(holder.bytes), since: time(holder.since), fetchedAt: time(holder.fetched_at), fetched: holder.fetched,
  }));
  const mine = holding ? [text.holding({ recipients: holding.recipients, envelopes: holding.envelopes, bytes: size(holding.bytes), most: size(holding.bytes_max) })] : [];
  return [...(forMe.length ? forMe : [text.noHolder]), ...forPeers, ...mine];
}

/** A file that somebody has carried here. */
function carried(app, run) {
  const result = el('p', { role: 'status' });
  const choose = el('input', { type: 'file' });
  choose.onchange = run(async () => {
    result.textContent = text.importing;
    try {
      const response = await app.connection.fetch('/import', { method: 'PUT', body: choose.files[0] });
      const { from, messages, delivered, refused } = await response.json();
      result.textContent = text.imported({ name: app.model.name(from), messages, delivered, refused });
    } catch (error) {
      result.textContent = '';
      throw error;
    } finally {
      choose.value = '';
    }
  });
  return el('div', { className: 'group' }, el('h3', {}, text.carried), el('p', { className: 'note' }, text.carriedNote), field(text.importFile, choose), result);
}

function backup(app, run) {
  const [first, again] = [1, 2].map(() => el('input', { type: 'password', required: true, autocomplete: 'new-password' }));
  const done = el('p', { role: 'status' });
  const make = run(async () => {
    done.textContent = '';
    if (first.value !== again.value) throw new Error(text.passphrasesDiffer);
    done.textContent = text.backingUp;
    try {
      const response = await app.connection.fetch('/backup', { method: 'POST', body: first.value });
      await save(response, `hobnob-${new Date().toISOString().slice(0, 10)}.age`);
      done.textContent = text.backedUp;
      first.value = again.value = '';
    } catch (error) {
      done.textContent = '';
      throw error;
    }
  });
  return el('form', { className: 'group', onsubmit: (event) => { event.preventDefault(); make(); } },
    el('h3', {}, text.backup), el('p', { className: 'note' }, text.backupNote),
    field(text.backupPassphrase, first), field(text.backupAgain, again), button(text.backupMake, null, { type: 'submit' }), done,
    el('p', { className: 'note' }, text.restoreNote));
}

/** How the home is locked, and a form for another passphrase. */
function lock(app, run) {
  const about = el('p', { className: 'note' });
  const group = el('div', { className: 'group' }, el('h3', {}, text.lock), about);
  run(async () => {
    const state = await (await app.connection.fetch('/lock')).json();
    about.textContent = state ? text.locked(state) : text.notLocked;
    if (state) group.append(passphrase(app, run, state));
  })();
  return group;
}

function passphrase(app, run, { keyring }) {
  const input = (autocomplete) => el('input', { type: 'password', required: true, autocomplete });
  const [old, first, again] = [input('current-password'), input('new-password'), input('new-password')];
  const done = el('p', { role: 'status' });
  const change = run(async () => {
    done.textContent = '';
    if (first.value !== again.value) throw new Error(text.passphrasesDiffer);
    const body = JSON.stringify({ old: keyring ? '' : old.value, new: first.value });
    await app.connection.fetch('/passphrase', { method: 'PUT', body });
    done.textContent = text.passphraseChanged;
    old.value = first.value = again.value = '';
  });
  return el('form', { onsubmit: (event) => { event.preventDefault(); change(); } },
    !keyring && field(text.passphraseOld, old), field(text.passphraseNew, first), field(text.backupAgain, again),
    button(text.passphraseChange, null, { type: 'submit' }), done);
}
