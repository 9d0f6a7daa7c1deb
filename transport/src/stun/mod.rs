//! STUN (RFC 8489): a Binding request asks which address a datagram came from.
//!
//! - [`client`]: writes requests and reads answers.
//! - [`server`]: answers requests.

pub mod client;
pub mod server;

use std::net::{IpAddr, SocketAddr};

use hobnob_protocol::datagram::STUN_COOKIE;

/// Length of type, length, magic cookie and transaction id.
const HEADER: usize = 20;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// The value of XOR-MAPPED-ADDRESS (RFC 8489 section 14.2), and its length.
fn xor_mapped(sender: SocketAddr, transaction: &[u8]) -> ([u8; 20], usize) {
    let mut value = [0; 20];
    let port = sender.port().to_be_bytes();
    let (family, len) = match sender.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[4..8].copy_from_slice(&ip.octets());
            (1, 8)
        }
        IpAddr::V6(ip) => {
            value[4..20].copy_from_slice(&ip.octets());
            (2, 20)
        }
    };
    (value[1], value[2], value[3]) = (family, port[0] ^ STUN_COOKIE[0], port[1] ^ STUN_COOKIE[1]);
    for (byte, mask) in value[4..len]
        .iter_mut()
        .zip(STUN_COOKIE.iter().chain(transaction))
    {
        *byte ^= mask;
    }
    (value, len)
}

/// The address in the value of XOR-MAPPED-ADDRESS (section 14.2).
fn mapped(value: &[u8], transaction: &[u8]) -> Option<SocketAddr> {
    let mask = [&STUN_COOKIE[..], transaction].concat();
    let port = u16_at(value, 2)? ^ u16::from_be_bytes([STUN_COOKIE[0], STUN_COOKIE[1]]);
    let bytes: Vec<u8> = value
        .get(4..)?
        .iter()
        .zip(&mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip = match (value[1], value.len()) {
        (1, 8) => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        (2, 20) => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        (_, _) => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_reads_every_address_that_the_server_writes() {
        for addr in ["192.0.2.1:32853", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:9"] {
            let sender: SocketAddr = addr.parse().unwrap();
            let request = client::request([7; 12]);
            let answer = server::answer(&request, sender).unwrap();
            assert!(answer.as_slice().len() <= request.len());
            let seen = client::answer(answer.as_slice()).unwrap();
            assert_eq!(seen.transaction, [7; 12]);
            assert_eq!(seen.at, crate::addr::canonical(sender));
        }
    }
}
