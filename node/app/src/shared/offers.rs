//! Offered files, for people: finding one by name or id, its progress, its state.

use hobnob::protocol::text::visible;
use hobnob::{FileState, MessageId};
use hobnob_control::wire::{FileLine, MessageLine};

use super::wording;

/// Hex digits of a log's id in a short id.
const SHORT_DIGITS: usize = 6;

/// `f33731-4`: enough of an id to distinguish it from the others on one screen.
pub(crate) fn short(id: MessageId) -> String {
    let id = id.to_string();
    let (log, number) = id.split_once('-').unwrap_or((&id, ""));
    format!("{}-{number}", &log[..SHORT_DIGITS])
}

/// The offer that a word names: its id, a short id, the first characters of one, or the name of the
/// file. Of several files with that name, the newest that `fits` the command, or else the newest.
/// `lister` is the command that lists offers.
pub(crate) fn found<'a>(
    files: impl DoubleEndedIterator<Item = &'a FileLine> + Clone,
    word: &str,
    lister: &str,
    fits: fn(&FileLine) -> bool,
) -> Result<MessageId, String> {
    if let Some(id) = whole(word) {
        return Ok(id);
    }
    let mut named = files.clone().rev().filter(|file| file.offer.name == word);
    if let Some(file) = named
        .clone()
        .find(|file| fits(file))
        .or_else(|| named.next())
    {
        return Ok(file.id.0);
    }
    match files
        .filter(|file| begins(file.id.0, word))
        .collect::<Vec<_>>()[..]
    {
        [file] => Ok(file.id.0),
        [] => Err(format!(
            "no file {} has been offered: {lister} lists them",
            visible(word)
        )),
        [..] => Err(format!(
            "{} is the beginning of several ids: give more of it",
            visible(word)
        )),
    }
}

/// An id with all its digits.
fn whole(word: &str) -> Option<MessageId> {
    word.parse()
        .ok()
        .filter(|id: &MessageId| id.to_string() == word)
}

/// Whether an id begins with `word`, or `word` is a short form of it.
fn begins(id: MessageId, word: &str) -> bool {
    let id = id.to_string();
    let short = || id.split_once('-').zip(word.split_once('-'));
    !word.is_empty()
        && (id.starts_with(word)
            || short().is_some_and(|((log, n), (begun, m))| n == m && log.starts_with(begun)))
}

/// The file that a message offers, as long as nobody has answered the offer.
pub(crate) fn unanswered(message: &MessageLine) -> Option<FileLine> {
    let offer = message.body.file.as_deref()?.clone();
    Some(FileLine {
        id: message.id,
        conversation: message.conversation.clone(),
        from: message.from,
        nick: message.nick.clone(),
        offer,
        own: message.state.is_some(),
        state: FileState::Offered,
        bytes: 0,
        rate: None,
        left_s: None,
        peers: vec![],
        path: None,
        saved: None,
        picture: None,
        why: None,
        received_at: message.received_at,
    })
}

/// Whether the user can still fetch it, or resume it.
pub(crate) fn waits_for_answer(file: &FileLine) -> bool {
    file.state == FileState::Paused || (!file.own && file.state == FileState::Offered)
}

/// Whether the user can pause its download, or its sending.
pub(crate) fn can_pause(file: &FileLine) -> bool {
    match file.state {
        FileState::Moving => true,
        FileState::Waiting => !file.own,
        FileState::Offered => file.own,
        FileState::Paused | FileState::Done | FileState::Declined | FileState::Failed => false,
    }
}

/// Whether the user can decline it, stop it, or withdraw it.
pub(crate) fn can_end(file: &FileLine) -> bool {
    match file.state {
        FileState::Offered | FileState::Waiting | FileState::Paused | FileState::Moving => true,
        // One peer has it, but other members of the room may still fetch it.
        FileState::Done => file.own,
        FileState::Declined | FileState::Failed => false,
    }
}

/// The offer for the argument of `/verb`: the one that `word` names, or without a word, the only one
/// that `fits`.
pub(crate) fn meant<'a>(
    files: impl DoubleEndedIterator<Item = &'a FileLine> + Clone,
    word: Option<&str>,
    verb: &str,
    fits: fn(&FileLine) -> bool,
) -> Result<MessageId, String> {
    match word {
        Some(word) => found(files, word, "/files", fits),
        None => only_one(files.filter(|file| fits(file)), verb),
    }
}

