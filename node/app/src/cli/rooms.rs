//! Commands about rooms: `join`, `part`, `rooms` and `room`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hobnob::protocol::passphrase::PASSPHRASE_MAX;
use hobnob::{RoomInfo, RoomName, RoomTarget};
use hobnob_control::wire::{
    Base64, CreateRoom, Done, EventLine, GetRoomTicket, JoinRoom, ListRooms, PartRoom, RoomList,
    SharedRoom, Text, WireEvent, to_line,
};
use serde::Serialize;

use super::args::RoomCommand;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::wording::Names;
use crate::shared::{pins, room_secrets, session};

/// `hobnob join`.
pub(crate) async fn join(
    flags: &CommonFlags,
    out: Output,
    room: RoomTarget,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
) -> anyhow::Result<Exit> {
    let secret = match (secret, secret_file) {
        (Some(secret), _) => Some(secret.into_bytes()),
        (None, Some(file)) => Some(read_secret(&file)?),
        (None, None) => None,
    };
    session::ask(flags, false, async |client| {
        let room: RoomInfo = client
            .ask(JoinRoom {
                room: Text(room),
                secret: secret.map(Base64),
            })
            .await?;
        out.event(WireEvent::Room(room), plain_room)?;
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob room`.
pub(crate) async fn share(
    flags: &CommonFlags,
    out: Output,
    command: RoomCommand,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let shared = match command {
            RoomCommand::Create { room } => client.ask(CreateRoom { room: Text(room) }).await?,
            RoomCommand::Ticket { room } => client.ask(GetRoomTicket { room: Text(room) }).await?,
        };
        if out.json {
            let SharedRoom { room, ticket } = shared;
            output::raw(&to_line(&SharedLine {
                room: WireEvent::Room(room).into(),
                ticket: ticket.0.to_string(),
            }))?;
        } else {
            room_secrets::shared(&shared)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// The event line of a room, with its ticket as one more field.
#[derive(Serialize)]
struct SharedLine {
    #[serde(flatten)]
    room: EventLine,
    ticket: String,
}

/// The content of the file without the line break that editors add at its end.
fn read_secret(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut secret = Vec::new();
    // One byte and a line break beyond the limit, to notice a secret that is too long.
    let limit = u64::try_from(PASSPHRASE_MAX + 3).unwrap_or(u64::MAX);
    if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut secret)
            .context("can't read the secret from stdin")?;
    } else {
        let open = std::fs::File::open(file)
            .and_then(|opened| opened.take(limit).read_to_end(&mut secret));
        open.with_context(|| format!("can't read the secret from {}", file.display()))?;
    }
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    match secret.len() {
        0 => Err(Usage(
            "the secret is empty: to join an open room, leave out --secret-file".into(),
        )
        .into()),
        1..=PASSPHRASE_MAX => Ok(secret),
        _ => Err(Usage(format!(
            "a room's secret has at most {PASSPHRASE_MAX} bytes"
        ))
        .into()),
    }
}

fn plain_room(event: &WireEvent) -> Option<String> {
    if let WireEvent::Room(room) = event {
        Some(room_secrets::joined(room).join("\n"))
    } else {
        None
    }
}

/// `hobnob part`.
pub(crate) async fn part(flags: &CommonFlags, room: RoomName) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let Done {} = client.ask(PartRoom { room: Text(room) }).await?;
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob topic ROOM`.
pub(crate) async fn topic(
    flags: &CommonFlags,
    out: Output,
    name: &RoomName,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let RoomList { rooms } = client.ask(ListRooms {}).await?;
        let Some(room) = rooms.into_iter().find(|room| room.name == *name) else {
            return Err(Usage(format!("you are not in {name}: join it first")).into());
        };
        if out.json {
            out.event(WireEvent::Room(room), plain_room)?;
        } else {
            let names = Names::ask(client).await?;
            output::line(&pins::topic(&room, &names))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob rooms`.
pub(crate) async fn list(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let RoomList { rooms } = client.ask(ListRooms {}).await?;
        for room in rooms {
            out.event(WireEvent::Room(room), plain_room)?;
        }
        Ok(Exit::Done)
    })
    .await
}
