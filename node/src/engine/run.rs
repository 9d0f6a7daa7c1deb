//! The engine's loop. It waits for inputs, passes them to the parts, and carries out what the parts
//! decide.

use std::time::Duration;

use hobnob_core::{paths, rendezvous, replica};
use tokio::sync::oneshot;

use super::internal::Internal;
use super::state::Engine;
use crate::api::Event;

/// Commands or events that are handled before outputs are carried out.
const BURST_MAX: usize = 256;

impl Engine {
    pub(crate) async fn run(mut self) {
        let addrs = self.network.listening_addrs();
        self.reports.event(Event::Listening {
            peer: self.me,
            addrs,
        });
        let mut session_events = Vec::with_capacity(BURST_MAX);
        let mut commands = Vec::with_capacity(BURST_MAX);
        let mut internal = Vec::with_capacity(BURST_MAX);
        let mut is_busy = false;
        self.carry_out();
        while !self.is_done() {
            // Tasks that send many messages get their turn first, so that one turn of this loop, one
            // batch and one commit take the messages of all of them.
            if is_busy {
                tokio::task::yield_now().await;
            }
            let wake = self.next_timeout().map(|mono| self.clock.at(mono));
            let stopping = self.lifecycle.is_stopping();
            tokio::select! {
                _ = self.queues.sessions.recv_many(&mut session_events, BURST_MAX) => {}
                _ = self.queues.internal.recv_many(&mut internal, BURST_MAX) => {}
                n = self.queues.commands.recv_many(&mut commands, BURST_MAX), if !stopping => {
                    if n == 0 {
                        // Every handle was dropped: no command can arrive any more.
                        self.begin_stop(oneshot::channel().0);
                    }
                }
                (relay, event) = self.relays.next() => self.relay_event(relay, event),
                Some(datagram) = self.queues.side_datagrams.recv() => self.side_datagram(datagram),
                Some(accepted) = self.queues.accepted.recv() => self.greet_accepted(accepted),
                event = self.discovery.next() => self.record_event(event),
                interfaces = self.network.changed() => self.network_changed(interfaces),
                () = sleep_until(wake) => {}
            }
            is_busy = !commands.is_empty();
            session_events
                .drain(..)
                .for_each(|event| self.session_event(event));
            internal.drain(..).for_each(|event| self.internal(event));
            commands.drain(..).for_each(|command| self.command(command));
            self.time_out();
            self.carry_out();
            self.advance_mail();
            self.carry_out();
            self.end_exports();
            self.carry_out();
        }
        self.end().await;
    }

    fn is_done(&self) -> bool {
        let commits = self.replica.commits_under_way();
        self.lifecycle.is_done(commits, self.clock.now().mono)
    }

    fn next_timeout(&self) -> Option<Duration> {
        [
            self.replica.poll_timeout(),
            self.sessions.poll_timeout(),
            self.paths.poll_timeout(),
            self.address_checks.poll_timeout(),
            self.rendezvous.poll_timeout(),
            self.discovery.poll_timeout(),
            self.restored.poll_timeout(),
            self.records.poll_timeout(),
            self.profile_pictures.poll_timeout(),
            self.mail.poll_timeout(),
            self.inviting.poll_timeout(),
            self.lending.poll_timeout(),
            Some(self.network.poll_timeout()),
            self.lifecycle.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn time_out(&mut self) {
        let now = self.clock.now();
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now.mono);
        if is_due(self.replica.poll_timeout()) {
            self.replica.handle(now, replica::Input::Timeout);
        }
        self.sessions.time_out(now);
        if self.sessions.traffic_is_due(now.mono) {
            self.watch_sessions();
        }
        if is_due(self.paths.poll_timeout()) {
            self.paths.handle(now, paths::Input::Timeout);
        }
        if is_due(self.address_checks.poll_timeout()) {
            self.address_checks.time_out(now);
        }
        if is_due(self.rendezvous.poll_timeout()) {
            self.rendezvous.handle(now, rendezvous::Input::Timeout);
        }
        if is_due(self.discovery.poll_timeout()) {
            self.start_discovery();
        }
        if is_due(self.restored.poll_timeout()) {
            self.report_restored();
        }
        if is_due(self.records.poll_timeout()) {
            self.request_due_records();
        }
        if self.profile_pictures.take_due(now.mono) {
            self.request_pictures_of_all();
        }
        if is_due(self.mail.poll_timeout()) {
            self.mail_time_out();
        }
        if is_due(self.inviting.poll_timeout()) {
            self.invitations_time_out();
        }
        if is_due(self.lending.poll_timeout()) {
            self.choose_lent_relays();
        }
        self.report_offline();
        if self.store.is_damaged() {
            self.reports.damaged();
        }
        self.network.time_out(now.mono);
    }

    /// Carries out what the state machines decided, until none has an output left. Carrying out one
    /// output may lead to others.
    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.sessions.poll_output() {
                self.presence_output(output);
            } else if let Some(output) = self.paths.poll_output() {
                self.paths_output(output);
            } else if let Some(output) = self.address_checks.poll_output() {
                self.address_checks_output(output);
            } else if let Some(output) = self.rendezvous.poll_output() {
                self.rendezvous_output(output);
            } else if let Some(output) = self.replica.poll_output() {
                self.replica_output(output);
            } else {
                return;
            }
        }
    }

    fn internal(&mut self, event: Internal) {
        match event {
            Internal::Transfers(request) => self.transfers_request(request),
            Internal::Stored(commit, Ok(())) => {
                self.reports.store_recovered();
                self.tell_replica(replica::Input::Committed(commit));
            }
            Internal::Stored(commit, Err(error)) => {
                self.reports.store_failed(&error);
                self.tell_replica(replica::Input::CommitFailed(commit, error.to_string()));
            }
            Internal::Read(session, name, batches) => {
                let error = batches.as_ref().err().map(String::as_str);
                self.carried.was_read(session, error);
                self.tell_replica(replica::Input::Read(session, name, batches));
            }
            Internal::NewcomerCut(session, conversation, cut) => {
                self.tell_replica(replica::Input::NewcomerCut(session, conversation, cut));
            }
            Internal::History(read) => self.history_read(read),
            Internal::Named(read) => self.named_read(read),
            Internal::PictureRead(session, picture, bytes) => {
                self.send_picture(session, picture, bytes);
            }
            Internal::PictureStored(picture, stored, reply) => {
                self.picture_stored(picture, stored, reply);
            }
            Internal::Older(conversation, older) => self.erase_older(conversation, older),
            Internal::RetentionIsDue => self.retain_all(),
            Internal::ScrubIsDue => self.scrub(),
            Internal::Met(met) => self.met(met),
            Internal::WrongPeer {
                addr,
                expected,
                found,
            } => self.wrong_peer(addr, expected, found),
            Internal::DialedBack(session, token) => self.dialed_back(session, token),
            Internal::RefusedBy(peer, reason) => self.refused_by(peer.person(), reason),
            Internal::DialFailed(peer) => self.dial_failed(peer),
            Internal::OpenAgain { addr, reply } => {
                if let Some(opening) = self.open_channel_to(addr) {
                    let _ = reply.send(opening);
                }
            }
            Internal::PortMapping(answer) => self.router_answered(answer),
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