fn only_one<'a>(
    fitting: impl Iterator<Item = &'a FileLine>,
    verb: &str,
) -> Result<MessageId, String> {
    match fitting.collect::<Vec<_>>()[..] {
        [file] => Ok(file.id.0),
        [] => Err(format!("there is no file to {verb}")),
        ref several => {
            let ids: Vec<String> = several
                .iter()
                .map(|file| format!("{} ({})", short(file.id.0), name(file)))
                .collect();
            Err(format!("which one? /{verb} ID: {}", ids.join(", ")))
        }
    }
}

/// Its name, safe to show.
pub(crate) fn name(file: &FileLine) -> String {
    visible(&file.offer.name).into_owned()
}

/// `42 %  12.0 MB/s  3 s left`
pub(crate) fn how_far(file: &FileLine) -> String {
    let rate = file.rate.map(|rate| format!("{}/s", wording::size(rate)));
    let left = file
        .left_s
        .filter(|_| file.bytes < file.offer.size)
        .map(|seconds| format!("{} left", span(seconds)));
    [Some(percent(file)), rate, left]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("  ")
}

/// `42 %`
pub(crate) fn percent(file: &FileLine) -> String {
    let percent = u128::from(file.bytes) * 100 / u128::from(file.offer.size.max(1));
    format!(
        "{} %",
        if file.offer.size == 0 {
            100
        } else {
            percent.min(100)
        }
    )
}

