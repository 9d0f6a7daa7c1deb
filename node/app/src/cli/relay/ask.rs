//! `hobnob relay peers`, `kick`, `ban`, `unban`: asks the relay that runs in this home.

use std::time::Duration;

use anyhow::{Context, bail};
use hobnob_control::ClientError;
use hobnob_control::wire::to_line;
use hobnob_local::home::Home;
use hobnob_local::line::{Line as Read, Lines};
use hobnob_local::socket::{connect, is_same_user};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::args::Ask;
use super::lines::{Answer, End, Event, Request};
use super::show;
use crate::shared::exit_code::Exit;
use crate::shared::output::Output;

/// How long the relay may take for each line of its answer.
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// Longest line of an answer, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Asks, and prints the answer.
pub(super) async fn ask(home: &Home, ask: Ask, out: Output) -> anyhow::Result<Exit> {
    let stream = reach(home).await?;
    let events = answer(stream, &request(ask)).await?;
    show::print(&events, out)?;
    Ok(Exit::Done)
}

fn request(ask: Ask) -> Request {
    match ask {
        Ask::Peers => Request::Peers,
        Ask::Kick { target } => Request::Kick { target },
        Ask::Ban { target } => Request::Ban { target },
        Ask::Unban { target } => Request::Unban { target },
    }
}

async fn reach(home: &Home) -> anyhow::Result<UnixStream> {
    let dir = home.data_dir().display();
    let stream = connect(home.socket()).await.with_context(|| {
        format!(
            "no relay of {dir} is running: start it with hobnob relay, or name the folder of the one that runs with --home DIR"
        )
    })?;
    if !is_same_user(&stream)? {
        bail!("the relay of {dir} belongs to another user: run this as that user");
    }
    Ok(stream)
}

async fn answer(mut stream: UnixStream, request: &Request) -> anyhow::Result<Vec<Event>> {
    stream
        .write_all(to_line(request).as_bytes())
        .await
        .context(LOST)?;
    let mut lines = Lines::new(BufReader::new(stream), LINE_BYTES_MAX);
    let mut events = Vec::new();
    loop {
        let Ok(Ok(Read::Whole(line))) = timeout(LINE_LIMIT, lines.next()).await else {
            bail!(LOST)
        };
        match serde_json::from_slice(line)
            .context("the relay's answer can't be read: is it another version of hobnob?")?
        {
            Answer::Tells(line) => events.push(line.event),
            Answer::Ends(End::Done(_)) => return Ok(events),
            Answer::Ends(End::Error(failure)) => return Err(ClientError::Refused(failure).into()),
        }
    }
}

const LOST: &str = "the relay ended, or took too long, before it answered: whether it did what was asked, `hobnob relay peers` tells";
