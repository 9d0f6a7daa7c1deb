//! The command line of the relay: `hobnob-relay`, and `hobnob relay` in the large program.
//!
//! Without a command it runs a relay. The commands `peers`, `kick`, `ban`, `unban`, `bans` and `drain` send a
//! request to the relay that runs in the same home, over its local socket. The commands of `fleet`
//! need no running relay.
//!
//! The relay uses the folder `relay` within the home, with its own key, lock and socket. A node can
//! run in the same home at the same time.
//!
//! [`for_contacts`] is a small relay within the process of a node.
//!
//! The relay itself is in the crate `hobnob-relay`. This crate adds arguments, wording and the
//! local socket.

mod activation;
mod admin_lines;
mod admin_socket;
mod arguments;
mod client;
mod config_error;
mod config_file;
mod display;
mod event_log;
mod exit_code;
#[cfg(feature = "fleet")]
mod fleet;
pub mod for_contacts;
mod groups;
mod public_name;
mod run;
mod settings;
mod wording;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use hobnob_local::{log, memory, output};
use hobnob_protocol::text::visible;

#[cfg(feature = "fleet")]
use arguments::AdminCommand;
pub use arguments::Arguments;
use exit_code::ExitStatus;
pub use public_name::PublicName;

/// Parses the words of a command line, the first of which is the program's name, and executes them.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(words) {
        Ok(arguments) => execute(arguments),
        Err(error) => report_parse_error(&error),
    }
}

/// Executes parsed arguments: runs a relay until a signal arrives, or one administrative command.
/// Starts the log and a tokio runtime, so a process calls it once.
pub fn execute(given: Arguments) -> ExitCode {
    let arguments = match complete(&given) {
        Ok(arguments) => arguments,
        Err(error) => {
            output::say(&format!("hobnob relay: {error:#}"));
            return ExitStatus::of(&error).into();
        }
    };
    log::start(arguments.verbose, std::io::stderr);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("hobnob relay: can't start: {error}"));
            return ExitStatus::Fault.into();
        }
    };
    // The task ends with the runtime.
    let _task = runtime.spawn(memory::give_back());
    match runtime.block_on(dispatch(given, arguments)) {
        Ok(()) => ExitStatus::Done.into(),
        Err(error) => {
            let status = ExitStatus::of(&error);
            if status != ExitStatus::Done {
                output::say(&format!("hobnob relay: {error:#}"));
            }
            status.into()
        }
    }
}

/// Checks the command line, and adds the flags of the file of `--config`.
fn complete(given: &Arguments) -> anyhow::Result<Arguments> {
    given.check()?;
    Ok(config_file::complete(given)?)
}

/// `given`: the command line alone. `arguments`: together with the file of `--config`.
async fn dispatch(given: Arguments, arguments: Arguments) -> anyhow::Result<()> {
    let home = arguments.relay_home()?;
    match &arguments.command {
        #[cfg(feature = "fleet")]
        Some(AdminCommand::Fleet { command }) => Ok(display::print(
            &fleet::execute(command.clone())?,
            arguments.json,
        )?),
        Some(command) => {
            let sockets = arguments.sockets(&home);
            client::request(&home, &sockets, command.clone(), arguments.json).await
        }
        None => run::run(&home, given).await,
    }
}

/// Prints help and version on stdout unchanged. Errors quote what the user typed, so characters
/// that could disturb the terminal are replaced.
fn report_parse_error(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If stdout is closed, nobody reads the help.
        let _ = error.print();
        return ExitStatus::Done.into();
    }
    for line in error.to_string().trim_end().lines() {
        output::say(&visible(line));
    }
    ExitStatus::Usage.into()
}
