//! Records of mDNS: their names, properties and addresses.

use std::net::IpAddr;

use hobnob::net::mdns;
use hobnob_protocol::PersonId;
use hobnob_transport::addr::undeliverable;
use mdns_sd::ServiceInfo;

const SERVICE: &str = "_hobnob._udp.local.";

/// A record is a peer's only if its name and its properties say so, and no address is added to
/// those in it.
pub(crate) fn run(data: &[u8]) {
    let Some(record) = Record::of(data) else {
        return;
    };
    let properties = [("id", record.id), ("v", record.version)];
    let addrs = &record.addrs[..];
    let host = "host.local.";
    let info = ServiceInfo::new(
        SERVICE,
        record.name,
        host,
        addrs,
        record.port,
        &properties[..],
    );
    // The crate refuses impossible names itself.
    let Ok(info) = info else { return };
    let service = info.as_resolved_service();
    let Some((peer, claimed)) = mdns::read(&service) else {
        return;
    };
    let in_name = record.name.split('-').next().expect("split gives a part");
    assert_eq!((in_name.parse(), record.id.parse()), (Ok(peer), Ok(peer)));
    assert_eq!(record.version, "1");
    assert!(claimed.len() <= addrs.len());
    for claimed in claimed {
        assert!(addrs.contains(&claimed.addr.ip()) && claimed.addr.port() == record.port);
        assert_eq!(undeliverable(claimed.addr), None);
    }
}

/// A record as text: name, id, version, port and addresses, one in a line.
struct Record<'a> {
    name: &'a str,
    id: &'a str,
    version: &'a str,
    port: u16,
    addrs: Vec<IpAddr>,
}

impl<'a> Record<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(data).ok()?.split('\n');
        Some(Self {
            name: lines.next()?,
            id: lines.next()?,
            version: lines.next()?,
            port: lines.next()?.parse().ok()?,
            addrs: lines.filter_map(|line| line.parse().ok()).collect(),
        })
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let id = PersonId::from_bytes([7; 32]);
    let good = format!("{id}-0badcafe\n{id}\n1\n4626\n192.0.2.1\n2001:db8::1\nfe80::1");
    let bad = format!("{id}-0badcafe\n{id}\n2\n0\n224.0.0.1\n127.0.0.1\n255.255.255.255");
    vec![
        good.into_bytes(),
        bad.into_bytes(),
        b"printer\nx\n1\n9".to_vec(),
    ]
}
