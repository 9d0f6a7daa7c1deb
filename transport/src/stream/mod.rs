//! The stream carrier: datagrams between a node and a relay over a byte stream, where UDP is
//! blocked.
//!
//! Each datagram has a two-byte length in front. Several travel in one binary WebSocket message
//! (RFC 6455), over TLS over TCP. The QUIC connection with the relay and the channel frames of peers
//! run inside unchanged. So identity, encryption and routing are not implemented a second time, and
//! the outer TLS need not be trusted.
//!
//! - [`message`] encodes and decodes messages. Pure.
//! - [`reader`] reads datagrams from any byte stream, [`writer`] writes a [`queue`] to one.
//! - [`handshake`] upgrades an HTTP connection, for both ends. [`request`] reads a request head.
//! - [`tls`] has the outer TLS, [`socket`] the options of TCP sockets, [`proxy`] connects through
//!   proxies.
//!
//! Not here: who may connect (the relay), and when to prefer a stream to UDP (the node).

pub mod handshake;
pub mod message;
pub mod proxy;
pub mod queue;
pub mod reader;
pub mod request;
pub mod socket;
pub mod tls;
pub mod writer;

/// Longest datagram in a stream, in bytes: an Ethernet frame. A longer one, or an empty one, ends
/// the connection.
pub const DATAGRAM_MAX: usize = 1500;

/// Bytes of the length before each datagram.
pub const LENGTH_BYTES: usize = 2;

/// The datagrams in a run of length-prefixed datagrams, which must be whole.
///
/// ```
/// use hobnob_transport::stream::{datagrams, push_datagram};
///
/// let mut run = Vec::new();
/// push_datagram(&mut run, b"ann");
/// push_datagram(&mut run, b"bob");
/// assert_eq!(datagrams(&run).collect::<Vec<_>>(), [b"ann", b"bob"]);
/// ```
pub fn datagrams(mut run: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = run.split_first_chunk::<LENGTH_BYTES>()?;
        let (datagram, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        run = rest;
        Some(datagram)
    })
}

/// Appends a datagram to a run. Returns false, and appends nothing, if a stream cannot carry it.
pub fn push_datagram(run: &mut Vec<u8>, datagram: &[u8]) -> bool {
    let Some(length) = u16::try_from(datagram.len())
        .ok()
        .filter(|_| (1..=DATAGRAM_MAX).contains(&datagram.len()))
    else {
        return false;
    };
    run.extend_from_slice(&length.to_be_bytes());
    run.extend_from_slice(datagram);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datagrams_that_the_other_end_accepts_are_appended() {
        let mut run = Vec::new();
        assert!(!push_datagram(&mut run, &[]));
        assert!(!push_datagram(&mut run, &[0; DATAGRAM_MAX + 1]));
        assert!(run.is_empty());
        assert!(push_datagram(&mut run, &[7; DATAGRAM_MAX]));
        assert_eq!(datagrams(&run).map(<[u8]>::len).sum::<usize>(), 1500);
    }
}
