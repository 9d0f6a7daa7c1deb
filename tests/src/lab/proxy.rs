//! A proxy on a machine of the lab: HTTP CONNECT and SOCKS5 with a user and a password.
//!
//! It understands only what a node sends, and serves each connection by two threads. They end with
//! the connections or with the test process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::machine::Machine;

/// A running proxy. It counts the connections that it has made.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    address: String,
    made: Arc<AtomicU64>,
}

impl Proxy {
    /// The user name and the password that it requires.
    const LOGIN: [&str; 2] = ["ann", "secret"];

    /// Starts a proxy on this machine.
    pub(super) fn start(machine: &Machine) -> Self {
        let listener = machine
            .inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let made = Arc::<AtomicU64>::default();
        let (serving, counter) = (machine.clone(), made.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (machine, counter) = (serving.clone(), counter.clone());
                // An error ends the connection, as a proxy does.
                std::thread::spawn(move || drop(serve(client, &machine, &counter)));
            }
        });
        Self {
            port,
            address: machine.ipv4(),
            made,
        }
    }

    /// The value of `--proxy` for this scheme, with the login.
    pub fn url(&self, scheme: &str) -> String {
        let [user, password] = Self::LOGIN;
        format!(
            "{scheme}://{user}:{password}@{}:{}",
            self.address, self.port
        )
    }

    /// The number of connections that it has made.
    pub fn connections(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

fn serve(mut client: TcpStream, machine: &Machine, made: &AtomicU64) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    let (to, answer): (String, &[u8]) = if first[0] == 5 {
        (socks(&mut client)?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    } else {
        (
            http(&mut client)?,
            b"HTTP/1.1 200 Connection established\r\n\r\n",
        )
    };
    let mut server = machine.inside(|| -> io::Result<TcpStream> {
        let addr = to.to_socket_addrs()?.next();
        TcpStream::connect(addr.ok_or(io::ErrorKind::NotFound)?)
    })?;
    made.fetch_add(1, Ordering::Relaxed);
    client.write_all(answer)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        let ended = to_server.shutdown(Shutdown::Write);
        copied.and(ended)
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// Reads the rest of a CONNECT request, whose first byte was read. Returns the destination.
fn http(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    // ann:secret in Base64.
    if !head.contains("Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n") {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let to = head
        .strip_prefix("ONNECT ")
        .and_then(|rest| rest.split(' ').next());
    Ok(to.ok_or(io::ErrorKind::InvalidData)?.to_owned())
}

fn bytes(client: &mut TcpStream, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Serves the handshake of SOCKS5 after its first byte. Returns the destination.
fn socks(client: &mut TcpStream) -> io::Result<String> {
    let methods = bytes(client, 1)?[0];
    bytes(client, methods.into())?;
    client.write_all(&[5, 2])?;
    let mut login = Vec::new();
    bytes(client, 1)?;
    for _ in Proxy::LOGIN {
        let len = bytes(client, 1)?[0];
        login.push(String::from_utf8_lossy(&bytes(client, len.into())?).into_owned());
    }
    if login != Proxy::LOGIN {
        client.write_all(&[1, 1])?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[1, 0])?;
    let host = match bytes(client, 4)?[3] {
        1 => bytes(client, 4)?
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join("."),
        3 => {
            let len = bytes(client, 1)?[0];
            String::from_utf8_lossy(&bytes(client, len.into())?).into_owned()
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let port = bytes(client, 2)?;
    Ok(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}
