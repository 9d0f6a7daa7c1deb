//! Replaces `sealing` in a build without the feature `backup`: nothing can be encrypted.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

const ABSENT: &str = "this hobnob was built without backups";

/// What would encrypt a backup.
pub(crate) enum Lock {
    Passphrase(Zeroizing<String>),
    Key(PublicKey),
}

/// What would decrypt a backup.
pub(crate) enum Unlock {
    Passphrase(Zeroizing<String>),
    Key(PrivateKey),
}

/// No key is accepted.
#[derive(Debug, Clone)]
pub(crate) enum PublicKey {}

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Err(ABSENT)
    }
}

/// No key is accepted.
pub(crate) enum PrivateKey {}

impl PrivateKey {
    pub(crate) fn in_text(_: &str) -> Result<PrivateKey, &'static str> {
        Err(ABSENT)
    }
}

pub(crate) fn make_key() -> io::Result<(Zeroizing<String>, String)> {
    Err(absent())
}

pub(crate) fn seal(
    lock: &Lock,
    _: impl Write,
    _: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    match lock {
        Lock::Passphrase(_) => Err(absent()),
        Lock::Key(never) => match *never {},
    }
}

pub(crate) fn open<T>(
    unlock: &Unlock,
    _: impl Read,
    _: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    match unlock {
        Unlock::Passphrase(_) => Err(absent()),
        Unlock::Key(never) => match *never {},
    }
}

fn absent() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, ABSENT)
}
