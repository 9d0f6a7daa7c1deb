//! Carries out requests on the node: one handler for each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hobnob::{
    ConfigureError, ConversationRef, DeliveryState, Finding, HistoryQuery, InvitationEnd,
    JoinError, KICKED_FOR, Node, NodeError, PeerInfo, PolicyError, PreparedOffer, RelayFinding,
    RoomInfo, SendError, Sent,
};
use hobnob_protocol::room_ticket::{ROOM_TICKET_PREFIX, RoomTicketError};
use hobnob_protocol::{Body, Offer, PersonId, RoomName, RoomTarget, RoomTicket, Target};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Serving;
use super::order::OrderTicket;
use super::programs::Programs;
use crate::wire::{
    AcceptContact, AcceptFile, AcceptInvite, ActivityLine, ActivityList, Answer, AnyRequest,
    ApplySettings, AwaitInvitation, Base64, Block, BodyFields, BroadcastMessage, CancelMessage,
    ClearConversation, CloseStream, CreateRoom, DeclineFile, DeleteMessage, Diagnose, Diagnosis,
    Done, EditMessage, EndStream, ExportFor, ExportedFile, Failure, FileLine, FileList, ForgetPeer,
    GetMailbox, GetPicture, GetRoomTicket, GetStatus, HISTORY_PAGE_MAX, HistoryFilter, Ignore,
    ImportFile, ImportedFile, Introduce, InvitationAccepted, InvitationCode, InvitationEnded,
    InvitationState, Invite, JoinRoom, KeepConversation, KeepTimeLine, KeepTimeList, Kick, Kicked,
    LentRelayLine, ListActivity, ListFiles, ListKeepTimes, ListNotifyRules, ListPeers, ListPins,
    ListRooms, MailboxLine, MarkRead, MessageLine, MessageList, NotifyRuleLine, NotifyRuleList,
    OfferFile, OpenApp, OpenStream, OpenedStream, Outcome, PartRoom, PauseFile, PeerLine, PeerList,
    PictureFields, PictureFile, PinMessage, Ping, Pong, ReactToMessage, ReadStream, RemoveContact,
    ReplyToMessage, ReportBackup, Request, RequestLine, Resolve, Resolved, RoomList, SendDatagram,
    SendMessage, SentLine, SetNick, SetNotify, SetPicture, SetStatus, SetTopic, SharedRoom,
    ShowTyping, StatusLine, StreamBytes, Subscribe, TakeSnapshot, Text, Unblock, Unignore,
    Verification, Verify, WaitOptions, WaitReason, Why, WriteStream, dispatch, to_line,
};

/// The line that answers a request. `over` ends all waiting: the answer then has the state that was
/// reached.
pub(super) async fn answer(
    serving: &Serving,
    programs: &Arc<Programs>,
    line: RequestLine,
    mut ticket: Option<OrderTicket>,
    over: &CancellationToken,
) -> String {
    // An offer first reads the file, and then waits for its turn itself.
    if let Some(ticket) = &mut ticket
        && !matches!(line.request, AnyRequest::OfferFile(_))
    {
        ticket.wait().await;
    }
    let context = Context {
        serving,
        programs,
        ticket,
        over,
    };
    dispatch!(line.request, request => {
        to_line(&Answer { id: Some(line.id), outcome: outcome(request.carry_out(context).await) })
    })
}

fn outcome<T: Serialize>(result: Result<T, Failure>) -> Outcome<T> {
    match result {
        Ok(answer) => Outcome::Ok(answer),
        Err(failure) => Outcome::Error(failure),
    }
}

/// The values that a handler works with.
struct Context<'a> {
    serving: &'a Serving,
    programs: &'a Arc<Programs>,
    /// Held until the request has taken effect. A handler that continues to wait drops it before.
    ticket: Option<OrderTicket>,
    over: &'a CancellationToken,
}

