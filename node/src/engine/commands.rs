//! Carries out the commands of users, or passes them to the part that does.

use std::path::PathBuf;

use hobnob_protocol::{Nickname, Ticket};
use tokio::sync::oneshot;

use super::command::{Command, NICK_SETTING};
use super::state::Engine;
use crate::api::Status;
use crate::error::NodeError;
use crate::store::StoreError;

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        // A reply fails only when the caller has stopped waiting for it.
        match command {
            Command::Status(reply) => self.read_status(self.status(), reply),
            Command::Mailbox(reply) => drop(reply.send(self.mailbox_info())),
            Command::Peers(reply) => drop(reply.send(self.all_peers())),
            Command::Peer(peer, reply) => {
                drop(reply.send(self.knows(peer).then(|| self.peer_info(peer))))
            }
            Command::Resolve { name, reply } => drop(reply.send(self.resolve(&name))),
            Command::IsKnown { peer, reply } => drop(reply.send(self.knows(peer))),
            Command::Reach {
                peer,
                addrs,
                relays,
                reply,
            } => {
                self.reach_by_relay(peer.only_device(), addrs, relays);
                let _ = reply.send(());
            }
            Command::Dial {
                addr,
                expected,
                reply,
            } => self.dial_for_user(addr, expected.map(|peer| peer.only_device()), reply),
            Command::Send {
                to,
                certain,
                client_id: None,
                body,
                reply,
            } => self.send(to, certain, body, reply),
            Command::FindTarget { id, reply } => self.find_target(id, reply),
            Command::Typing(conversation, on) => self.typing(&conversation, on),
            Command::ReadBy(id) => self.read_by_user(id),
            Command::SetStatus(away, text) => self.set_status(away, text),
            Command::Activity(reply) => drop(reply.send(self.all_activity())),
            Command::Edits { id, reply } => self.edits_of(id, reply),
            Command::Cancel { id, edits, reply } => self.cancel(id, &edits, reply),
            Command::Send {
                to,
                certain,
                client_id: Some(id),
                body,
                reply,
            } => self.send_once(id, to, certain, body, reply),
            Command::WaitFor { id, state, reply } => self.wait_for(id, state, reply),
            Command::History { query, reply } => self.read_history(query, reply),
            Command::Join { room, key, reply } => self.join(room, key, reply),
            Command::RoomTicket { room, reply } => {
                let _ = reply.send(self.room_ticket(room));
            }
            Command::Invite {
                room,
                share_relay,
                reply,
            } => drop(reply.send(self.invite(room, share_relay))),
            Command::InvitationEnd { number, reply } => self.invitation_end(number, reply),
            Command::AcceptInvitation { code, reply } => self.accept_invitation(&code, reply),
            Command::Part { room, reply } => self.part(&room, reply),
            Command::Delete {
                id,
                edits,
                here,
                yes,
                reply,
            } => self.delete(id, &edits, here, yes, reply),
            Command::Clear {
                conversation,
                yes,
                reply,
            } => self.clear(&conversation, yes, reply),
            Command::Forget(peer, reply) => {
                self.forget(peer);
                let _ = reply.send(());
            }
            Command::ForgetAddress(peer, addr, reply) => {
                let _ = reply.send(self.forget_address(peer, addr));
            }
            Command::Pins {
                conversation,
                reply,
            } => self.read_pins(&conversation, reply),
            Command::SetNotify {
                conversation,
                rule,
                reply,
            } => self.set_notify(&conversation, rule, reply),
            Command::NotifyRules(reply) => drop(reply.send(self.notify_rules())),
            Command::Keep {
                conversation,
                keep,
                reply,
            } => self.keep_for(&conversation, keep, reply),
            Command::KeepTimes(reply) => drop(reply.send(self.keep_times())),
            Command::Configure { config, reply } => {
                self.configure(*config);
                let _ = reply.send(());
            }
            Command::SetNick { nick, reply } => {
                self.set_nick(nick);
                let _ = reply.send(());
            }
            Command::SetPicture { picture, reply } => self.set_picture(picture, reply),
            Command::Picture { of, reply } => self.read_picture(of, reply),
            Command::ChangePolicy {
                peer,
                change,
                reply,
            } => self.change_policy(peer, change, reply),
            Command::DialBack { again, reply } => {
                self.request_dial_backs(again);
                let _ = reply.send(());
            }
            Command::AskDialBackSockets(reply) => drop(reply.send(self.ask_dial_back_sockets())),
            Command::Ping(peer, reply) => {
                self.sessions
                    .ping(peer.only_device(), reply, self.clock.now())
            }
            Command::Evidence(reply) => drop(reply.send(self.evidence())),
            Command::PeerEvidence(peer, reply) => drop(reply.send(self.peer_evidence(peer))),
            Command::Introduce(ends, reply) => self.introduce(ends, reply),
            Command::BeginExport(peer, frames, reply) => self.begin_export(peer, frames, reply),
            Command::ExportWritten(session, stream, bytes) => {
                self.export_written(session, stream, bytes);
            }
            Command::BeginImport(peer, reply) => self.begin_import(peer, reply),
            Command::Import(session, frames, reply) => self.import(session, frames, reply),
            Command::EndImport(session, reply) => self.end_import(session, reply),
            Command::OwnKey(reply) => drop(reply.send(self.mail.key())),
            Command::ReportBackup(fault, reply) => {
                self.reports.backup(fault);
                let _ = reply.send(());
            }
            Command::LendRelay(relay, reply) => {
                self.lend_relay(relay);
                let _ = reply.send(());
            }
            Command::CheckDatabase(reply) => self.check_database(reply),
            Command::CopyDatabase(file, reply) => self.copy_database(file, reply),
            Command::Shutdown(reply) => self.begin_stop(reply),
        }
    }

    fn status(&self) -> Status {
        let addrs = self.reachable_addrs();
        let ticket = Ticket {
            id: self.me,
            addrs: addrs.iter().map(|addr| (*addr).into()).collect(),
            relays: self.relays.addrs(),
        };
        let (nick, notices) = (self.peers.own().clone(), self.reports.recent());
        let (rooms, relays) = (self.room_infos(), self.relay_infos());
        Status {
            id: self.me,
            nick,
            picture: self.own.picture(),
            addrs,
            ticket,
            rooms,
            relays,
            notices,
        }
    }

    fn check_database(&self, reply: oneshot::Sender<()>) {
        let checked = self.store.check();
        self.tasks.spawn(async move {
            // The store notes what it finds.
            let _ = checked.await;
            let _ = reply.send(());
        });
    }

    fn copy_database(&self, file: PathBuf, reply: oneshot::Sender<Result<(), NodeError>>) {
        let copied = self.store.copy_into(file);
        self.tasks.spawn(async move {
            let copied = copied.await.unwrap_or(Err(StoreError::Closed));
            let _ = reply.send(copied.map_err(|error| NodeError::Store(error.to_string())));
        });
    }

    fn set_nick(&mut self, nick: Nickname) {
        self.store.set_setting(NICK_SETTING, nick.as_str());
        let before = self.peers.own().clone();
        self.own.set_nick(nick.clone(), self.clock.now().wall_ms);
        self.store_own_records();
        self.mentions_have_nick(&nick);
        self.peers.set_own(nick);
        self.note_renamed(self.me, Some(before));
        self.send_profile_to_all();
    }
}
