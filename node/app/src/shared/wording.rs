//! Events, messages, peers, rooms and files as text for people. All text from peers is made safe to
//! print here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hobnob::protocol::introduction::INTRODUCTION_KIND;
use hobnob::protocol::text::visible;
use hobnob::protocol::{Nickname, PersonId};
use hobnob::{Carrier, ConversationRef, FileState, PeerState, Picture, RoomInfo};
use hobnob_control::wire::{
    BodyFields, ErasedWhy, FileLine, GetStatus, LentRelayLine, ListPeers, MessageLine, OfferFields,
    PeerLine, PolicyFields, RelayLine, StatusLine, WaitReason, WireEvent,
};
use hobnob_control::{Client, ClientError};
use unicode_segmentation::UnicodeSegmentation;

use super::activity;
use super::notices;
use super::pin_words;
use super::quotes;
use super::values::local_minute;
pub(crate) use hobnob_local::output::{columns, count, count_u64, join, size};

/// The names of peers, and which one is this node's user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    of: BTreeMap<PersonId, String>,
    me: Option<PersonId>,
}

impl Names {
    /// Asks the node.
    pub(crate) async fn ask(client: &Client) -> Result<Names, ClientError> {
        let peers = client.ask(ListPeers { settle: false });
        let (list, status) = tokio::try_join!(peers, client.ask(GetStatus {}))?;
        let mut names = Names::default();
        names.learn_me(status.peer.0);
        list.peers.iter().for_each(|peer| names.learn(peer));
        Ok(names)
    }

    pub(crate) fn learn(&mut self, peer: &PeerLine) {
        let name = visible(&peer.name).into_owned();
        self.of.insert(peer.peer.0, name);
    }

    pub(crate) fn learn_me(&mut self, me: PersonId) {
        self.me = Some(me);
    }

    /// The name, or the short id of a peer that is not known.
    pub(crate) fn of(&self, peer: &PersonId) -> String {
        self.of.get(peer).cloned().unwrap_or_else(|| peer.short())
    }

    /// As [`Names::of`], and `you` for this node's user.
    pub(crate) fn or_you(&self, peer: &PersonId) -> String {
        if self.me == Some(*peer) {
            "you".to_owned()
        } else {
            self.of(peer)
        }
    }

    /// `@name` or `#room`.
    pub(crate) fn of_conversation(&self, conversation: &ConversationRef) -> String {
        match conversation {
            ConversationRef::Direct(peer) => format!("@{}", self.of(peer)),
            ConversationRef::Room(room) => room.to_string(),
        }
    }
}

/// `ann is now anna`
pub(crate) fn renamed(before: &Nickname, now: &Nickname) -> String {
    let name = |nick: &Nickname| visible(nick.as_str()).into_owned();
    format!("{} is now {}", name(before), name(now))
}

/// `AL` for `Ann Lee`: one or two letters that stand for a person without a picture.
pub(crate) fn initials(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let mut letters = words.filter_map(|word| word.graphemes(true).next());
    let first = letters.next();
    let last = letters.next_back();
    let initials: String = first.into_iter().chain(last).collect();
    if initials.is_empty() {
        "?".to_owned()
    } else {
        initials.to_uppercase()
    }
}

/// `2026-11-20 14:03 #lobby <ann> text [delivered]`
pub(crate) fn message(message: &MessageLine, names: &Names) -> String {
    format!(
        "{} {}",
        local_minute(message.received_at),
        said(message, names)
    )
}

/// `#lobby <ann> text [delivered]`
pub(crate) fn said(message: &MessageLine, names: &Names) -> String {
    let state = match (message.state, message.reason) {
        // What is deleted has no way to go. Who has erased it is part of its text.
        (Some(_), _) if message.body.erased.is_some() => String::new(),
        (Some(_), Some(WaitReason::Consent)) => format!(" [{SENT_AND_WAITING}]"),
        (Some(state), reason) => match reason.and_then(mailbox_reason) {
            Some(why) => format!(" [{}: {why}]", state.as_str()),
            None => format!(" [{}]", state.as_str()),
        },
        (None, _) if message.request => " [from a stranger]".to_owned(),
        (None, _) => String::new(),
    };
    let (before, after) = quotes::around(&message.amended);
    format!(
        "{} <{}> {before}{}{state}{after}",
        names.of_conversation(&message.conversation.0),
        visible(&message.nick),
        content(message),
    )
}

