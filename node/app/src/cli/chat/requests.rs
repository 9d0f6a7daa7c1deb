//! The requests of the line chat, one method for each command that needs more than one line.
//! Those about files are in `files`.

use std::collections::{BTreeMap, BTreeSet};

use hobnob::protocol::invitation::InviteCode;
use hobnob::protocol::{Body, Nickname, PersonId, RoomName, RoomTarget, Target};
use hobnob::{ConversationRef, RoomInfo};
use hobnob_control::Client;
use hobnob_control::wire::{
    AcceptInvite, Base64, BroadcastMessage, CreateRoom, Done, GetRoomTicket, HistoryFilter,
    Introduce, InvitationAccepted, InvitationCode, Invite, JoinRoom, KeepTimeList, Kick, Kicked,
    ListActivity, ListKeepTimes, ListNotifyRules, ListPeers, ListPins, ListRooms, MarkRead,
    MessageList, NotifyRuleList, PartRoom, PeerList, Resolve, Resolved, RoomList, SendMessage,
    SetNick, SharedRoom, Text, Verification, Verify, WaitOptions, Why,
};

use super::{Chat, Reply, diagnosed, spoken_room};
use crate::cli::views;
use crate::shared::alerting::{self, Notify};
use crate::shared::amending::{self, Amend, Which};
use crate::shared::erasing;
use crate::shared::output;
use crate::shared::receipts::{self, Readers};
use crate::shared::verification::{self, Syntax};
use crate::shared::wording::{self, NOTHING_FOUND, Names};
use crate::shared::{invitation, pins, policy, room_secrets, status};

/// Maximum number of messages that `/search` shows: the newest.
const FOUND_MAX: usize = 50;

/// Shown where a command needs a room, and messages go to a person.
const NO_ROOM: &str = "your messages go to a person: name a room, or /join one first";

/// Shown after the last room was left.
const IN_NO_ROOM: &str = "you are in no room now: /join ROOM enters one";

/// Where messages go after `/part`: still there, unless that was left. `stays` is false if the
/// user leaves a direct conversation.
fn next_conversation(
    current: ConversationRef,
    stays: bool,
    joined: Vec<RoomName>,
) -> Option<ConversationRef> {
    let stays = match &current {
        ConversationRef::Room(room) => joined.contains(room),
        ConversationRef::Direct(_) => stays,
    };
    let stays = stays.then_some(current);
    stays.or_else(|| spoken_room(joined).map(ConversationRef::Room))
}

impl Chat {
    pub(super) async fn say(&mut self, client: &Client, text: String) {
        self.mark_read(client).await;
        let room = match &self.current {
            ConversationRef::Room(room) => room.clone(),
            ConversationRef::Direct(peer) => {
                let target = Target::Id(*peer);
                return self.message(client, target, text).await;
            }
        };
        let request = BroadcastMessage {
            client_id: None,
            room: Text(room),
            body: Body::Text(text).into(),
            options: WaitOptions::ON_DISK,
        };
        self.begin(client, request, Reply::Sent).await;
    }

    pub(super) async fn message(&mut self, client: &Client, target: Target, text: String) {
        let request = SendMessage {
            client_id: None,
            target: Text(target),
            body: Body::Text(text).into(),
            options: WaitOptions::ON_DISK,
        };
        self.begin(client, request, Reply::Sent).await;
    }

    /// `/reply`, `/edit`, `/react` and `/cancel`.
    pub(super) async fn amend(&mut self, client: &Client, which: Which, amend: Amend) {
        let id = match amend.choose(which, self.recent.newest_first()) {
            Ok(id) => id,
            Err(error) => return output::say(error),
        };
        let options = WaitOptions::ON_DISK;
        // The event about an edit or a reaction follows.
        let quietly = |_| Reply::Lines(Vec::new());
        match amend {
            Amend::Reply(text) => {
                let request = amending::reply(id, text, options);
                self.begin(client, request, Reply::Sent).await;
            }
            Amend::Edit(text) => {
                let request = amending::edit(id, text, options);
                self.begin(client, request, quietly).await;
            }
            Amend::React { emoji, off } => {
                let request = amending::react(id, emoji, off, options);
                self.begin(client, request, quietly).await;
            }
            Amend::Pin { off } => {
                self.begin(client, pins::pin(id, off, options), quietly)
                    .await;
            }
            Amend::Cancel => {
                let done = |_| Reply::Lines(vec![amending::CANCELLED.to_owned()]);
                self.begin(client, amending::cancel(id), done).await;
            }
        }
    }

