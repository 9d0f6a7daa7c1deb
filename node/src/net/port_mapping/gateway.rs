//! The default gateway, from the system's table of routes.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Linux lists its IPv4 routes there. Other systems have no such file, and no gateway here.
const ROUTES: &str = "/proc/self/net/route";

/// The default gateway. `None` if the best default route leads through no router, as that of a VPN.
pub(super) fn default() -> Option<Ipv4Addr> {
    parse(&std::fs::read_to_string(ROUTES).ok()?)
}

/// This machine's address from which the system sends to the router. Sends nothing.
pub(super) fn source_toward(router: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((router, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    }
}

fn parse(routes: &str) -> Option<Ipv4Addr> {
    let default = routes.lines().skip(1).filter_map(Route::parse);
    let best = default.min_by_key(|route| route.metric)?;
    (!best.gateway.is_unspecified()).then_some(best.gateway)
}

/// A default route.
struct Route {
    gateway: Ipv4Addr,
    metric: u32,
}

impl Route {
    /// Parses a line: interface, destination, gateway, flags, two counters, metric and mask. The
    /// addresses are numbers in the machine's byte order.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let number = |text| u32::from_str_radix(text, 16).ok();
        let is_default = number(destination)? == 0 && number(mask)? == 0;
        is_default.then_some(Self {
            gateway: Ipv4Addr::from(number(gateway)?.to_ne_bytes()),
            metric: metric.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    /// A line of the table.
    fn route(destination: [u8; 4], gateway: [u8; 4], metric: u32, mask: [u8; 4]) -> String {
        let hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let (destination, gateway, mask) = (hex(destination), hex(gateway), hex(mask));
        format!("eth0\t{destination}\t{gateway}\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
    }

    #[test]
    fn the_default_route_with_the_least_metric_names_the_router() {
        let lan = route([192, 168, 1, 0], [0; 4], 0, [255, 255, 255, 0]);
        let wifi = route([0; 4], [192, 168, 2, 1], 600, [0; 4]);
        let cable = route([0; 4], [192, 168, 1, 1], 100, [0; 4]);
        let routes = [HEAD, &lan, &wifi, &cable].concat();
        assert_eq!(parse(&routes), Some([192, 168, 1, 1].into()));
        assert_eq!(parse(&[HEAD, &lan].concat()), None);
    }

    #[test]
    fn a_vpn_without_a_router_has_none() {
        let vpn = route([0; 4], [0; 4], 50, [0; 4]);
        let cable = route([0; 4], [192, 168, 1, 1], 100, [0; 4]);
        assert_eq!(parse(&[HEAD, &vpn, &cable].concat()), None);
    }

    #[test]
    fn other_text_is_no_route() {
        for text in ["", HEAD, "head\neth0 zz", "head\na b c d e f g h i"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
