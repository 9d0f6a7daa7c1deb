//! One request to the router over UDP, repeated until an answer fits.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long to wait for an answer before the request is repeated. Lost datagrams are rare in a local
/// network, and most routers answer within milliseconds.
const REPEATED_AFTER: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

/// Answers that do not fit and are skipped. With more, the router counts as silent.
const SKIPPED_MAX: usize = 64;

/// The size of the largest answer that is read. PCP allows 1,100 bytes; the rest is ignored.
const ANSWER_MAX: usize = 1100;

/// Why there is no answer of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The router answers that it does not map the port.
    #[error("refused with code {0}")]
    Refused(u16),
    /// It sends nothing that fits, or does not speak the protocol.
    #[error("no answer")]
    Silent,
    /// The system cannot send to it.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Sends a request and returns the first answer that `parse` accepts. Only packets from `router`
/// arrive here.
pub(super) async fn ask<T>(
    from: IpAddr,
    router: SocketAddrV4,
    request: &[u8],
    parse: impl Fn(&[u8]) -> Option<Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let socket = UdpSocket::bind((from, 0)).await?;
    // The system drops packets from other addresses.
    socket.connect(router).await?;
    let mut answer = [0; ANSWER_MAX];
    let mut skipped = 0;
    for wait in REPEATED_AFTER {
        socket.send(request).await?;
        let read = async {
            loop {
                let len = socket.recv(&mut answer).await?;
                if let Some(result) = parse(&answer[..len]) {
                    return result;
                }
                skipped += 1;
                if skipped > SKIPPED_MAX {
                    return Err(RequestError::Silent);
                }
            }
        };
        if let Ok(result) = timeout(wait, read).await {
            return result;
        }
    }
    Err(RequestError::Silent)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A router and its address.
    async fn router() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        match socket.local_addr().unwrap() {
            SocketAddr::V4(addr) => (socket, addr),
            SocketAddr::V6(addr) => panic!("{addr} is not an IPv4 address"),
        }
    }

    /// Asks with "hi", and accepts "yes" and "no".
    async fn ask_for_yes(router: SocketAddrV4) -> Result<(), RequestError> {
        ask(LOCAL, router, b"hi", |answer| match answer {
            b"yes" => Some(Ok(())),
            b"no" => Some(Err(RequestError::Refused(2))),
            _ => None,
        })
        .await
    }

    /// Asks a router that sends these packets for each request.
    async fn answered_by(answers: &[&[u8]]) -> Result<(), RequestError> {
        let (socket, addr) = router().await;
        let serve = async {
            loop {
                let (_, from) = socket.recv_from(&mut [0; 8]).await.unwrap();
                for answer in answers {
                    socket.send_to(answer, from).await.unwrap();
                }
            }
        };
        tokio::select! {
            asked = ask_for_yes(addr) => asked,
            () = serve => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn the_first_answer_that_fits_counts() {
        assert!(answered_by(&[b"what?", b"yes", b"no"]).await.is_ok());
        let refused = answered_by(&[&[0; 2000], b"no"]).await;
        assert!(matches!(refused, Err(RequestError::Refused(2))));
    }

    #[tokio::test]
    async fn a_router_that_answers_the_repeated_request_is_heard() {
        let (socket, addr) = router().await;
        let late = async {
            socket.recv_from(&mut [0; 8]).await.unwrap();
            let (_, from) = socket.recv_from(&mut [0; 8]).await.unwrap();
            socket.send_to(b"yes", from).await.unwrap();
        };
        assert!(tokio::join!(ask_for_yes(addr), late).0.is_ok());
    }

    #[tokio::test]
    async fn a_flood_of_other_packets_ends_the_request() {
        let flood = vec![&b"no idea"[..]; SKIPPED_MAX + 1];
        let flooded = answered_by(&flood).await;
        assert!(matches!(flooded, Err(RequestError::Silent)));
    }

    #[tokio::test]
    async fn an_answer_from_another_address_is_not_read() {
        let (socket, addr) = router().await;
        let (other, _) = router().await;
        let forged = async {
            loop {
                let (_, from) = socket.recv_from(&mut [0; 8]).await.unwrap();
                other.send_to(b"yes", from).await.unwrap();
            }
        };
        tokio::select! {
            asked = ask_for_yes(addr) => assert!(matches!(asked, Err(RequestError::Silent))),
            () = forged => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn a_router_without_the_protocol_refuses_at_once() {
        let (socket, addr) = router().await;
        drop(socket);
        let refused = ask_for_yes(addr).await;
        assert!(matches!(refused, Err(RequestError::Io(_))));
    }
}
