//! Why a relay is silent: what can be found out without its help.
//!
//! A machine whose port is closed says so (ICMP, RFC 1122 section 4.1.3.1), and one that is there answers TCP, if only to say that
//! nobody listens. So a relay that does not run, UDP that does not get through, and a machine that is not there are told apart,
//! unless a firewall swallows these answers, too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::datagram::STUN_COOKIE;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::LinkDown;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What comes back over UDP.
enum Udp {
    /// An answer.
    Answer,
    /// The machine's word that nothing listens there.
    Refusal,
    Nothing,
}

/// What may be the cause, when no connection with this address could be made.
pub(super) async fn cause(addr: SocketAddr) -> LinkDown {
    let (udp, tcp) = tokio::join!(over_udp(addr), answers_tcp(addr));
    match (udp, tcp) {
        (Udp::Answer, _) => LinkDown::Busy,
        (Udp::Refusal, _) => LinkDown::NotRunning { port: addr.port() },
        (Udp::Nothing, true) => LinkDown::UdpBlocked { port: addr.port() },
        (Udp::Nothing, false) => LinkDown::Unreachable,
    }
}

async fn over_udp(addr: SocketAddr) -> Udp {
    let any: IpAddr = if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let asked = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(addr).await?;
        // A STUN Binding request (RFC 8489 section 5), which relays answer; its transaction id means nothing.
        let mut request = [0; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&STUN_COOKIE);
        socket.send(&request).await?;
        socket.recv(&mut request).await
    };
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(_)) => Udp::Answer,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Udp::Refusal,
        Ok(Err(_)) | Err(_) => Udp::Nothing,
    }
}

/// Whether the machine there answers TCP, by accepting or by refusing.
async fn answers_tcp(addr: SocketAddr) -> bool {
    match timeout(ANSWER_LIMIT, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_told_from_one_that_swallows_what_comes_and_one_that_answers() {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = silent.local_addr().unwrap();
        // No firewall here: TCP is refused, and UDP comes to somebody who does not answer …
        assert_eq!(cause(addr).await, LinkDown::UdpBlocked { port: addr.port() });
        // … until now.
        let mut request = [0; 20];
        silent.recv_from(&mut request).await.unwrap();
        let answering = async {
            let (_, from) = silent.recv_from(&mut request).await.unwrap();
            silent.send_to(b"busy", from).await.unwrap();
        };
        let (down, ()) = tokio::join!(cause(addr), answering);
        assert_eq!(down, LinkDown::Busy);
        drop(silent);
        assert_eq!(cause(addr).await, LinkDown::NotRunning { port: addr.port() });
    }
}
