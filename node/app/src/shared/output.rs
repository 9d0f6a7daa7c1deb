//! Printing: data to stdout, everything else to stderr.

use std::io;
use std::os::fd::AsFd;

use hobnob_control::wire::{EventLine, SentLine, WireEvent, to_line};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

pub(crate) use hobnob_local::output::{line, raw, say, say_on_terminal};

/// Resolves when the other end of stdout is closed. A file has no other end, so it never resolves.
pub(crate) async fn reader_gone() {
    // A duplicate, because printing uses the original, which must block.
    let pipe = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(Sender::from_owned_fd_unchecked);
    if let Ok(pipe) = pipe
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Prints data, for people or for programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints `event` as a JSON line, or else the text that `plain` returns for it, if any.
    pub(crate) fn event(
        self,
        event: WireEvent,
        plain: impl FnOnce(&WireEvent) -> Option<String>,
    ) -> io::Result<()> {
        if self.json {
            return raw(&to_line(&EventLine::from(event)));
        }
        plain(&event).map_or(Ok(()), |text| line(&text))
    }

    /// Prints the result of sending, for programs. The message is on disk: if the result can't be
    /// printed, the exit code must not make a script send it again.
    pub(crate) fn sent(self, sent: &SentLine) {
        if let Err(error) = self.event(WireEvent::Sent(sent.clone()), |_| None) {
            say(&format!(
                "hobnob: the message is queued as {}, but the result can't be printed: {error}",
                sent.id.0
            ));
        }
    }
}
