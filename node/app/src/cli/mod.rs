//! The command line: parses arguments, sends requests to the node of a home over its control
//! socket, and prints the answers.
//!
//! Data is printed to stdout, everything else to stderr. Nothing here knows how a node works. If no
//! node runs, a command runs one for as long as it needs, and still uses the socket.

pub(crate) mod args;
mod backup;
mod carried;
mod chat;
mod doctor;
mod export;
mod faces;
mod files;
mod flag_tips;
mod invitations;
mod lend;
mod lock;
mod manual;
mod messages;
mod offered_paths;
mod people;
mod rooms;
#[cfg_attr(not(feature = "web"), path = "no_share.rs")]
mod share;
mod up;
mod views;
#[cfg_attr(not(feature = "web"), path = "no_web.rs")]
mod web;

use std::ffi::OsString;
use std::io::Write;
use std::iter;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use hobnob::MessageId;
use hobnob_control::{Client, wire};
use hobnob_local::{log, memory};

use args::{Args, Command};

use crate::shared::actions::{self, CommandLine};
use crate::shared::activity;
use crate::shared::amending;
use crate::shared::common_flags::CommonFlags;
use crate::shared::erasing::{self, Erase};
use crate::shared::exit_code::Exit;
use crate::shared::log_output;
use crate::shared::output::{self, Output};
use crate::shared::policy::PolicyChange;
use crate::shared::session;
use crate::tui;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    if let Some(words) = relay_words(std::env::args_os()) {
        return hobnob_relay_app::main(words);
    }
    #[cfg(feature = "pictures")]
    if let Some(code) = tui::decode_picture(std::env::args_os().skip(1)) {
        return code;
    }
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    if let Some(Command::Relay(arguments)) = args.command {
        return relay(&args.flags, *arguments);
    }
    log::start(args.flags.verbose, || log_output::Writer);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("hobnob: can't start: {error}"));
            return Exit::Fault.into();
        }
    };
    // The task ends with the runtime.
    let _task = runtime.spawn(memory::give_back());
    let outcome = runtime.block_on(run(args));
    // Otherwise this would wait for a thread that still reads stdin.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Done {
                output::say(&format!("hobnob: {error:#}"));
                if let Some(tip) = flag_tips::tip(&error) {
                    output::say(&format!("tip: {tip}"));
                }
            }
            exit.into()
        }
    }
}

/// The words of `hobnob relay …` as the relay's own command line, which has none of the node's
/// flags. If other flags precede `relay`, [`Args`] parses it.
fn relay_words(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut words = words.into_iter().skip(1);
    (words.next()? == "relay").then(|| iter::once("hobnob relay".into()).chain(words).collect())
}

/// `hobnob --home DIR relay`: flags before the command were parsed as flags of every command.
fn relay(flags: &CommonFlags, arguments: hobnob_relay_app::Arguments) -> ExitCode {
    if let Some(flag) = flags.flag_for_nodes_only() {
        output::say(&format!(
            "hobnob: {flag} is a flag of nodes, not of relays: remove it"
        ));
        return Exit::Usage.into();
    }
    hobnob_relay_app::execute(arguments)
}

/// Prints help and version on stdout unchanged. Errors quote what the user typed, so characters
/// that could disturb the terminal are replaced.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        return match printed {
            // If stdout is closed, nobody reads the help.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                output::say(&format!("hobnob: can't print this: {error}"));
                Exit::Fault.into()
            }
            Ok(()) | Err(_) => Exit::Done.into(),
        };
    }
    for line in error.to_string().trim_end().lines() {
        output::say(&hobnob::protocol::text::visible(line));
    }
    if let Some(why) = absent_command(error) {
        output::say(&format!("It is a command of the chat only: {why}."));
    }
    if let Some(tip) = tip(error) {
        output::say(&format!("tip: {tip}"));
    }
    Exit::Usage.into()
}

/// A tip about a likely mistake.
fn tip(error: &clap::Error) -> Option<&'static str> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list; other errors explain themselves"
    )]
    match error.kind() {
        ErrorKind::InvalidSubcommand
            if matches!(word(ContextKind::InvalidSubcommand), Some("chat" | "tui")) =>
        {
            Some("`hobnob` without a command opens the chat")
        }
        ErrorKind::UnknownArgument => {
            let usage = error.render().to_string();
            let is_text = [
                "hobnob send",
                "hobnob msg",
                "hobnob broadcast",
                "hobnob search",
            ]
            .iter()
            .any(|command| usage.contains(command));
            let is_word = word(ContextKind::InvalidArg).is_some_and(|word| !word.starts_with('-'));
            (is_text && is_word).then_some("put a text of several words in quotes: \"hello there\"")
        }
        _ => None,
    }
}

