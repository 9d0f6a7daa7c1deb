//! A running program with pipes: a test types lines and sees every byte of the output.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::machine::Machine;

/// A running program. Dropping it kills the program.
#[derive(Debug)]
pub struct Screen {
    process: Child,
    keyboard: ChildStdin,
    shown: Arc<Shown>,
    readers: Vec<JoinHandle<()>>,
    /// Keeps the machine running.
    _machine: Machine,
}

/// All bytes of standard output and standard error together, as on a terminal.
#[derive(Debug, Default)]
struct Shown {
    bytes: Mutex<Vec<u8>>,
    changed: Condvar,
}

impl Screen {
    pub(super) fn new(machine: Machine, mut process: Child) -> Self {
        let shown = Arc::<Shown>::default();
        let (out, err) = (
            process.stdout.take().expect("piped"),
            process.stderr.take().expect("piped"),
        );
        let (for_out, for_err) = (Arc::clone(&shown), Arc::clone(&shown));
        let readers = vec![
            std::thread::spawn(move || for_out.read(out)),
            std::thread::spawn(move || for_err.read(err)),
        ];
        let keyboard = process.stdin.take().expect("piped");
        Self {
            process,
            keyboard,
            shown,
            readers,
            _machine: machine,
        }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.keyboard
            .write_all(format!("{line}\n").as_bytes())
            .expect("the program reads its input");
    }

    /// Waits until the output contains this text.
    pub fn shows(&self, text: &str) {
        let bytes = self
            .shown
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let missing = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(text);
        let (bytes, waited) = self
            .shown
            .changed
            .wait_timeout_while(bytes, TIMEOUT, missing)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "{text:?} did not appear in this output:\n{}",
            String::from_utf8_lossy(&bytes)
        );
    }

    /// Everything printed so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Shown {
    fn read(&self, mut pipe: impl Read) {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            self.bytes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&chunk[..count]);
            self.changed.notify_all();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(30);
