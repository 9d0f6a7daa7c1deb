//! Writes Binding requests, and reads the address in the answers.

use std::net::SocketAddr;

use hobnob_protocol::datagram::STUN_COOKIE;
use hobnob_protocol::relay::TRANSACTION_LEN;

use super::{BINDING_REQUEST, BINDING_SUCCESS, HEADER, XOR_MAPPED_ADDRESS, mapped, u16_at};

/// Matches an answer to its request.
pub type Transaction = [u8; TRANSACTION_LEN];

/// Length of a request. It is as long as the longest answer, so that a forged sender address
/// amplifies nothing.
pub const REQUEST_LEN: usize = 44;

/// SOFTWARE (section 14.14) pads the request. Servers may ignore it.
const SOFTWARE: u16 = 0x8022;
const NAME: &[u8; REQUEST_LEN - HEADER - 4] = b"hobnob              ";

/// An answer: the address at which the server sees this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The transaction of the request.
    pub transaction: Transaction,
    /// The address that the request came from.
    pub at: SocketAddr,
}

/// Writes a Binding request.
pub fn request(transaction: Transaction) -> [u8; REQUEST_LEN] {
    let body = u16::try_from(REQUEST_LEN - HEADER)
        .expect("some bytes")
        .to_be_bytes();
    let name = u16::try_from(NAME.len()).expect("some bytes").to_be_bytes();
    let parts: [&[u8]; 7] = [
        &BINDING_REQUEST.to_be_bytes(),
        &body,
        &STUN_COOKIE,
        &transaction,
        &SOFTWARE.to_be_bytes(),
        &name,
        NAME,
    ];
    parts.concat().try_into().expect("as long as its parts")
}

/// Reads an answer. `None` if the datagram is not a well-formed answer with an address.
pub fn answer(datagram: &[u8]) -> Option<Seen> {
    let (header, mut rest) = datagram.split_at_checked(HEADER)?;
    if u16_at(header, 0)? != BINDING_SUCCESS || header[4..8] != STUN_COOKIE {
        return None;
    }
    let transaction: Transaction = header[8..].try_into().ok()?;
    loop {
        let (kind, len) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + len)?;
        if kind == XOR_MAPPED_ADDRESS {
            return Some(Seen {
                transaction,
                at: mapped(value, &transaction)?,
            });
        }
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRANSACTION: Transaction = [
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    ];

    fn success(attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&[1, 1][..], &len, &STUN_COOKIE, &TRANSACTION, attributes].concat()
    }

    #[test]
    fn the_addresses_of_rfc_5769_are_read() {
        // Sections 2.2 and 2.3: SOFTWARE comes before the address.
        let software = [&[0x80, 0x22, 0, 0x0b][..], b"test vector "].concat();
        let v4 = [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let seen = answer(&success(&[&software[..], &v4].concat())).unwrap();
        assert_eq!(
            (seen.transaction, seen.at),
            (TRANSACTION, "192.0.2.1:32853".parse().unwrap())
        );
        let v6 = [
            0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
            0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        let at = answer(&success(&v6)).unwrap().at;
        assert_eq!(
            at,
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
                .parse()
                .unwrap()
        );
    }

    #[test]
    fn a_request_is_well_formed_and_no_answer_to_itself() {
        let request = request(TRANSACTION);
        assert_eq!(request[..8], [0, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(
            (&request[8..20], &request[20..24]),
            (&TRANSACTION[..], &[0x80, 0x22, 0, 20][..])
        );
        assert_eq!(answer(&request), None);
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = success(&[0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert!((0..whole.len()).all(|len| answer(&whole[..len]).is_none()));
        assert_eq!(
            answer(&success(&[
                0, 0x20, 0, 8, 0, 2, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43
            ])),
            None,
            "IPv6 of four bytes"
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = answer(&bytes);
            let _ = answer(&success(&bytes));
        }
    }
}
