//! Finds out why a relay does not answer, without its help.
//!
//! A machine answers for a closed port (ICMP, RFC 1122 section 4.1.3.1), and it answers TCP, at least
//! with a refusal. So these probes distinguish a relay that does not run, UDP that is blocked, and a
//! machine that is not there, unless a firewall drops these answers, too.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::LinkDown;
use crate::net::probe;
use hobnob_core::diagnosis::Answer;

/// The time between two answers of a machine for closed ports.
const CLOSED_PORT_EVERY: Duration = Duration::from_secs(1);

/// The likely cause when no connection with this address could be made.
pub(super) async fn cause(addr: SocketAddr) -> LinkDown {
    let (mut by_udp, by_tcp) = tokio::join!(probe::udp(addr), probe::tcp(addr));
    if by_udp == Answer::Silent && by_tcp != Answer::Silent {
        // A machine limits how often it answers for closed ports (RFC 4443 section 2.4; Linux: once a
        // second), and the attempts to connect may have used that up.
        tokio::time::sleep(CLOSED_PORT_EVERY).await;
        by_udp = probe::udp(addr).await;
    }
    match (by_udp, by_tcp) {
        (Answer::Answered, _) => LinkDown::Busy,
        (Answer::Refused, _) => LinkDown::NotRunning { port: addr.port() },
        (Answer::Silent, Answer::Answered | Answer::Refused) => {
            LinkDown::UdpBlocked { port: addr.port() }
        }
        (Answer::Silent, Answer::Silent) => LinkDown::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::UdpSocket;

    #[tokio::test]
    async fn a_closed_port_a_silent_one_and_one_that_answers_are_distinguished() {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = silent.local_addr().unwrap();
        // No firewall here: TCP is refused, and the UDP socket does not answer …
        assert_eq!(
            cause(addr).await,
            LinkDown::UdpBlocked { port: addr.port() }
        );
        // … until now.
        let answering = async {
            let mut request = [0; 64];
            loop {
                let (_, from) = silent.recv_from(&mut request).await.unwrap();
                silent.send_to(b"busy", from).await.unwrap();
            }
        };
        tokio::select! {
            down = cause(addr) => assert_eq!(down, LinkDown::Busy),
            () = answering => {}
        }
        drop(silent);
        assert_eq!(
            cause(addr).await,
            LinkDown::NotRunning { port: addr.port() }
        );
    }
}