impl Context<'_> {
    fn node(&self) -> &Node {
        &self.serving.node
    }

    /// Waits until all earlier requests that change something have taken effect.
    async fn my_turn(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.wait().await;
        }
    }

    /// Lets the next request that changes something go ahead.
    fn let_next_go(&mut self) {
        self.ticket = None;
    }

    /// Waits until a queued message has reached the state that was asked for, the time is up, or
    /// waiting is over.
    async fn delivery(&self, sent: Sent, options: WaitOptions) -> Result<SentLine, Failure> {
        let mut state = DeliveryState::Queued;
        if sent.to.is_empty() {
            // Members of a room with a secret get it later, and nobody gets it in an open room.
            return Ok(SentLine::new(sent, state, None));
        }
        let progress = async {
            for step in [
                DeliveryState::Sent,
                DeliveryState::Held,
                DeliveryState::Delivered,
            ] {
                if state < step && step <= options.wait {
                    // This may be an earlier state than `step`: see `reason`.
                    state = self.node().wait_for(sent.id, step).await?;
                }
            }
            Ok::<_, Failure>(())
        };
        tokio::select! {
            reached = progress => reached?,
            () = tokio::time::sleep(Duration::from_millis(options.timeout_ms)) => {}
            () = self.over.cancelled() => {}
        }
        let reason = if options.wait == DeliveryState::Queued {
            // The caller does not wait for the peer.
            None
        } else {
            self.reason(&sent, state).await?
        };
        Ok(SentLine::new(sent, state, reason))
    }

    /// Why a message stays in its state, if there is a reason.
    async fn reason(
        &self,
        sent: &Sent,
        state: DeliveryState,
    ) -> Result<Option<WaitReason>, Failure> {
        let ConversationRef::Direct(peer) = &sent.conversation else {
            return Ok(None);
        };
        match state {
            DeliveryState::Sent => {
                let peer = self.node().peer(*peer).await?;
                let awaits = peer.is_some_and(|peer| peer.awaits_consent);
                Ok(awaits.then_some(WaitReason::Consent))
            }
            DeliveryState::Queued => {
                let of_peer = self.node().peer(*peer).await?;
                if let Some(refuses) = of_peer.and_then(|peer| peer.refuses) {
                    return Ok(Some(refuses.into()));
                }
                let deposited = self.node().mailbox().await?.deposited;
                let of_peer = deposited.into_iter().find(|it| it.peer == *peer);
                if let Some(refused) = of_peer.and_then(|it| it.refused) {
                    return Ok(Some(refused.into()));
                }
                let status = StatusLine::from(self.node().status().await?);
                let no_relay = status.relay_fault().is_some();
                Ok(no_relay.then_some(WaitReason::NoRelay))
            }
            DeliveryState::Held | DeliveryState::Delivered => Ok(None),
        }
    }

    /// Changes the policy about the peer that a target names.
    async fn change_policy(
        &self,
        target: Text<Target>,
        change: impl AsyncFnOnce(&Node, PersonId) -> Result<PeerInfo, PolicyError>,
    ) -> Result<PeerLine, Failure> {
        let peer = self.peer(target).await?;
        Ok(change(self.node(), peer).await?.into())
    }

    /// The conversation that a request names: by a peer, or by a room.
    async fn conversation(
        &self,
        target: Option<Text<Target>>,
        room: Option<Text<RoomName>>,
    ) -> Result<ConversationRef, Failure> {
        match (target, room) {
            (Some(target), None) => Ok(ConversationRef::Direct(self.peer(target).await?)),
            (None, Some(room)) => Ok(ConversationRef::Room(room.0)),
            (Some(_), Some(_)) | (None, None) => {
                Err(Failure::usage("name either a target or a room"))
            }
        }
    }

    /// The peer that a target names. A peer named by its id need not be known: a policy can be set
    /// before the first meeting.
    async fn peer(&self, target: Text<Target>) -> Result<PersonId, SendError> {
        match target.0 {
            Target::Id(peer) | Target::AtRelay(peer, _) => Ok(peer),
            Target::Ticket(ticket) => Ok(ticket.id),
            named @ (Target::Name(_) | Target::Address(_)) => self.node().resolve(named).await,
        }
    }
}

