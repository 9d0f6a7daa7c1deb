//! A TCP path with a limited rate, for rivals that use TCP.

#![expect(
    clippy::disallowed_methods,
    reason = "it delays bytes by the real clock, as a real path does"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Forwards connections to one address. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct ThinTcp {
    addr: SocketAddr,
    _tasks: JoinSet<std::io::Result<()>>,
}

/// Bytes that are passed on together: 8 ms at 10 Mbit/s.
const CHUNK: usize = 10_000;

impl ThinTcp {
    /// Opens a path that takes this many bytes per second in each direction.
    pub(crate) async fn open(target: SocketAddr, bytes_per_s: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await?;
                let far = TcpStream::connect(target).await?;
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                connections.spawn(forward(near_in, far_out, bytes_per_s));
                connections.spawn(forward(far_in, near_out, bytes_per_s));
            }
        });
        Ok(Self {
            addr,
            _tasks: tasks,
        })
    }

    /// The address to connect to instead of the target.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    bytes_per_s: u64,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let takes = Duration::from_nanos(count as u64 * 1_000_000_000 / bytes_per_s);
        free_at = free_at.max(Instant::now()) + takes;
        sleep_until(free_at).await;
        to.write_all(&chunk[..count]).await?;
    }
}
