//! UPnP IGD: finds the router's service by SSDP, and calls its SOAP actions.
//!
//! The router's XML is not parsed as such: the few elements that matter are looked up by name in a
//! text of bounded size.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Place;
use super::http::{self, Url};
use super::request::RequestError;

/// The UDP port of SSDP.
pub(super) const PORT_SSDP: u16 = 1900;

/// The code of a router whose port leads to another machine.
pub(super) const CONFLICT: u16 = 718;

/// The code of a router that maps ports only without an end.
const ONLY_PERMANENT: u16 = 725;

/// The multicast group of SSDP.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);

/// What is searched for: the device, or one of its services for routers that announce no device.
const SEARCHED: [&str; 2] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
];

/// How often and how long a router is searched for.
const SEARCHES: usize = 3;
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// Datagrams that are read in one search. Other machines on the network can send more.
const DATAGRAMS_MAX: usize = 64;

/// The services that map ports, the best first.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// The router's service that maps ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    kind: &'static str,
    control: Url,
    /// This machine's address in the router's network.
    inside: Ipv4Addr,
}

/// Finds the service of the router whose SSDP port is `router`. Answers from other addresses are
/// ignored, as are descriptions at other addresses.
pub(super) async fn discover(router: SocketAddrV4, place: Place) -> Result<Service, RequestError> {
    let inside = *place.inside.ip();
    let description = search(router, inside).await?;
    let answer = http::get(inside, &description).await?;
    find_service(&answer.body, &description, inside).ok_or(RequestError::Silent)
}

/// Searches for the router by multicast, as many routers require, and by unicast, whose answers
/// pass the firewalls of this machine.
async fn search(router: SocketAddrV4, inside: Ipv4Addr) -> Result<Url, RequestError> {
    let socket = UdpSocket::bind((inside, 0)).await?;
    SockRef::from(&socket).set_multicast_if_v4(&inside)?;
    let group = SocketAddrV4::new(GROUP, router.port());
    let mut datagram = [0; 2048];
    let mut read = 0;
    for _ in 0..SEARCHES {
        for searched in SEARCHED {
            let request = format!(
                "M-SEARCH * HTTP/1.1\r\nHOST: {group}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {searched}\r\n\r\n"
            );
            for to in [router, group] {
                // A network without multicast refuses one of the two.
                let _sent = socket.send_to(request.as_bytes(), to).await;
            }
        }
        let answer = async {
            while read < DATAGRAMS_MAX {
                let (len, from) = socket.recv_from(&mut datagram).await?;
                read += 1;
                let answer = String::from_utf8_lossy(&datagram[..len]);
                let location = location(&answer, *router.ip());
                if let Some(url) = location.filter(|_| from.ip() == *router.ip()) {
                    return Ok(url);
                }
            }
            Err(RequestError::Silent)
        };
        if let Ok(found) = timeout(ANSWER_WITHIN, answer).await {
            return found;
        }
    }
    Err(RequestError::Silent)
}

/// The description's URL in an answer to a search.
fn location(answer: &str, router: Ipv4Addr) -> Option<Url> {
    answer.starts_with("HTTP/1.1 200").then_some(())?;
    Url::parse(http::header(answer, "location")?, router)
}

/// The content of the first element with this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content.trim())
}

fn find_service(description: &str, base: &Url, inside: Ipv4Addr) -> Option<Service> {
    let services = || description.split("<service>").skip(1);
    SERVICES.into_iter().find_map(|kind| {
        let service = services().find(|xml| element(xml, "serviceType") == Some(kind))?;
        let control = element(service, "controlURL")?.replace("&amp;", "&");
        Some(Service {
            kind,
            control: base.join(&control)?,
            inside,
        })
    })
}

