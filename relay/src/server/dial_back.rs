//! Dial-backs: a peer asks for a probe from a new socket, to learn whether unsolicited datagrams
//! reach it.
//!
//! A firewall or NAT that admits only answers drops a probe from a socket that it does not know.
//! The socket stays open for a moment. It answers STUN requests with the token of the dial-back, so
//! the peer also learns its address as this socket sees it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hobnob_protocol::datagram::Probe;
use hobnob_protocol::relay::{DIAL_BACK_STAYS, TRANSACTION_LEN};
use hobnob_transport::stun;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Maximum concurrent dial-backs. Beyond it a peer is informed that there was none.
const DIAL_BACKS_MAX: usize = 128;

/// Maximum STUN requests that one socket answers. It does not read further ones.
const ANSWERS_MAX: usize = 4;

/// Buffer for a STUN request, in bytes. A longer request is cut and gets no answer.
const REQUEST_MAX: usize = 256;

/// Offset of the transaction id in a STUN message (RFC 8489 section 5).
const TRANSACTION_AT: usize = 8;

/// Starts dial-backs, each as a separate task.
#[derive(Debug)]
pub(super) struct DialBacks {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl DialBacks {
    pub(super) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(DIAL_BACKS_MAX)),
            tasks,
            stop,
        }
    }

    /// Sends one probe from a new socket at `from` to `to`. Returns false, without calling
    /// `report`, if that fails or there is no place.
    ///
    /// `report` receives the port of the socket after the probe was sent.
    pub(super) fn start(
        &self,
        from: IpAddr,
        to: SocketAddr,
        token: [u8; 16],
        report: impl FnOnce(u16) + Send + 'static,
    ) -> bool {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return false;
        };
        let socket = match send_probe(from, to, token) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%to, %error, "can't send the probe of a dial-back");
                return false;
            }
        };
        let staying = async move {
            report(socket.local_addr().map_or(0, |addr| addr.port()));
            // It ends after this time, or when the socket fails.
            let _ended = timeout(DIAL_BACK_STAYS, answer(&socket, token)).await;
            drop(place);
        };
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(staying));
        true
    }
}

/// Sends the probe without waiting. The buffer of a new socket is empty, so the system accepts it.
fn send_probe(from: IpAddr, to: SocketAddr, token: [u8; 16]) -> io::Result<UdpSocket> {
    let ip = to.ip().to_canonical();
    // A link-local address of the relay has the zone of the peer's address.
    let (to, from) = match (ip, from.to_canonical(), to) {
        (IpAddr::V4(_), from @ IpAddr::V4(_), _) => {
            (SocketAddr::new(ip, to.port()), SocketAddr::new(from, 0))
        }
        (IpAddr::V6(_), IpAddr::V6(from), SocketAddr::V6(v6)) => {
            let scope = if from.is_unicast_link_local() {
                v6.scope_id()
            } else {
                0
            };
            (to, std::net::SocketAddrV6::new(from, 0, 0, scope).into())
        }
        // The local address is unknown: the system chooses one of the right family.
        (IpAddr::V4(_), ..) => (
            SocketAddr::new(ip, to.port()),
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        ),
        (IpAddr::V6(_), ..) => (to, (std::net::Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    let socket = std::net::UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    socket.send_to(
        &Probe {
            answer: false,
            token,
        }
        .encode(),
        to,
    )?;
    UdpSocket::from_std(socket)
}

/// Answers STUN requests with the right token.
async fn answer(socket: &UdpSocket, token: [u8; 16]) -> io::Result<()> {
    let mut request = [0; REQUEST_MAX];
    let mut answered = 0;
    while answered < ANSWERS_MAX {
        // The error reports an ICMP message about an earlier datagram. The next receive works.
        let Ok((len, sender)) = socket.recv_from(&mut request).await else {
            continue;
        };
        let request = &request[..len];
        let knows = request.get(TRANSACTION_AT..TRANSACTION_AT + TRANSACTION_LEN)
            == Some(&token[..TRANSACTION_LEN]);
        let Some(answer) = stun::server::answer(request, sender)
            .filter(|answer| knows && answer.as_slice().len() <= len)
        else {
            continue;
        };
        socket.send_to(answer.as_slice(), sender).await?;
        answered += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::datagram::STUN_COOKIE;
    use std::net::{Ipv4Addr, UdpSocket as StdSocket};
    use std::sync::mpsc;
    use std::time::Duration;

    const TOKEN: [u8; 16] = [7; 16];

    fn peer() -> StdSocket {
        let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket
    }

    fn dial_backs() -> DialBacks {
        DialBacks::new(TaskTracker::new(), CancellationToken::new())
    }

    /// Starts a dial-back to the peer. Returns the port that it will report.
    fn start(dial_backs: &DialBacks, peer: &StdSocket) -> Option<mpsc::Receiver<u16>> {
        let (report, port) = mpsc::channel();
        let at = peer.local_addr().unwrap();
        let started = dial_backs.start(Ipv4Addr::LOCALHOST.into(), at, TOKEN, move |port| {
            report.send(port).unwrap()
        });
        started.then_some(port)
    }

    /// A Binding request with this transaction id and `padding` bytes of an optional attribute.
    fn request(transaction: &[u8], padding: u8) -> Vec<u8> {
        let attribute = [
            &[0x80, 0x22, 0, padding - 4][..],
            &vec![b' '; usize::from(padding) - 4],
        ]
        .concat();
        [
            &[0, 1, 0, padding][..],
            &STUN_COOKIE,
            transaction,
            &attribute,
        ]
        .concat()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dial_back_is_one_probe_from_the_reported_port() {
        let (peer, dial_backs) = (peer(), dial_backs());
        let port = start(&dial_backs, &peer).unwrap().recv().unwrap();
        let mut probe = [0; 64];
        let (len, from) = peer.recv_from(&mut probe).unwrap();
        assert_eq!(
            (Probe::decode(&probe[..len]), from.port()),
            (
                Some(Probe {
                    answer: false,
                    token: TOKEN
                }),
                port
            )
        );
        // Only a request with the token gets an answer, and the answer is no longer than the
        // request.
        for stranger in [request(&[8; 12], 24), request(&TOKEN[..12], 8)] {
            peer.send_to(&stranger, from).unwrap();
        }
        for _ in 0..=ANSWERS_MAX {
            peer.send_to(&request(&TOKEN[..12], 24), from).unwrap();
        }
        let mut answer = [0; 64];
        for _ in 0..ANSWERS_MAX {
            let (len, _) = peer.recv_from(&mut answer).unwrap();
            assert_eq!((len, &answer[8..20]), (32, &TOKEN[..12]));
        }
        dial_backs.tasks.close();
        dial_backs.tasks.wait().await;
        peer.set_nonblocking(true).unwrap();
        assert!(
            peer.recv(&mut answer).is_err(),
            "one probe, four answers, and nothing else"
        );
    }

    #[tokio::test]
    async fn the_number_of_concurrent_dial_backs_is_bounded() {
        let (peer, dial_backs) = (peer(), dial_backs());
        let started: Vec<_> = (0..=DIAL_BACKS_MAX)
            .map(|_| start(&dial_backs, &peer).is_some())
            .collect();
        assert!(started[..DIAL_BACKS_MAX].iter().all(|started| *started));
        assert!(!started[DIAL_BACKS_MAX]);
        dial_backs.stop.cancel();
        dial_backs.tasks.close();
        dial_backs.tasks.wait().await;
        assert!(
            start(&dial_backs, &peer).is_some(),
            "each one frees its place"
        );
    }
}
