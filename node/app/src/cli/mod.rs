//! The command line: reads arguments, asks the node of a home over its control socket, prints what
//! it answers.
//!
//! Data goes to stdout, everything else to stderr. Nothing here knows how a node works; with none
//! running, a command runs one for as long as it needs, and still speaks to it over the socket.

pub(crate) mod args;
mod chat;
mod doctor;
mod files;
mod manual;
mod messages;
mod people;
mod up;
mod views;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::iter;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use args::{Args, Verb};

use crate::shared::common_flags::Common;
use crate::shared::exit_code::Exit;
use crate::shared::log_output;
use crate::shared::output::{self, Output};
use crate::shared::policy::PolicyChange;
use crate::tui;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    if let Some(words) = relay_words(std::env::args_os()) {
        return hobnob_relay_app::main(words);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    if let Some(Verb::Relay(arguments)) = args.verb {
        return relay(&args.common, arguments);
    }
    start_log(args.common.verbose);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("hobnob: can't start: {error}"));
            return Exit::Fault.into();
        }
    };
    let outcome = runtime.block_on(run(args));
    // A thread that still reads stdin would otherwise be waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Done {
                output::say(&format!("hobnob: {error:#}"));
            }
            exit.into()
        }
    }
}

/// The words of `hobnob relay …` as the relay's own command line, which has none of the node's
/// flags. The command that comes after other flags is left to [`Args`].
fn relay_words(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut words = words.into_iter().skip(1);
    (words.next()? == "relay").then(|| iter::once("hobnob relay".into()).chain(words).collect())
}

/// `hobnob --home DIR relay`: flags before the command were parsed as flags of every command.
fn relay(common: &Common, arguments: hobnob_relay_app::Arguments) -> ExitCode {
    if let Some(flag) = common.flag_for_nodes_only() {
        output::say(&format!(
            "hobnob: {flag} is a flag of nodes, not of relays: remove it"
        ));
        return Exit::Usage.into();
    }
    hobnob_relay_app::execute(arguments)
}

/// Help and version go to stdout as they are; what a user typed is shown only with stand-ins for
/// what could disturb the screen.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // With stdout closed nobody wants to read it.
        let _ = error.print();
        return Exit::Done.into();
    }
    for line in error.to_string().trim_end().lines() {
        output::say(&hobnob::protocol::text::visible(line));
    }
    Exit::Usage.into()
}

async fn run(args: Args) -> anyhow::Result<Exit> {
    let Args {
        verb,
        common,
        plain,
    } = args;
    let out = Output { json: common.json };
    match verb {
        None if !plain && tui::fits() => tui::run(&common).await,
        None => chat::chat(&common).await,
        Some(Verb::Up) => up::up(&common, out).await,
        Some(Verb::Send(send)) => messages::send(&common, out, send).await,
        Some(Verb::Broadcast(broadcast)) => messages::broadcast(&common, out, broadcast).await,
        Some(Verb::Files) => files::files(&common, out).await,
        Some(Verb::Accept(accept)) => files::accept(&common, out, accept).await,
        Some(Verb::Decline { file }) => files::decline(&common, out, &file).await,
        Some(Verb::Peers { watch: true }) => views::watch(&common, out).await,
        Some(Verb::Peers { watch: false }) => views::peers(&common, out).await,
        Some(Verb::History(history)) => views::history(&common, out, history).await,
        Some(Verb::Join { room, secret_file }) => {
            views::join(&common, out, room, secret_file).await
        }
        Some(Verb::Part { room }) => views::part(&common, room).await,
        Some(Verb::Rooms) => views::rooms(&common, out).await,
        Some(Verb::Id) => views::id(&common, out).await,
        Some(Verb::Ignore(whom)) => {
            people::change_policy(&common, out, whom.target, PolicyChange::Ignore).await
        }
        Some(Verb::Unignore(whom)) => {
            people::change_policy(&common, out, whom.target, PolicyChange::Unignore).await
        }
        Some(Verb::Block(whom)) => {
            people::change_policy(&common, out, whom.target, PolicyChange::Block).await
        }
        Some(Verb::Unblock(whom)) => {
            people::change_policy(&common, out, whom.target, PolicyChange::Unblock).await
        }
        Some(Verb::Verify {
            whom,
            confirm,
            undo,
        }) => {
            let confirm = (confirm || undo).then_some(confirm);
            people::verify(&common, out, whom.target, confirm).await
        }
        Some(Verb::Doctor { report }) => doctor::doctor(&common, out, report).await,
        Some(Verb::Why(whom)) => doctor::why(&common, out, whom.target).await,
        Some(Verb::Config { path }) => manual::config(&common.home()?, path),
        Some(Verb::Completions { shell }) => manual::completions(shell),
        Some(Verb::Man { dir }) => manual::man(dir.as_deref()),
        Some(Verb::Relay(_)) => unreachable!("main() has handed over to the relay"),
    }
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        3.. => LevelFilter::TRACE,
    };
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt()
        .with_writer(|| log_output::Writer)
        .with_ansi(colour)
        .with_max_level(level)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        line.split(' ').map(OsString::from)
    }

    #[test]
    fn the_relay_has_its_own_command_line() {
        let relay = |line| relay_words(words(line)).map(|words| words.len());
        assert_eq!(relay("hobnob relay peers --json"), Some(3));
        assert_eq!(relay("hobnob peers"), None);
        assert_eq!(relay("hobnob"), None);
    }

    #[test]
    fn flags_before_the_relay_command_are_known_to_both() {
        let args = Args::try_parse_from(words("hobnob --home /x -v relay peers --json")).unwrap();
        let Some(Verb::Relay(arguments)) = args.verb else {
            panic!("the command is relay")
        };
        let text = format!("{arguments:?}");
        for part in ["home: Some(\"/x\")", "json: true", "verbose: 1"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
