// The tokens of programs and pages, and the password of IRC clients.
import { ask, copyable, open } from './dialogs.js';
import { el, button, field, select } from './dom.js';
import { fullTime } from './format.js';
import { text } from './strings.js';

export function programs(app) {
  open(text.programs, (content, { run }) => content.append(...tokens(app, run), ...irc(app, run)));
}

function tokens({ connection }, run) {
  const list = el('ul', { className: 'lines' });
  const read = async () => {
    const { tokens: all, own } = await (await connection.fetch('/tokens')).json();
    list.replaceChildren(...all.map((token) => el('li', {}, `${words(token, own)} `, token.name !== own && button(text.revoke, run(async () => {
      if (!await ask(text.revokeSure(token.name))) return;
      await connection.fetch(`/tokens/${encodeURIComponent(token.name)}`, { method: 'DELETE' });
      await read();
    }), { className: 'small', 'aria-label': text.revokeOf(token.name) }))));
  };
  const name = el('input', { required: true, maxLength: 64, autocomplete: 'off' });
  const rights = text.tokenRights.map(([right, label]) => [right, label, el('input', { type: 'checkbox', checked: right !== 'manage' })]);
  const time = select(text.tokenTimes);
  const secret = el('div', { 'aria-live': 'polite' });
  const create = run(async () => {
    const fields = {
      name: name.value.trim(), rights: rights.filter(([,, input]) => input.checked).map(([right]) => right),
      ...(time.value ? { seconds: Number(time.value) } : {}),
    };
    const response = await connection.fetch('/tokens', { method: 'POST', body: JSON.stringify(fields) });
    secret.replaceChildren(copyable(await response.json(), text.tokenSecret(fields.name)));
    name.value = '';
    await read();
  });
  run(read)();
  return [
    el('h3', {}, text.tokens), el('p', { className: 'note' }, text.tokensNote(location.host)), list,
    el('form', { onsubmit: (event) => { event.preventDefault(); create(); } }, field(text.tokenName, name),
      el('fieldset', {}, el('legend', {}, text.tokenMay), ...rights.map(([, label, input]) => el('label', { className: 'check' }, input, ' ', label))),
      field(text.tokenUntil, time), el('div', { className: 'buttons' }, button(text.tokenCreate, null, { type: 'submit', className: 'primary' }))),
    secret,
  ];
}

function words(token, own) {
  const until = token.expires ? text.expires(fullTime(token.expires)) : text.expiresNever;
  if (token.page) return token.name === own ? text.thisPage(until) : text.otherPage(token.name, until);
  return text.token(token.name, text.tokenRights.filter(([right]) => token.rights.includes(right)).map(([right]) => right).join(', '), until);
}

function irc({ connection }, run) {
  const shown = el('div', { 'aria-live': 'polite' });
  const show = (method) => async () => {
    const response = await connection.fetch('/irc-password', { method });
    shown.replaceChildren(copyable(await response.json(), text.ircPassword));
  };
  return [
    el('h3', {}, text.irc), el('p', { className: 'note' }, text.ircNote),
    el('div', { className: 'buttons' }, button(text.ircShow, run(show('GET'))), button(text.ircNew, run(async () => {
      if (await ask(text.ircNewSure)) await show('POST')();
    }))),
    shown,
  ];
}