/// What keeps this node from its relays, if it has some and can use none of them.
pub(crate) fn relay_fault(status: &StatusLine) -> Option<String> {
    let (relay, why) = status.relay_fault()?;
    Some(format!("this node can't use its relay {relay}: {why}"))
}

/// Why a holder does not take a message, if that is the reason for its state.
pub(crate) fn mailbox_reason(reason: WaitReason) -> Option<&'static str> {
    match reason {
        WaitReason::MailboxFull => Some("the mailbox is full"),
        WaitReason::MailboxRefuses => Some("the mailbox refuses it"),
        WaitReason::MailboxFails => Some("the mailbox can't store it now"),
        WaitReason::Consent
        | WaitReason::NoRelay
        | WaitReason::Blocked
        | WaitReason::Kicked
        | WaitReason::NameTaken
        | WaitReason::Unknown => None,
    }
}

/// What the peer with this name has done, if it refuses sessions with this node.
pub(crate) fn refusal(name: &str, reason: WaitReason) -> Option<String> {
    match reason {
        WaitReason::Blocked => Some(format!("{name} has blocked this node")),
        WaitReason::Kicked => Some(format!("{name} has disconnected this node for a while")),
        WaitReason::NameTaken => Some(format!(
            "{name} has verified another peer with this node's nickname"
        )),
        WaitReason::Consent
        | WaitReason::MailboxFull
        | WaitReason::MailboxRefuses
        | WaitReason::MailboxFails
        | WaitReason::NoRelay
        | WaitReason::Unknown => None,
    }
}

/// The body of a message on one line. Of a message of this node that is deleted, the number of
/// peers that have erased it.
pub(crate) fn content(message: &MessageLine) -> String {
    match message.amended.confirmed {
        Some(peers) if message.body.erased.is_some() => {
            format!("[deleted, confirmed by {}]", count(peers, "peer"))
        }
        Some(_) | None => body(&message.body),
    }
}

/// A body on one line.
pub(crate) fn body(body: &BodyFields) -> String {
    if let Some(offered) = &body.file {
        return offer(offered);
    }
    if let Some(why) = body.erased {
        return match why {
            ErasedWhy::Deleted => "[deleted]".to_owned(),
            ErasedWhy::Missing => "[not received yet]".to_owned(),
        };
    }
    if let Some(words) = pin_words::words(body) {
        return words;
    }
    let bytes = body.bytes.as_ref().map_or(0, |bytes| bytes.0.len());
    match (&body.text, &body.kind) {
        (Some(text), _) => visible(text).into_owned(),
        (None, Some(kind)) if kind == INTRODUCTION_KIND => "[about an introduction]".to_owned(),
        (None, Some(kind)) => format!(
            "[a message for {}, {}]",
            visible(kind),
            count(bytes, "byte")
        ),
        (None, None) => format!(
            "[a message that needs a newer hobnob, {}]",
            count(bytes, "byte")
        ),
    }
}

/// An event as a line of a log, or none if people need not see it.
pub(crate) fn event(event: &WireEvent, names: &Names) -> Option<String> {
    let text = match event {
        WireEvent::Listening(listening) => format!("listening on {}", join(&listening.addrs)),
        WireEvent::Peer(line) => peer(line),
        WireEvent::Message(line) => return Some(message(line, names)),
        WireEvent::Receipt(receipt) => {
            format!(
                "message {} {} to {}",
                receipt.id.0,
                receipt.state.as_str(),
                names.of(&receipt.peer.0)
            )
        }
        WireEvent::Amended(line) => quotes::changed(line, None),
        WireEvent::Activity(line) => return activity::words(line),
        WireEvent::Notice(notice) => notices::words(notice),
        WireEvent::File(line) => return file(line, names),
        WireEvent::Lagged { missed } => {
            format!(
                "output fell behind: skipped {}, no messages lost",
                count_u64(*missed, "event")
            )
        }
        WireEvent::Erased(_)
        | WireEvent::Sent(_)
        | WireEvent::Room(_)
        | WireEvent::Status(_)
        | WireEvent::Datagram(_)
        | WireEvent::Stream(_)
        | WireEvent::Goodbye
        | WireEvent::Unknown => return None,
    };
    Some(text)
}

