//! [`PassphraseSource`]: where a node gets the passphrase of its home.

use std::fmt;
use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Returns the passphrase of a locked home. It is asked only if the home is locked, on a thread
/// that may block.
#[derive(Clone)]
pub struct PassphraseSource(Arc<dyn Fn() -> io::Result<Zeroizing<String>> + Send + Sync>);

impl PassphraseSource {
    /// Asks this function, for example one that waits for a user.
    pub fn new(ask: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || ask().map(Zeroizing::new)))
    }

    /// A passphrase that is known already.
    pub fn known(passphrase: String) -> Self {
        let passphrase = Zeroizing::new(passphrase);
        Self(Arc::new(move || Ok(passphrase.clone())))
    }

    pub(super) fn ask(&self) -> io::Result<Zeroizing<String>> {
        (self.0)()
    }
}

impl fmt::Debug for PassphraseSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PassphraseSource")
    }
}