/// Why the command line lacks a command that the chat has, if that is the error.
fn absent_command(error: &clap::Error) -> Option<&'static str> {
    let ErrorKind::InvalidSubcommand = error.kind() else {
        return None;
    };
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    match actions::find(word)?.command_line {
        CommandLine::Absent(why) => Some(why),
        CommandLine::Command { .. } | CommandLine::AliasOf(_) => None,
    }
}

async fn run(args: Args) -> anyhow::Result<Exit> {
    let Args {
        command,
        flags,
        plain,
    } = args;
    let out = Output { json: flags.json };
    match command {
        None if !plain && tui::fits() => tui::run(&flags).await,
        None => chat::chat(&flags).await,
        Some(Command::Config { path }) => manual::config(&flags.home()?, path),
        Some(Command::Completions { shell }) => manual::completions(shell),
        Some(Command::Man { dir }) => manual::man(dir.as_deref()),
        Some(Command::Restore(restore)) => backup::restore(&flags, restore),
        Some(Command::Lock(args)) => lock::lock(&flags, &args),
        Some(Command::Unlock(args)) => lock::unlock(&flags, &args),
        Some(Command::Passwd(args)) => lock::passwd(&flags, &args),
        Some(Command::Token { command }) => web::token(&flags, out, command),
        Some(Command::Share(args)) => share::share(out, args).await,
        Some(Command::IrcToken { new }) => faces::irc_token(&flags, new),
        Some(Command::Help {
            topic,
            schema,
            asyncapi,
        }) => match (schema, asyncapi) {
            (true, _) => manual::document(&topic, wire::json_schema),
            (_, true) => manual::document(&topic, wire::asyncapi),
            (false, false) => manual::help(&topic),
        },
        Some(Command::Relay(_)) => unreachable!("main() has handed over to the relay"),
        Some(command) => run_command(&flags, out, command).await,
    }
}

/// Carries out a command that needs a node.
async fn run_command(flags: &CommonFlags, out: Output, command: Command) -> anyhow::Result<Exit> {
    let change = async |target, change| people::change_policy(flags, out, target, change).await;
    match command {
        Command::Up(up) => up::up(flags, out, up).await,
        Command::Web(args) => web::web(flags, args).await,
        Command::Send(send) => messages::send(flags, out, send).await,
        Command::Broadcast(broadcast) => messages::broadcast(flags, out, broadcast).await,
        Command::Export(args) => export::export(flags, out, args).await,
        Command::Import { file } => carried::import(flags, out, &file).await,
        Command::Files => files::files(flags, out).await,
        Command::Accept(accept) => files::accept(flags, out, accept).await,
        Command::Pause { file } => files::pause(flags, out, &file).await,
        Command::Decline { file } => files::decline(flags, out, &file).await,
        Command::Peers { watch: true } => views::watch(flags, out).await,
        Command::Peers { watch: false } => views::peers(flags, out).await,
        Command::Whois(peer) => views::whois(flags, out, peer.target).await,
        Command::History(history) => views::history(flags, out, history).await,
        Command::Search(search) => views::history(flags, out, search.into()).await,
        Command::Mentions(mentions) => views::mentions(flags, out, mentions).await,
        Command::Notify {
            of: Some(of),
            rule: Some(rule),
        } => people::notify(flags, of, rule).await,
        Command::Notify { of, .. } => views::notify_rules(flags, out, of).await,
        Command::Join {
            room,
            secret,
            secret_file,
        } => rooms::join(flags, out, room, secret, secret_file).await,
        Command::Room { command } => rooms::share(flags, out, command).await,
        Command::Introduce { target, other } => {
            invitations::introduce(flags, out, target, other).await
        }
        Command::Invite { share_relay } => invitations::invite(flags, out, share_relay).await,
        Command::AcceptInvite { code } => invitations::accept(flags, out, code).await,
        Command::Part { room } => rooms::part(flags, room).await,
        Command::Away { text } => status(flags, true, &text).await,
        Command::Back { text } => status(flags, false, &text).await,
        Command::Receipts { of } => views::receipts(flags, out, of).await,
        Command::Reply(about) => messages::reply(flags, out, about).await,
        Command::Edit(about) => messages::edit(flags, out, about).await,
        Command::React {
            id,
            emoji,
            off,
            wait_args,
        } => messages::react(flags, out, (id, emoji, off), &wait_args).await,
        Command::Pin(pin) => messages::pin(flags, out, pin, false).await,
        Command::Unpin(pin) => messages::pin(flags, out, pin, true).await,
        Command::Pins { of } => views::pins(flags, out, of).await,
        Command::Topic {
            room,
            topic: None,
            off: false,
            ..
        } => rooms::topic(flags, out, &room).await,
        Command::Topic {
            room,
            topic,
            wait_args,
            ..
        } => messages::set_topic(flags, out, (room, topic.unwrap_or_default()), &wait_args).await,
        Command::Cancel { id } => cancel(flags, id).await,
        Command::Delete { id, here, yes } => erase(flags, Erase::Delete { id, here, yes }).await,
        Command::Clear { of, yes } => erase(flags, Erase::Clear { of, yes }).await,
        Command::Forget { peer, address, yes } => {
            let target = peer.target;
            let forget = Erase::Forget {
                target,
                address,
                yes,
            };
            erase(flags, forget).await
        }
        Command::Keep {
            of: Some(of),
            time: Some(time),
        } => {
            let time = erasing::keep_time(&time).map_err(anyhow::Error::msg)?;
            erase(flags, Erase::Keep { of, time }).await
        }
        // A conversation requires a time, and a time comes after a conversation.
        Command::Keep { .. } => views::keep_times(flags, out).await,
        Command::Rooms => rooms::list(flags, out).await,
        Command::Id => views::id(flags, out).await,
        Command::Nick { name } => people::nick(flags, out, name).await,
        Command::Picture(args) => people::picture(flags, out, args).await,
        Command::Contacts { change: None } => views::contacts(flags, out).await,
        Command::Contacts {
            change: Some(args::ContactChange::Accept(peer)),
        } => change(peer.target, PolicyChange::Accept).await,
        Command::Contacts {
            change: Some(args::ContactChange::Remove(peer)),
        } => change(peer.target, PolicyChange::Remove).await,
        Command::Contacts {
            change: Some(args::ContactChange::Delete(peer)),
        } => people::delete_request(flags, peer.target).await,
        Command::Ignore(peer) => change(peer.target, PolicyChange::Ignore).await,
        Command::Unignore(peer) => change(peer.target, PolicyChange::Unignore).await,
        Command::Block(peer) => change(peer.target, PolicyChange::Block).await,
        Command::Unblock(peer) => change(peer.target, PolicyChange::Unblock).await,
        Command::Kick(peer) => people::kick(flags, out, peer.target).await,
        Command::Verify {
            peer,
            confirm,
            undo,
        } => {
            let confirm = (confirm || undo).then_some(confirm);
            people::verify(flags, out, peer.target, confirm).await
        }
        Command::Doctor { report } => doctor::doctor(flags, out, report).await,
        Command::Mailbox => views::mailbox(flags, out).await,
        Command::Backup(args) => backup::backup(flags, out, args).await,
        Command::Why(peer) => doctor::why(flags, out, peer.target).await,
        Command::Config { .. }
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Help { .. }
        | Command::Restore(_)
        | Command::Lock(_)
        | Command::Unlock(_)
        | Command::Passwd(_)
        | Command::Token { .. }
        | Command::Share(_)
        | Command::IrcToken { .. }
        | Command::Relay(_) => unreachable!("run() handles the commands that need no node"),
    }
}

