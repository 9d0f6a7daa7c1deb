//! The program `hobnob`: the command line ([`cli`]), the full-screen chat ([`tui`]), and the code
//! that both use ([`shared`]).

mod backup;
mod cli;
mod shared;
mod tui;

fn main() -> std::process::ExitCode {
    cli::main()
}
