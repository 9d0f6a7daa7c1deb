//! Recording whatever passes a machine's network cards.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};

use super::machine::Machine;
use super::memory::contains;

/// A recording that is under way.
#[derive(Debug)]
pub struct Capture {
    over: Arc<AtomicBool>,
    recorder: JoinHandle<Vec<u8>>,
}

/// What was recorded: all frames, one after another.
#[derive(Debug)]
pub struct Recording(Vec<u8>);

impl Capture {
    pub(super) fn new(machine: &Machine) -> Self {
        let every_protocol =
            Protocol::from_raw(NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).expect("not zero"));
        let tap = machine
            .inside(|| socket(AddressFamily::PACKET, SocketType::RAW, Some(every_protocol)))
            .expect("we are root");
        set_socket_recv_buffer_size(&tap, BUFFER).expect("a size");
        set_socket_timeout(&tap, Timeout::Recv, Some(LOOK_EVERY)).expect("not zero");
        let over = Arc::<AtomicBool>::default();
        let until = Arc::clone(&over);
        Self {
            over,
            recorder: std::thread::spawn(move || record(&tap, &until)),
        }
    }

    /// Ends it.
    pub fn end(self) -> Recording {
        self.over.store(true, Ordering::Relaxed);
        Recording(self.recorder.join().expect("recording does not panic"))
    }
}

impl Recording {
    /// Whether this is in it somewhere, within one frame.
    pub fn has(&self, word: &str) -> bool {
        contains(&self.0, word)
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

fn record(tap: &OwnedFd, over: &AtomicBool) -> Vec<u8> {
    let (mut all, mut frame) = (Vec::new(), vec![0; FRAME_MAX]);
    loop {
        match recv(tap, &mut frame[..], RecvFlags::empty()) {
            Ok((_, length)) => all.extend_from_slice(&frame[..length]),
            // The time is up: nothing came for a while.
            Err(_) if over.load(Ordering::Relaxed) => return all,
            Err(_) => {}
        }
    }
}

/// Every protocol, as packet(7) numbers them.
const ETH_P_ALL: u16 = 3;

/// A batch of segments is one frame to a card that splits them itself.
const FRAME_MAX: usize = 1 << 17;

const BUFFER: usize = 16 << 20;

const LOOK_EVERY: Duration = Duration::from_millis(50);
