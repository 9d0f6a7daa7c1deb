//! Erasing messages: what the user types, the requests to the node, and the words for the answers.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use hobnob::MessageId;
use hobnob::protocol::Target;
use hobnob_control::wire::{
    AnyRequest, ClearConversation, DeleteMessage, ForgetPeer, KeepConversation, KeepTimeList, Text,
};

use super::values::{self, ConversationArg};
use super::wording::Names;

/// A request to erase something, or to keep it for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Erase {
    /// `here`: a message of this node on this node only.
    Delete {
        id: MessageId,
        here: bool,
        yes: bool,
    },
    Clear {
        of: ConversationArg,
        yes: bool,
    },
    /// With an address: only that address of the peer.
    Forget {
        target: Target,
        address: Option<SocketAddr>,
        yes: bool,
    },
    /// Without a time: for ever.
    Keep {
        of: ConversationArg,
        time: Option<Duration>,
    },
}

impl Erase {
    /// The request to the node.
    pub(crate) fn request(self) -> AnyRequest {
        match self {
            Erase::Delete { id, here, yes } => DeleteMessage {
                message: Text(id),
                here,
                yes,
            }
            .into(),
            Erase::Clear { of, yes } => {
                let (target, room) = of.fields();
                ClearConversation { target, room, yes }.into()
            }
            Erase::Forget {
                target,
                address,
                yes,
            } => ForgetPeer {
                target: Text(target),
                address,
                yes,
            }
            .into(),
            Erase::Keep { of, time } => {
                let (target, room) = of.fields();
                KeepConversation {
                    target,
                    room,
                    seconds: time.map(|time| time.as_secs()),
                }
                .into()
            }
        }
    }

    /// The sentence for a request that was carried out.
    pub(crate) fn done(&self) -> &'static str {
        match self {
            Erase::Delete { here: true, .. } => "deleted here",
            Erase::Delete { here: false, .. } => "deleted",
            Erase::Clear { .. } => "all messages of the conversation are erased on this node",
            Erase::Forget {
                address: Some(_), ..
            } => "the address is removed",
            Erase::Forget { address: None, .. } => {
                "the peer is forgotten, and its messages are erased"
            }
            Erase::Keep { time: None, .. } => "the messages are kept for ever",
            Erase::Keep { time: Some(_), .. } => "older messages are erased from now on",
        }
    }
}

/// How long messages are kept, in words.
pub(crate) fn keep_times(list: &KeepTimeList, names: &Names) -> Vec<String> {
    let words = |seconds: Option<u64>| match seconds {
        Some(seconds) => values::time_span(seconds.saturating_mul(1000)),
        None => "for ever".to_owned(),
    };
    let own = list.times.iter().map(|it| {
        let of = names.of_conversation(&it.conversation.0);
        format!("{of}: {}", words(it.seconds))
    });
    let default = words(list.default_seconds);
    own.chain([format!("all other conversations: {default}")])
        .collect()
}

/// How long to keep messages, as a setting. `None` means for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepTime(pub(crate) Option<Duration>);

impl FromStr for KeepTime {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        keep_time(word).map(KeepTime)
    }
}

/// How long to keep messages: `7d`, `2w`, `12h`, or `forever`.
pub(crate) fn keep_time(word: &str) -> Result<Option<Duration>, String> {
    const DAY: u64 = 24 * 60 * 60;
    const WRONG: &str = "a time is a number and a unit, such as 12h, 7d, 2w, or the word forever";
    if word == "forever" {
        return Ok(None);
    }
    let mut in_days = [("d", DAY), ("w", 7 * DAY)].into_iter();
    let days = in_days.find_map(|(unit, seconds)| Some((word.strip_suffix(unit)?, seconds)));
    let time = match days {
        Some((number, seconds)) => {
            let number: u64 = number.parse().map_err(|_| WRONG)?;
            let seconds = number.checked_mul(seconds).ok_or(WRONG)?;
            Duration::from_secs(seconds)
        }
        None => values::duration(word).map_err(|_| WRONG)?,
    };
    if time.as_secs() == 0 {
        return Err(WRONG.to_owned());
    }
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_days_and_weeks() {
        let days = |n: u64| Ok(Some(Duration::from_secs(n * 24 * 60 * 60)));
        assert_eq!(keep_time("7d"), days(7));
        assert_eq!(keep_time("2w"), days(14));
        assert_eq!(keep_time("24h"), days(1));
        assert_eq!(keep_time("forever"), Ok(None));
        for wrong in ["", "7", "d", "0d", "0s", "-1d", "99999999999999999999w"] {
            assert!(keep_time(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_listed_with_the_default_last() {
        let list = serde_json::json!({
            "default_seconds": 1_209_600,
            "times": [{"conversation": "#lobby"}, {"conversation": "#ops", "seconds": 604_800}],
        });
        let list: KeepTimeList = serde_json::from_value(list).unwrap();
        assert_eq!(
            keep_times(&list, &Names::default()),
            [
                "#lobby: for ever",
                "#ops: 7 days",
                "all other conversations: 14 days"
            ]
        );
    }

    #[test]
    fn a_request_names_a_peer_or_a_room() {
        let of: ConversationArg = "#ops".parse().expect("a room");
        let AnyRequest::ClearConversation(clear) = Erase::Clear { of, yes: true }.request() else {
            panic!("it clears");
        };
        assert!(clear.target.is_none() && clear.room.is_some() && clear.yes);
        let (of, time) = ("bob".parse().expect("a peer"), None);
        let AnyRequest::KeepConversation(keep) = (Erase::Keep { of, time }).request() else {
            panic!("it keeps");
        };
        assert!(keep.target.is_some() && keep.seconds.is_none());
    }
}
