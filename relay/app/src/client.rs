//! `peers`, `kick`, `ban`, `unban`, `bans` and `drain`: sends a request to the relay that runs in this home and
//! prints its answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hobnob_local::home::Home;
use hobnob_local::json::to_line;
use hobnob_local::line::{Line, Lines};
use hobnob_local::socket::{connect, is_owner};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::admin_lines::{AdminAnswer, AdminEnd, AdminRequest, RelayEvent};
use crate::arguments::AdminCommand;
use crate::display;

/// Time limit for each line of the answer.
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// Longest line of an answer, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

const LOST: &str = "the relay stopped or timed out before it answered: check with `hobnob relay peers` whether the change was made";

/// Sends the request of `command` and prints the answer.
///
/// `sockets`: where the relay may listen, in this order.
pub(crate) async fn request(
    home: &Home,
    sockets: &[PathBuf],
    command: AdminCommand,
    json: bool,
) -> anyhow::Result<()> {
    let request = to_request(command)?;
    let stream = reach(home, sockets).await?;
    let events = exchange(stream, &request).await?;
    display::print(&events, json)?;
    Ok(())
}

fn to_request(command: AdminCommand) -> anyhow::Result<AdminRequest> {
    Ok(match command {
        AdminCommand::Peers => AdminRequest::Peers,
        AdminCommand::Kick { target } => AdminRequest::Kick { target },
        AdminCommand::Ban { target } => AdminRequest::Ban { target },
        AdminCommand::Unban { target } => AdminRequest::Unban { target },
        AdminCommand::Bans => AdminRequest::Bans,
        AdminCommand::Drain => AdminRequest::Drain,
        #[cfg(feature = "fleet")]
        AdminCommand::Fleet { .. } => bail!("commands of a fleet need no running relay"),
    })
}

async fn reach(home: &Home, sockets: &[PathBuf]) -> anyhow::Result<UnixStream> {
    for path in sockets {
        match connect(path).await {
            Ok(stream) if is_owner(&stream, path)? => return Ok(stream),
            Ok(_) => bail!(
                "the relay at {} runs as a user who does not own that folder: do not trust it",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(
                "you may not use the relay at {}: run this command as root, as the user of the relay, or as a member of its --admin-group",
                path.display()
            ),
            Err(error) => tracing::debug!(?path, %error, "no relay answers"),
        }
    }
    bail!(
        "no relay is running in {}: start it with hobnob relay, or name the folder of a running one with --home DIR",
        home.data_dir().display()
    )
}

async fn exchange(
    mut stream: UnixStream,
    request: &AdminRequest,
) -> anyhow::Result<Vec<RelayEvent>> {
    // Without its cause: a broken pipe to the relay is not one of stdout, which is no failure.
    stream
        .write_all(to_line(request).as_bytes())
        .await
        .map_err(|_| anyhow!(LOST))?;
    let mut lines = Lines::new(BufReader::new(stream), LINE_BYTES_MAX);
    let mut events = Vec::new();
    loop {
        let Ok(Ok(Line::Whole(line))) = timeout(LINE_LIMIT, lines.next()).await else {
            bail!(LOST)
        };
        match serde_json::from_slice(line)
            .context("can't read the relay's answer: it may run another version of hobnob")?
        {
            AdminAnswer::Event(line) => events.push(line.event),
            AdminAnswer::End(AdminEnd::Done(_)) => return Ok(events),
            AdminAnswer::End(AdminEnd::Error(error)) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_local::json::Text;
    use hobnob_protocol::DeviceId;

    /// Sends a kick to a relay that answers with this text.
    async fn exchanged(answer: &str) -> anyhow::Result<Vec<RelayEvent>> {
        let (client, mut relay) = UnixStream::pair().unwrap();
        relay.write_all(answer.as_bytes()).await.unwrap();
        relay.shutdown().await.unwrap();
        let target = "ann".to_owned();
        exchange(client, &AdminRequest::Kick { target }).await
    }

    #[tokio::test]
    async fn an_answer_is_its_events_up_to_the_end() {
        let peer = DeviceId::from_bytes([9; 32]);
        let event = format!("{{\"v\":1,\"event\":\"kicked\",\"peer\":\"{peer}\"}}\n");
        let events = exchanged(&format!("{event}{{\"done\":true}}\n")).await;
        assert_eq!(events.unwrap(), [RelayEvent::Kicked { peer: Text(peer) }]);
    }

    #[tokio::test]
    async fn an_answer_without_its_end_is_an_error() {
        let error = exchanged("").await.unwrap_err();
        assert_eq!(error.to_string(), LOST);
        let error = exchanged("nonsense\n").await.unwrap_err();
        assert!(error.to_string().contains("another version"), "{error}");
    }

    #[tokio::test]
    async fn a_relay_that_refuses_this_user_is_a_failure() {
        let (client, relay) = UnixStream::pair().unwrap();
        drop(relay);
        let error = exchange(client, &AdminRequest::Bans).await.unwrap_err();
        assert_eq!(error.to_string(), LOST);
        assert_eq!(
            crate::exit_code::ExitStatus::of(&error),
            crate::exit_code::ExitStatus::Fault
        );
    }

    #[tokio::test]
    async fn an_error_of_the_relay_keeps_its_text() {
        let answer = "{\"error\":{\"code\":\"fault\",\"exit\":1,\"text\":\"x is not banned\"}}\n";
        let error = exchanged(answer).await.unwrap_err();
        assert_eq!(error.to_string(), "x is not banned");
    }
}