/// Requests a port, and returns the router's port and the lease's lifetime.
pub(super) async fn map(
    service: &Service,
    place: Place,
    port: u16,
    lifetime: Duration,
) -> Result<(SocketAddrV4, Duration), RequestError> {
    let mut added = add(service, place, port, lifetime).await;
    if matches!(added, Err(RequestError::Refused(ONLY_PERMANENT))) {
        added = add(service, place, port, Duration::ZERO).await;
    }
    added?;
    let body = service.call("GetExternalIPAddress", "").await?;
    let ip = element(&body, "NewExternalIPAddress").and_then(|ip| ip.parse().ok());
    let ip = ip.ok_or(RequestError::Silent)?;
    Ok((SocketAddrV4::new(ip, port), lifetime))
}

async fn add(
    service: &Service,
    place: Place,
    port: u16,
    lifetime: Duration,
) -> Result<String, RequestError> {
    let inside = place.inside;
    let arguments = format!(
        "{}<NewInternalPort>{}</NewInternalPort><NewInternalClient>{}</NewInternalClient><NewEnabled>1</NewEnabled>\
         <NewPortMappingDescription>hobnob</NewPortMappingDescription><NewLeaseDuration>{}</NewLeaseDuration>",
        external(port),
        inside.port(),
        inside.ip(),
        lifetime.as_secs()
    );
    service.call("AddPortMapping", &arguments).await
}

/// Removes a port.
pub(super) async fn unmap(service: &Service, port: u16) -> Result<(), RequestError> {
    let removed = service.call("DeletePortMapping", &external(port)).await;
    removed.map(drop)
}

/// The arguments that name a port of the router.
fn external(port: u16) -> String {
    format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>UDP</NewProtocol>"
    )
}

impl Service {
    /// Calls an action, and returns the answer's body.
    async fn call(&self, action: &str, arguments: &str) -> Result<String, RequestError> {
        let kind = self.kind;
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
        );
        let action = format!("{kind}#{action}");
        let answer = http::post(self.inside, &self.control, &action, &body).await?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let code = element(&answer.body, "errorCode").and_then(|code| code.parse().ok());
        Err(code.map_or(RequestError::Silent, RequestError::Refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

    fn base() -> Url {
        Url::parse("http://192.168.1.1:5000/root.xml", ROUTER).unwrap()
    }

    fn service(kind: &str, control: &str) -> String {
        format!(
            "<service>\n<serviceType>{kind}</serviceType>\n<controlURL>{control}</controlURL>\n</service>"
        )
    }

    #[test]
    fn an_answer_to_a_search_names_the_description() {
        let answer = "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nlocation: http://192.168.1.1:5000/root.xml\r\n\r\n";
        assert_eq!(location(answer, ROUTER), Some(base()));
        for other in [
            "NOTIFY * HTTP/1.1\r\nLocation: http://192.168.1.1:5000/root.xml\r\n\r\n",
            "HTTP/1.1 200 OK\r\nLocation: http://192.168.1.66/root.xml\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "",
        ] {
            assert_eq!(location(other, ROUTER), None, "{other:?}");
        }
    }

    #[test]
    fn the_best_service_is_used() {
        let other = service("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/l3f");
        let ppp = service(SERVICES[2], "/ppp");
        let ip = service(SERVICES[1], "ctl?a=1&amp;b=2");
        let found = |description: &str| {
            let found = find_service(description, &base(), OWN)?;
            Some((found.kind, found.control.path))
        };
        let all = format!("<root>{other}{ppp}{ip}</root>");
        assert_eq!(found(&all), Some((SERVICES[1], "/ctl?a=1&b=2".into())));
        assert_eq!(found(&ppp), Some((SERVICES[2], "/ppp".into())));
        assert_eq!(found(&other), None);
    }

    #[test]
    fn a_description_cannot_lead_elsewhere() {
        for control in [
            "http://192.168.1.9:5000/ctl",
            "http://evil.example/ctl",
            "/ctl\r\nX-Evil: yes",
        ] {
            let description = service(SERVICES[0], control);
            assert_eq!(find_service(&description, &base(), OWN), None, "{control}");
        }
        assert_eq!(find_service(&"<service>".repeat(1000), &base(), OWN), None);
    }
}
