//! Tests of the path to an address, from sockets of their own.

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

/// How often a datagram is sent, since some are lost.
const SENT: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Each request has a socket of its own, so the transaction need not be unique.
const TRANSACTION: Transaction = [0; 12];

/// Sends a STUN request. A relay answers it, a node does not, and a machine where nothing listens
/// answers by ICMP.
pub async fn udp(to: SocketAddr) -> Answer {
    udp_while(to, SENT).await
}

/// As [`udp`], for as long as a dial takes. A machine limits its answers that nothing listens:
/// Linux sends six at once and then one a second. So the dial may take the first answers.
pub async fn udp_beside_a_dial(to: SocketAddr) -> Answer {
    udp_while(to, 4 * SENT).await
}

async fn udp_while(to: SocketAddr, requests: u32) -> Answer {
    let ask = async {
        let socket = socket_for(to).await?;
        socket.connect(to).await?;
        let mut answer = [0; 64];
        for _ in 0..requests {
            socket.send(&stun::request(TRANSACTION)).await?;
            if let Ok(received) = timeout(ANSWER / SENT, socket.recv(&mut answer)).await {
                return received;
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    };
    of_result(ask.await)
}

/// Connects over TCP to learn whether the machine is there. A machine without such a port refuses.
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

/// Dials back: sends probes from a socket that the receiver has never sent anything to.
pub async fn dial_back(to: SocketAddr, token: [u8; 16]) -> io::Result<()> {
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

/// This machine's address from which the system sends to the internet, if it has a route there.
/// Sends nothing.
pub async fn source_to_internet() -> Option<IpAddr> {
    // An address for documentation (RFC 5737) is in no local network, so the default route applies.
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
    async fn an_answer_a_refusal_and_silence_are_distinguished() {
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
    async fn a_dial_back_is_a_probe_from_a_fresh_socket() {
        let called = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut received = [0; 64];
        let (made, came) = tokio::join!(
            dial_back(called.local_addr().unwrap(), [5; 16]),
            called.recv_from(&mut received)
        );
        assert!(made.is_ok());
        assert_eq!(
            Probe::decode(&received[..came.unwrap().0]),
            Some(Probe {
                answer: false,
                token: [5; 16]
            })
        );
    }
}
