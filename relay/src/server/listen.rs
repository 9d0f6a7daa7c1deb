//! Opens TCP listeners, and raises the limit of descriptors that they need.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use tokio::net::TcpListener;

/// Listens on an address. An unspecified IPv6 address includes IPv4. Must be called within a tokio
/// runtime.
pub(super) fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    // The standard library enables SO_REUSEADDR. An unspecified IPv6 address includes IPv4 unless
    // the system's default was changed.
    let listener = StdListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Raises this process's limit of descriptors as far as the system allows. Each client that uses a
/// stream needs one, and the usual limit is 1,024.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "can't raise the limit of descriptors");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[tokio::test]
    async fn a_listener_on_all_addresses_accepts_ipv4() {
        let listener = tcp((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialed = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let (dialed, accepted) = tokio::join!(dialed, listener.accept());
        assert!(dialed.is_ok() && accepted.is_ok());
    }
}
