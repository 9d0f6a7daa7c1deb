//! The `hobnob` program: see [`cli`], and [`tui`] for the full screen.

mod cli;
mod tui;

fn main() -> std::process::ExitCode {
    cli::main()
}
