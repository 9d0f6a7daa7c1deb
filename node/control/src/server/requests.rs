//! Carries out one request on the node and words the answer.

use std::path::PathBuf;
use std::time::Duration;

use hobnob_protocol::{Body, PeerId, RoomName, Target};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Serving;
use super::connection::Turn;
use crate::wire::{
    Answer, BodyFields, Command, Diagnosis, Done, Failure, FileLine, FileList, HISTORY_PAGE_MAX,
    HistoryFilter, Kicked, MessageLine, MessageList, Outcome, Patience, PeerLine, PeerList, Pong,
    Request, Resolved, RoomLine, RoomList, SentLine, StatusLine, Text, Verification, to_line,
};
use hobnob::{
    DeliveryState, HistoryQuery, KICKED_FOR, Node, PeerInfo, PolicyError, SendError, Sent,
};

/// The line that answers `request`. `over` ends all waiting: the answer then says what has been
/// reached.
pub(super) async fn answer(
    serving: &Serving,
    request: Request,
    mut turn: Option<Turn>,
    over: &CancellationToken,
) -> String {
    if let Some(turn) = &mut turn {
        turn.come().await;
    }
    let node = &serving.node;
    let id = request.id;
    match request.command {
        Command::Ping => line(id, Ok::<_, Failure>(pong(serving))),
        Command::Status => line(id, node.status().await.map(StatusLine::from)),
        Command::Send {
            target,
            body,
            patience,
        } => {
            let sent = match allowed(body) {
                Ok(body) => node.send(target.0, body).await.map_err(Failure::from),
                Err(failure) => Err(failure),
            };
            drop(turn);
            line(id, reached(node, sent, patience, over).await)
        }
        Command::Broadcast {
            room,
            body,
            patience,
        } => {
            let sent = match allowed(body) {
                Ok(body) => broadcast(node, room, body).await.map_err(Failure::from),
                Err(failure) => Err(failure),
            };
            drop(turn);
            line(id, reached(node, sent, patience, over).await)
        }
        Command::Offer {
            target,
            room,
            path,
            patience,
        } => {
            // Reading a large file takes its time, and nothing else waits for it.
            drop(turn);
            let sent = offer(node, target, room, path).await;
            line(id, reached(node, sent, patience, over).await)
        }
        Command::Files => line(id, files(node).await),
        Command::Accept { offer } => line(id, node.accept(offer.0).await.map(|()| Done {})),
        Command::Decline { offer } => line(id, node.decline(offer.0).await.map(|()| Done {})),
        Command::Peers { settle } => line(id, peers(node, settle).await),
        Command::History(filter) => line(id, history(node, filter).await),
        Command::Join { room, secret } => line(
            id,
            node.join(room.0, secret.map(|s| s.0))
                .await
                .map(RoomLine::from),
        ),
        Command::Part { room } => line(id, node.part(room.0).await.map(|()| Done {})),
        Command::Rooms => line(id, rooms(node).await),
        Command::Nick { nick } => line(id, node.set_nick(nick).await.map(|()| Done {})),
        Command::Ignore { target } => line(id, marked(node, target, Node::ignore).await),
        Command::Unignore { target } => line(id, marked(node, target, Node::unignore).await),
        Command::Block { target } => line(id, marked(node, target, Node::block).await),
        Command::Unblock { target } => line(id, marked(node, target, Node::unblock).await),
        Command::Kick { target } => line(id, kick(node, target).await),
        Command::Verify { target, confirm } => line(id, verify(node, target, confirm).await),
        Command::Doctor => line(id, node.diagnose().await.map(Diagnosis::from)),
        Command::Why { target } => line(id, why(node, target).await),
        Command::Resolve { target } => line(
            id,
            node.resolve(target.0)
                .await
                .map(|peer| Resolved { peer: Text(peer) }),
        ),
        Command::Subscribe => line(id, Ok::<_, Failure>(Done {})),
    }
}

fn line<T: Serialize>(id: u64, outcome: Result<T, impl Into<Failure>>) -> String {
    let outcome = match outcome {
        Ok(answer) => Outcome::Ok(answer),
        Err(error) => Outcome::Error(error.into()),
    };
    to_line(&Answer {
        id: Some(id),
        outcome,
    })
}

