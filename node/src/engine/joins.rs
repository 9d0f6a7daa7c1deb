//! Rooms that are being joined or left. The user is answered when the change is on disk.

use std::collections::BTreeMap;

use hobnob_core::replica::Token;
use hobnob_protocol::RoomName;
use tokio::sync::oneshot;

use crate::api::RoomInfo;
use crate::error::JoinError;
use crate::invariants;

/// Joins and parts on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Joins(BTreeMap<Token, Joining>);

/// A join or part on its way to the disk.
#[derive(Debug)]
pub(super) enum Joining {
    Join(RoomName, oneshot::Sender<Result<RoomInfo, JoinError>>),
    Part(oneshot::Sender<Result<(), JoinError>>),
    /// At the start of the node: nobody waits.
    First,
}

impl Joins {
    pub(super) fn begin(&mut self, token: Token, joining: Joining) {
        self.0.insert(token, joining);
    }

    /// The replica has answered: the change is on disk, or not. `rooms` are the rooms as they are
    /// now.
    pub(super) fn end(&mut self, token: Token, result: Result<(), String>, rooms: &[RoomInfo]) {
        match (self.0.remove(&token), result) {
            (Some(Joining::Join(room, reply)), Ok(())) => {
                let info = rooms.iter().find(|info| info.name == room).cloned();
                let _ = reply.send(info.ok_or(JoinError::NotInRoom(room)));
            }
            (Some(Joining::Join(_, reply)), Err(why)) => {
                drop(reply.send(Err(JoinError::Store(why))))
            }
            (Some(Joining::Part(reply)), result) => {
                drop(reply.send(result.map_err(JoinError::Store)))
            }
            // A disk that fails is reported as a fault of the store.
            (Some(Joining::First), _) => {}
            (None, _) => invariants::broken("the replica answered a join that nobody began"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_is_answered_when_the_disk_holds_it() {
        let (reply, mut answer) = oneshot::channel();
        let lobby = RoomInfo {
            name: RoomName::lobby(),
            open: true,
            fingerprint: None,
            here: Vec::new(),
            topic: None,
        };
        let mut joins = Joins::default();
        joins.begin(Token(1), Joining::Join(RoomName::lobby(), reply));
        assert!(answer.try_recv().is_err(), "the disk has not answered");
        joins.end(Token(1), Ok(()), std::slice::from_ref(&lobby));
        assert_eq!(answer.try_recv().expect("answered").expect("joined"), lobby);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let (reply, mut answer) = oneshot::channel();
        let mut joins = Joins::default();
        joins.begin(Token(1), Joining::Part(reply));
        joins.end(Token(1), Err("no space".to_owned()), &[]);
        let error = answer.try_recv().expect("answered").expect_err("refused");
        assert!(matches!(error, JoinError::Store(why) if why == "no space"));
    }
}