/// `[offers a.png, 1.2 MB]`
fn offer(offer: &OfferFields) -> String {
    let files = offer
        .files
        .map(|files| format!(", {}", count_u64(files, "file")))
        .unwrap_or_default();
    let caption = match offer.caption.as_str() {
        "" => String::new(),
        caption => format!(" {}", visible(caption)),
    };
    format!(
        "[offers {}, {}{files}]{caption}",
        visible(&offer.name),
        size(offer.size)
    )
}

/// `1920×1080, 2.1 MB`: the size of a file, with its pixels if it is a picture on this disk.
pub(crate) fn file_size(file: &FileLine) -> String {
    let pixels = file
        .picture
        .as_ref()
        .map(|picture| format!("{}, ", pixels(picture)));
    format!("{}{}", pixels.unwrap_or_default(), size(file.offer.size))
}

/// `1920×1080`
pub(crate) fn pixels(picture: &Picture) -> String {
    format!("{}×{}", picture.width, picture.height)
}

/// Whether the user has withdrawn the offer. A peer that declined it would be named.
pub(crate) fn is_withdrawn(file: &FileLine) -> bool {
    file.own && file.state == FileState::Declined && file.peers.is_empty()
}

/// An offered file as a line of a log: changes of its state, but not its progress.
fn file(line: &FileLine, names: &Names) -> Option<String> {
    let (name, id) = (visible(&line.offer.name), line.id.0);
    let peer = line
        .peers
        .first()
        .map(|peer| names.of(&peer.0))
        .unwrap_or_default();
    let why = line.why.as_deref().map(visible).unwrap_or_default();
    let saved = line
        .saved
        .as_ref()
        .map(|saved| visible(&saved.display().to_string()).into_owned())
        .unwrap_or_default();
    Some(match (line.state, line.own) {
        (FileState::Offered, false) => {
            let from = visible(&line.nick);
            format!(
                "{from} offers {name} ({}): hobnob accept {id}, or hobnob decline {id}",
                file_size(line)
            )
        }
        (FileState::Done, true) => format!("{peer} has {name}"),
        (FileState::Done, false) => match &line.picture {
            Some(picture) => format!("{name} ({}) is here: {saved}", pixels(picture)),
            None => format!("{name} is here: {saved}"),
        },
        (FileState::Offered, true) => format!("you offer {name} ({})", file_size(line)),
        (FileState::Declined, true) if is_withdrawn(line) => format!("{name} is withdrawn"),
        (FileState::Declined, true) => format!("{peer} declined {name}"),
        (FileState::Declined, false) => format!("{name} is declined"),
        (FileState::Paused, _) => format!("{name} is paused"),
        (FileState::Failed, _) => format!("{name} failed: {why}"),
        (FileState::Waiting, false) if !why.is_empty() => format!("{name} waits: {why}"),
        (FileState::Waiting | FileState::Moving, _) => return None,
    })
}

/// Offers in columns: id, name, size, state, author, conversation, and path or reason.
pub(crate) fn files(files: &[FileLine], names: &Names) -> Vec<String> {
    let row = |line: &FileLine| {
        let whose = if line.own {
            "you".to_owned()
        } else {
            visible(&line.nick).into_owned()
        };
        let percent = line
            .bytes
            .saturating_mul(100)
            .checked_div(line.offer.size)
            .unwrap_or(100);
        let state = match line.state {
            FileState::Moving | FileState::Waiting => {
                format!("{} {percent} %", line.state.as_str())
            }
            FileState::Declined if is_withdrawn(line) => "withdrawn".to_owned(),
            FileState::Offered
            | FileState::Paused
            | FileState::Done
            | FileState::Declined
            | FileState::Failed => line.state.as_str().to_owned(),
        };
        let place = line
            .saved
            .as_ref()
            .map(|saved| visible(&saved.display().to_string()).into_owned());
        let why = line.why.as_deref().map(|why| visible(why).into_owned());
        let rest = [place, why]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        let conversation = names.of_conversation(&line.conversation.0);
        [
            line.id.0.to_string(),
            visible(&line.offer.name).into_owned(),
            file_size(line),
            state,
            whose,
            conversation,
            rest,
        ]
    };
    columns(&files.iter().map(row).collect::<Vec<_>>())
}