/// How the node carries out one kind of request.
trait Handle: Request {
    async fn carry_out(self, context: Context<'_>) -> Result<Self::Answer, Failure>;
}

impl Handle for Ping {
    async fn carry_out(self, context: Context<'_>) -> Result<Pong, Failure> {
        Ok(Pong {
            pid: std::process::id(),
            home: context.serving.data_dir.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

impl Handle for GetStatus {
    async fn carry_out(self, context: Context<'_>) -> Result<StatusLine, Failure> {
        let status = StatusLine::from(context.node().status().await?);
        let lends = context.serving.lent_relay().await.map(Box::new);
        Ok(StatusLine { lends, ..status })
    }
}

impl Handle for GetMailbox {
    async fn carry_out(self, context: Context<'_>) -> Result<MailboxLine, Failure> {
        Ok(context.node().mailbox().await?.into())
    }
}

impl Handle for SendMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let body = checked(self.body)?;
        let sent = match self.client_id {
            Some(id) => context.node().send_once(id.0, self.target.0, body).await?,
            None => context.node().send(self.target.0, body).await?,
        };
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for BroadcastMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let body = checked(self.body)?;
        // A message to a room goes to the members that are connected when it is queued, so a node
        // that has just started first looks for them.
        context.node().settled().await;
        let sent = match self.client_id {
            Some(id) => {
                context
                    .node()
                    .broadcast_once(id.0, self.room.0, body)
                    .await?
            }
            None => context.node().broadcast(self.room.0, body).await?,
        };
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for ReplyToMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let (node, to, text) = (context.node(), self.message.0, self.text);
        let sent = match self.client_id {
            Some(id) => node.reply_once(id.0, to, text).await?,
            None => node.reply(to, text).await?,
        };
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for EditMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let sent = context.node().edit(self.message.0, self.text).await?;
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for ReactToMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let reacted = context.node().react(self.message.0, self.emoji, !self.off);
        let sent = reacted.await?;
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for CancelMessage {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().cancel(self.message.0).await?;
        Ok(Done {})
    }
}

impl Handle for ShowTyping {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context
            .node()
            .typing(self.conversation.0, !self.off)
            .await?;
        Ok(Done {})
    }
}

impl Handle for MarkRead {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().mark_read(self.message.0).await?;
        Ok(Done {})
    }
}

impl Handle for SetStatus {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().set_status(!self.back, &self.text).await?;
        Ok(Done {})
    }
}

impl Handle for ListActivity {
    async fn carry_out(self, context: Context<'_>) -> Result<ActivityList, Failure> {
        let activity = context.node().activity().await?;
        Ok(ActivityList {
            activity: activity.into_iter().map(ActivityLine::from).collect(),
        })
    }
}

impl Handle for OfferFile {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        absolute(&self.path)?;
        let to = OfferTo::of(self.target, self.room)?;
        // Several files are read at once. Their messages are in the order of the lines.
        let prepared = context.node().prepare_offer(self.path).await;
        context.my_turn().await;
        let PreparedOffer { offer, left_out } = prepared?;
        let body = Body::Offer(Offer {
            caption: self.caption,
            ..offer
        });
        body.check().map_err(Failure::usage)?;
        let (node, client_id) = (context.node(), self.client_id.map(|id| id.0));
        let sent = match (to, client_id) {
            (OfferTo::Peer(target), None) => node.send(target, body).await?,
            (OfferTo::Peer(target), Some(id)) => node.send_once(id, target, body).await?,
            (OfferTo::Room(room), client_id) => {
                node.settled().await;
                match client_id {
                    Some(id) => node.broadcast_once(id, room, body).await?,
                    None => node.broadcast(room, body).await?,
                }
            }
        };
        context.let_next_go();
        let sent = Sent { left_out, ..sent };
        context.delivery(sent, self.options).await
    }
}

impl Handle for ListFiles {
    async fn carry_out(self, context: Context<'_>) -> Result<FileList, Failure> {
        let files = context.node().files().await?;
        Ok(FileList {
            files: files.into_iter().map(FileLine::from).collect(),
        })
    }
}

