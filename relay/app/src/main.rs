//! The program `hobnob-relay`. Everything is in the library, which `hobnob relay` calls as well.

fn main() -> std::process::ExitCode {
    hobnob_relay_app::main(std::env::args_os())
}
