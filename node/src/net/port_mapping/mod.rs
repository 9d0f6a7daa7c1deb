//! Asks the router for a port: packets from the internet to a port of the router then reach this
//! node. The protocols are PCP, NAT-PMP and UPnP IGD, in this order.
//!
//! [`keep_mapped`] runs as a task for as long as the node. It talks to the default gateway and
//! nobody else, renews the lease at half its time, and removes it when the node stops. The messages
//! are in `pcp`, `nat_pmp` and `upnp`; everything that a router sends is hostile there.

mod gateway;
mod http;
mod nat_pmp;
mod pcp;
mod request;
mod upnp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::diagnosis::{MappingProtocol, PortMapping};
use hobnob_core::scope::is_public;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::request::RequestError;
use crate::clock::random_seed;

/// The lease to ask for. A router that restarted has the port again after half of it at the latest.
pub const LEASE: Duration = Duration::from_secs(20 * 60);

/// A lease is renewed this often at most, however short the router makes it. The standards ask for
/// leases of two minutes at least.
const RENEW_MIN: Duration = Duration::from_secs(60);

/// The delay before a router that refused, or did not answer, is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// How long the node waits for the router when it stops.
const REMOVE_WITHIN: Duration = Duration::from_secs(1);

/// Where the port belongs: this machine in the network of its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    router: Ipv4Addr,
    /// The node's socket.
    inside: SocketAddrV4,
}

/// A port of the router that leads to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    method: Method,
    external: SocketAddrV4,
    lifetime: Duration,
}

/// How the lease was obtained, with what a renewal needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    Pcp { nonce: [u8; 12] },
    NatPmp,
    Upnp(upnp::Service),
}

impl Method {
    fn protocol(&self) -> MappingProtocol {
        match self {
            Method::Pcp { .. } => MappingProtocol::Pcp,
            Method::NatPmp => MappingProtocol::NatPmp,
            Method::Upnp(_) => MappingProtocol::Upnp,
        }
    }

    /// Requests the port, or renews its lease.
    async fn map(self, place: Place, port: u16) -> Result<Lease, RequestError> {
        let (external, lifetime) = match &self {
            Method::Pcp { nonce } => pcp::map(place, *nonce, port, LEASE).await?,
            Method::NatPmp => nat_pmp::map(place, port, LEASE).await?,
            Method::Upnp(service) => upnp::map(service, place, port, LEASE).await?,
        };
        if external.port() == 0 {
            return Err(RequestError::Silent);
        }
        Ok(Lease {
            method: self,
            external,
            lifetime,
        })
    }
}

impl Lease {
    /// How the diagnosis shows it. A router behind another NAT gives a port that nobody reaches.
    fn report(&self) -> PortMapping {
        let protocol = self.method.protocol();
        let external = SocketAddr::V4(self.external);
        if is_public(external.ip()) {
            PortMapping::Mapped { protocol, external }
        } else {
            PortMapping::NotPublic { protocol, external }
        }
    }

    async fn renew(self, place: Place) -> Result<Lease, RequestError> {
        let port = self.external.port();
        self.method.map(place, port).await
    }

    /// Removes the port from the router.
    async fn remove(self, place: Place) {
        let remove = async {
            match &self.method {
                Method::Pcp { nonce } => pcp::unmap(place, *nonce).await,
                Method::NatPmp => nat_pmp::unmap(place).await,
                Method::Upnp(service) => upnp::unmap(service, self.external.port()).await,
            }
        };
        match timeout(REMOVE_WITHIN, remove).await {
            Ok(Ok(())) => debug!(port = self.external.port(), "the router's port is removed"),
            Ok(Err(error)) => debug!(?error, "the router keeps the port until the lease ends"),
            Err(_) => debug!("the router does not answer and keeps the port for a while"),
        }
    }
}

/// When to renew a lease: at half its time.
fn renew_after(lifetime: Duration) -> Duration {
    (lifetime.min(LEASE) / 2).max(RENEW_MIN)
}

/// Keeps a port of the router mapped to the node's socket until `stopping`, then removes it.
///
/// `wished` is the router's port that the user wants. `network_changed` is notified whenever the
/// machine's addresses change: another router then gets another request. Each change of what the
/// router answered goes to `report`.
pub async fn keep_mapped(
    bound: SocketAddr,
    wished: Option<u16>,
    network_changed: Arc<Notify>,
    mut report: impl FnMut(PortMapping) + Send,
    stopping: CancellationToken,
) {
    let mut last = PortMapping::default();
    let mut report = move |now: PortMapping| {
        if last != now {
            last = now.clone();
            report(now);
        }
    };
    while !stopping.is_cancelled() {
        let Some(place) = Place::now(bound) else {
            report(PortMapping::NoRouter);
            tokio::select! {
                () = network_changed.notified() => continue,
                () = stopping.cancelled() => return,
            }
        };
        let answer = tokio::select! {
            answer = request_any(place, wished) => answer,
            () = stopping.cancelled() => return,
        };
        let mut lease = match answer {
            Ok(lease) => Some(lease),
            Err(refused) => {
                report(refused);
                None
            }
        };
        loop {
            if let Some(lease) = &lease {
                debug!(?lease, "the router maps a port");
                report(lease.report());
            }
            let wait = lease
                .as_ref()
                .map_or(AGAIN_AFTER, |lease| renew_after(lease.lifetime));
            match sleep_there(place, bound, wait, &network_changed, &stopping).await {
                Wake::Due => {}
                wake @ (Wake::Moved | Wake::Stopping) => {
                    // After a move the old router may still be there, beside a new one.
                    if let Some(lease) = lease {
                        lease.remove(place).await;
                    }
                    if wake == Wake::Stopping {
                        return;
                    }
                    break;
                }
            }
            let Some(old) = lease else { break };
            lease = match old.renew(place).await {
                Ok(lease) => Some(lease),
                Err(error) => {
                    debug!(?error, "the lease of the router's port is not renewed");
                    break;
                }
            };
        }
    }
}

