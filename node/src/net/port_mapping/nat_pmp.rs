//! The NAT Port Mapping Protocol (RFC 6886), the predecessor of PCP.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::Place;
use super::pcp::PORT;
use super::request::{RequestError, ask};

const VERSION: u8 = 0;
const ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const ANSWER: u8 = 0x80;

/// Requests a port, and returns the router's port and the lifetime that the router grants.
pub(super) async fn map(
    place: Place,
    wished: u16,
    lifetime: Duration,
) -> Result<(SocketAddrV4, Duration), RequestError> {
    let ip = exchange(place, &[VERSION, ADDRESS], decode_address).await?;
    let inside = place.inside.port();
    let request = encode(inside, wished, lifetime);
    let (port, lifetime) = exchange(place, &request, |answer| decode_map(answer, inside)).await?;
    Ok((SocketAddrV4::new(ip, port), lifetime))
}

/// Removes the port of the node's socket.
pub(super) async fn unmap(place: Place) -> Result<(), RequestError> {
    let inside = place.inside.port();
    let request = encode(inside, 0, Duration::ZERO);
    exchange(place, &request, |answer| decode_map(answer, inside))
        .await
        .map(drop)
}

async fn exchange<T>(
    place: Place,
    request: &[u8],
    parse: impl Fn(&[u8]) -> Option<Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let router = SocketAddrV4::new(place.router, PORT);
    ask((*place.inside.ip()).into(), router, request, parse).await
}

fn encode(inside: u16, wished: u16, lifetime: Duration) -> [u8; 12] {
    let mut request = [0; 12];
    request[1] = MAP_UDP;
    request[4..6].copy_from_slice(&inside.to_be_bytes());
    request[6..8].copy_from_slice(&wished.to_be_bytes());
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    request[8..12].copy_from_slice(&seconds.to_be_bytes());
    request
}

/// The refusal in an answer with this opcode, or its bytes. `None` if it is another answer.
fn check<const LEN: usize>(answer: &[u8], opcode: u8) -> Option<Result<&[u8; LEN], RequestError>> {
    let head: &[u8; 4] = answer.first_chunk()?;
    if head[..2] != [VERSION, ANSWER | opcode] {
        return None;
    }
    match u16::from_be_bytes([head[2], head[3]]) {
        0 => answer.first_chunk().map(Ok),
        code => Some(Err(RequestError::Refused(code))),
    }
}

fn decode_address(answer: &[u8]) -> Option<Result<Ipv4Addr, RequestError>> {
    let address = |answer: &[u8; 12]| Ipv4Addr::new(answer[8], answer[9], answer[10], answer[11]);
    Some(check::<12>(answer, ADDRESS)?.map(address))
}

/// The router's port and the lifetime.
fn decode_map(answer: &[u8], inside: u16) -> Option<Result<(u16, Duration), RequestError>> {
    let answer: &[u8; 16] = match check(answer, MAP_UDP)? {
        Ok(answer) => answer,
        Err(error) => return Some(Err(error)),
    };
    let port = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let seconds: [u8; 4] = answer[12..16].try_into().expect("4 bytes");
    let lifetime = Duration::from_secs(u32::from_be_bytes(seconds).into());
    (port(8) == inside).then_some(Ok((port(10), lifetime)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPED: [u8; 16] = [
        0, 0x81, 0, 0, 0, 0, 0, 9, 0x12, 0x12, 0x0f, 0xa0, 0, 0, 0, 120,
    ];

    #[test]
    fn a_request_has_the_bytes_of_the_standard() {
        let request = encode(4626, 4000, Duration::from_secs(7200));
        assert_eq!(
            request,
            [0, 1, 0, 0, 0x12, 0x12, 0x0f, 0xa0, 0, 0, 0x1c, 0x20]
        );
    }

    #[test]
    fn answers_name_the_public_address_the_port_and_the_lease() {
        let address = decode_address(&[0, 0x80, 0, 0, 0, 0, 0, 9, 11, 1, 0, 2]);
        assert_eq!(address.unwrap().unwrap(), Ipv4Addr::new(11, 1, 0, 2));
        let mapped = decode_map(&MAPPED, 4626).unwrap().unwrap();
        assert_eq!(mapped, (4000, Duration::from_secs(120)));
    }

    #[test]
    fn other_packets_are_skipped() {
        assert!(decode_map(&MAPPED, 4627).is_none(), "another port");
        assert!(decode_map(&MAPPED[..15], 4626).is_none(), "too short");
        assert!(decode_map(&[], 4626).is_none());
        assert!(decode_address(&MAPPED).is_none(), "another opcode");
    }

    #[test]
    fn a_refusal_has_its_code() {
        let refused = decode_map(&[0, 0x81, 0, 2], 4626).unwrap();
        assert!(matches!(refused, Err(RequestError::Refused(2))));
    }
}
