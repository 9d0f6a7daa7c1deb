//! Records all frames that pass a machine's network cards.

use std::net::Ipv4Addr;
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

/// A running recording.
#[derive(Debug)]
pub struct Capture {
    over: Arc<AtomicBool>,
    recorder: JoinHandle<Vec<Vec<u8>>>,
}

/// The recorded frames.
#[derive(Debug)]
pub struct Recording(Vec<Vec<u8>>);

impl Capture {
    pub(super) fn new(machine: &Machine) -> Self {
        let every_protocol =
            Protocol::from_raw(NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).expect("not zero"));
        let tap = machine
            .inside(|| socket(AddressFamily::PACKET, SocketType::RAW, Some(every_protocol)))
            .expect("the lab runs as root");
        set_socket_recv_buffer_size(&tap, BUFFER).expect("the size is valid");
        set_socket_timeout(&tap, Timeout::Recv, Some(POLL)).expect("not zero");
        let over = Arc::<AtomicBool>::default();
        let until = Arc::clone(&over);
        Self {
            over,
            recorder: std::thread::spawn(move || record(&tap, &until)),
        }
    }

    /// Stops the recording and returns it.
    pub fn end(self) -> Recording {
        self.over.store(true, Ordering::Relaxed);
        Recording(self.recorder.join().expect("recording does not panic"))
    }
}

impl Recording {
    /// Whether one of the frames contains this word.
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|frame| contains(frame, word))
    }

    /// The number of bytes of all IPv4 packets to this address.
    pub fn bytes_to(&self, addr: Ipv4Addr) -> usize {
        let is_to = |packet: &&[u8]| packet.get(16..20) == Some(&addr.octets());
        let packets = self.0.iter().filter_map(|frame| ipv4_packet(frame));
        packets.filter(is_to).map(<[u8]>::len).sum()
    }

    /// The number of recorded bytes.
    pub fn size(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// The packet in an Ethernet frame, if it is an IPv4 packet.
fn ipv4_packet(frame: &[u8]) -> Option<&[u8]> {
    let (addresses_and_type, packet) = frame.split_at_checked(14)?;
    (addresses_and_type[12..] == ETH_P_IP.to_be_bytes()).then_some(packet)
}

fn record(tap: &OwnedFd, over: &AtomicBool) -> Vec<Vec<u8>> {
    let (mut all, mut frame) = (Vec::new(), vec![0; FRAME_MAX]);
    loop {
        match recv(tap, &mut frame[..], RecvFlags::empty()) {
            Ok((_, length)) => all.push(frame[..length].to_vec()),
            // The read timed out: no frame is waiting.
            Err(_) if over.load(Ordering::Relaxed) => return all,
            Err(_) => {}
        }
    }
}

/// The type of frames with IPv4 packets.
const ETH_P_IP: u16 = 0x0800;

/// All protocols (packet(7)).
const ETH_P_ALL: u16 = 3;

/// A card with segmentation offload shows a batch of segments as one frame.
const FRAME_MAX: usize = 1 << 17;

const BUFFER: usize = 16 << 20;

const POLL: Duration = Duration::from_millis(50);
