//! A long way: a machine that forwards UDP packets to another one, each later by a fixed time.
//!
//! The kernel of a test machine may lack delays of its own. The threads end with the test process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use super::internet::OnInternet;
use super::machine::Machine;
use super::wait::{Stopwatch, pause};

/// The largest packet.
const PACKET_BYTES: usize = 65_536;

/// A packet that waits for its time.
struct Packet {
    arrived: Stopwatch,
    bytes: Vec<u8>,
    /// Where it leaves, and to whom.
    out: UdpSocket,
    to: SocketAddr,
}

/// Starts to forward. Returns the address of the long way. The destination sees another port of this
/// machine for each sender.
pub(super) fn start(machine: &Machine, to: SocketAddrV4, delay: Duration) -> SocketAddrV4 {
    let front = socket(machine);
    let port = front.local_addr().expect("it is bound").port();
    let (packets, waiting) = mpsc::channel::<Packet>();
    std::thread::spawn(move || {
        // All wait equally long, so they leave in the order in which they came.
        for packet in waiting {
            pause(delay.saturating_sub(packet.arrived.elapsed()));
            // A packet that can't be sent is lost, as on any way.
            drop(packet.out.send_to(&packet.bytes, packet.to));
        }
    });
    let here = machine.clone();
    std::thread::spawn(move || forward(&here, &front, to.into(), &packets));
    SocketAddrV4::new(machine.public_ipv4(), port)
}

fn socket(machine: &Machine) -> UdpSocket {
    let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    machine.inside(bind).expect("a port is free")
}

/// Forwards what arrives, and starts a way back for each sender.
fn forward(machine: &Machine, front: &UdpSocket, to: SocketAddr, packets: &Sender<Packet>) {
    let mut senders: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    pass(front, packets, |from| {
        let back = senders.entry(from).or_insert_with(|| {
            let (back, front, packets) = (socket(machine), clone(front), packets.clone());
            let answers = clone(&back);
            std::thread::spawn(move || pass(&answers, &packets, |_| (clone(&front), from)));
            back
        });
        (clone(back), to)
    });
}

/// Lets each packet that arrives wait, until the lab ends.
fn pass(
    socket: &UdpSocket,
    packets: &Sender<Packet>,
    mut onward: impl FnMut(SocketAddr) -> (UdpSocket, SocketAddr),
) {
    let mut buffer = vec![0; PACKET_BYTES];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let (out, to) = onward(from);
        let packet = Packet {
            arrived: Stopwatch::start(),
            bytes: buffer[..len].to_vec(),
            out,
            to,
        };
        if packets.send(packet).is_err() {
            return;
        }
    }
}

fn clone(socket: &UdpSocket) -> UdpSocket {
    socket.try_clone().expect("descriptors are left")
}
