//! Invitations by code: who may try a code, how often and for how long.
//!
//! [`Invitations`] is the side that created codes, [`Accepting`] the side whose user typed one. Both
//! see only sessions, so they work alike on a link and through a relay. The caller finds the peers to
//! ask, sends the frames, and makes the two contacts.
//!
//! Not here: the comparison of the words, which is in [`hobnob_protocol::invitation::pake`].

mod accepter;
mod inviter;

pub use accepter::{Accepting, Step};
pub use inviter::{
    GUESS_WINDOW, GuessVerdict, INVITATIONS_MAX, Invitations, Question, TooMany, WRONG_NUMBERS_MAX,
};
