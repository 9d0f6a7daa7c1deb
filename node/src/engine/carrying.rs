//! Carries out sessions by file: begins and ends them, and passes their frames on.

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::replica::{self, Refusal};
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::{Frame, PersonId};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::carried::{Begun, FILES_MAX, ForFile, Taken};
use super::state::Engine;
use crate::error::CarryError;
use crate::net::session::StreamKind;

impl Engine {
    /// Sends the frames for this peer to the channel, which ends after the last one.
    pub(super) fn begin_export(
        &mut self,
        peer: PersonId,
        frames: mpsc::UnboundedSender<ForFile>,
        reply: oneshot::Sender<Result<Begun, CarryError>>,
    ) {
        let begun = match self.may_carry(peer) {
            Ok(begun) => begun,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let id = begun.session;
        self.carried.begin_export(id, frames);
        let _ = reply.send(Ok(begun));
        self.session_by_file(id, peer, true);
    }

    /// Bytes are in the file.
    pub(super) fn export_written(&mut self, id: SessionId, stream: StreamKind, bytes: usize) {
        // The writer may learn late that the export has ended.
        if self.carried.written(id, bytes) {
            self.bytes_by_file(id, stream, bytes);
        }
    }

    fn bytes_by_file(&mut self, id: SessionId, stream: StreamKind, bytes: usize) {
        self.tell_replica(match stream {
            StreamKind::Control => replica::Input::FramesWritten(id, bytes),
            StreamKind::Batch => replica::Input::BatchesWritten(id, bytes),
        });
    }

    /// The replica has a frame for a session by file.
    pub(super) fn carry_out_frame(&mut self, id: SessionId, stream: StreamKind, frame: Bytes) {
        let written = self.carried.send(id, stream, frame);
        if written > 0 {
            self.bytes_by_file(id, stream, written);
        }
    }

    /// The replica has finished batches of a session by file.
    pub(super) fn carried_released(&mut self, id: SessionId, batches: usize) {
        self.carried.release(id, batches);
    }

    /// The replica has refused a part of a file.
    pub(super) fn carried_refused(&mut self, id: SessionId, refusal: &Refusal) {
        self.carried.refused(id, refusal);
    }

    /// Ends the exports that are complete.
    pub(super) fn end_exports(&mut self) {
        for id in self.carried.ended() {
            self.carried.end_export(id);
            self.end_session_by_file(id);
        }
    }

    /// From now on, frames of this peer are judged that come from a file.
    pub(super) fn begin_import(
        &mut self,
        peer: PersonId,
        reply: oneshot::Sender<Result<SessionId, CarryError>>,
    ) {
        let id = match self.may_carry(peer) {
            Ok(begun) => begun.session,
            Err(error) => return drop(reply.send(Err(error))),
        };
        self.carried.begin_import(id, peer.only_device());
        self.session_by_file(id, peer, false);
        let _ = reply.send(Ok(id));
    }

    /// Judges frames of a file. The reply comes when everything is on disk.
    pub(super) fn import(&mut self, id: SessionId, frames: Vec<Frame>, reply: oneshot::Sender<()>) {
        let batches = frames.iter().filter(|it| matches!(it, Frame::Batch(_)));
        if !self.carried.expect(id, batches.count(), reply) {
            return;
        }
        for frame in frames {
            let input = if let Frame::Batch(batch) = frame {
                replica::Input::Batch(id, batch)
            } else {
                replica::Input::Frame(id, frame)
            };
            self.tell_replica(input);
        }
    }

    /// The file has ended.
    pub(super) fn end_import(&mut self, id: SessionId, reply: oneshot::Sender<Taken>) {
        if let Some(taken) = self.carried.end_import(id) {
            self.end_session_by_file(id);
            let _ = reply.send(taken);
        }
    }

    fn may_carry(&mut self, peer: PersonId) -> Result<Begun, CarryError> {
        if peer == self.me {
            return Err(CarryError::Myself);
        }
        if let Some(reason) = self.policy.denies(peer, self.clock.now()) {
            debug!(?peer, ?reason, "no session by file");
            return Err(CarryError::Denied(self.peers.name(peer)));
        }
        if !self.carried.has_room() {
            return Err(CarryError::TooMany(FILES_MAX));
        }
        Ok(Begun {
            session: self.handshakes.next_session(),
            key: self.mail.key(),
        })
    }

    fn session_by_file(&mut self, session: SessionId, peer: PersonId, receipts: bool) {
        self.tell_replica(replica::Input::MailUp {
            session,
            peer: peer.only_device(),
            source: SourceNetwork::BY_FILE,
            room: None,
            // A holder may lose what it has, so a file has it, too.
            held: Vec::new(),
            receipts,
        });
    }

    fn end_session_by_file(&mut self, session: SessionId) {
        let goodbye = true;
        self.tell_replica(replica::Input::SessionDown { session, goodbye });
    }
}
