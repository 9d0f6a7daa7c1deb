//! Limits of HTTP connections, which the page's server and that of a shared file have in common.

use std::time::Duration;

/// How long a client may take to send the head of a request, and how long a connection may be idle.
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Pause after a failed accept, for example when the process has no file descriptor left.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
