//! Sends one datagram that ends after a few routers, without a change of the socket's options.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Sends a datagram that at most `hops` - 1 routers forward. Only Linux can do that for one datagram;
/// other systems return [`io::ErrorKind::Unsupported`].
#[cfg(target_os = "linux")]
pub fn send(socket: impl AsFd, to: SocketAddr, hops: u8, contents: &[u8]) -> io::Result<()> {
    use socket2::{MsgHdr, SockAddr, SockRef};

    let (level, kind) = if crate::addr::canonical(to).is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_TTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
    };
    let control = control_message(level, kind, hops.into());
    let (to, buffers) = (SockAddr::from(to), [io::IoSlice::new(contents)]);
    let message = MsgHdr::new()
        .with_addr(&to)
        .with_buffers(&buffers)
        .with_control(&control);
    SockRef::from(&socket).sendmsg(&message, 0).map(drop)
}

/// Not supported.
#[cfg(not(target_os = "linux"))]
pub fn send(_: impl AsFd, _: SocketAddr, _: u8, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A control message as the kernel reads it: its length as a word, level, kind and value as `int`,
/// padded to a whole number of words.
#[cfg(target_os = "linux")]
fn control_message(level: i32, kind: i32, value: i32) -> Vec<u8> {
    const WORD: usize = size_of::<usize>();
    let len = WORD + 3 * size_of::<i32>();
    let mut message = len.to_ne_bytes().to_vec();
    for number in [level, kind, value] {
        message.extend(number.to_ne_bytes());
    }
    message.resize(len.next_multiple_of(WORD), 0);
    message
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_datagram_with_few_hops_arrives_on_this_machine_and_later_ones_have_all_hops() {
        for (from, to) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:0", "127.0.0.1:0"),
            ("[::1]:0", "[::1]:0"),
        ] {
            let (from, there) = (UdpSocket::bind(from).unwrap(), UdpSocket::bind(to).unwrap());
            let mut to = there.local_addr().unwrap();
            if let (SocketAddr::V4(v4), true) = (to, from.local_addr().unwrap().is_ipv6()) {
                to.set_ip(v4.ip().to_ipv6_mapped().into());
            }
            send(&from, to, 1, b"near").unwrap();
            let mut received = [0; 8];
            assert_eq!(there.recv(&mut received).unwrap(), 4);
            assert_eq!(&received[..4], b"near");
            if to.is_ipv4() {
                assert!(from.ttl().unwrap() > 1, "the socket's own option stays");
            }
        }
    }
}
