//! Answers Binding requests with the address that the request came from.
//!
//! Anybody may ask, so an answer is at most three times as long as the request: at most 44 bytes
//! for a request of 20, and 8 more if the request had a FINGERPRINT of 8. Credentials are neither
//! requested nor checked.

use std::net::SocketAddr;

use hobnob_protocol::datagram::STUN_COOKIE;

use super::{BINDING_REQUEST, BINDING_SUCCESS, HEADER, XOR_MAPPED_ADDRESS, u16_at, xor_mapped};

/// Longest answer: the header, an IPv6 XOR-MAPPED-ADDRESS and a FINGERPRINT. An error that lists
/// unknown attributes is cut to it.
pub const ANSWER_MAX: usize = HEADER + 24 + FINGERPRINT_LEN;

/// With its type and length.
const FINGERPRINT_LEN: usize = 8;
/// Unknown attributes that an error lists at most: further ones are left out, so that it fits
/// [`ANSWER_MAX`].
const UNKNOWN_LISTED_MAX: usize = 4;

const BINDING_ERROR: u16 = 0x0111;

const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const FINGERPRINT: u16 = 0x8028;
/// Unknown attributes from this number on may be ignored.
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM,
/// USERHASH: credentials, which a server that asks for none may ignore (RFC 8489 section 9).
const IGNORED: [u16; 7] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e];
/// "420 Unknown Attribute", with no phrase (RFC 8489 section 14.8).
const CODE_420: [u8; 4] = [0, 0, 4, 20];
/// A FINGERPRINT is the CRC-32 XOR this number (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// An answer, ready to send.
#[derive(Debug)]
pub struct Answer {
    bytes: [u8; ANSWER_MAX],
    len: usize,
}

impl Answer {
    /// The message.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn new(kind: u16, transaction: &[u8]) -> Self {
        let mut answer = Self {
            bytes: [0; ANSWER_MAX],
            len: 0,
        };
        for part in [&kind.to_be_bytes(), &[0, 0][..], &STUN_COOKIE, transaction] {
            answer.push(part);
        }
        answer
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.push(&kind.to_be_bytes());
        self.push(&length(value.len()));
        self.push(value);
        self.push(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
        self.set_length(self.len);
    }

    fn set_length(&mut self, end: usize) {
        self.bytes[2..4].copy_from_slice(&length(end - HEADER));
    }

    /// Appends a FINGERPRINT. Its CRC covers everything before it, with the final length.
    fn fingerprint(&mut self) {
        self.set_length(self.len + FINGERPRINT_LEN);
        let crc = crc32(self.as_slice()) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &crc.to_be_bytes());
    }
}

/// The parsed attributes of a request.
#[derive(Debug, Default)]
struct Request {
    fingerprint: bool,
    unknown: [u16; UNKNOWN_LISTED_MAX],
    unknown_count: usize,
}

/// The answer to a datagram with the magic cookie; `None` if it is not a well-formed Binding
/// request.
pub fn answer(datagram: &[u8], sender: SocketAddr) -> Option<Answer> {
    let request = parse(datagram)?;
    let transaction = &datagram[8..HEADER];
    let mut answer = if request.unknown_count == 0 {
        let mut answer = Answer::new(BINDING_SUCCESS, transaction);
        let (address, len) = xor_mapped(sender, transaction);
        answer.attribute(XOR_MAPPED_ADDRESS, &address[..len]);
        answer
    } else {
        let mut answer = Answer::new(BINDING_ERROR, transaction);
        answer.attribute(ERROR_CODE, &CODE_420);
        let listed = request.unknown_count.min(UNKNOWN_LISTED_MAX);
        let mut list = [0; 2 * UNKNOWN_LISTED_MAX];
        for (place, kind) in list.chunks_exact_mut(2).zip(request.unknown) {
            place.copy_from_slice(&kind.to_be_bytes());
        }
        answer.attribute(UNKNOWN_ATTRIBUTES, &list[..2 * listed]);
        answer
    };
    if request.fingerprint {
        answer.fingerprint();
    }
    Some(answer)
}

/// Checks the header, every attribute's length and the FINGERPRINT, which must be the last (RFC
/// 8489 section 6.3).
fn parse(datagram: &[u8]) -> Option<Request> {
    let (header, mut rest) = datagram.split_at_checked(HEADER)?;
    let length = usize::from(u16_at(header, 2)?);
    let sound = u16_at(header, 0)? == BINDING_REQUEST
        && header[4..8] == STUN_COOKIE
        && length == rest.len()
        && length % 4 == 0;
    if !sound {
        return None;
    }
    let mut request = Request::default();
    while !rest.is_empty() {
        let (kind, len) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + len)?;
        if request.fingerprint {
            return None;
        }
        if kind == FINGERPRINT {
            let before = &datagram[..datagram.len() - rest.len()];
            if *value != (crc32(before) ^ FINGERPRINT_XOR).to_be_bytes() {
                return None;
            }
            request.fingerprint = true;
        } else if kind < COMPREHENSION_OPTIONAL && !IGNORED.contains(&kind) {
            if let Some(place) = request.unknown.get_mut(request.unknown_count) {
                *place = kind;
            }
            request.unknown_count += 1;
        }
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
    Some(request)
}

/// The length field of an answer.
fn length(len: usize) -> [u8; 2] {
    u16::try_from(len)
        .expect("at most ANSWER_MAX")
        .to_be_bytes()
}