impl Handle for AcceptFile {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().accept(self.offer.0).await?;
        Ok(Done {})
    }
}

impl Handle for DeclineFile {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().decline(self.offer.0).await?;
        Ok(Done {})
    }
}

impl Handle for PauseFile {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().pause(self.offer.0).await?;
        Ok(Done {})
    }
}

impl Handle for ListPeers {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerList, Failure> {
        if self.settle {
            context.node().settled().await;
        }
        let peers = context.node().peers().await?;
        Ok(PeerList {
            peers: peers.into_iter().map(PeerLine::from).collect(),
        })
    }
}

impl Handle for HistoryFilter {
    async fn carry_out(self, context: Context<'_>) -> Result<MessageList, Failure> {
        let mut query = HistoryQuery::from(self);
        let limit = query.limit.unwrap_or(usize::MAX);
        let page = limit.min(HISTORY_PAGE_MAX);
        query.limit = Some(page);
        let messages = context.node().history(query).await?;
        Ok(MessageList {
            more: page < limit && messages.len() == page,
            messages: messages.into_iter().map(MessageLine::from).collect(),
        })
    }
}

impl Handle for JoinRoom {
    async fn carry_out(self, context: Context<'_>) -> Result<RoomInfo, Failure> {
        let node = context.node();
        let (room, secret) = (self.room.0, self.secret.map(|secret| secret.0));
        match (room, secret) {
            (RoomTarget::Ticket(ticket), None) => Ok(node.join_with_ticket(ticket).await?),
            (RoomTarget::Ticket(_), Some(_)) => {
                Err(Failure::usage("a room ticket needs no secret beside it"))
            }
            (RoomTarget::Name(room), secret) => match secret.as_deref().and_then(ticket_in) {
                None => Ok(node.join(room, secret).await?),
                Some(Ok(ticket)) if *ticket.name() == room => {
                    Ok(node.join_with_ticket(ticket).await?)
                }
                Some(Ok(ticket)) => Err(Failure::usage(format!(
                    "this ticket is for {}, not for {room}",
                    ticket.name()
                ))),
                Some(Err(error)) => Err(Failure::usage(error)),
            },
        }
    }
}

/// The ticket that a secret is, if it begins like one. A file with a secret may hold either.
fn ticket_in(secret: &[u8]) -> Option<Result<RoomTicket, RoomTicketError>> {
    let text = std::str::from_utf8(secret).ok()?.trim();
    text.starts_with(ROOM_TICKET_PREFIX).then(|| text.parse())
}

impl Handle for CreateRoom {
    async fn carry_out(self, context: Context<'_>) -> Result<SharedRoom, Failure> {
        let node = context.node();
        let room = node.create_room(self.room.0.clone()).await?;
        let ticket = Text(node.room_ticket(self.room.0).await?);
        Ok(SharedRoom { room, ticket })
    }
}

impl Handle for GetRoomTicket {
    async fn carry_out(self, context: Context<'_>) -> Result<SharedRoom, Failure> {
        let (node, name) = (context.node(), self.room.0);
        let ticket = Text(node.room_ticket(name.clone()).await?);
        let rooms = node.rooms().await?;
        let room = rooms.into_iter().find(|room| room.name == name);
        let room = room.ok_or(JoinError::NotInRoom(name))?;
        Ok(SharedRoom { room, ticket })
    }
}

impl Handle for Introduce {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let one = context.peer(self.target).await?;
        let other = context.peer(self.other).await?;
        context.node().introduce(one, other).await?;
        Ok(Done {})
    }
}

impl Handle for Invite {
    async fn carry_out(self, context: Context<'_>) -> Result<InvitationCode, Failure> {
        let room = self.room.map(|room| room.0);
        let invitation = context.node().invite(room, self.share_relay).await?;
        Ok(InvitationCode {
            number: Text(invitation.code.number),
            code: Text(invitation.code),
            seconds: invitation.seconds,
            relay_token: invitation.relay_token,
        })
    }
}

