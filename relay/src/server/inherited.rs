//! Sockets that another program has bound for the relay, as systemd does.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

/// Bound sockets for the relay. Clones refer to the same sockets.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    /// Replaces the relay's UDP socket.
    pub udp: Option<Arc<UdpSocket>>,
    /// Replace the listener at the TCP port with the number of the UDP port.
    pub tcp: Vec<Arc<TcpListener>>,
}

impl Inherited {
    /// The UDP socket, for the plane.
    pub(super) fn udp(&self) -> io::Result<Option<UdpSocket>> {
        self.udp
            .as_ref()
            .map(|socket| socket.try_clone())
            .transpose()
    }

    /// The listeners, for tokio. Must be called within a tokio runtime.
    pub(super) fn tcp(&self) -> io::Result<Vec<tokio::net::TcpListener>> {
        let listener = |inherited: &Arc<TcpListener>| {
            let listener = inherited.try_clone()?;
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        self.tcp.iter().map(listener).collect()
    }
}