/// `bob is here (lan, 10.0.0.2:4626, 1.2 ms)`
pub(crate) fn peer(peer: &PeerLine) -> String {
    let name = visible(&peer.name);
    match peer.state {
        PeerState::Online => {
            let path = peer.path.map(|path| path.as_str().to_owned());
            // A link-local address means nothing to people.
            let link_local = |addr: &SocketAddr| matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
            let addr = peer
                .addr
                .filter(|addr| !link_local(addr))
                .map(|addr| addr.to_string());
            let rtt = peer.rtt_ms.map(rtt);
            let how: Vec<String> = [path, addr, rtt].into_iter().flatten().collect();
            if how.is_empty() {
                format!("{name} is here")
            } else {
                format!("{name} is here ({})", how.join(", "))
            }
        }
        PeerState::Suspect => format!("{name} does not answer"),
        PeerState::Offline if peer.lost => format!("{name} does not answer any more"),
        PeerState::Offline => format!("{name} has left"),
    }
}

/// Both chats print this when the node that they use stops.
pub(crate) const NODE_ENDED: &str =
    "the node that this chat used has ended; connecting to another one";

/// The state of a message that its peer does not take until its user accepts this node.
pub(crate) const SENT_AND_WAITING: &str = "sent: waiting to be accepted";

/// Shown once for a peer that does not take messages until its user accepts this node.
pub(crate) fn awaits_consent(peer: &PeerLine) -> String {
    let name = visible(&peer.name);
    format!(
        "{name} has not accepted you yet: your further messages wait, and arrive when {name} does"
    )
}

/// Shown once for a stranger, with its first message: what the user can do.
pub(crate) fn new_stranger(message: &MessageLine) -> String {
    let (name, id) = (visible(&message.nick), message.from.0.short());
    format!("{name} is new to you: answer to accept, or /befriend {id}, /ignore {id}, /block {id}")
}

/// Shown instead of an empty list of contacts.
pub(crate) const NO_CONTACTS: &str = "you have no contacts yet: write to somebody to make one";

/// The contacts, and the strangers who wrote to this node.
pub(crate) fn contacts_and_requests(peers: &[PeerLine]) -> Vec<&PeerLine> {
    let is_listed = |peer: &&PeerLine| peer.policy.contact || peer.request > 0;
    peers.iter().filter(is_listed).collect()
}

/// One contact or stranger a row, in columns.
pub(crate) fn contacts(peers: &[&PeerLine]) -> Vec<String> {
    let row = |peer: &&PeerLine| {
        let kind = if peer.policy.contact {
            policy(&peer.policy)
        } else {
            let messages = count_u64(peer.request, "message");
            let rest = policy(&peer.policy);
            let rest = if rest.is_empty() {
                rest
            } else {
                format!(", {rest}")
            };
            format!("not accepted, {messages}{rest}")
        };
        [
            visible(&peer.name).into_owned(),
            peer.state.as_str().into(),
            peer.peer.0.to_string(),
            kind,
        ]
    };
    columns(&peers.iter().map(row).collect::<Vec<_>>())
}

/// Shown if a search finds no message.
pub(crate) const NOTHING_FOUND: &str = "no message has these words";

/// Shown instead of an empty list of peers.
pub(crate) const NOBODY_MET: &str = "you have met nobody yet";

/// Shown when a peer is asked for that this node has never met.
pub(crate) const NEVER_MET: &str = "you have never met this peer";

/// The lines of `whois` about a peer.
pub(crate) fn about_peer(known: &PeerLine) -> Vec<String> {
    let nick = known.nick.as_ref().map_or_else(
        || "no name of its own".to_owned(),
        |nick| format!("calls itself {}", visible(nick.as_str())),
    );
    let mut lines = vec![
        peer(known),
        format!("{}: id {}, {nick}", visible(&known.name), known.peer.0),
    ];
    if let Some(before) = &known.formerly {
        lines.push(format!(
            "{}: formerly {}",
            visible(&known.name),
            visible(before)
        ));
    }
    let status = activity::status_words(known.away, &known.status);
    lines.extend(status.map(|words| format!("{}: {words}", visible(&known.name))));
    lines
}

/// One peer a row, in columns.
pub(crate) fn peers(peers: &[PeerLine]) -> Vec<String> {
    let rows: Vec<[String; 7]> = peers
        .iter()
        .map(|peer| {
            let or_dash = |word: Option<String>| word.unwrap_or_else(|| "-".into());
            [
                visible(&peer.name).into_owned(),
                peer.state.as_str().into(),
                or_dash(peer.path.map(|path| path.as_str().into())),
                or_dash(peer.addr.map(|addr| addr.to_string())),
                or_dash(peer.rtt_ms.map(rtt)),
                peer.peer.0.to_string(),
                marks(peer),
            ]
        })
        .collect();
    columns(&rows)
}

