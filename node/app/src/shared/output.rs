//! Printing: data to stdout, everything else to stderr.

use std::io;

use hobnob_control::wire::{EventLine, WireEvent, to_line};
pub(crate) use hobnob_local::output::{line, raw, say, say_on_terminal};

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
}