    pub(super) async fn peers(&mut self, client: &Client) {
        let rows = |list: PeerList| match wording::peers(&list.peers) {
            nobody if nobody.is_empty() => Reply::Lines(vec![wording::NOBODY_MET.to_owned()]),
            rows => Reply::Lines(rows),
        };
        self.begin(client, ListPeers { settle: false }, rows).await;
    }

    pub(super) async fn contacts(&mut self, client: &Client) {
        let rows = |list: PeerList| {
            let listed = wording::contacts_and_requests(&list.peers);
            match wording::contacts(&listed) {
                nobody if nobody.is_empty() => Reply::Lines(vec![wording::NO_CONTACTS.to_owned()]),
                rows => Reply::Lines(rows),
            }
        };
        self.begin(client, ListPeers { settle: false }, rows).await;
    }

    pub(super) fn newest(&mut self, client: &Client, limit: usize) {
        let filter = HistoryFilter {
            limit: Some(limit),
            ..HistoryFilter::default()
        };
        self.history(client, filter, None);
    }

    pub(super) fn search(&mut self, client: &Client, words: String) {
        let filter = HistoryFilter {
            conversation: Some(Text(self.current.clone())),
            search: Some(words),
            limit: Some(FOUND_MAX),
            ..HistoryFilter::default()
        };
        self.history(client, filter, Some(NOTHING_FOUND));
    }

    /// `/topic`: of the room to which messages go.
    pub(super) async fn topic(&mut self, client: &Client, topic: Option<String>) {
        let ConversationRef::Room(room) = self.current.clone() else {
            return output::say(pins::ONLY_ROOMS);
        };
        if let Some(topic) = topic {
            let request = pins::set_topic(room, topic, WaitOptions::ON_DISK);
            let done = |_| Reply::Lines(vec![pins::TOPIC_SET.to_owned()]);
            return self.begin(client, request, done).await;
        }
        let names = self.names.clone();
        let line = move |list: RoomList| {
            let found = list.rooms.iter().find(|it| it.name == room);
            Reply::Lines(
                found
                    .map(|room| pins::topic(room, &names))
                    .into_iter()
                    .collect(),
            )
        };
        self.begin(client, ListRooms {}, line).await;
    }

    pub(super) async fn pins(&mut self, client: &Client) {
        let conversation = Text(self.current.clone());
        let names = self.names.clone();
        let lines =
            move |list: MessageList| Reply::Lines(pins::pins(&list, &names, pins::PIN_IN_CHAT));
        self.begin(client, ListPins { conversation }, lines).await;
    }

    pub(super) fn mentions(&mut self, client: &Client) {
        self.history(client, alerting::mentions(), Some(alerting::NO_MENTIONS));
    }

    /// `/notify` and `/mute`. Without a conversation: the one to which messages go.
    pub(super) async fn notify(&mut self, client: &Client, notify: Notify) {
        match notify {
            Notify::List => {
                let names = self.names.clone();
                let lines = move |list: NotifyRuleList| {
                    Reply::Lines(alerting::rules(&list, &names, "/notify"))
                };
                self.begin(client, ListNotifyRules {}, lines).await;
            }
            Notify::Set(of, rule) => {
                let of = of.unwrap_or_else(|| self.current.clone().into());
                let done = move |_: Done| Reply::Lines(vec![rule.done().to_owned()]);
                self.begin(client, rule.request(of), done).await;
            }
        }
    }

    /// `/keep` without a conversation.
    pub(super) async fn keep_times(&mut self, client: &Client) {
        let names = self.names.clone();
        let lines = move |list: KeepTimeList| Reply::Lines(erasing::keep_times(&list, &names));
        self.begin(client, ListKeepTimes {}, lines).await;
    }

    pub(super) async fn kick(&mut self, client: &Client, target: Target) {
        let request = Kick {
            target: Text(target),
        };
        let done = |kicked: Kicked| Reply::Lines(vec![policy::kicked(&kicked)]);
        self.begin(client, request, done).await;
    }

    pub(super) async fn nick(&mut self, client: &Client, nick: Nickname) {
        let text = policy::renamed(&nick);
        let done = |_: Done| Reply::Lines(vec![text]);
        self.begin(client, SetNick { nick }, done).await;
    }

