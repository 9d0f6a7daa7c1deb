//! Wakes the plane's thread while it waits at its socket: a pipe, so that one wait covers both.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rung by anybody, heard by one thread. Ringing it twice before it is heard is ringing it once.
#[derive(Debug)]
pub(super) struct Waker {
    rung: AtomicBool,
    writer: PipeWriter,
    reader: PipeReader,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // A pipe that is full wakes as well as one with a byte in it, so nobody ever waits for it.
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Self {
            rung: AtomicBool::new(false),
            writer,
            reader,
        })
    }

    /// Wakes the thread, if it waits. What was done before is seen by it.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _full = (&self.writer).write(&[0]);
        }
    }

    /// Whether it was rung since this was last asked. Costs no system call.
    pub(super) fn has_rung(&self) -> bool {
        // Most often it was not: reading keeps the line shared.
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Takes out of the pipe what woke the thread.
    pub(super) fn silence(&self) {
        let _empty = (&self.reader).read(&mut [0; 64]);
    }
}

impl AsFd for Waker {
    /// Readable when it was rung.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