impl Handle for AwaitInvitation {
    async fn carry_out(self, context: Context<'_>) -> Result<InvitationEnded, Failure> {
        let end = tokio::select! {
            end = context.node().invitation_end(self.number.0) => end?,
            () = context.over.cancelled() => return Err(NodeError::Stopped.into()),
        };
        let (end, peer) = match end {
            InvitationEnd::Accepted(peer) => (InvitationState::Accepted, Some((*peer).into())),
            InvitationEnd::Wrong => (InvitationState::Wrong, None),
            InvitationEnd::Expired => (InvitationState::Expired, None),
        };
        Ok(InvitationEnded { end, peer })
    }
}

impl Handle for AcceptInvite {
    async fn carry_out(self, mut context: Context<'_>) -> Result<InvitationAccepted, Failure> {
        // Looking for the inviter takes seconds, and nothing else has to wait for it.
        context.let_next_go();
        let accepted = context.node().accept_invitation(self.code.0).await?;
        Ok(InvitationAccepted {
            peer: accepted.peer.into(),
            room: accepted.room,
            relay: accepted.relay.map(Text),
            needs_token: accepted.needs_token.map(Text),
        })
    }
}

impl Handle for PartRoom {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().part(self.room.0).await?;
        Ok(Done {})
    }
}

impl Handle for DeleteMessage {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let node = context.node();
        node.delete(self.message.0, self.here, self.yes).await?;
        Ok(Done {})
    }
}

impl Handle for ClearConversation {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let conversation = context.conversation(self.target, self.room).await?;
        context.node().clear(conversation, self.yes).await?;
        Ok(Done {})
    }
}

impl Handle for ForgetPeer {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let peer = context.peer(self.target).await?;
        match self.address {
            Some(addr) => context.node().forget_address(peer, addr).await?,
            None => context.node().forget(peer, self.yes).await?,
        }
        Ok(Done {})
    }
}

impl Handle for KeepConversation {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let keep = self.seconds.map(Duration::from_secs);
        let conversation = context.conversation(self.target, self.room).await?;
        context.node().keep(conversation, keep).await?;
        Ok(Done {})
    }
}

impl Handle for ListKeepTimes {
    async fn carry_out(self, context: Context<'_>) -> Result<KeepTimeList, Failure> {
        let times = context.node().keep_times().await?;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let line = |(conversation, time)| KeepTimeLine {
            conversation: Text(conversation),
            seconds: seconds(time),
        };
        Ok(KeepTimeList {
            default_seconds: seconds(times.default),
            times: times.own.into_iter().map(line).collect(),
        })
    }
}

impl Handle for SetTopic {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let node = context.node();
        node.settled().await;
        let sent = node.set_topic(self.room.0, self.topic).await?;
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for PinMessage {
    async fn carry_out(self, mut context: Context<'_>) -> Result<SentLine, Failure> {
        let sent = context.node().pin(self.message.0, !self.off).await?;
        context.let_next_go();
        context.delivery(sent, self.options).await
    }
}

impl Handle for ListPins {
    async fn carry_out(self, context: Context<'_>) -> Result<MessageList, Failure> {
        let messages = context.node().pins(self.conversation.0).await?;
        Ok(MessageList {
            messages: messages.into_iter().map(MessageLine::from).collect(),
            more: false,
        })
    }
}

impl Handle for SetNotify {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let conversation = context.conversation(self.target, self.room).await?;
        context.node().set_notify(conversation, self.rule).await?;
        Ok(Done {})
    }
}

impl Handle for ListNotifyRules {
    async fn carry_out(self, context: Context<'_>) -> Result<NotifyRuleList, Failure> {
        let rules = context.node().notify_rules().await?;
        let line = |(conversation, rule)| NotifyRuleLine {
            conversation: Text(conversation),
            rule,
        };
        Ok(NotifyRuleList {
            rules: rules.into_iter().map(line).collect(),
        })
    }
}

impl Handle for TakeSnapshot {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        absolute(&self.path)?;
        context.node().snapshot(self.path).await?;
        Ok(Done {})
    }
}

