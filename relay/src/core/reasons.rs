//! The sentences with which the relay ends connections: for the user at the other end. Limits say
//! theirs themselves.

pub(super) const REPLACED: &str = "this identity has connected again, from here or from another machine: the newer connection is the one that counts";
pub(super) const SILENT: &str = "nothing was heard for too long";
pub(super) const KICKED: &str =
    "the relay's operator has ended this connection; it may be made again";
pub(super) const BANNED: &str =
    "the relay's operator keeps this identity out: ask them, or use another relay";
pub(super) const DRAINING: &str =
    "this relay is about to stop: come back in a while, or use another relay";
pub(super) const TWICE: &str =
    "this connection was registered already: one registration is for one connection";
