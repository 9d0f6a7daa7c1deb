//! Questions to an address, by sockets of their own, that tell what is in the way to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::datagram::Probe;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use hobnob_core::diagnosis::Answer;
use hobnob_transport::stun::client::{self as stun, Transaction};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// How often a datagram is sent: some are lost.
const SENT: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Nobody else needs to know it.
const TRANSACTION: Transaction = [0; 12];

/// Asks over UDP, as STUN does: a relay answers, a node does not, and a machine where nothing
/// listens says so by ICMP.
pub async fn udp(to: SocketAddr) -> Answer {
    let ask = async {
        let socket = socket_for(to).await?;
        socket.connect(to).await?;
        let mut answer = [0; 64];
        for _ in 0..SENT {
            socket.send(&stun::request(TRANSACTION)).await?;
            if let Ok(received) = timeout(ANSWER / SENT, socket.recv(&mut answer)).await {
                return received;
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    };
    of_result(ask.await)
}

/// Asks whether anything at all answers there: a machine without such a TCP port says so, too.
pub async fn tcp(to: SocketAddr) -> Answer {
    match timeout(ANSWER, TcpStream::connect(to)).await {
        Ok(connected) => of_result(connected),
        Err(_) => Answer::Silent,
    }
}

fn of_result<T>(result: io::Result<T>) -> Answer {
    match result {
        Ok(_) => Answer::Answered,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Refused,
        Err(_) => Answer::Silent,
    }
}

/// Sends a knock from a socket that is new to whoever gets it.
pub async fn call(to: SocketAddr, token: [u8; 16]) -> io::Result<()> {
    let socket = socket_for(to).await?;
    for _ in 0..SENT {
        socket
            .send_to(
                &Probe {
                    answer: false,
                    token,
                }
                .encode(),
                to,
            )
            .await?;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    Ok(())
}

/// The address of ours from which the system would send to the internet, if it would. Sends
/// nothing.
pub async fn source_to_internet() -> Option<IpAddr> {
    // For documentation (RFC 5737), so in nobody's local network: it goes where everything else
    // goes.
    let somewhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let socket = socket_for(somewhere).await.ok()?;
    socket.connect(somewhere).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn socket_for(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    UdpSocket::bind((any, 0)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_there_who_is_not_and_who_says_nothing_are_told_apart() {
        let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = there.local_addr().unwrap();
        let answer = async {
            let mut request = [0; 64];
            let (len, from) = there.recv_from(&mut request).await.unwrap();
            assert_eq!(request[..len], stun::request(TRANSACTION));
            there.send_to(b"yes", from).await.unwrap();
        };
        assert_eq!(tokio::join!(udp(addr), answer).0, Answer::Answered);
        assert_eq!(udp(addr).await, Answer::Silent);
        drop(there);
        assert_eq!(
            (udp(addr).await, tcp(addr).await),
            (Answer::Refused, Answer::Refused)
        );
    }

    #[tokio::test]
    async fn a_call_is_a_knock_from_an_unknown_socket() {
        let called = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut knock = [0; 64];
        let (made, came) = tokio::join!(
            call(called.local_addr().unwrap(), [5; 16]),
            called.recv_from(&mut knock)
        );
        assert!(made.is_ok());
        assert_eq!(
            Probe::decode(&knock[..came.unwrap().0]),
            Some(Probe {
                answer: false,
                token: [5; 16]
            })
        );
    }
}
