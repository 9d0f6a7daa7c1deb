//! Wakes the plane's thread while it waits for its socket. It is a pipe, so that one `poll` covers
//! both.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Any thread can ring it, and one thread waits for it. Several rings before that thread reacts
/// count as one.
#[derive(Debug)]
pub(super) struct Waker {
    rung: AtomicBool,
    writer: PipeWriter,
    reader: PipeReader,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // A full pipe wakes, too, so a ring never has to wait.
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Self {
            rung: AtomicBool::new(false),
            writer,
            reader,
        })
    }

    /// Wakes the thread if it waits. The thread sees everything that happened before.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _full = (&self.writer).write(&[0]);
        }
    }

    /// Whether it was rung since the last call. Needs no system call.
    pub(super) fn has_rung(&self) -> bool {
        // Usually it was not. Reading first keeps the cache line shared.
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Empties the pipe after it woke the thread.
    pub(super) fn clear(&self) {
        let _empty = (&self.reader).read(&mut [0; 64]);
    }
}

impl AsFd for Waker {
    /// The descriptor is readable after a ring.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(waker: &Waker) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(waker, PollFlags::IN)], Some(&at_once)).unwrap() > 0
    }

    #[test]
    fn several_rings_count_as_one() {
        let waker = Waker::new().unwrap();
        assert!(!waker.has_rung() && !is_readable(&waker));
        waker.ring();
        waker.ring();
        assert!(is_readable(&waker));
        assert!(waker.has_rung() && !waker.has_rung());
        waker.clear();
        assert!(!is_readable(&waker));
    }

    #[test]
    fn a_ring_never_blocks() {
        let waker = Waker::new().unwrap();
        // Far more than a pipe holds.
        for _ in 0..200_000 {
            waker.ring();
            assert!(waker.has_rung());
        }
        assert!(is_readable(&waker));
    }
}