/// Why the task continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The time has passed.
    Due,
    /// The machine has another router or address.
    Moved,
    Stopping,
}

/// Waits for this time, unless the machine leaves the place.
async fn sleep_there(
    place: Place,
    bound: SocketAddr,
    time: Duration,
    network_changed: &Notify,
    stopping: &CancellationToken,
) -> Wake {
    let due = sleep(time);
    tokio::pin!(due);
    loop {
        tokio::select! {
            () = &mut due => return Wake::Due,
            () = network_changed.notified() => {
                if Place::now(bound) != Some(place) {
                    return Wake::Moved;
                }
            }
            () = stopping.cancelled() => return Wake::Stopping,
        }
    }
}

impl Place {
    /// The default gateway, if this machine has a private address towards it. A machine with a
    /// public address needs no port of another machine.
    fn now(bound: SocketAddr) -> Option<Self> {
        let router = gateway::default()?;
        let bound_ip = match bound.ip().to_canonical() {
            IpAddr::V4(v4) => (!v4.is_unspecified()).then_some(v4),
            IpAddr::V6(v6) if v6.is_unspecified() => None,
            IpAddr::V6(_) => return None,
        };
        let own = match bound_ip {
            Some(own) => own,
            None => gateway::source_toward(router)?,
        };
        let is_inside = !is_public(own.into()) && !own.is_loopback();
        is_inside.then(|| Place {
            router,
            inside: SocketAddrV4::new(own, bound.port()),
        })
    }
}

/// Requests a port by each protocol until one succeeds.
async fn request_any(place: Place, wished: Option<u16>) -> Result<Lease, PortMapping> {
    let port = wished.unwrap_or(place.inside.port());
    let mut refused = None;
    let mut note = |protocol, error: RequestError| {
        debug!(?protocol, ?error, "no port mapping");
        if let RequestError::Refused(reason) = error {
            refused.get_or_insert(PortMapping::Refused { protocol, reason });
        }
    };
    let seed = random_seed();
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&seed[..12]);
    match (Method::Pcp { nonce }).map(place, port).await {
        Ok(lease) => return Ok(lease),
        Err(error) => note(MappingProtocol::Pcp, error),
    }
    match Method::NatPmp.map(place, port).await {
        Ok(lease) => return Ok(lease),
        Err(error) => note(MappingProtocol::NatPmp, error),
    }
    match request_by_upnp(place, port, wished.is_some(), &seed[12..]).await {
        Ok(lease) => return Ok(lease),
        Err(error) => note(MappingProtocol::Upnp, error),
    }
    Err(refused.unwrap_or(PortMapping::Silent))
}

/// Requests a port by UPnP. Where another machine has the port and the user named none, other ports
/// are tried: two bytes of `random` for each.
async fn request_by_upnp(
    place: Place,
    port: u16,
    fixed: bool,
    random: &[u8],
) -> Result<Lease, RequestError> {
    let service = upnp::discover(SocketAddrV4::new(place.router, upnp::PORT_SSDP), place).await?;
    let others = random
        .chunks_exact(2)
        .map(|two| u16::from_be_bytes([two[0], two[1]]) | 0x8000);
    let mut others = others.take(if fixed { 0 } else { OTHER_PORTS });
    let mut port = port;
    loop {
        let tried = Method::Upnp(service.clone()).map(place, port).await;
        match (tried, others.next()) {
            (Err(RequestError::Refused(upnp::CONFLICT)), Some(other)) => port = other,
            (result, _) => return result,
        }
    }
}

/// Other ports that are tried by UPnP when another machine has the first one.
const OTHER_PORTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_at_half_its_time_but_not_all_the_time() {
        assert_eq!(
            renew_after(Duration::from_secs(600)),
            Duration::from_secs(300)
        );
        assert_eq!(renew_after(Duration::ZERO), RENEW_MIN);
        assert_eq!(renew_after(Duration::MAX), LEASE / 2);
    }

    #[test]
    fn the_port_of_a_router_behind_another_nat_is_no_address_for_others() {
        let lease = |ip: &str| Lease {
            method: Method::NatPmp,
            external: SocketAddrV4::new(ip.parse().unwrap(), 4626),
            lifetime: LEASE,
        };
        let protocol = MappingProtocol::NatPmp;
        let external = "11.1.0.2:4626".parse().unwrap();
        let mapped = PortMapping::Mapped { protocol, external };
        assert_eq!(lease("11.1.0.2").report(), mapped);
        for ip in ["192.168.0.7", "100.64.3.4", "0.0.0.0"] {
            let report = lease(ip).report();
            assert!(matches!(report, PortMapping::NotPublic { .. }), "{ip}");
        }
    }

    #[test]
    fn a_node_on_loopback_asks_no_router() {
        assert_eq!(Place::now("127.0.0.1:4626".parse().unwrap()), None);
        assert_eq!(Place::now("[::1]:4626".parse().unwrap()), None);
    }
}
