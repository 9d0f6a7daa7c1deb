//! Whom a reverse proxy speaks for: PROXY protocol version 2, or forwarded headers.
//!
//! A client could send both itself, so they count only from proxies that the operator trusts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hobnob_transport::stream::request::Head;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of a PROXY header, version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of a header before its addresses.
const START: usize = 16;

/// Most bytes of addresses and extensions.
const REST_MAX: usize = 512;

/// Version 2, and the commands "this machine" (a health check) and "proxied".
const LOCAL: u8 = 0x20;
const PROXIED: u8 = 0x21;

/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Reads a PROXY header, if there is one. Returns the client that it names. `read` receives the
/// bytes that follow, and those of a connection without a header.
pub(super) async fn proxy_protocol<R: AsyncRead + Unpin>(
    io: &mut R,
    read: &mut Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    // An HTTP request has at least 16 bytes, too.
    at_least(io, read, START).await?;
    if !read.starts_with(SIGNATURE) {
        return Ok(None);
    }
    let len = usize::from(u16::from_be_bytes([read[14], read[15]]));
    if len > REST_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a PROXY header that is too long",
        ));
    }
    at_least(io, read, START + len).await?;
    let rest = read.split_off(START + len);
    let header = std::mem::replace(read, rest);
    parse(&header)
}

async fn at_least<R: AsyncRead + Unpin>(
    io: &mut R,
    read: &mut Vec<u8>,
    len: usize,
) -> io::Result<()> {
    while read.len() < len {
        let missing = (len - read.len()) as u64;
        if (&mut *io).take(missing).read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a damaged PROXY header");
    let port = |at: usize| match header.get(at..at + 2) {
        Some(bytes) => Ok(u16::from_be_bytes([bytes[0], bytes[1]])),
        None => Err(invalid()),
    };
    let addrs = &header[START..];
    match (header[12], header[13]) {
        (LOCAL, _) => Ok(None),
        (PROXIED, TCP4) => {
            let ip = addrs.first_chunk::<4>().ok_or_else(invalid)?;
            let ip = Ipv4Addr::from(*ip);
            Ok(Some(SocketAddr::new(ip.into(), port(START + 8)?)))
        }
        (PROXIED, TCP6) => {
            let ip = addrs.first_chunk::<16>().ok_or_else(invalid)?;
            let ip = Ipv6Addr::from(*ip).to_canonical();
            Ok(Some(SocketAddr::new(ip, port(START + 32)?)))
        }
        _ => Err(invalid()),
    }
}

/// The client of a connection from `from`. `named`: the client in the PROXY header.
pub(super) fn client(
    from: SocketAddr,
    named: Option<SocketAddr>,
    request: &Head,
    proxies: &[IpAddr],
) -> SocketAddr {
    if !proxies.contains(&from.ip()) {
        return from;
    }
    if let Some(client) = named {
        return client;
    }
    // Each proxy appends the address that it sees. So the last one that is no proxy is the client.
    // All others may be the client's invention.
    let forwarded = request.all("x-forwarded-for");
    let addrs = forwarded.rev().flat_map(|value| value.rsplit(','));
    for addr in addrs {
        match parse_forwarded(addr.trim()) {
            Some(ip) if proxies.contains(&ip) => {}
            Some(ip) => return SocketAddr::new(ip, 0),
            None => break,
        }
    }
    from
}

/// An address in a forwarded header, with or without a port.
fn parse_forwarded(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|addr| addr.ip());
    let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
    bare.or_else(|_| with_port())
        .ok()
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_transport::stream::request::read_head;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let (mut io, mut read) = (bytes, Vec::new());
        let named = proxy_protocol(&mut io, &mut read).await;
        read.extend_from_slice(io);
        (named, read)
    }

    fn header(command: u8, family: u8, addrs: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addrs.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, addrs].concat()
    }

    #[tokio::test]
    async fn a_proxy_header_names_the_client() {
        let v4 = [
            192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0x01, 0xbb, 4, 0, 1, 9,
        ];
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let (named, rest) = read(&[&header(PROXIED, TCP4, &v4), &request[..]].concat()).await;
        assert_eq!(named.unwrap(), Some(addr("192.0.2.7:5000")));
        assert_eq!(rest, request);
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&5000_u16.to_be_bytes());
        let (named, _) = read(&header(PROXIED, TCP6, &v6)).await;
        assert_eq!(named.unwrap(), Some(addr("[2001:db8::7]:5000")));
        let (named, _) = read(&header(LOCAL, 0, &[])).await;
        assert_eq!(named.unwrap(), None);
        let (named, rest) = read(request).await;
        assert_eq!((named.unwrap(), &rest[..]), (None, &request[..]));
    }

    #[tokio::test]
    async fn damaged_headers_are_errors() {
        let mut endless = header(PROXIED, TCP4, &[0; 12]);
        endless[14] = 0xff;
        for bytes in [
            header(PROXIED, TCP4, &[0; 5]),
            header(PROXIED, TCP6, &[0; 33]),
            header(PROXIED, 0x12, &[0; 12]),
            header(0x11, TCP4, &[0; 12]),
            endless,
            SIGNATURE.to_vec(),
        ] {
            assert!(read(&bytes).await.0.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn only_trusted_proxies_name_clients() {
        let mut bytes = b"GET / HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4, 192.0.2.9\r\n\
            X-Forwarded-For: 198.51.100.7 , 127.0.0.1\r\n\r\n"
            .to_vec();
        let head = read_head(&mut tokio::io::empty(), &mut bytes)
            .await
            .unwrap();
        let (proxy, stranger) = (addr("127.0.0.1:9"), addr("192.0.2.1:9"));
        let proxies = [proxy.ip()];
        let client = |from, named| client(from, named, &head, &proxies);
        assert_eq!(client(proxy, None), addr("198.51.100.7:0"));
        assert_eq!(client(stranger, None), stranger);
        let named = addr("192.0.2.5:80");
        assert_eq!(client(proxy, Some(named)), named);
        assert_eq!(client(stranger, Some(named)), stranger);
    }

    #[test]
    fn forwarded_addresses_may_have_ports() {
        let ip = |text| parse_forwarded(text).map(|ip| ip.to_string());
        assert_eq!(ip("192.0.2.1:80").as_deref(), Some("192.0.2.1"));
        assert_eq!(ip("[2001:db8::1]").as_deref(), Some("2001:db8::1"));
        assert_eq!(ip("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(ip("unknown"), None);
    }
}