/// `3 s`, `4 min`, `2 h 5 min`, `3 days`
fn span(seconds: u64) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        5400..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The state of a peer's offer.
pub(crate) fn state(file: &FileLine) -> String {
    let why = file.why.as_deref().map(|why| visible(why).into_owned());
    match file.state {
        FileState::Offered => {
            let id = short(file.id.0);
            format!("waiting for you: /accept {id}, or /decline {id}")
        }
        FileState::Waiting => {
            format!(
                "{} here, waiting: {}",
                percent(file),
                why.unwrap_or_else(|| "nobody who has it is here".to_owned())
            )
        }
        FileState::Paused => {
            format!("paused: /resume {} continues it", short(file.id.0))
        }
        FileState::Moving => how_far(file),
        FileState::Done => match &file.saved {
            Some(path) => format!("saved as {}", visible(&path.display().to_string())),
            None => "saved".to_owned(),
        },
        FileState::Declined if wording::is_withdrawn(file) => "withdrawn".to_owned(),
        FileState::Declined => "declined".to_owned(),
        FileState::Failed => format!(
            "failed: {}",
            why.unwrap_or_else(|| "it can't be had".to_owned())
        ),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hobnob::ConversationRef;
    use hobnob::protocol::{ContentHash, LogId, PersonId, RoomName};
    use hobnob_control::wire::{OfferFields, Text, Time};

    /// A file that somebody offers in the lobby.
    pub(crate) fn line(log: u64, name: &str) -> FileLine {
        let offer = OfferFields {
            caption: String::new(),
            name: name.into(),
            media: String::new(),
            size: 1000,
            hash: Text(ContentHash([0; 32])),
            files: None,
            manifest: None,
        };
        FileLine {
            id: Text(MessageId {
                log: LogId(log),
                seq: 1,
            }),
            conversation: Text(ConversationRef::Room(RoomName::lobby())),
            from: Text(PersonId::from_bytes([1; 32])),
            nick: "ann".into(),
            offer,
            own: false,
            state: FileState::Offered,
            bytes: 0,
            rate: None,
            left_s: None,
            peers: vec![],
            path: None,
            saved: None,
            picture: None,
            why: None,
            received_at: Time(0),
        }
    }

    #[test]
    fn a_file_is_found_by_its_name_or_its_id_or_the_beginning_of_that() {
        let [a, b, c] = [
            0xabc0_0000_0000_0000,
            0xabd0_0000_0000_0000,
            0x1230_0000_0000_0000,
        ];
        let mut files = [line(a, "a.png"), line(b, "b"), line(c, "b"), line(c, "d")];
        files[3].id.0.seq = 2;
        let found = |word: &str| found(files.iter(), word, "/files", waits_for_answer);
        let id = |log, seq| {
            Ok(MessageId {
                log: LogId(log),
                seq,
            })
        };
        assert_eq!(found("a.png"), id(a, 1));
        assert_eq!(found("b"), id(c, 1), "the newest of that name");
        assert_eq!(found("abd"), id(b, 1));
        assert_eq!(found("123000-2"), id(c, 2));
        assert_eq!(found(&short(files[0].id.0)), id(a, 1));
        assert_eq!(found("00000000000000ff-3"), id(0xff, 3));
        assert!(found("ab").unwrap_err().contains("several"));
        assert!(found("123").unwrap_err().contains("several"));
        assert!(
            found("x\u{1b}")
                .unwrap_err()
                .contains("no file x␛ has been offered: /files")
        );
        assert!(found("").is_err() && found("-").is_err());
    }

    #[test]
    fn a_name_means_the_newest_file_that_the_command_can_act_on() {
        let [old, new] = [1 << 60, 2 << 60];
        let mut files = [line(old, "film"), line(new, "film")];
        let meant = |files: &[FileLine]| {
            found(files.iter(), "film", "/files", waits_for_answer).map(|id| id.log.0)
        };
        assert_eq!(meant(&files), Ok(new));
        files[1].state = FileState::Done;
        assert_eq!(meant(&files), Ok(old));
        files[0].state = FileState::Declined;
        assert_eq!(meant(&files), Ok(new), "the error is about the newest");
    }

    #[test]
    fn an_own_offer_that_nobody_declined_is_withdrawn() {
        let mut file = FileLine {
            own: true,
            state: FileState::Declined,
            ..line(1 << 60, "a")
        };
        assert_eq!(state(&file), "withdrawn");
        file.peers = vec![Text(PersonId::from_bytes([2; 32]))];
        assert_eq!(state(&file), "declined");
    }

    #[test]
    fn the_only_one_that_fits_needs_no_name() {
        let files = [line(1 << 60, "a"), line(2 << 60, "b")];
        assert_eq!(only_one(files[..1].iter(), "accept"), Ok(files[0].id.0));
        assert_eq!(
            only_one([].into_iter(), "accept"),
            Err("there is no file to accept".to_owned())
        );
        assert!(
            only_one(files.iter(), "accept")
                .unwrap_err()
                .ends_with("/accept ID: 100000-1 (a), 200000-1 (b)")
        );
    }

    #[test]
    fn how_far_a_file_is_and_what_became_of_it() {
        let file = |state, bytes, rate, left_s, why: Option<&str>| FileLine {
            state,
            bytes,
            rate,
            left_s,
            why: why.map(str::to_owned),
            saved: (state == FileState::Done).then(|| "/home/ann/\u{202e}gpj.exe".into()),
            ..line(0xf337_3141_b285_4860, "a")
        };
        for (file, words) in [
            (
                file(FileState::Offered, 0, None, None, None),
                "waiting for you: /accept f33731-1, or /decline f33731-1",
            ),
            (
                file(FileState::Moving, 420, Some(12_000_000), Some(3), None),
                "42 %  12.0 MB/s  3 s left",
            ),
            (
                file(FileState::Moving, 1, Some(1), Some(999), None),
                "0 %  1 byte/s  17 min left",
            ),
            (
                file(FileState::Moving, 1, None, Some(100_000), None),
                "0 %  27 h 46 min left",
            ),
            (
                file(FileState::Moving, 1000, Some(10), Some(0), None),
                "100 %  10 bytes/s",
            ),
            (
                file(FileState::Waiting, 500, None, None, None),
                "50 % here, waiting: nobody who has it is here",
            ),
            (
                file(FileState::Waiting, 500, None, None, Some("no\u{7} room")),
                "50 % here, waiting: no␇ room",
            ),
            (
                file(FileState::Done, 1000, None, None, None),
                "saved as /home/ann/⟨U+202E⟩gpj.exe",
            ),
            (file(FileState::Declined, 0, None, None, None), "declined"),
            (
                file(FileState::Failed, 0, None, None, Some("gone")),
                "failed: gone",
            ),
        ] {
            assert_eq!(state(&file), words);
        }
    }
}
