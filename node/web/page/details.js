// Details of a conversation.
import { ask, copyable, doctor, list, open, qr } from './dialogs.js';
import { el, button, field } from './dom.js';
import { save, saveButtons } from './files.js';
import { shortTime } from './format.js';
import { plain } from './message.js';
import { mailLines } from './node.js';
import { text } from './strings.js';

/** Details of a conversation, and what the user can do with it. */
export function details(app, conversation) {
  const { model, connection } = app;
  open(model.title(conversation), (content, { close, run, follow }) => {
    const done = (work) => run(async () => { await work(); await model.readStatus(); close(); });
    const target = conversation.id.slice(1);
    const of = conversation.isRoom ? { room: conversation.id } : { target };
    const buttons = el('div', { className: 'stack' });
    const offer = (label, work, properties) => buttons.append(button(label, work, properties));
    const erase = (cmd, question) => async () => {
      if (!await ask(question)) return;
      await app.erase(cmd, of);
    };
    if (conversation.isRoom) {
      const room = model.rooms.get(conversation.id);
      content.append(el('p', {}, room?.open === false ? text.roomSecret : text.roomOpen));
      if (room?.fingerprint) content.append(el('p', {}, text.fingerprint(room.fingerprint)));
      const members = el('ul');
      const listMembers = () => members.replaceChildren(...(model.rooms.get(conversation.id)?.here ?? []).map((peer) => el('li', {}, peer === model.me ? model.name(peer)
        : button(model.name(peer), () => { close(); app.openConversation(`@${peer}`); }, { className: 'small' }))));
      listMembers();
      follow(model, 'lists', listMembers);
      content.append(el('h3', {}, text.members), members);
      if (room?.open === false) {
        const ticket = el('div');
        offer(text.ticket, run(async () => {
          const answer = await connection.ask('room_ticket', of);
          ticket.replaceChildren(copyable(answer.ticket, text.ticketNote), await qr(connection, answer.ticket) ?? '');
        }));
        content.append(ticket);
      }
      offer(text.part, done(async () => {
        await connection.ask('part', of);
        app.leave(conversation);
      }));
    } else {
      const peer = model.peers.get(target) ?? {};
      content.append(el('div', { className: 'portrait' }, app.avatars.of(target)));
      const known = content.appendChild(el('div'));
      const listKnown = () => known.replaceChildren(about(model, target));
      listKnown();
      follow(model, 'lists', listKnown);
      const mail = content.appendChild(el('ul', { className: 'lines' }));
      run(async () => mail.replaceChildren(...mailLines(await connection.ask('mailbox'), model, target).map((line) => el('li', {}, line))))();
      const policy = (label, cmd) => offer(label, done(async () => model.setPeer(await connection.ask(cmd, { target }))));
      if (!peer.contact) policy(text.acceptContact, 'accept-contact');
      else policy(text.removeContact, 'remove-contact');
      policy(...(peer.ignored ? [text.unignore, 'unignore'] : [text.ignore, 'ignore']));
      policy(...(peer.blocked ? [text.unblock, 'unblock'] : [text.block, 'block']));
      if (peer.addr) offer(text.forgetAddress, done(() => connection.ask('forget', { target, address: peer.addr })));
      const exported = el('p', { role: 'status' });
      offer(text.exportFor, run(async () => {
        exported.textContent = text.exporting;
        try {
          const response = await connection.fetch(`/export/${target}`, { method: 'POST' });
          const count = Number(response.headers.get('hobnob-messages'));
          await save(response, `${model.title(conversation)}.hobnob`);
          exported.textContent = text.exported(count, model.title(conversation));
        } catch (error) {
          exported.textContent = '';
          throw error;
        }
      }));
      content.append(exported);
      offer(text.kick, done(() => connection.ask('kick', { target })));
      offer(text.why, () => doctor(app, target));
      const others = [...model.peers.values()].filter((other) => other.contact && other.peer !== target);
      if (peer.contact && others.length) {
        const other = el('select', {}, others.map((it) => el('option', { value: it.peer }, it.name)));
        const introduce = done(() => connection.ask('introduce', { target, other: other.value }));
        content.append(el('form', { onsubmit: (event) => { event.preventDefault(); introduce(); } },
          field(text.introduceTo, other), button(text.introduce, null, { type: 'submit' })));
      }
      const number = el('div', { 'aria-live': 'polite' });
      offer(text.verify, run(async () => {
        const answer = await connection.ask('verify', { target });
        const confirm = !answer.peer.verified || answer.peer.by_code === true;
        number.replaceChildren(el('p', {}, text.verifyNote), el('p', { className: 'big' }, answer.safety_number),
          button(confirm ? text.verifyYes : text.verifyNo, done(async () => {
            const { peer } = await connection.ask('verify', { target, confirm });
            model.setPeer(peer);
          })));
      }));
      content.append(number);
    }
    const keep = el('select');
    const showKeep = async () => {
      const { times, default_seconds: others } = await connection.ask('keep-times');
      const own = times.find((one) => one.conversation === conversation.id);
      const value = own ? String(own.seconds ?? 'forever') : '';
      const choices = [...(own ? [] : [['', text.keepDefault(text.span(others))]]), ...text.keepTimes];
      if (!choices.some(([other]) => other === value)) choices.push([value, text.span(own.seconds)]);
      keep.replaceChildren(...choices.map(([other, label]) => el('option', { value: other, selected: other === value }, label)));
    };
    keep.onchange = run(async () => {
      if (!keep.value) return;
      await connection.ask('keep', keep.value === 'forever' ? of : { ...of, seconds: Number(keep.value) });
      await showKeep();
    });
    run(showKeep)();
    const notify = el('select', { onchange: run(() => model.setRule(conversation.id, notify.value)) },
      text.notifyRules.map(([value, label]) => el('option', { value }, label)));
    notify.value = model.rules.get(conversation.id) ?? '';
    const pinned = el('ul', { className: 'results' });
    const pinnedHeading = el('h3', { hidden: true }, text.pinned);
    const listPins = run(async () => {
      const { messages } = await connection.ask('pins', { conversation: conversation.id });
      pinnedHeading.hidden = !messages.length;
      pinned.replaceChildren(...messages.map((message) => el('li', {},
        button(`${message.nick} · ${shortTime(message.sent_at)}: ${plain(message)}`, () => { close(); app.show(message); }), ' ',
        button(text.unpin, run(async () => { await connection.ask('pin', { message: message.id, off: true, wait: 'queued' }); await listPins(); })))));
    });
    listPins();
    follow(model, 'arrived', ({ detail }) => detail.message.pin && detail.conversation === conversation && listPins());
    content.append(pinnedHeading, pinned);
    if (conversation.isRoom) {
      const newest = () => model.rooms.get(conversation.id)?.topic?.text ?? '';
      let shown = newest();
      const topic = el('input', { value: shown, maxLength: 512 });
      follow(model, 'lists', () => {
        // What the user is typing stays.
        if (topic.value === shown) topic.value = newest();
        shown = newest();
      });
      const set = done(() => connection.ask('topic', { room: conversation.id, topic: topic.value.trim(), wait: 'queued' }));
      content.append(el('form', { onsubmit: (event) => { event.preventDefault(); set(); } }, field(text.topic, topic), button(text.save, null, { type: 'submit' })));
    }
    content.append(buttons, field(text.notifyAbout, notify), field(text.keep, keep));
    const name = model.title(conversation);
    buttons.append(...saveButtons(app, conversation, run));
    offer(text.clear, done(erase('clear', text.clearSure(name))), { className: 'danger' });
    if (!conversation.isRoom) {
      offer(text.forget, done(async () => {
        await erase('forget', text.forgetSure(name))();
        app.leave(conversation);
      }), { className: 'danger' });
    }
  });
}

/** What is known of a peer. */
function about(model, target) {
  const peer = model.peers.get(target) ?? {};
  const state = [text[peer.state ?? 'offline'], text.path[peer.path]].filter(Boolean).join(', ');
  return list([
    [text.stateName, state], [text.statusText, peer.away && text.away(peer.status)], [text.address, peer.addr],
    [text.roundTrip, peer.rtt_ms && text.milliseconds(peer.rtt_ms)], [text.formerName, peer.formerly],
    [text.trust, [peer.contact ? text.isContact : text.isStranger, peer.verified && (peer.by_code ? text.verifiedByCode : text.verified), peer.ignored && text.ignored, peer.blocked && text.blocked].filter(Boolean).join(', ')],
    [text.id, el('span', { className: 'path' }, target)],
  ]);
}
