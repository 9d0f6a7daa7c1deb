//! The Port Control Protocol (RFC 6887): the opcode MAP for one UDP port over IPv4.

use std::net::{Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use super::Place;
use super::request::{RequestError, ask};

/// The UDP port of the router, for NAT-PMP, too.
pub(super) const PORT: u16 = 5351;

const VERSION: u8 = 2;
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
const UDP: u8 = 17;

/// The size of a MAP request and of its answer.
const LEN: usize = 60;

/// Requests a port, and returns the router's port and the lifetime that the router grants.
pub(super) async fn map(
    place: Place,
    nonce: [u8; 12],
    wished: u16,
    lifetime: Duration,
) -> Result<(SocketAddrV4, Duration), RequestError> {
    exchange(place, nonce, wished, lifetime).await
}

/// Removes the port that this nonce has requested.
pub(super) async fn unmap(place: Place, nonce: [u8; 12]) -> Result<(), RequestError> {
    exchange(place, nonce, 0, Duration::ZERO).await.map(drop)
}

async fn exchange(
    place: Place,
    nonce: [u8; 12],
    wished: u16,
    lifetime: Duration,
) -> Result<(SocketAddrV4, Duration), RequestError> {
    let request = encode(place.inside, nonce, wished, lifetime);
    let router = SocketAddrV4::new(place.router, PORT);
    ask((*place.inside.ip()).into(), router, &request, |answer| {
        decode(answer, nonce, place.inside.port())
    })
    .await
}

fn encode(inside: SocketAddrV4, nonce: [u8; 12], wished: u16, lifetime: Duration) -> [u8; LEN] {
    let mut request = [0; LEN];
    request[..2].copy_from_slice(&[VERSION, MAP]);
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    request[4..8].copy_from_slice(&seconds.to_be_bytes());
    request[8..24].copy_from_slice(&inside.ip().to_ipv6_mapped().octets());
    request[24..36].copy_from_slice(&nonce);
    request[36] = UDP;
    request[40..42].copy_from_slice(&inside.port().to_be_bytes());
    request[42..44].copy_from_slice(&wished.to_be_bytes());
    // The family of the suggested address, which is any IPv4 address.
    request[54..56].copy_from_slice(&[0xff, 0xff]);
    request
}

/// The external address and the lifetime. `None` if this does not answer the request.
fn decode(
    answer: &[u8],
    nonce: [u8; 12],
    inside: u16,
) -> Option<Result<(SocketAddrV4, Duration), RequestError>> {
    if let [0, _, ..] = answer {
        // A router with only NAT-PMP answers in its version.
        return Some(Err(RequestError::Silent));
    }
    let answer: &[u8; LEN] = answer.first_chunk()?;
    let port = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let fits = answer[..2] == [VERSION, ANSWER | MAP]
        && answer[24..36] == nonce
        && answer[36] == UDP
        && port(40) == inside;
    if !fits {
        return None;
    }
    if answer[3] != 0 {
        return Some(Err(RequestError::Refused(answer[3].into())));
    }
    let ip: [u8; 16] = answer[44..60].try_into().expect("16 bytes");
    let ip = Ipv6Addr::from(ip).to_ipv4_mapped()?;
    let seconds: [u8; 4] = answer[4..8].try_into().expect("4 bytes");
    let lifetime = Duration::from_secs(u32::from_be_bytes(seconds).into());
    Some(Ok((SocketAddrV4::new(ip, port(42)), lifetime)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 12] = *b"twelve bytes";

    /// The router's answer to the request of 192.168.1.2:4626.
    fn answer() -> [u8; LEN] {
        let inside = "192.168.1.2:4626".parse().unwrap();
        let mut answer = encode(inside, NONCE, 4000, Duration::from_secs(120));
        answer[1] |= ANSWER;
        answer[44..60]
            .copy_from_slice(&Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x0b01, 2]).octets());
        answer
    }

    #[test]
    fn a_request_has_the_bytes_of_the_standard() {
        let request = encode(
            "192.168.1.2:4626".parse().unwrap(),
            NONCE,
            4000,
            Duration::from_secs(7200),
        );
        let mut expected = vec![2, 1, 0, 0, 0, 0, 0x1c, 0x20];
        expected.extend([0; 10]);
        expected.extend([0xff, 0xff, 192, 168, 1, 2]);
        expected.extend(NONCE);
        expected.extend([17, 0, 0, 0, 0x12, 0x12, 0x0f, 0xa0]);
        expected.extend([0; 10]);
        expected.extend([0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(request[..], expected);
    }

    #[test]
    fn an_answer_names_the_routers_port_and_the_lease() {
        let (external, lifetime) = decode(&answer(), NONCE, 4626).unwrap().unwrap();
        assert_eq!(external, "11.1.0.2:4000".parse().unwrap());
        assert_eq!(lifetime, Duration::from_secs(120));
    }

    #[test]
    fn an_answer_to_another_request_is_skipped() {
        assert!(decode(&answer(), [0; 12], 4626).is_none(), "another nonce");
        assert!(decode(&answer(), NONCE, 4627).is_none(), "another port");
        assert!(decode(&answer()[..59], NONCE, 4626).is_none(), "too short");
        for at in [0, 1, 36] {
            let mut other = answer();
            other[at] ^= 0x40;
            assert!(decode(&other, NONCE, 4626).is_none(), "byte {at}");
        }
        let mut v6 = answer();
        v6[44..46].copy_from_slice(&[0x20, 0x01]);
        assert!(decode(&v6, NONCE, 4626).is_none(), "an IPv6 address");
    }

    #[test]
    fn a_refusal_has_its_code_and_an_older_router_counts_as_silent() {
        let mut refused = answer();
        refused[3] = 2;
        let result = decode(&refused, NONCE, 4626).unwrap();
        assert!(matches!(result, Err(RequestError::Refused(2))));
        let older = decode(&[0, 0x81, 0, 1, 0, 0, 0, 0], NONCE, 4626).unwrap();
        assert!(matches!(older, Err(RequestError::Silent)));
    }
}