    pub(super) async fn join(
        &mut self,
        client: &Client,
        room: RoomTarget,
        passphrase: Option<String>,
    ) {
        let request = JoinRoom {
            room: Text(room),
            secret: passphrase.map(|passphrase| Base64(passphrase.into_bytes())),
        };
        let joined = |room: RoomInfo| {
            let lines = if room.open {
                Vec::new()
            } else {
                room_secrets::joined(&room)
            };
            Reply::Speak(ConversationRef::Room(room.name), lines)
        };
        self.begin(client, request, joined).await;
    }

    pub(super) async fn create_room(&mut self, client: &Client, room: RoomName) {
        let request = CreateRoom { room: Text(room) };
        let created = |shared: SharedRoom| {
            let lines = room_secrets::shared(&shared);
            Reply::Speak(ConversationRef::Room(shared.room.name), lines)
        };
        self.begin(client, request, created).await;
    }

    /// Without a name: of the room that messages go to.
    pub(super) async fn room_ticket(&mut self, client: &Client, room: Option<RoomName>) {
        let Some(room) = self.or_current_room(room) else {
            return output::say(NO_ROOM);
        };
        let room = Text(room);
        let lines = |shared: SharedRoom| Reply::Lines(room_secrets::shared(&shared));
        self.begin(client, GetRoomTicket { room }, lines).await;
    }

    pub(super) async fn introduce(&mut self, client: &Client, one: Target, other: Target) {
        let (target, other) = (Text(one), Text(other));
        let done = |Done {}| Reply::Lines(vec![invitation::INTRODUCED.to_owned()]);
        self.begin(client, Introduce { target, other }, done).await;
    }

    /// How the invitation ends is a notice.
    pub(super) async fn invite(&mut self, client: &Client, room: Option<RoomName>) {
        let room = room.map(Text);
        let lines = |created: InvitationCode| Reply::Lines(invitation::created(&created));
        let request = Invite {
            room,
            share_relay: false,
        };
        self.begin(client, request, lines).await;
    }

    pub(super) async fn accept_invite(&mut self, client: &Client, code: InviteCode) {
        self.replies
            .spawn(async { Reply::Lines(vec![invitation::LOOKING.to_owned()]) });
        let lines = |accepted: InvitationAccepted| Reply::Lines(invitation::accepted(&accepted));
        let code = Text(code);
        self.begin(client, AcceptInvite { code }, lines).await;
    }

    pub(super) async fn verify(&mut self, client: &Client, target: Target, confirm: Option<bool>) {
        let request = Verify {
            target: Text(target),
            confirm,
        };
        let words = move |answer: Verification| {
            Reply::Lines(verification::lines(&answer, confirm, &Syntax::CHAT))
        };
        self.begin(client, request, words).await;
    }

    pub(super) async fn why(&mut self, client: &Client, target: Target) {
        self.replies
            .spawn(async { Reply::Lines(vec![status::LOOKING.to_owned()]) });
        let request = Why {
            target: Text(target),
        };
        self.begin(client, request, diagnosed).await;
    }

    pub(super) async fn part(&mut self, client: &Client, room: Option<RoomName>) {
        let current = self.current.clone();
        // Without a name, it leaves a direct conversation, too.
        let parted = match self.or_current_room(room) {
            Some(room) => Some(client.begin(PartRoom { room: Text(room) }).await),
            None => None,
        };
        let stays = parted.is_some();
        let client = client.clone();
        self.replies.spawn(async move {
            let next = async {
                if let Some(parted) = parted {
                    let Done {} = parted?.await?;
                }
                client.ask(ListRooms {}).await
            };
            let joined = match next.await {
                Ok(RoomList { rooms }) => rooms.into_iter().map(|room| room.name),
                Err(error) => return Reply::Error(error.to_string()),
            };
            let next = next_conversation(current.clone(), stays, joined.collect());
            match (next, current) {
                (Some(next), _) => Reply::Speak(next, Vec::new()),
                // There is nothing else.
                (None, direct @ ConversationRef::Direct(_)) => Reply::Speak(direct, Vec::new()),
                (None, ConversationRef::Room(_)) => Reply::Lines(vec![IN_NO_ROOM.to_owned()]),
            }
        });
    }

    /// `/query`: messages go to this peer from now on.
    pub(super) async fn query(&mut self, client: &Client, target: Target) {
        let target = Text(target);
        let speak = |Resolved { peer }| Reply::Speak(ConversationRef::Direct(peer.0), Vec::new());
        self.begin(client, Resolve { target }, speak).await;
    }

    /// The named room, or the one to which messages go, if they go to a room.
    fn or_current_room(&self, named: Option<RoomName>) -> Option<RoomName> {
        named.or_else(|| match &self.current {
            ConversationRef::Room(room) => Some(room.clone()),
            ConversationRef::Direct(_) => None,
        })
    }

