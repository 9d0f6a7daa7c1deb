// The row of one message.
import { el, button, iconButton } from './dom.js';
import { fullTime, shortTime, size } from './format.js';
import { marked } from './markup.js';
import { text } from './strings.js';

/** `act` carries out what the user asks for: an object of functions. */
export function messageRow(model, message, act) {
  if (message.renamed) return renamedRow(message);
  const own = message.from === model.me;
  // The name of its time.
  const author = own ? text.you : message.nick;
  const row = el('article', {
    className: `message${own ? ' own' : ''}${message.mention ? ' mention' : ''}`,
    tabIndex: -1,
    'aria-label': summary(author, message),
  });
  row.dataset.id = message.id;
  if (model.isFirstUnread(message)) row.append(el('p', { className: 'new' }, text.newMessages));
  row.append(
    el('div', { className: 'about' },
      act.avatar(message.from),
      el('span', { className: 'author' }, author),
      el('time', { dateTime: message.sent_at }, shortTime(message.sent_at)),
      message.edited && el('span', { className: 'note', title: message.edited.earlier.join('\n') }, text.edited),
      own && message.state && state(model, message)),
    ...quote(model, message),
    body(model, message, act),
    ...reactions(model, message, act),
  );
  return row;
}

/** Adds to a row what takes no space: the buttons that show when it is used, and the full time as a tip. */
export function finishRow(model, message, row, act) {
  if (message.renamed) return;
  row.querySelector('time').title = fullTime(message.sent_at);
  row.append(tools(model, message, message.from === model.me, act));
}

/** A line that says that somebody has another name now. */
function renamedRow(message) {
  const row = el('article', { className: 'message', tabIndex: -1 }, el('p', { className: 'text note' }, plain(message)));
  row.dataset.id = message.id;
  return row;
}

function summary(author, message) {
  return `${author}, ${shortTime(message.sent_at)}: ${plain(message)}`;
}

const ACTION = '/me ';

/** What somebody does, such as "* ann waves", or the text as it is. */
export function spoken(author, value) {
  return value.startsWith(ACTION) ? `* ${author} ${value.slice(ACTION.length)}` : value;
}

/** The content in words. */
export function plain(message) {
  if (message.renamed) return text.renamed(...message.renamed);
  if (message.erased) return text[message.erased];
  if (message.file) return message.file.name;
  if (message.kind) return text.appMessage(message.kind);
  if (message.topic !== undefined) return message.topic ? text.setsTopic(message.topic) : text.removesTopic;
  if (message.pin) return message.pin.on ? text.pins : text.unpins;
  return message.text === undefined ? text.unknownBody : spoken(message.nick, message.text);
}

function state(model, message) {
  const reached = model.isRead(message) ? 'read' : message.state;
  const words = message.reason ? `${text.state[reached]}: ${message.reason}` : text.state[reached];
  return el('span', { className: `state ${reached}`, role: 'img', 'aria-label': words, title: words }, text.stateMark[reached]);
}

function quote(model, message) {
  const to = message.reply_to;
  if (!to) return [];
  // The name of the reply's time.
  const name = to.from === model.me ? text.you : to.nick;
  return [el('blockquote', {}, el('span', { className: 'author' }, text.repliesTo(name)), ' ', to.text ?? '')];
}

function body(model, message, act) {
  if (message.file) return fileCard(model, message, act);
  if (message.text !== undefined && !message.erased) return el('p', { className: 'text', dir: 'auto' }, marked(spoken(message.nick, message.text)));
  return el('p', { className: 'text note' }, plain(message));
}

function reactions(model, message, act) {
  if (!message.reactions?.length) return [];
  const chips = message.reactions.map(({ emoji, by }) => {
    const mine = by.some(({ peer }) => peer === model.me);
    const names = by.map(({ peer, nick }) => (peer === model.me ? text.you : nick)).join(', ');
    return button(`${emoji} ${by.length}`, () => act.react(message, emoji, mine), {
      className: 'chip', 'aria-pressed': String(mine), 'aria-label': text.reacted(emoji, names), title: names,
    });
  });
  return [el('div', { className: 'reactions' }, chips)];
}

function tools(model, message, own, act) {
  if (message.erased) return el('div', { className: 'tools' }, iconButton('info', text.info, () => act.info(message)), iconButton('remove', text.remove, () => act.remove(message)));
  const inThread = message.reply_to || model.conversations.get(message.conversation)?.replied.has(message.id);
  return el('div', { className: 'tools', role: 'group', 'aria-label': text.actions },
    iconButton('reply', text.reply, () => act.reply(message)),
    inThread && iconButton('thread', text.thread, () => act.thread(message)),
    iconButton('react', text.react, (event) => act.chooseReaction(message, event.currentTarget)),
    message.topic === undefined && !message.pin && iconButton('pin', text.pin, () => act.pin(message)),
    own && message.text !== undefined && iconButton('edit', text.edit, () => act.edit(message)),
    iconButton('info', text.info, () => act.info(message)),
    iconButton('remove', text.remove, () => act.remove(message)));
}

/** An offer, its progress, and what the user can do with it. */
export function fileCard(model, message, act) {
  const offer = message.file;
  const known = model.files.get(message.id);
  const state = known?.state ?? 'offered';
  const own = message.from === model.me;
  const card = el('div', { className: 'file' },
    el('div', { className: 'file-name' }, offer.name),
    el('div', { className: 'note' },
      [size(offer.size), offer.files ? text.files(offer.files) : null, known?.why ?? text.file[state],
        known?.left_s !== undefined ? text.left(known.left_s) : null].filter(Boolean).join(' · ')));
  if (offer.caption) card.append(el('p', { className: 'text', dir: 'auto' }, marked(offer.caption)));
  if (known && state === 'moving') {
    card.append(el('progress', { max: offer.size || 1, value: known.bytes, 'aria-label': text.progress(size(known.bytes), size(offer.size)) }));
  }
  if (known?.saved && !own) card.append(el('div', { className: 'note path' }, text.savedAt(known.saved)));
  const here = own || state === 'done';
  const buttons = el('div', { className: 'buttons' });
  if (!own && ['offered', 'failed', 'declined'].includes(state)) buttons.append(button(text.accept, () => act.accept(message), { className: 'primary' }));
  if (state === 'moving') buttons.append(button(text.pause, () => act.pause(message)));
  if (state === 'paused') buttons.append(button(text.resume, () => act.accept(message), { className: 'primary' }));
  if (!own && ['offered', 'waiting', 'moving', 'paused'].includes(state)) buttons.append(button(text.decline, () => act.decline(message)));
  if (own && ['offered', 'moving', 'paused', 'done'].includes(state)) buttons.append(button(text.withdraw, () => act.decline(message)));
  if (here && !offer.files) buttons.append(button(text.download, () => act.download(message)));
  card.append(buttons);
  if (here && known?.picture) {
    const ready = act.picture(message);
    if (ready) card.append(el('img', { className: 'preview', src: ready, alt: text.previewOf(offer.name) }));
    else if (own || act.showsPictureOf(message.from)) act.loadPicture(message);
    else buttons.append(button(text.preview, () => act.loadPicture(message)));
  }
  return card;
}