/// `verified, ignored, formerly rob, away: lunch`
fn marks(peer: &PeerLine) -> String {
    let status = activity::status_words(peer.away, &peer.status);
    let formerly = peer.formerly.as_deref();
    let formerly = formerly.map(|before| format!("formerly {}", visible(before)));
    let marks = [policy(&peer.policy)]
        .into_iter()
        .chain(formerly)
        .chain(status);
    let marks: Vec<_> = marks.filter(|mark| !mark.is_empty()).collect();
    marks.join(", ")
}

/// `verified by code, ignored`
fn policy(policy: &PolicyFields) -> String {
    let words = [
        (policy.contact, "contact"),
        (policy.verified && !policy.by_code, "verified"),
        (policy.by_code, "verified by code"),
        (policy.ignored, "ignored"),
        (policy.blocked, "blocked"),
    ];
    words
        .into_iter()
        .filter(|(so, _)| *so)
        .map(|(_, word)| word)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `#ops  secret  2 here`
pub(crate) fn room(room: &RoomInfo) -> String {
    let kind = if room.open { "open" } else { "with a secret" };
    let topic = room.topic.as_ref();
    let topic = topic.map_or_else(String::new, |topic| format!(": {}", visible(&topic.text)));
    format!(
        "{} ({kind}, {} here){topic}",
        room.name,
        count(room.here.len(), "other")
    )
}

/// `relay.example:4627 (up)`
pub(crate) fn relay(relay: &RelayLine) -> String {
    match (&relay.observed, &relay.why) {
        (Some(observed), _) if relay.carrier == Some(Carrier::Tcp) => format!(
            "{} (over TCP, because UDP is blocked; sees this node at {})",
            relay.at.0,
            observed.ip()
        ),
        (Some(_), _) if relay.borrowed => format!("{} (of a contact)", relay.at.0),
        (Some(observed), _) => format!("{} (sees this node at {observed})", relay.at.0),
        (None, Some(why)) => format!("{} (down: {})", relay.at.0, visible(why)),
        (None, None) => format!("{} (connecting)", relay.at.0),
    }
}

/// `at bob.example:4627: 3 of at most 64 contacts, 12.3 MB forwarded`
pub(crate) fn lent_relay(lent: &LentRelayLine) -> String {
    let at = match &lent.at {
        Some(at) => at.0.to_string(),
        None => format!("{}, which contacts do not know", lent.listens),
    };
    format!(
        "at {at}: {} of at most {} contacts, {} forwarded",
        lent.peers.len(),
        lent.peers_max,
        size(lent.bytes)
    )
}

/// A sentence about a relay that is down or is reached over TCP, or none for any other.
pub(crate) fn relay_remark(relay: &RelayLine) -> Option<String> {
    if relay.carrier == Some(Carrier::Tcp) {
        return Some(format!(
            "The relay at {} is reached over TCP, because UDP is blocked.",
            relay.at.0
        ));
    }
    let why = relay.why.as_ref().filter(|_| relay.observed.is_none())?;
    Some(format!(
        "The relay at {} is not usable now: {}",
        relay.at.0,
        visible(why)
    ))
}

/// The sentence about who can see this node and read its messages.
pub(crate) fn who_can_see(status: &StatusLine) -> String {
    let open: Vec<String> = status
        .rooms
        .iter()
        .filter(|room| room.open)
        .map(|room| room.name.to_string())
        .collect();
    // A relay of a contact lists nobody.
    let relays = if status.relays.iter().all(|relay| relay.borrowed) {
        ""
    } else {
        ", the people of your relays' open rooms"
    };
    let met = format!(
        "Everyone this node meets (people on your local network{relays}, and whoever has your ticket and can reach this machine) \
         can see you"
    );
    if open.is_empty() {
        return format!("{met}; you are in no open room.");
    }
    format!(
        "{met}, and reads what you say in {} while they are there.",
        open.join(", ")
    )
}

/// `ann, bob and 3 others`.
pub(crate) fn some_of(names: &[String]) -> Option<String> {
    const NAMED: usize = 3;
    match names {
        [] => None,
        few if few.len() <= NAMED => Some(few.join(", ")),
        many => Some(format!(
            "{} and {}",
            many[..NAMED].join(", "),
            count(many.len() - NAMED, "other")
        )),
    }
}

pub(crate) fn rtt(ms: f64) -> String {
    format!("{ms:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;
    use hobnob::DeliveryState;
    use hobnob::protocol::Body;
    use hobnob_control::wire::{PolicyFields, Text};

    fn said(body: Body) -> MessageLine {
        MessageLine {
            nick: "ann\u{1b}[2J".into(),
            body: body.into(),
            state: Some(DeliveryState::Sent),
            ..test_messages::message(1, "")
        }
    }

    #[test]
    fn nothing_that_a_peer_sent_reaches_the_screen_raw() {
        let texts = [
            (Body::Text("two\nlines\u{202e}".into()), "two␊lines⟨U+202E⟩"),
            (
                Body::App {
                    kind: "a\u{7}".into(),
                    bytes: vec![1],
                },
                "[a message for a␇, 1 byte]",
            ),
            (
                Body::App {
                    kind: INTRODUCTION_KIND.into(),
                    bytes: vec![1],
                },
                "[about an introduction]",
            ),
            (
                Body::Unknown {
                    kind: 7,
                    bytes: vec![],
                },
                "[a message that needs a newer hobnob, 0 bytes]",
            ),
        ];
        for (body, shown) in texts {
            let line = message(&said(body), &Names::default());
            assert!(
                line.ends_with(&format!(" #lobby <ann␛[2J> {shown} [sent]")),
                "{line}"
            );
        }
    }

    #[test]
    fn a_person_has_one_or_two_initials() {
        for (name, letters) in [
            ("ann", "A"),
            ("Ann Lee", "AL"),
            ("ann van der lee", "AL"),
            ("bob~x4yz", "BX"),
            ("早上", "早"),
            ("👩‍🚀", "?"),
            ("", "?"),
        ] {
            assert_eq!(initials(name), letters, "{name}");
        }
    }

    fn peer(byte: u8, name: &str, rtt_ms: Option<f64>) -> PeerLine {
        PeerLine {
            peer: Text(PersonId::from_bytes([byte; 32])),
            nick: None,
            name: name.into(),
            formerly: (byte == 2).then(|| "robert".to_owned()),
            picture: None,
            state: PeerState::Online,
            path: None,
            addr: "10.0.0.2:4626".parse().ok(),
            rtt_ms,
            lost: false,
            awaits_consent: false,
            request: 0,
            away: byte == 2,
            status: String::new(),
            policy: PolicyFields {
                blocked: byte == 2,
                ..PolicyFields::default()
            },
        }
    }

    #[test]
    fn a_message_shows_that_it_is_from_a_stranger_or_waits_for_one() {
        let mut line = said(Body::Text("hi".into()));
        line.reason = Some(WaitReason::Consent);
        let waits = message(&line, &Names::default());
        assert!(
            waits.ends_with(" hi [sent: waiting to be accepted]"),
            "{waits}"
        );
        (line.state, line.reason, line.request) = (None, None, true);
        let request = message(&line, &Names::default());
        assert!(request.ends_with(" hi [from a stranger]"), "{request}");
    }

    #[test]
    fn contacts_and_strangers_who_wrote_are_listed() {
        let (mut ann, bob, mut cat) = (
            peer(1, "ann", None),
            peer(2, "bob", None),
            peer(3, "cat", None),
        );
        ann.policy.contact = true;
        cat.request = 2;
        let peers = [ann, bob, cat];
        let listed = contacts_and_requests(&peers);
        let id = |byte| PersonId::from_bytes([byte; 32]);
        assert_eq!(
            contacts(&listed),
            [
                format!("ann  online  {}  contact", id(1)),
                format!("cat  online  {}  not accepted, 2 messages", id(3)),
            ]
        );
    }

    #[test]
    fn peers_stand_in_columns() {
        let rows = peers(&[peer(1, "ann", Some(1.26)), peer(2, "bobby", None)]);
        let id = |byte| PersonId::from_bytes([byte; 32]);
        assert_eq!(
            rows[0],
            format!("ann    online  -  10.0.0.2:4626  1.3 ms  {}", id(1))
        );
        assert_eq!(
            rows[1],
            format!(
                "bobby  online  -  10.0.0.2:4626  -       {}  blocked, formerly robert, away",
                id(2)
            )
        );
    }
}