impl Handle for ExportFor {
    async fn carry_out(self, context: Context<'_>) -> Result<ExportedFile, Failure> {
        absolute(&self.path)?;
        let peer = context.peer(self.target).await?;
        let exported = context.node().export_for(peer, self.path).await?;
        Ok(ExportedFile {
            messages: exported.entries,
            bytes: exported.bytes,
        })
    }
}

impl Handle for ImportFile {
    async fn carry_out(self, context: Context<'_>) -> Result<ImportedFile, Failure> {
        absolute(&self.path)?;
        let imported = context.node().import(self.path).await?;
        Ok(ImportedFile {
            from: Text(imported.from),
            messages: imported.entries,
            delivered: imported.receipts,
            refused: imported.refused,
        })
    }
}

impl Handle for ReportBackup {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().report_backup(self.why).await?;
        Ok(Done {})
    }
}

impl Handle for ApplySettings {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let read = context.serving.settings.get().cloned();
        let read = read.ok_or_else(|| {
            Failure::usage("the program that runs this node has no settings to read again")
        })?;
        let config = tokio::task::spawn_blocking(move || read()).await;
        let config = config.map_err(Failure::fault)?.map_err(Failure::usage)?;
        match context.node().configure(config).await {
            Ok(()) => Ok(Done {}),
            Err(ConfigureError::Node(error)) => Err(error.into()),
            Err(error @ ConfigureError::TooMuch { .. }) => Err(Failure::usage(error)),
        }
    }
}

impl Handle for ListRooms {
    async fn carry_out(self, context: Context<'_>) -> Result<RoomList, Failure> {
        let rooms = context.node().rooms().await?;
        Ok(RoomList { rooms })
    }
}

impl Handle for SetNick {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.node().set_nick(self.nick).await?;
        Ok(Done {})
    }
}

impl Handle for SetPicture {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let picture = self.bytes.map(|bytes| bytes.0);
        context.node().set_picture(picture).await?;
        Ok(Done {})
    }
}

impl Handle for GetPicture {
    async fn carry_out(self, context: Context<'_>) -> Result<PictureFile, Failure> {
        let of = match self.target {
            Some(target) => context.peer(target).await?,
            None => context.node().id(),
        };
        let picture = context.node().picture(of).await?;
        let picture = picture.map(|picture| PictureFields {
            hash: Text(picture.hash),
            media: picture.kind.media_type().to_owned(),
            bytes: Base64(picture.bytes),
        });
        Ok(PictureFile { picture })
    }
}

impl Handle for AcceptContact {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context
            .change_policy(self.target, Node::accept_contact)
            .await
    }
}

impl Handle for RemoveContact {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context
            .change_policy(self.target, Node::remove_contact)
            .await
    }
}

impl Handle for Ignore {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context.change_policy(self.target, Node::ignore).await
    }
}

impl Handle for Unignore {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context.change_policy(self.target, Node::unignore).await
    }
}

impl Handle for Block {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context.change_policy(self.target, Node::block).await
    }
}

impl Handle for Unblock {
    async fn carry_out(self, context: Context<'_>) -> Result<PeerLine, Failure> {
        context.change_policy(self.target, Node::unblock).await
    }
}

impl Handle for Kick {
    async fn carry_out(self, context: Context<'_>) -> Result<Kicked, Failure> {
        Ok(Kicked {
            peer: context.change_policy(self.target, Node::kick).await?,
            for_s: KICKED_FOR.as_secs(),
        })
    }
}

impl Handle for Verify {
    async fn carry_out(self, context: Context<'_>) -> Result<Verification, Failure> {
        let peer = context.peer(self.target).await?;
        let node = context.node();
        let info = match self.confirm {
            Some(true) => node.verify(peer).await?,
            Some(false) => node.unverify(peer).await?,
            None => node.peer(peer).await?.ok_or(SendError::UnknownId(peer))?,
        };
        Ok(Verification {
            peer: info.into(),
            safety_number: node.safety_number(peer).await.join(" "),
        })
    }
}

