//! How full the socket's receive buffer is. Only Linux reports it.

/// The state of the receive buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SocketStats {
    /// Whether more than half of the buffer is full.
    pub(super) crowded: bool,
    /// Datagrams dropped since the socket was bound. The count wraps.
    pub(super) dropped: u32,
}

/// Asks the system.
#[cfg(target_os = "linux")]
pub(super) fn of(socket: &impl std::os::fd::AsFd) -> SocketStats {
    use std::os::fd::AsRawFd;

    // linux/sock_diag.h: the indices of SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF and
    // SK_MEMINFO_DROPS, of nine.
    const TAKEN: usize = 0;
    const ROOM: usize = 1;
    const DROPS: usize = 8;
    let mut info = [0_u32; 9];
    let mut len = libc::socklen_t::try_from(size_of_val(&info)).expect("36 bytes");
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while it is borrowed. The system writes at most `len` bytes
    // to `info`, which has that length, and any bits are valid there.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // Kernels before 4.12 do not support this option.
    if done == 0 {
        SocketStats {
            crowded: info[TAKEN] > info[ROOM] / 2,
            dropped: info[DROPS],
        }
    } else {
        SocketStats::default()
    }
}

/// Other systems do not report it.
#[cfg(not(target_os = "linux"))]
pub(super) fn of<S>(_: &S) -> SocketStats {
    SocketStats::default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn a_buffer_fills_overflows_and_empties() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        assert_eq!(of(&socket), SocketStats::default());
        let (sender, to) = (
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            socket.local_addr().unwrap(),
        );
        let mut sent = 0;
        while of(&socket).dropped == 0 {
            sender.send_to(&[0; 1000], to).unwrap();
            sent += 1;
        }
        assert!(of(&socket).crowded && sent > 1);
        let mut buf = [0; 1000];
        while socket.recv(&mut buf).is_ok() {}
        assert_eq!(
            of(&socket),
            SocketStats {
                crowded: false,
                dropped: 1
            }
        );
    }
}