    /// `none` is printed if there is no such message.
    fn history(&mut self, client: &Client, filter: HistoryFilter, none: Option<&'static str>) {
        let client = client.clone();
        self.replies.spawn(async move {
            match tokio::try_join!(client.history(filter), Names::ask(&client)) {
                Ok((messages, _)) if messages.is_empty() => {
                    Reply::Lines(none.into_iter().map(str::to_owned).collect())
                }
                Ok((messages, names)) => Reply::Lines(
                    messages
                        .iter()
                        .map(|m| wording::message(m, &names))
                        .collect(),
                ),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    /// `/receipts`: of the conversation to which messages go.
    pub(super) fn receipts(&mut self, client: &Client) {
        let client = client.clone();
        let filter = receipts::receipts_among(self.current.clone());
        self.replies.spawn(async move {
            let activity = client.ask(ListActivity {});
            let asked = tokio::try_join!(client.history(filter), activity, Names::ask(&client));
            let (messages, list, names) = match asked {
                Ok(answers) => answers,
                Err(error) => return Reply::Error(error.to_string()),
            };
            let readers: Readers = list.activity.into_iter().collect();
            let receipts = receipts::receipts(messages, &readers);
            let mut lines: Vec<_> = receipts
                .iter()
                .map(|(message, readers)| receipts::receipt(message, readers, &names))
                .collect();
            if lines.is_empty() {
                lines.push(receipts::NO_RECEIPTS.to_owned());
            }
            Reply::Lines(lines)
        });
    }

    /// A user who writes has read what is above: the authors learn it.
    async fn mark_read(&mut self, client: &Client) {
        let mut authors = BTreeSet::new();
        let recent = self.recent.newest_first();
        let in_room = recent.filter(|(_, own, line)| !own && line.conversation.0 == self.current);
        let newest = in_room.filter(|(.., line)| authors.insert(line.from.0));
        let newest: Vec<_> = newest.map(|(id, ..)| Text(id)).collect();
        for message in newest {
            let quietly = |_| Reply::Lines(Vec::new());
            self.begin(client, MarkRead { message }, quietly).await;
        }
    }

    pub(super) fn whois(&mut self, client: &Client, target: Target) {
        let client = client.clone();
        self.replies.spawn(async move {
            match views::find_peer(&client, target).await {
                Ok(Some(peer)) => Reply::Lines(wording::about_peer(&peer)),
                Ok(None) => Reply::Error(wording::NEVER_MET.to_owned()),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    pub(super) async fn names(&mut self, client: &Client) {
        let Some(room) = self.or_current_room(None) else {
            return output::say(NO_ROOM);
        };
        let names: BTreeMap<PersonId, String> = self
            .here
            .keys()
            .map(|peer| (*peer, self.names.of(peer)))
            .collect();
        let line = move |list: RoomList| {
            let here = list
                .rooms
                .iter()
                .filter(|line| line.name == room)
                .flat_map(|line| &line.here);
            let here: Vec<String> = here
                .map(|peer| names.get(peer).cloned().unwrap_or_else(|| peer.short()))
                .collect();
            let who = if here.is_empty() {
                "nobody else".to_owned()
            } else {
                here.join(", ")
            };
            Reply::Lines(vec![format!("in {room}: {who}")])
        };
        self.begin(client, ListRooms {}, line).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_part_messages_go_only_where_the_user_is() {
        let room = |name: &str| ConversationRef::Room(name.parse().expect("a room's name"));
        let names = |names: &[&str]| -> Vec<RoomName> {
            let all = names
                .iter()
                .map(|name| name.parse().expect("a room's name"));
            all.collect()
        };
        let bob = ConversationRef::Direct(PersonId::from_bytes([1; 32]));
        let next = |current: &ConversationRef, stays, joined: &[&str]| {
            next_conversation(current.clone(), stays, names(joined))
        };
        // Another room was left.
        let dev = room("dev");
        assert_eq!(next(&dev, true, &["dev", "lobby"]), Some(dev.clone()));
        assert_eq!(next(&bob, true, &[]), Some(bob.clone()));
        // This one was left.
        assert_eq!(next(&dev, true, &["lobby", "ops"]), Some(room("lobby")));
        assert_eq!(next(&room("lobby"), true, &["ops"]), Some(room("ops")));
        assert_eq!(next(&room("lobby"), true, &[]), None);
        assert_eq!(next(&bob, false, &["ops"]), Some(room("ops")));
    }
}