fn lent_relay_finding(lent: &LentRelayLine) -> Finding {
    let finding = match &lent.at {
        Some(at) => RelayFinding::RelayForContacts {
            relay: at.0.to_string(),
            contacts: u64::try_from(lent.peers.len()).unwrap_or(u64::MAX),
            contacts_max: lent.peers_max,
            bytes: lent.bytes,
        },
        None => RelayFinding::RelayForContactsHidden {
            listens: lent.listens.to_string(),
        },
    };
    finding.into()
}

impl Handle for Diagnose {
    async fn carry_out(self, context: Context<'_>) -> Result<Diagnosis, Failure> {
        let mut findings = context.node().diagnose().await?;
        let lent = context.serving.lent_relay().await;
        findings.extend(lent.as_ref().map(lent_relay_finding));
        Ok(findings.into())
    }
}

impl Handle for Why {
    async fn carry_out(self, context: Context<'_>) -> Result<Diagnosis, Failure> {
        Ok(context.node().diagnose_target(self.target.0).await?.into())
    }
}

impl Handle for OpenApp {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.programs.register(&self.app.0)?;
        Ok(Done {})
    }
}

impl Handle for SendDatagram {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        let to = context.peer(self.target).await?;
        let (app, bytes) = (self.app.0, self.bytes.0);
        context.programs.send_datagram(&app, to, &bytes)?;
        Ok(Done {})
    }
}

impl Handle for OpenStream {
    async fn carry_out(self, context: Context<'_>) -> Result<OpenedStream, Failure> {
        let to = context.peer(self.target).await?;
        let stream = context.programs.open_stream(&self.app.0, to).await?;
        Ok(OpenedStream { stream })
    }
}

impl Handle for ReadStream {
    async fn carry_out(self, context: Context<'_>) -> Result<StreamBytes, Failure> {
        // A program that waits does not keep a node that is about to end.
        let ends = context.serving.ends.when_idle.cancelled();
        context.programs.read(self.stream, ends).await
    }
}

impl Handle for WriteStream {
    async fn carry_out(self, mut context: Context<'_>) -> Result<Done, Failure> {
        let programs = context.programs;
        let in_line = || context.let_next_go();
        programs.write(self.stream, &self.bytes.0, in_line).await?;
        Ok(Done {})
    }
}

impl Handle for EndStream {
    async fn carry_out(self, mut context: Context<'_>) -> Result<Done, Failure> {
        let programs = context.programs;
        let in_line = || context.let_next_go();
        programs.end(self.stream, in_line).await?;
        Ok(Done {})
    }
}

impl Handle for CloseStream {
    async fn carry_out(self, context: Context<'_>) -> Result<Done, Failure> {
        context.programs.close(self.stream)?;
        Ok(Done {})
    }
}

/// The connection starts the subscription itself.
impl Handle for Subscribe {
    async fn carry_out(self, _: Context<'_>) -> Result<Done, Failure> {
        Ok(Done {})
    }
}

impl Handle for Resolve {
    async fn carry_out(self, context: Context<'_>) -> Result<Resolved, Failure> {
        let peer = context.node().resolve(self.target.0).await?;
        Ok(Resolved { peer: Text(peer) })
    }
}

/// A body that may be sent.
fn checked(fields: BodyFields) -> Result<Body, Failure> {
    let body = Body::try_from(fields).map_err(Failure::usage)?;
    body.check().map_err(Failure::usage)?;
    Ok(body)
}

/// The node's working folder is not the one of the program that asks.
fn absolute(path: &Path) -> Result<(), Failure> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is not an absolute path: give one that begins with /",
        path.display()
    )))
}

/// The recipient of an offer.
enum OfferTo {
    Peer(Target),
    Room(RoomName),
}

impl OfferTo {
    fn of(target: Option<Text<Target>>, room: Option<Text<RoomName>>) -> Result<Self, Failure> {
        match (target, room) {
            (Some(target), None) => Ok(OfferTo::Peer(target.0)),
            (None, Some(room)) => Ok(OfferTo::Room(room.0)),
            (Some(_), Some(_)) | (None, None) => Err(Failure::usage(
                "an offer has either a target or a room: give one of them",
            )),
        }
    }
}
