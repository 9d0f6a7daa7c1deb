//! [`UnlockSource`]: where a node gets what opens its home.

use std::fmt;
use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::KeyringKey;

type AskPassphrase = dyn Fn() -> io::Result<Zeroizing<String>> + Send + Sync;
type FindKey = dyn Fn(&str) -> io::Result<KeyringKey> + Send + Sync;

/// Returns what opens a locked home: a passphrase, or a key of a keyring. It is asked only if the
/// home is locked, on a thread that may block. A text is a passphrase that is known already.
#[derive(Clone)]
pub struct UnlockSource {
    passphrase: Arc<AskPassphrase>,
    keyring: Option<Arc<FindKey>>,
}

impl UnlockSource {
    /// Asks this function for the passphrase, for example one that waits for a user.
    pub fn new(ask: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self {
            passphrase: Arc::new(move || ask().map(Zeroizing::new)),
            keyring: None,
        }
    }

    /// Gets the key with a given id from this function first, if the home has a key in a keyring. The
    /// passphrase is asked for only if that fails.
    #[must_use]
    pub fn with_keyring(
        mut self,
        find: impl Fn(&str) -> io::Result<KeyringKey> + Send + Sync + 'static,
    ) -> Self {
        self.keyring = Some(Arc::new(find));
        self
    }

    pub(super) fn ask(&self) -> io::Result<Zeroizing<String>> {
        (self.passphrase)()
    }

    /// Finds the key with this id in the keyring.
    pub(super) fn find_key(&self, id: &str) -> io::Result<KeyringKey> {
        match &self.keyring {
            Some(find) => find(id),
            None => Err(io::Error::other("it was not asked for the key")),
        }
    }
}

impl From<&str> for UnlockSource {
    fn from(passphrase: &str) -> Self {
        passphrase.to_owned().into()
    }
}

impl From<String> for UnlockSource {
    fn from(passphrase: String) -> Self {
        let passphrase = Zeroizing::new(passphrase);
        Self {
            passphrase: Arc::new(move || Ok(passphrase.clone())),
            keyring: None,
        }
    }
}

impl fmt::Debug for UnlockSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("UnlockSource")
    }
}
