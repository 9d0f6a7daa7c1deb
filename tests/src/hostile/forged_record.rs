//! mDNS records that claim that a hobnob is somewhere.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// A forged record (RFC 6763) of a peer that does not exist.
#[derive(Debug, Clone)]
pub struct ForgedRecord {
    /// The claimed addresses.
    pub addrs: Vec<Ipv4Addr>,
    /// The claimed port.
    pub port: u16,
}

impl ForgedRecord {
    /// Sends the record to the group of mDNS from this socket, under a name of its own. Returns the
    /// number of bytes sent.
    pub fn send(&self, socket: &UdpSocket) -> usize {
        let id = super::random_key().id();
        let packet = self.packet(&id.to_string(), rand::random());
        socket
            .send_to(&packet, GROUP)
            .expect("the machine is on a network")
    }

    fn packet(&self, id: &str, run: u32) -> Vec<u8> {
        let instance = format!("{id}-{run:08x}");
        let service = format!("{instance}.{SERVICE}");
        let host = format!("{instance}.local");
        let mut packet: Vec<u8> = [0, 0x8400, 0, 1, 0, 2 + self.addrs.len()]
            .into_iter()
            .flat_map(|field| u16::try_from(field).expect("few records").to_be_bytes())
            .collect();
        packet.extend(record(SERVICE, PTR, 1, &name(&service)));
        let mut place = vec![0; 4];
        place.extend(self.port.to_be_bytes());
        place.extend(name(&host));
        packet.extend(record(&service, SRV, FLUSH, &place));
        let text = [string(&format!("id={id}")), string("v=1")].concat();
        packet.extend(record(&service, TXT, FLUSH, &text));
        for addr in &self.addrs {
            packet.extend(record(&host, A, FLUSH, &addr.octets()));
        }
        packet
    }
}

/// A socket of this machine from which [`ForgedRecord::send`] reaches the machine's neighbours.
/// Call it inside the machine.
pub fn mdns_socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)).expect("no program of this machine uses mDNS")
}

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

const SERVICE: &str = "_hobnob._udp.local";

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;

/// The class "internet", with the bit that replaces earlier records of the name.
const FLUSH: u16 = 0x8001;

/// Longer than any test.
const TTL_SECONDS: u32 = 4_500;

fn record(of: &str, kind: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let mut record = name(of);
    record.extend(kind.to_be_bytes());
    record.extend(class.to_be_bytes());
    record.extend(TTL_SECONDS.to_be_bytes());
    let length = u16::try_from(data.len()).expect("short data");
    record.extend(length.to_be_bytes());
    record.extend(data);
    record
}

fn name(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(string);
    labels.chain([0]).collect()
}

fn string(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[length], text.as_bytes()].concat()
}
