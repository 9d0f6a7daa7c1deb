//! Listens for clients and gives each its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_control::Home;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{self, Allowed};
use crate::markers::ReadMarkers;
use crate::token::{Token, TokenError};

/// Maximum clients at a time, of both kinds. A further one is told so and disconnected.
const CLIENTS_MAX: usize = 32;

/// Pause after a failed accept, for example when the process has no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long [`Server::stop`] waits for the sessions.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The addresses for clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listen {
    /// For IRC clients, which show the home's token.
    pub irc: Option<SocketAddr>,
    /// For clients that send lines. It may be the same address.
    pub lines: Option<SocketAddr>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Other machines could connect to the address.
    #[error(
        "{0} is not a loopback address: IRC and plain lines are not encrypted, so use 127.0.0.1 or [::1]; \
         to connect from elsewhere, forward the port with ssh"
    )]
    NotLoopback(SocketAddr),
    /// The address can't be used.
    #[error("can't listen on {addr} ({error}): choose another port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// The home has no token, and none can be made.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The listening sockets and the sessions of their clients.
#[derive(Debug)]
pub struct Server {
    listens: Listen,
    over: CancellationToken,
    tasks: TaskTracker,
    markers: ReadMarkers,
}

impl Server {
    /// Listens at these addresses for clients of the node of `home`, which runs.
    pub async fn start(home: &Home, listen: Listen) -> Result<Server, ServerError> {
        let over = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut server = Server {
            listens: Listen::default(),
            over,
            tasks,
            markers: ReadMarkers::default(),
        };
        if let Some(addr) = listen.irc {
            // A client that connects at once finds the token there.
            Token::of_home(home.data_dir(), false)?;
            let allowed = Allowed {
                irc: true,
                lines: listen.lines == Some(addr),
            };
            let bound = server.listen(home, addr, allowed).await?;
            server.listens.irc = Some(bound);
            server.listens.lines = allowed.lines.then_some(bound);
        }
        if let Some(addr) = listen.lines
            && server.listens.lines.is_none()
        {
            let allowed = Allowed {
                irc: false,
                lines: true,
            };
            server.listens.lines = Some(server.listen(home, addr, allowed).await?);
        }
        server.tasks.close();
        Ok(server)
    }

    /// The addresses at which it listens. Where port 0 was asked for, they have the real one.
    pub fn listens(&self) -> Listen {
        self.listens
    }

    /// Disconnects all clients, with a reason, and stops listening.
    pub async fn stop(&mut self) {
        self.over.cancel();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!("some IRC clients did not disconnect in time");
        }
    }

    async fn listen(
        &self,
        home: &Home,
        addr: SocketAddr,
        allowed: Allowed,
    ) -> Result<SocketAddr, ServerError> {
        if !addr.ip().is_loopback() {
            return Err(ServerError::NotLoopback(addr));
        }
        let bind = |error| ServerError::Bind { addr, error };
        let listener = TcpListener::bind(addr).await.map_err(bind)?;
        let bound = listener.local_addr().map_err(bind)?;
        let accepts = accept(
            listener,
            home.clone(),
            self.markers.clone(),
            allowed,
            self.over.clone(),
            self.tasks.clone(),
        );
        self.tasks.spawn(accepts);
        Ok(bound)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    home: Home,
    markers: ReadMarkers,
    allowed: Allowed,
    over: CancellationToken,
    tasks: TaskTracker,
) {
    let listeners = 2;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) if tasks.len() >= CLIENTS_MAX + listeners => {
                tasks.spawn(connection::refuse(stream));
            }
            Ok((stream, _)) => {
                let (home, markers) = (home.clone(), markers.clone());
                let run = connection::run(stream, home, markers, allowed, over.clone());
                tasks.spawn(run);
            }
            Err(error) => {
                tracing::warn!(%error, "a client's connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
