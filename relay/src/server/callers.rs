//! Calls to peers that want to know whether calls reach them: a knock from a socket that is used
//! for nothing else.
//!
//! A firewall or NAT that lets in only answers knows nobody by that socket, and so swallows the
//! knock. The socket stays for a moment, and tells who asks with the call's own token how the asker
//! looks from there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hobnob_protocol::datagram::Knock;
use hobnob_protocol::relay::{CALLER_STAYS, TRANSACTION_LEN};
use hobnob_transport::stun;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Calls at once; whoever asks for a further one is told that there is none.
const CALLS_MAX: usize = 128;

/// STUN requests that one call answers; further ones are not read.
const ANSWERS_MAX: usize = 4;

/// Longer than any request that is answered.
const REQUEST_MAX: usize = 256;

/// Where the transaction id of a STUN message begins (RFC 8489 section 5).
const TRANSACTION_AT: usize = 8;

/// Makes calls, each a task of its own.
#[derive(Debug)]
pub(super) struct Callers {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    over: CancellationToken,
}

impl Callers {
    pub(super) fn new(tasks: TaskTracker, over: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            tasks,
            over,
        }
    }

    /// Sends one knock from a new socket of `from` to `to`, then tells which port it went from.
    /// Whether there is a call; if not, nothing is told.
    pub(super) fn call(
        &self,
        from: IpAddr,
        to: SocketAddr,
        token: [u8; 16],
        told: impl FnOnce(u16) + Send + 'static,
    ) -> bool {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return false;
        };
        let socket = match knock(from, to, token) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%to, %error, "a peer that wanted to be called could not be");
                return false;
            }
        };
        let staying = async move {
            told(socket.local_addr().map_or(0, |addr| addr.port()));
            // The time is over, or the relay.
            let _over = timeout(CALLER_STAYS, answer(&socket, token)).await;
            drop(place);
        };
        self.tasks
            .spawn(self.over.clone().run_until_cancelled_owned(staying));
        true
    }
}

/// Sends the knock, if the system takes it now: a new socket has all its buffer.
fn knock(from: IpAddr, to: SocketAddr, token: [u8; 16]) -> io::Result<UdpSocket> {
    let ip = to.ip().to_canonical();
    // The zone of a link-local address is the one that the peer is in.
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
        // The local address is not known: any of the right family.
        (IpAddr::V4(_), ..) => (
            SocketAddr::new(ip, to.port()),
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        ),
        (IpAddr::V6(_), ..) => (to, (std::net::Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    let socket = std::net::UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    socket.send_to(
        &Knock {
            answer: false,
            token,
        }
        .encode(),
        to,
    )?;
    UdpSocket::from_std(socket)
}

/// Answers STUN requests of whoever knows the token.
async fn answer(socket: &UdpSocket, token: [u8; 16]) -> io::Result<()> {
    let mut request = [0; REQUEST_MAX];
    let mut answered = 0;
    while answered < ANSWERS_MAX {
        // An error is the word of some machine that it did not want what was sent: for the next
        // receive, it is over.
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

    fn callers() -> Callers {
        Callers::new(TaskTracker::new(), CancellationToken::new())
    }

    fn called(callers: &Callers, peer: &StdSocket) -> Option<mpsc::Receiver<u16>> {
        let (told, port) = mpsc::channel();
        let at = peer.local_addr().unwrap();
        let call = callers.call(Ipv4Addr::LOCALHOST.into(), at, TOKEN, move |port| {
            told.send(port).unwrap()
        });
        call.then_some(port)
    }

    /// A Binding request with this transaction id and so many bytes of an attribute that may be
    /// ignored.
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
    async fn a_call_is_one_knock_from_the_port_that_is_told() {
        let (peer, callers) = (peer(), callers());
        let port = called(&callers, &peer).unwrap().recv().unwrap();
        let mut knock = [0; 64];
        let (len, from) = peer.recv_from(&mut knock).unwrap();
        assert_eq!(
            (Knock::decode(&knock[..len]), from.port()),
            (
                Some(Knock {
                    answer: false,
                    token: TOKEN
                }),
                port
            )
        );
        // Whoever knows the token is told how it looks from there, for no more bytes than it sends;
        // others are told nothing.
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
        callers.tasks.close();
        callers.tasks.wait().await;
        peer.set_nonblocking(true).unwrap();
        assert!(
            peer.recv(&mut answer).is_err(),
            "one knock, four answers, and no more"
        );
    }

    #[tokio::test]
    async fn so_many_calls_at_once_and_none_beyond() {
        let (peer, callers) = (peer(), callers());
        let calls: Vec<_> = (0..=CALLS_MAX)
            .map(|_| called(&callers, &peer).is_some())
            .collect();
        assert!(calls[..CALLS_MAX].iter().all(|call| *call) && !calls[CALLS_MAX]);
        callers.over.cancel();
        callers.tasks.close();
        callers.tasks.wait().await;
        assert!(
            called(&callers, &peer).is_some(),
            "each gives its place back"
        );
    }
}
