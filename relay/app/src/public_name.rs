//! The name at which nodes on other networks reach the relay.

use std::str::FromStr;

use hobnob_protocol::HostPort;

/// A host, and the port if it is not the one that the relay listens on: behind a NAT, the router's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicName {
    host: String,
    port: Option<u16>,
}

impl PublicName {
    /// The host and port for nodes, if the relay listens on this port.
    pub fn at(&self, listens_on: u16) -> HostPort {
        HostPort {
            host: self.host.clone(),
            port: self.port.unwrap_or(listens_on),
        }
    }
}

impl FromStr for PublicName {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Ok(HostPort { host, port }) = word.parse() {
            return Ok(Self {
                host,
                port: Some(port),
            });
        }
        // Without a port, it is a host if it is one with any port.
        match format!("{word}:1").parse() {
            Ok(HostPort { host, .. }) => Ok(Self { host, port: None }),
            Err(_) => Err("write HOST or HOST:PORT, such as relay.example.com".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_port_has_the_port_of_the_relay() {
        for (word, at) in [
            ("relay.example", "relay.example:4627"),
            ("relay.example:443", "relay.example:443"),
            ("203.0.113.7", "203.0.113.7:4627"),
            ("[2001:db8::1]", "[2001:db8::1]:4627"),
        ] {
            let name: PublicName = word.parse().unwrap();
            assert_eq!(name.at(4627).to_string(), at);
        }
        for wrong in [
            "",
            "a b",
            "relay.example:0",
            "relay.example:x",
            "http://relay.example",
        ] {
            assert!(wrong.parse::<PublicName>().is_err(), "{wrong}");
        }
    }
}
