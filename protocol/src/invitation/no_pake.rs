//! Replaces `pake` in a build without the feature `invitations`: no exchange begins.

use super::code::{CodeNumber, Words};
use super::{Confirmation, Element};
use crate::identity::DeviceId;

/// Whether codes can be compared: this build can't.
pub const IS_BUILT: bool = false;

/// Both ends of an exchange. TLS has proved the identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The end that created the code.
    pub inviter: DeviceId,
    /// The end whose user typed it.
    pub accepter: DeviceId,
}

/// There is none.
#[derive(Debug)]
pub enum Exchange {}

impl Exchange {
    /// Returns nothing.
    pub fn accept(_: CodeNumber, _: &Words, _: Ends, _: [u8; 32]) -> Option<Self> {
        None
    }

    /// Returns nothing.
    pub fn invite(_: CodeNumber, _: &Words, _: Ends, _: [u8; 32]) -> Option<Self> {
        None
    }

    /// The element for the other end.
    pub fn element(&self) -> Element {
        match *self {}
    }

    /// Derives the key from the other end's element.
    pub fn finish(self, _: &Element, _: &[u8; 32]) -> Option<Confirmations> {
        match self {}
    }
}

/// There are none.
#[derive(Debug)]
pub enum Confirmations {}

impl Confirmations {
    /// The proof for the other end.
    pub fn ours(&self) -> Confirmation {
        match *self {}
    }

    /// Whether the other end knows the words.
    pub fn verify(&self, _: &Confirmation) -> bool {
        match *self {}
    }
}