fn pong(serving: &Serving) -> Pong {
    Pong {
        pid: std::process::id(),
        home: serving.data_dir.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn allowed(fields: BodyFields) -> Result<Body, Failure> {
    let body = Body::try_from(fields).map_err(Failure::usage)?;
    body.check().map_err(Failure::usage)?;
    Ok(body)
}

/// A room's message goes to those who are there when it is queued: a node that has just started
/// first looks around.
async fn broadcast(
    node: &Node,
    room: Text<hobnob_protocol::RoomName>,
    body: Body,
) -> Result<Sent, SendError> {
    node.settled().await;
    node.broadcast(room.0, body).await
}

async fn offer(
    node: &Node,
    target: Option<Text<Target>>,
    room: Option<Text<RoomName>>,
    path: PathBuf,
) -> Result<Sent, Failure> {
    if !path.is_absolute() {
        return Err(Failure::usage(format!(
            "{} is no absolute path",
            path.display()
        )));
    }
    match (target, room) {
        (Some(target), None) => Ok(node.offer(target.0, path).await?),
        (None, Some(room)) => {
            node.settled().await;
            Ok(node.offer_in(room.0, path).await?)
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(Failure::usage("an offer goes to either a target or a room"))
        }
    }
}

async fn files(node: &Node) -> Result<FileList, Failure> {
    Ok(FileList {
        files: node
            .files()
            .await?
            .into_iter()
            .map(FileLine::from)
            .collect(),
    })
}

/// Waits until a queued message has come as far as was asked, its time is up, or waiting is over.
async fn reached(
    node: &Node,
    sent: Result<Sent, Failure>,
    patience: Patience,
    over: &CancellationToken,
) -> Result<SentLine, Failure> {
    let sent = sent?;
    let mut state = DeliveryState::Queued;
    let come = async {
        for step in [DeliveryState::Sent, DeliveryState::Delivered] {
            if state < step && step <= patience.wait {
                state = node.wait_for(sent.id, step).await?;
            }
        }
        Ok::<_, Failure>(())
    };
    tokio::select! {
        come = come => come?,
        () = tokio::time::sleep(Duration::from_millis(patience.timeout_ms)) => {}
        () = over.cancelled() => {}
    }
    Ok(SentLine::new(sent, state))
}

async fn peers(node: &Node, settle: bool) -> Result<PeerList, Failure> {
    if settle {
        node.settled().await;
    }
    Ok(PeerList {
        peers: node
            .peers()
            .await?
            .into_iter()
            .map(PeerLine::from)
            .collect(),
    })
}

async fn history(node: &Node, filter: HistoryFilter) -> Result<MessageList, Failure> {
    let mut query = HistoryQuery::from(filter);
    let limit = query.limit.unwrap_or(usize::MAX);
    let page = limit.min(HISTORY_PAGE_MAX);
    query.limit = Some(page);
    let messages: Vec<_> = node
        .history(query)
        .await?
        .into_iter()
        .map(MessageLine::from)
        .collect();
    Ok(MessageList {
        more: page < limit && messages.len() == page,
        messages,
    })
}

/// Decides about whoever is meant.
async fn marked(
    node: &Node,
    target: Text<Target>,
    mark: impl AsyncFnOnce(&Node, PeerId) -> Result<PeerInfo, PolicyError>,
) -> Result<PeerLine, Failure> {
    let peer = meant(node, target).await?;
    Ok(mark(node, peer).await?.into())
}

/// One who is named by an id need not be known: a decision can come before the first meeting.
async fn meant(node: &Node, target: Text<Target>) -> Result<PeerId, SendError> {
    match target.0 {
        Target::Id(peer) | Target::AtRelay(peer, _) => Ok(peer),
        Target::Ticket(ticket) => Ok(ticket.id),
        named @ (Target::Name(_) | Target::Address(_)) => node.resolve(named).await,
    }
}

async fn verify(
    node: &Node,
    target: Text<Target>,
    confirm: Option<bool>,
) -> Result<Verification, Failure> {
    let peer = meant(node, target).await?;
    let peer_line = match confirm {
        Some(true) => node.verify(peer).await?,
        Some(false) => node.unverify(peer).await?,
        None => node.peer(peer).await?.ok_or(SendError::UnknownId(peer))?,
    };
    let words = node.words(peer).await.map(str::to_owned).to_vec();
    Ok(Verification {
        peer: peer_line.into(),
        words,
    })
}

async fn why(node: &Node, target: Text<Target>) -> Result<Diagnosis, Failure> {
    Ok(node.diagnose_target(target.0).await?.into())
}

async fn kick(node: &Node, target: Text<Target>) -> Result<Kicked, Failure> {
    Ok(Kicked {
        peer: marked(node, target, Node::kick).await?,
        for_s: KICKED_FOR.as_secs(),
    })
}

async fn rooms(node: &Node) -> Result<RoomList, Failure> {
    Ok(RoomList {
        rooms: node
            .rooms()
            .await?
            .into_iter()
            .map(RoomLine::from)
            .collect(),
    })
}
