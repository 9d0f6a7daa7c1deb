//! The interfaces for other clients that `hobnob up` has: IRC and plain lines. The crate
//! `hobnob-irc` serves them.

use hobnob_control::Home;
use hobnob_control::wire::to_line;
use hobnob_irc::{Listen, Server, ServerError, Token};
use serde::Serialize;

use super::args::FaceArgs;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::settings::Settings;

/// One line of `hobnob up --json` about an interface.
#[derive(Debug, Serialize)]
struct FaceLine {
    v: u8,
    event: &'static str,
    face: &'static str,
    addr: std::net::SocketAddr,
}

/// Starts the interfaces that flags and settings ask for, and prints their addresses.
pub(super) async fn start(home: &Home, args: &FaceArgs, out: Output) -> anyhow::Result<Server> {
    let settings = Settings::of(home)?;
    let listen = Listen {
        irc: args.irc.or(settings.irc),
        lines: args.lines.or(settings.lines),
    };
    let started = Server::start(home, listen).await;
    let server = started.map_err(|error| match error {
        ServerError::NotLoopback(_) => Usage(error.to_string()).into(),
        ServerError::Bind { .. } | ServerError::Token(_) => anyhow::Error::from(error),
    })?;
    let Listen { irc, lines } = server.listens();
    for (face, addr) in [("irc", irc), ("lines", lines)] {
        let Some(addr) = addr else { continue };
        if out.json {
            output::raw(&to_line(&FaceLine {
                v: hobnob_control::wire::LINES_VERSION,
                event: "face",
                face,
                addr,
            }))?;
        } else if face == "irc" {
            output::line(&format!(
                "IRC clients: {addr} (`hobnob irc-token` prints the password)"
            ))?;
        } else {
            output::line(&format!("plain lines: {addr}"))?;
        }
    }
    Ok(server)
}

/// Prints the password of IRC clients.
pub(super) fn irc_token(flags: &CommonFlags, new: bool) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let token = Token::of_home(home.data_dir(), new)?;
    output::line(token.as_str())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use crate::shared::actions;

    #[test]
    fn the_service_of_irc_has_commands_of_the_chat_and_no_others() {
        for (names, _, _) in hobnob_irc::COMMANDS {
            for name in names.split(", ") {
                let name = name.split(' ').next().unwrap();
                assert!(actions::find(name).is_some(), "there is no action {name}");
            }
        }
    }
}