/// CRC-32 as in ITU-T V.42, which FINGERPRINT uses. Requests are short and rate-limited, so no
/// table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRANSACTION: [u8; 12] = [
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    ];

    /// RFC 5769 section 2.1: SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY,
    /// FINGERPRINT.
    const RFC_5769_REQUEST: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e,
        0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
        0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5,
        0x7a, 0x3b, 0xcf,
    ];

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn request(attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&[0, 1][..], &len, &STUN_COOKIE, &TRANSACTION, attributes].concat()
    }

    #[test]
    fn a_bare_request_is_answered_as_in_rfc_5769() {
        // The values of sections 2.2 and 2.3, whose transaction id this is.
        let v4 = answer(&request(&[]), addr("192.0.2.1:32853")).unwrap();
        assert_eq!(v4.as_slice()[..4], [0x01, 0x01, 0, 12]);
        assert_eq!(
            v4.as_slice()[20..],
            [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        );
        let v6 = answer(
            &request(&[]),
            addr("[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        )
        .unwrap();
        let mapped = [
            0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
            0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(v6.as_slice()[20..], mapped);
        assert_eq!(v6.as_slice()[8..20], TRANSACTION);
    }

    #[test]
    fn mapped_ipv4_is_reported_as_ipv4() {
        let plain = answer(&request(&[]), addr("192.0.2.1:9")).unwrap();
        let mapped = answer(&request(&[]), addr("[::ffff:192.0.2.1]:9")).unwrap();
        assert_eq!(plain.as_slice(), mapped.as_slice());
    }

    #[test]
    fn the_fingerprint_of_rfc_5769_is_right_and_unknown_attributes_are_named() {
        // PRIORITY must be understood by who takes part in ICE; this server does not.
        let answer = answer(&RFC_5769_REQUEST, addr("192.0.2.1:9")).unwrap();
        let bytes = answer.as_slice();
        assert_eq!(bytes[..4], [0x01, 0x11, 0, 24]);
        assert_eq!(
            bytes[20..36],
            [0, 9, 0, 4, 0, 0, 4, 20, 0, 0x0a, 0, 2, 0, 0x24, 0, 0]
        );
        assert_eq!(bytes[36..40], [0x80, 0x28, 0, 4]);
        assert_eq!(
            bytes[40..],
            (crc32(&bytes[..36]) ^ FINGERPRINT_XOR).to_be_bytes()
        );
    }

    #[test]
    fn a_request_with_software_and_fingerprint_is_answered_with_a_fingerprint() {
        let software = [0x80, 0x22, 0, 3, b'n', b'o', b'b', 0];
        let mut asked = request(&[&software[..], &[0x80, 0x28, 0, 4, 0, 0, 0, 0]].concat());
        let end = asked.len();
        let crc = crc32(&asked[..end - 8]) ^ FINGERPRINT_XOR;
        asked[end - 4..].copy_from_slice(&crc.to_be_bytes());
        let told = answer(&asked, addr("192.0.2.1:9")).unwrap();
        assert_eq!(told.as_slice().len(), 40);
        assert_eq!(told.as_slice()[32..36], [0x80, 0x28, 0, 4]);
        asked[end - 1] ^= 1;
        assert!(
            answer(&asked, addr("192.0.2.1:9")).is_none(),
            "a wrong FINGERPRINT"
        );
    }

    #[test]
    fn a_malformed_binding_request_gets_no_answer() {
        let good = request(&[]);
        let from = addr("192.0.2.1:9");
        let damaged = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let cases = [
            ("too short", good[..19].to_vec()),
            ("longer than it says", [&good[..], &[0; 4]].concat()),
            ("a length that is not of words", damaged(3, 3)),
            ("an indication", damaged(1, 0x11)),
            ("a response", damaged(0, 1)),
            ("another cookie", damaged(4, 0)),
            (
                "an attribute longer than the message",
                request(&[0x80, 0x22, 0, 5, 1, 2, 3, 4]),
            ),
            (
                "half an attribute header",
                request(&[0x80, 0x22, 0, 0]).into_iter().take(22).collect(),
            ),
            ("something after FINGERPRINT", {
                let mut bytes = request(&[0x80, 0x28, 0, 4, 0, 0, 0, 0, 0x80, 0x22, 0, 0]);
                let crc = crc32(&bytes[..20]) ^ FINGERPRINT_XOR;
                bytes[24..28].copy_from_slice(&crc.to_be_bytes());
                bytes
            }),
        ];
        for (name, bytes) in cases {
            assert!(answer(&bytes, from).is_none(), "{name}");
        }
    }

    #[test]
    fn the_list_of_unknown_attributes_is_bounded() {
        let many: Vec<u8> = (1..=100_u8).flat_map(|n| [0x7f, n, 0, 0]).collect();
        let told = answer(&request(&many), addr("192.0.2.1:9")).unwrap();
        assert_eq!(
            told.as_slice()[28..],
            [0, 0x0a, 0, 8, 0x7f, 1, 0x7f, 2, 0x7f, 3, 0x7f, 4]
        );
    }

    proptest! {
        #[test]
        fn no_request_gets_more_than_three_times_its_length(
            attributes in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..6)), 0..8),
            v6: bool,
        ) {
            let mut bytes = Vec::new();
            for (kind, value) in attributes {
                bytes.extend(kind.to_be_bytes());
                bytes.extend(length(value.len()));
                bytes.extend(&value);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            let asked = request(&bytes);
            let from = addr(if v6 { "[2001:db8::1]:9" } else { "192.0.2.1:9" });
            if let Some(told) = answer(&asked, from) {
                prop_assert!(told.as_slice().len() <= 3 * asked.len());
                prop_assert_eq!(usize::from(u16_at(told.as_slice(), 2).unwrap()) + HEADER, told.as_slice().len());
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = answer(&bytes, addr("192.0.2.1:9"));
            let _ = answer(&request(&bytes), addr("192.0.2.1:9"));
        }
    }
}
