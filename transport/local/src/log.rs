//! The program's log: what `-v`, `-vv` and `-vvv` show, and in which form.
//!
//! The caller decides where the log goes: to stderr, or to a writer of its own while a full-screen
//! program owns the terminal.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts the log of this process with the level for `verbose` flags. Panics if it is called twice.
///
/// The log has colours if stderr is a terminal and `NO_COLOR` is not set.
pub fn start(verbose: u8, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let colour = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(colour)
        .with_max_level(level(verbose))
        .init();
}

/// The level for a number of `-v` flags.
fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        3.. => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_shows_more_until_everything_is_shown() {
        let levels = [0, 1, 2, 3, 9].map(level);
        assert!(levels.is_sorted());
        assert_eq!(
            (levels[0], levels[4]),
            (LevelFilter::WARN, LevelFilter::TRACE)
        );
    }
}
