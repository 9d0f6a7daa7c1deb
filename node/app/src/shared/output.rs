//! Where lines go: data to stdout, all else to stderr.

use std::io::{self, IsTerminal, Write};

use hobnob_control::wire::{EventLine, WireEvent, to_line};

/// Prints data, as people or as programs read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints `event` as a JSON line, or the text that `plain` makes of it, if any.
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

/// Prints one line of data.
pub(crate) fn line(text: &str) -> io::Result<()> {
    raw(&format!("{text}\n"))
}

/// Tells the user something that is not data. A closed stderr is the user's choice.
pub(crate) fn say(text: &str) {
    let _closed = writeln!(io::stderr(), "{text}");
}

/// Tells a user who sits at a terminal; a script is not told what its exit code says.
pub(crate) fn say_on_terminal(text: &str) {
    if io::stderr().is_terminal() {
        say(text);
    }
}

/// Prints data that has its line breaks.
pub(crate) fn raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
