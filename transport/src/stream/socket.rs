//! The options of TCP sockets that carry a stream.

use std::io;

use tokio::net::TcpStream;

/// Most bytes that the kernel holds unsent. The rest waits in the bounded queue, where new
/// datagrams are dropped instead of delayed.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: libc::c_int = 32 * 1024;

/// Sends each message at once, and keeps the kernel's queue short.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    limit_unsent(stream)
}

#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let value = std::ptr::from_ref(&UNSENT_BYTES_MAX).cast();
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    // SAFETY: the descriptor is open, and the kernel only reads `len` bytes of the value.
    let failed = unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, value, len) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn limit_unsent(_: &TcpStream) -> io::Result<()> {
    Ok(())
}
