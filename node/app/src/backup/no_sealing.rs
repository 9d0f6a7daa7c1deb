//! Replaces `sealing` in a build without the feature `backup`: nothing can be encrypted.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

const ABSENT: &str = "this hobnob was built without backups";

/// The means that would encrypt a backup.
#[expect(dead_code, reason = "nothing is encrypted")]
pub(crate) enum Lock {
    Passphrase(Zeroizing<String>),
    Key(PublicKey),
}

/// The means that would decrypt a backup.
#[expect(dead_code, reason = "nothing is decrypted")]
pub(crate) enum Unlock {
    Passphrase(Zeroizing<String>),
    Key(PrivateKey),
}

/// No key is accepted.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey(());

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Err(ABSENT)
    }
}

/// No key is accepted.
pub(crate) struct PrivateKey(());

impl PrivateKey {
    pub(crate) fn in_text(_: &str) -> Result<PrivateKey, &'static str> {
        Err(ABSENT)
    }
}

pub(crate) fn make_key() -> io::Result<(Zeroizing<String>, String)> {
    Err(absent())
}

pub(crate) fn seal(
    _: &Lock,
    _: impl Write,
    _: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    Err(absent())
}

pub(crate) fn open<T>(
    _: &Unlock,
    _: impl Read,
    _: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    Err(absent())
}

fn absent() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, ABSENT)
}