/// `hobnob away` and `hobnob back`.
async fn status(flags: &CommonFlags, away: bool, words: &[String]) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        client.ask(activity::status(away, words.join(" "))).await?;
        if !flags.json {
            output::line(&activity::done(away, "`hobnob back`"))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob cancel`.
async fn cancel(flags: &CommonFlags, id: MessageId) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        client.ask(amending::cancel(id)).await?;
        if !flags.json {
            output::line(amending::CANCELLED)?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob delete`, `clear`, `forget`, `keep`.
async fn erase(flags: &CommonFlags, erase: Erase) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        request_erasing(client, flags, erase).await
    })
    .await
}

/// Sends the request to the node, and prints what was done.
async fn request_erasing(
    client: &Client,
    flags: &CommonFlags,
    erase: Erase,
) -> anyhow::Result<Exit> {
    let done = erase.done();
    client.ask(erase.request()).await?;
    if !flags.json {
        output::line(done)?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_command_of_the_chat_only_says_what_to_use_instead() {
        let error = args::parse(words("hobnob names")).unwrap_err();
        assert!(absent_command(&error).is_some_and(|why| why.contains("hobnob rooms")));
        let error = args::parse(words("hobnob nonsense")).unwrap_err();
        assert_eq!(absent_command(&error), None);
    }

    #[test]
    fn likely_mistakes_get_a_tip() {
        let tip = |line| tip(&args::parse(words(line)).unwrap_err());
        assert!(tip("hobnob chat").is_some_and(|tip| tip.contains("opens the chat")));
        assert!(tip("hobnob send bob hello there").is_some_and(|tip| tip.contains("quotes")));
        assert_eq!(tip("hobnob peers --wtach"), None);
    }

    #[test]
    fn flags_before_the_relay_command_are_known_to_both() {
        let args = args::parse(words("hobnob --home /x -v relay peers --json")).unwrap();
        let Some(Command::Relay(arguments)) = args.command else {
            panic!("the command is relay")
        };
        let text = format!("{arguments:?}");
        for part in ["home: Some(\"/x\")", "json: true", "verbose: 1"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
