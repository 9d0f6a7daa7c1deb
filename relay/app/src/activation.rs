//! Socket activation: takes the sockets that systemd has bound for the relay (sd_listen_fds).

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use anyhow::{Context, bail};
use hobnob_relay::server::Inherited;
use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};

/// The descriptor of the first socket.
const FIRST: RawFd = 3;

/// Maximum sockets. More are an error of the unit.
const SOCKETS_MAX: RawFd = 16;

/// The sockets that the service manager has passed to this process, or none. Call it once.
pub(crate) fn inherited() -> anyhow::Result<Inherited> {
    let count = count(|name| std::env::var(name).ok(), std::process::id())?;
    let sockets = (FIRST..FIRST + count).map(take);
    sort(sockets.collect::<io::Result<_>>().context(
        "LISTEN_FDS names descriptors that are not open: only a service manager may set it",
    )?)
}

/// How many sockets the variables name for the process with this id.
fn count(variable: impl Fn(&str) -> Option<String>, process: u32) -> anyhow::Result<RawFd> {
    let is_ours = variable("LISTEN_PID").is_some_and(|pid| pid == process.to_string());
    let Some(count) = variable("LISTEN_FDS").filter(|_| is_ours) else {
        return Ok(0);
    };
    match count.parse() {
        Ok(count @ 0..=SOCKETS_MAX) => Ok(count),
        Ok(_) | Err(_) => bail!("LISTEN_FDS is {count:?}, and at most {SOCKETS_MAX} is possible"),
    }
}

/// Takes over an open descriptor.
fn take(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl reads the flags of a number and changes nothing.
    if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as checked above. The service manager opened it for this process, and
    // nothing else here uses it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Tells UDP sockets and TCP listeners apart.
fn sort(sockets: Vec<OwnedFd>) -> anyhow::Result<Inherited> {
    let mut inherited = Inherited::default();
    for socket in sockets {
        let kind = socket_type(&socket).context("an inherited descriptor is no socket")?;
        if kind == SocketType::DGRAM {
            let udp = Arc::new(UdpSocket::from(socket));
            if inherited.udp.replace(udp).is_some() {
                bail!("a relay has one UDP socket, and the unit has several ListenDatagram lines");
            }
        } else if kind == SocketType::STREAM && socket_acceptconn(socket.as_fd())? {
            inherited.tcp.push(Arc::new(TcpListener::from(socket)));
        } else {
            bail!("an inherited socket is neither a UDP socket nor a TCP listener");
        }
    }
    Ok(inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(pid: &str, count: &str) -> anyhow::Result<RawFd> {
        let variable = |name: &str| Some(if name == "LISTEN_PID" { pid } else { count }.to_owned());
        super::count(variable, 77)
    }

    #[test]
    fn the_sockets_of_another_process_are_left_alone() {
        assert_eq!(count_of("77", "2").unwrap(), 2);
        assert_eq!(count_of("78", "2").unwrap(), 0);
        assert_eq!(super::count(|_| None, 77).unwrap(), 0);
        for wrong in ["-1", "17", "", "two"] {
            assert!(count_of("77", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sockets_are_told_apart() {
        let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialed = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let tcp = || OwnedFd::from(listener.try_clone().unwrap());
        let sorted = sort(vec![tcp(), udp(), tcp()]).unwrap();
        assert!(sorted.udp.is_some());
        assert_eq!(sorted.tcp.len(), 2);
        assert!(sort(vec![udp(), udp()]).is_err(), "two UDP sockets");
        assert!(sort(vec![dialed.into()]).is_err(), "a connection");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(sort(vec![file.into()]).is_err(), "no socket");
    }
}
