//! Where log lines go: to stderr, but while a full screen has the terminal they are kept, and told
//! when it is given back.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes kept at most; later ones are left out.
const HELD_MAX: usize = 64 * 1024;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Writes log lines.
pub(crate) struct Writer;

/// From now on lines are kept.
pub(crate) fn hold() {
    held().get_or_insert_default();
}

/// Writes what was kept, and from now on everything at once.
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
    // Nothing that holds the lock can leave the lines half changed.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
