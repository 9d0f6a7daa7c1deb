//! The signals that ask a program to stop: SIGINT, SIGTERM and SIGHUP. A service may read its files
//! again on SIGHUP instead.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the signals that ask a program to stop. While it exists, they no longer end the
/// process.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

/// The request of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SIGINT or SIGTERM: stop.
    Stop,
    /// SIGHUP: the terminal was closed, or a service should read its files again.
    Hangup,
}

/// The signal handlers could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for signals")]
pub struct SignalError(#[from] io::Error);

impl Signals {
    /// Installs the handlers. Must be called within a tokio runtime.
    pub fn new() -> Result<Signals, SignalError> {
        let [interrupt, terminate, hangup] = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .map(signal);
        Ok(Signals([interrupt?, terminate?, hangup?]))
    }

    /// Waits for the next signal.
    pub async fn any(&mut self) {
        self.next().await;
    }

    /// Waits for the next signal and returns which kind it is.
    pub async fn next(&mut self) -> Kind {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => Kind::Stop,
            _ = terminate.recv() => Kind::Stop,
            _ = hangup.recv() => Kind::Hangup,
        }
    }
}
