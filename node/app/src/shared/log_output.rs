//! The output of log lines: stderr. While the full-screen chat uses the terminal, lines are held
//! back, and written when it is closed.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of bytes held back. Later lines are dropped.
const HELD_MAX: usize = 64 * 1024;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Writes log lines.
pub(crate) struct Writer;

/// Holds lines back from now on.
pub(crate) fn hold() {
    held().get_or_insert_default();
}

/// Writes the lines that were held back. Later lines are written at once.
pub(crate) fn release() {
    if let Some(lines) = held().take() {
        // A closed stderr is the user's choice.
        let _closed = io::stderr().write_all(&lines);
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *held() {
            Some(lines) => {
                if lines.len() + line.len() <= HELD_MAX {
                    lines.extend_from_slice(line);
                }
                Ok(line.len())
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    // No holder of the lock can panic halfway through a change.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
