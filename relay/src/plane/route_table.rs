//! The route table of the plane: routes by channel, with addresses in the socket's form.
//!
//! The core bounds the table: it limits the peers and the channels of each peer.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use hobnob_protocol::datagram::ChannelId;

use crate::route::{Meter, Route, Update, Used};

/// All routes.
#[derive(Debug)]
pub(super) struct RouteTable {
    entries: HashMap<u64, RouteEntry, BuildHasherDefault<AsItIs>>,
    dual_stack: bool,
}

/// One route.
#[derive(Debug)]
pub(super) struct RouteEntry {
    /// The only accepted source of frames.
    pub(super) from: SocketAddr,
    /// The destination of the frames.
    pub(super) to: SocketAddr,
    /// The relay's address that the frames leave from. It must be the one that the receiver sends
    /// to, because the receiver's NAT admits nothing else. The system chooses one until the
    /// receiver has sent a frame.
    pub(super) leaves_from: Cell<Option<IpAddr>>,
    /// The receiver's name of the channel.
    pub(super) becomes: ChannelId,
    /// The relay's address at which this sender's last frames arrived.
    arrives_at: Cell<Option<IpAddr>>,
    pub(super) meter: Arc<Meter>,
    pub(super) used: Arc<Used>,
}

impl RouteTable {
    /// An empty table. A `dual_stack` socket shows IPv4 addresses as `::ffff:a.b.c.d`.
    pub(super) fn new(dual_stack: bool) -> Self {
        Self {
            entries: HashMap::default(),
            dual_stack,
        }
    }

    /// Applies a change.
    pub(super) fn apply(&mut self, update: Update) {
        match update {
            Update::Set(route) => self.set(route),
            Update::Remove(channel) => {
                self.entries.remove(&key(channel));
            }
        }
    }

    fn set(&mut self, route: Route) {
        let Route {
            channel,
            from,
            to,
            becomes,
            meter,
            used,
        } = route;
        let leaves_from = Cell::new(
            self.get(becomes)
                .and_then(|reverse| reverse.arrives_at.get()),
        );
        let (from, to) = (self.as_seen(from), self.as_seen(to));
        self.entries.insert(
            key(channel),
            RouteEntry {
                from,
                to,
                leaves_from,
                becomes,
                arrives_at: Cell::new(None),
                meter,
                used,
            },
        );
    }

    /// The route of a channel.
    pub(super) fn get(&self, channel: ChannelId) -> Option<&RouteEntry> {
        self.entries.get(&key(channel))
    }

    /// Notes the relay's address at which a sender's frames arrive. Frames to that sender leave
    /// from there.
    pub(super) fn arrived(&self, route: &RouteEntry, at: Option<IpAddr>) {
        if at.is_none() || route.arrives_at.get() == at {
            return;
        }
        route.arrives_at.set(at);
        if let Some(reverse) = self.get(route.becomes) {
            reverse.leaves_from.set(at);
        }
    }

    /// An address in the form in which the socket shows senders, so that addresses can be compared.
    fn as_seen(&self, addr: SocketAddr) -> SocketAddr {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) if self.dual_stack => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port())
            }
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, addr.port(), 0, scope(addr))),
        }
    }
}

/// The interface of a link-local address; 0 for any other.
fn scope(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
        SocketAddr::V6(_) | SocketAddr::V4(_) => 0,
    }
}

fn key(channel: ChannelId) -> u64 {
    u64::from_ne_bytes(channel.0)
}

/// Hashes a channel id to itself. The relay creates the ids at random, so nobody can provoke
/// collisions.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // Not called, because keys are `u64`. It is correct for other keys, too.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelId = ChannelId([1; 8]);
    const B: ChannelId = ChannelId([2; 8]);

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn route(channel: ChannelId, from: &str, to: &str, becomes: ChannelId) -> Route {
        Route {
            channel,
            from: addr(from),
            to: addr(to),
            becomes,
            meter: Arc::default(),
            used: Arc::default(),
        }
    }

    #[test]
    fn a_route_lasts_until_it_is_removed_or_replaced() {
        let mut table = RouteTable::new(true);
        table.apply(Update::Set(route(A, "10.0.0.1:1", "10.0.0.2:2", B)));
        table.apply(Update::Set(route(A, "10.0.0.1:3", "10.0.0.2:2", B)));
        assert_eq!(table.get(A).unwrap().from, addr("[::ffff:10.0.0.1]:3"));
        assert!(table.get(B).is_none());
        table.apply(Update::Remove(A));
        assert!(table.get(A).is_none());
    }

    #[test]
    fn addresses_are_stored_as_the_socket_shows_them() {
        let shown = |dual_stack, text| RouteTable::new(dual_stack).as_seen(addr(text));
        assert_eq!(shown(true, "10.0.0.1:9"), addr("[::ffff:10.0.0.1]:9"));
        assert_eq!(
            shown(true, "[::ffff:10.0.0.1]:9"),
            addr("[::ffff:10.0.0.1]:9")
        );
        assert_eq!(shown(false, "[::ffff:10.0.0.1]:9"), addr("10.0.0.1:9"));
        assert_eq!(shown(true, "[fe80::1%3]:9"), addr("[fe80::1%3]:9"));
        assert_eq!(shown(true, "[2001:db8::1%3]:9"), addr("[2001:db8::1]:9"));
    }

    #[test]
    fn frames_leave_from_the_address_that_their_receiver_sends_to() {
        let ours: Option<IpAddr> = Some("10.0.0.9".parse().unwrap());
        let mut table = RouteTable::new(false);
        table.apply(Update::Set(route(A, "10.0.0.1:1", "10.0.0.2:2", B)));
        table.apply(Update::Set(route(B, "10.0.0.2:2", "10.0.0.1:1", A)));
        table.arrived(table.get(B).unwrap(), ours);
        assert_eq!(table.get(A).unwrap().leaves_from.get(), ours);
        // The sender's address has changed, but not the receiver's.
        table.apply(Update::Set(route(A, "10.0.0.7:1", "10.0.0.2:2", B)));
        assert_eq!(table.get(A).unwrap().leaves_from.get(), ours);
    }
}
