//! Opens the one UDP socket of a node or a relay, and sends batches of datagrams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::udp::{Transmit, UdpSocketState};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Size requested for each of the socket's two kernel buffers. At the usual 208 KiB a burst of 256
/// handshakes drops 2,000 datagrams.
pub const KERNEL_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The kernel granted smaller buffers than [`KERNEL_BUFFER_BYTES`]. The socket works, but bursts
/// lose more datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallBuffers {
    /// Bytes of the receive buffer.
    pub receive: usize,
    /// Bytes of the send buffer.
    pub send: usize,
}

/// Opens a non-blocking socket. An unspecified IPv6 address accepts IPv4, too.
pub fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Requests large kernel buffers.
pub fn enlarge_buffers(socket: &UdpSocket) -> Result<(), SmallBuffers> {
    let options = SockRef::from(socket);
    let requested = options
        .set_recv_buffer_size(KERNEL_BUFFER_BYTES)
        .and(options.set_send_buffer_size(KERNEL_BUFFER_BYTES));
    // Exceeds the system's limit. Only network administrators may; a refusal is no loss.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, KERNEL_BUFFER_BYTES);
    let granted = SmallBuffers {
        receive: options.recv_buffer_size().unwrap_or(0),
        send: options.send_buffer_size().unwrap_or(0),
    };
    if requested.is_err() || granted.receive.min(granted.send) < KERNEL_BUFFER_BYTES {
        return Err(granted);
    }
    Ok(())
}

/// Whether the system reported one of these errors.
pub fn has_errno(error: &io::Error, causes: &[Errno]) -> bool {
    causes
        .iter()
        .any(|cause| error.raw_os_error() == Some(cause.raw_os_error()))
}

/// Sends several datagrams of one size with one system call, as long as the system can.
#[derive(Debug)]
pub struct SegmentedSender {
    /// Datagrams per system call; 1 if the system can send only one.
    segments: AtomicUsize,
}

impl SegmentedSender {
    /// A sender for the socket of this state.
    pub fn new(state: &UdpSocketState) -> Self {
        Self {
            segments: AtomicUsize::new(state.max_gso_segments()),
        }
    }

    /// Datagrams of one size that one [`Transmit`] may hold.
    pub fn segments(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }

    /// Sends with `try_send`. If the system rejects a batch, sends its datagrams one by one. If
    /// that works, the system cannot send batches, and later ones should have one datagram.
    ///
    /// quinn-udp gives up batches at the first EINVAL or EIO, for the whole socket. But these
    /// errors also occur for a single odd destination, or while an address of this machine
    /// disappears. Giving up then would cost every peer its throughput.
    pub fn send(
        &self,
        transmit: &Transmit<'_>,
        try_send: impl Fn(&Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match (try_send(transmit), transmit.segment_size) {
            (Err(error), Some(segment)) if has_errno(&error, &[Errno::INVAL, Errno::IO]) => {
                for contents in transmit.contents.chunks(segment) {
                    try_send(&Transmit {
                        contents,
                        segment_size: None,
                        ..transmit.clone()
                    })?;
                }
                tracing::debug!("the system can't send several datagrams as one");
                self.segments.store(1, Ordering::Relaxed);
                Ok(())
            }
            (sent, _) => sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::net::Ipv4Addr;

    use crate::addr::canonical;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_on_all_ipv6_addresses_receives_ipv4_too() {
        let socket = open(addr("[::]:0")).unwrap();
        let port = socket.local_addr().unwrap().port();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender
            .send_to(b"hello", (Ipv4Addr::LOCALHOST, port))
            .unwrap();
        socket.set_nonblocking(false).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(canonical(from), sender.local_addr().unwrap());
    }

    #[test]
    fn a_taken_address_is_an_error() {
        let socket = open(addr("127.0.0.1:0")).unwrap();
        let error = open(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    /// Sends two datagrams of four bytes; `answers` decides by the number of datagrams. Returns
    /// what was sent at once, and the sender's later limit.
    fn send_two(answer: impl Fn(&Transmit<'_>) -> Option<Errno>) -> (Vec<Vec<u8>>, usize) {
        let sender = SegmentedSender {
            segments: AtomicUsize::new(64),
        };
        let sent = RefCell::new(Vec::new());
        let transmit = Transmit {
            destination: addr("192.0.2.1:9"),
            ecn: None,
            contents: b"ann bob ",
            segment_size: Some(4),
            src_ip: None,
        };
        let _ = sender.send(&transmit, |transmit| match answer(transmit) {
            Some(errno) => Err(errno.into()),
            None => {
                sent.borrow_mut().push(transmit.contents.to_vec());
                Ok(())
            }
        });
        (sent.into_inner(), sender.segments())
    }

    #[test]
    fn a_system_that_rejects_batches_gets_single_datagrams_from_then_on() {
        assert_eq!(send_two(|_| None), (vec![b"ann bob ".to_vec()], 64));
        let no_batches = |transmit: &Transmit<'_>| transmit.segment_size.map(|_| Errno::IO);
        let singly = vec![b"ann ".to_vec(), b"bob ".to_vec()];
        assert_eq!(send_two(no_batches), (singly, 1));
    }

    #[test]
    fn an_odd_destination_or_a_full_buffer_costs_nobody_the_batches() {
        assert_eq!(send_two(|_| Some(Errno::INVAL)), (vec![], 64));
        assert_eq!(send_two(|_| Some(Errno::AGAIN)), (vec![], 64));
    }
}
