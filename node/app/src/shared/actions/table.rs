//! The table of actions.

use hobnob_control::wire::{
    AcceptContact, AcceptFile, AcceptInvite, AwaitInvitation, Block, BroadcastMessage,
    CancelMessage, ClearConversation, CreateRoom, DeclineFile, DeleteMessage, Diagnose,
    EditMessage, ExportFor, ForgetPeer, GetMailbox, GetPicture, GetRoomTicket, GetStatus,
    HistoryFilter, Ignore, ImportFile, Introduce, Invite, JoinRoom, KeepConversation, Kick,
    ListActivity, ListFiles, ListKeepTimes, ListNotifyRules, ListPeers, ListPins, ListRooms,
    OfferFile, PartRoom, PauseFile, PinMessage, ReactToMessage, RemoveContact, ReplyToMessage,
    Resolve, SendMessage, SetNick, SetNotify, SetPicture, SetStatus, SetTopic, TakeSnapshot,
    Unblock, Unignore, Verify, Why,
};
#[cfg(test)]
use hobnob_control::wire::{
    ApplySettings, CloseStream, EndStream, MarkRead, OpenApp, OpenStream, Ping, ReadStream,
    ReportBackup, SendDatagram, ShowTyping, Subscribe, WriteStream,
};

use super::{Action, Chat, ChatCommand, CommandLine, Flags, Group};
use crate::shared::policy::PolicyChange;

/// Requests that no action sends by itself: programs that speak the protocol need them.
#[cfg(test)]
pub(super) const FOR_PROGRAMS: &[&str] = &[
    Ping::NAME,
    ReportBackup::NAME,
    ApplySettings::NAME,
    Subscribe::NAME,
    ShowTyping::NAME,
    MarkRead::NAME,
    OpenApp::NAME,
    SendDatagram::NAME,
    OpenStream::NAME,
    ReadStream::NAME,
    WriteStream::NAME,
    EndStream::NAME,
    CloseStream::NAME,
];

const ONLY_IN_CHAT: &str = "it changes what the chat shows";
const ONLY_IN_SHELL: &str = "it is for shells and scripts";

/// A command of the chat that the command line describes alike.
const fn chat(command: ChatCommand, takes: &'static str) -> Chat {
    Chat::Command {
        command,
        takes,
        help: None,
    }
}

/// A command that asks a node.
const fn ask(details: &'static str) -> CommandLine {
    CommandLine::Command {
        flags: Flags::Ask,
        details,
        examples: &[],
    }
}

/// All actions, group by group, in the order in which help lists them.
pub(crate) const ACTIONS: &[Action] = &[
    Action {
        name: "send",
        aliases: &["upload"],
        group: Group::Messages,
        help: "Send a direct message, or offer files",
        requests: &[SendMessage::NAME, OfferFile::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Waits until the message is delivered, at most for the time of --timeout. \
                      If the peer is away, the message stays queued and the exit code is 4.",
            examples: &[
                "hobnob send bob \"lunch at noon?\"",
                "git log -1 | hobnob send bob",
                "hobnob send bob --file film.mp4",
            ],
        },
        chat: Chat::Command {
            command: ChatCommand::Send,
            takes: "[@TO] PATH",
            help: Some("Offer a file or folder here, to @bob, or in #ops"),
        },
    },
    Action {
        name: "msg",
        aliases: &["w", "dm", "tell"],
        group: Group::Messages,
        help: "Send a direct message",
        requests: &[SendMessage::NAME],
        command_line: CommandLine::AliasOf("send"),
        chat: chat(ChatCommand::Msg, "TARGET TEXT"),
    },
    Action {
        name: "broadcast",
        aliases: &[],
        group: Group::Messages,
        help: "Send a message to a room, or offer files there",
        requests: &[BroadcastMessage::NAME, OfferFile::NAME],
        command_line: CommandLine::Command {
            flags: Flags::AskInRoom,
            details: "In an open room, only members that are connected now receive the message.",
            examples: &[
                "hobnob broadcast \"hi all\"",
                "hobnob broadcast --room ops \"the disk of db3 is full\"",
            ],
        },
        chat: Chat::Absent("a line without a slash is a message to the open conversation"),
    },
    Action {
        name: "reply",
        aliases: &[],
        group: Group::Messages,
        help: "Answer a message where it was written",
        requests: &[ReplyToMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "The answer goes to those whom the message was for. `hobnob history --json` \
                      shows the ids of messages.",
            examples: &["hobnob reply f33731c0a1b2c3d4-7 \"with pleasure\""],
        },
        chat: Chat::Command {
            command: ChatCommand::Reply,
            takes: "[ID|^N] TEXT",
            help: Some("Answer the newest message, the N-th newest, or the one with this id"),
        },
    },
    Action {
        name: "edit",
        aliases: &[],
        group: Group::Messages,
        help: "Replace the text of a message of yours",
        requests: &[EditMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Everybody sees that the message was edited, and its earlier texts stay in the \
                      history. `hobnob delete` deletes all of them.",
            examples: &["hobnob edit f33731c0a1b2c3d4-7 \"lunch at one\""],
        },
        chat: Chat::Command {
            command: ChatCommand::Edit,
            takes: "[ID|^N] TEXT",
            help: Some("Replace the text of your newest message, or of another one"),
        },
    },
    Action {
        name: "react",
        aliases: &[],
        group: Group::Messages,
        help: "Add an emoji to a message",
        requests: &[ReactToMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "",
            examples: &[
                "hobnob react f33731c0a1b2c3d4-7 👍",
                "hobnob react f33731c0a1b2c3d4-7 👍 --off",
            ],
        },
        chat: Chat::Command {
            command: ChatCommand::React,
            takes: "[ID|^N] EMOJI",
            help: Some(
                "Add an emoji to the newest message, or to another one; --off takes it back",
            ),
        },
    },
    Action {
        name: "pin",
        aliases: &[],
        group: Group::Messages,
        help: "Pin a message for everybody who has it",
        requests: &[PinMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Every member may pin and unpin. `hobnob pins` lists what is pinned.",
            examples: &["hobnob pin f33731c0a1b2c3d4-7"],
        },
        chat: Chat::Command {
            command: ChatCommand::Pin,
            takes: "[ID|^N]",
            help: Some("Pin the newest message, or another one, for everybody who has it"),
        },
    },
    Action {
        name: "unpin",
        aliases: &[],
        group: Group::Messages,
        help: "Take the pin of a message back",
        requests: &[PinMessage::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Unpin, "[ID|^N]"),
    },
    Action {
        name: "pins",
        aliases: &[],
        group: Group::Messages,
        help: "List the pinned messages of a conversation",
        requests: &[ListPins::NAME, Resolve::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "",
            examples: &["hobnob pins '#ops'"],
        },
        chat: chat(ChatCommand::Pins, ""),
    },
    Action {
        name: "cancel",
        aliases: &[],
        group: Group::Messages,
        help: "Cancel a message of yours that is still queued",
        requests: &[CancelMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Works until the message leaves this node, and only while the node that wrote \
                      it runs. Nobody else ever gets its text.",
            examples: &["hobnob cancel f33731c0a1b2c3d4-7"],
        },
        chat: Chat::Command {
            command: ChatCommand::Cancel,
            takes: "[ID|^N]",
            help: Some("Cancel your newest message, or another one, while it is queued"),
        },
    },
    Action {
        name: "me",
        aliases: &[],
        group: Group::Messages,
        help: "Describe what you do: * ann waves",
        requests: &[BroadcastMessage::NAME, SendMessage::NAME],
        command_line: CommandLine::Absent("send a text that begins with /me instead"),
        chat: chat(ChatCommand::Me, "TEXT"),
    },
    Action {
        name: "history",
        aliases: &[],
        group: Group::Messages,
        help: "Print messages of one conversation, or of all",
        requests: &[HistoryFilter::NAME, Resolve::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "",
            examples: &[
                "hobnob history bob --limit 20",
                "hobnob history '#lobby' --since 2h",
            ],
        },
        chat: Chat::Command {
            command: ChatCommand::History,
            takes: "[N]",
            help: Some("Show the last N messages of all conversations (20)"),
        },
    },
    Action {
        name: "search",
        aliases: &["find", "lastlog"],
        group: Group::Messages,
        help: "Find messages that contain these words",
        requests: &[HistoryFilter::NAME, Resolve::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "",
            examples: &["hobnob search lunch", "hobnob search lunch '#lobby'"],
        },
        chat: Chat::Command {
            command: ChatCommand::Search,
            takes: "WORDS",
            help: Some("Find messages of this conversation that contain these words"),
        },
    },
    Action {
        name: "mentions",
        aliases: &[],
        group: Group::Messages,
        help: "List messages that mention you",
        requests: &[HistoryFilter::NAME, Resolve::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "A message mentions you with @ and your nickname or short id, if it begins with \
                      either and a colon or comma, or has a word of the setting highlight. A new \
                      nickname changes nothing about older messages.",
            examples: &["hobnob mentions", "hobnob mentions '#ops' --limit 5"],
        },
        chat: Chat::Command {
            command: ChatCommand::Mentions,
            takes: "",
            help: Some("List the newest messages that mention you; Alt-m jumps to them"),
        },
    },
    Action {
        name: "export",
        aliases: &[],
        group: Group::Messages,
        help: "Write messages to a text file, JSON lines or a web page",
        requests: &[
            HistoryFilter::NAME,
            Resolve::NAME,
            ListPeers::NAME,
            ExportFor::NAME,
        ],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Writes the messages of one conversation, or of all, oldest first. The web page \
                      needs no other file and runs no script. The output is not encrypted.\n\nWith \
                      --for, writes a sealed file for one peer: your direct messages that it has not \
                      confirmed, and receipts for its own. Carry it by hand, for example on a USB \
                      stick. The peer imports it, and messages arrive in order, each once.",
            examples: &[
                "hobnob export --for bob /media/usb/for-bob",
                "hobnob export bob --output bob.html",
                "hobnob export '#ops' --since 7d --output ops.txt",
                "hobnob export --json > everything.jsonl",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "import",
        aliases: &[],
        group: Group::Messages,
        help: "Take the messages from a file that somebody has carried here",
        requests: &[ImportFile::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "The file was written for you with `hobnob export --for`. A second import of \
                      the same file changes nothing. What you export in the other direction has \
                      receipts, and then the messages are `delivered`.",
            examples: &["hobnob import /media/usb/for-ann"],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "receipts",
        aliases: &[],
        group: Group::Messages,
        help: "Show who has your last messages of a conversation, and who has read them",
        requests: &[HistoryFilter::NAME, ListActivity::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Only a peer that shows you its read markers is listed: by default, these are \
                      your contacts, in direct conversations.",
            examples: &["hobnob receipts bob", "hobnob receipts '#ops'"],
        },
        chat: Chat::Command {
            command: ChatCommand::Receipts,
            takes: "",
            help: Some(
                "Show who has your last messages of this conversation, and who has read them",
            ),
        },
    },
    Action {
        name: "files",
        aliases: &[],
        group: Group::Files,
        help: "List offered files: ids, names, sizes, progress and paths",
        requests: &[ListFiles::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Files, ""),
    },
    Action {
        name: "accept",
        aliases: &["get", "resume"],
        group: Group::Files,
        help: "Fetch an offered file",
        requests: &[AcceptFile::NAME, ListFiles::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "The transfer starts as soon as somebody who has the file is connected. If \
                      nothing moves for the time of --timeout, the exit code is 4, and the file \
                      stays accepted.",
            examples: &["hobnob accept film.mp4"],
        },
        chat: Chat::Command {
            command: ChatCommand::Accept,
            takes: "[ID]",
            help: Some("Fetch an offered file; without an id, the only one that waits"),
        },
    },
    Action {
        name: "pause",
        aliases: &[],
        group: Group::Files,
        help: "Pause a download, or the sending of your own file, until you resume it",
        requests: &[PauseFile::NAME, ListFiles::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Pause, "[ID]"),
    },
    Action {
        name: "share",
        aliases: &[],
        group: Group::Files,
        help: "Make a link to a file, for people who do not have hobnob",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::None,
            details: "Prints a link to an https page with the file, its size and its hashes. By default \
                      it works for one download, and for people on the networks of this machine. \
                      The browser warns about the certificate: compare its fingerprint with the one \
                      that the command prints. No node takes part.",
            examples: &[
                "hobnob share film.mp4",
                "hobnob share film.mp4 --for 1h --times 3",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "decline",
        aliases: &[],
        group: Group::Files,
        help: "Decline a file, stop its transfer, or withdraw your own",
        requests: &[DeclineFile::NAME, ListFiles::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Decline, "[ID]"),
    },
    Action {
        name: "join",
        aliases: &["j"],
        group: Group::Rooms,
        help: "Join a room",
        requests: &[JoinRoom::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "The node stays in the room until you leave it. ROOM is a name, or the ticket of \
                      a private room. A room with a secret and the open room of that name are two \
                      different rooms.\n\nA secret is a passphrase that the members agree on, or a \
                      ticket. Members of a room with a secret see the same five words. Others can \
                      guess a passphrase, at 0.1 s and 64 MiB for each guess, so choose four \
                      unrelated words. `hobnob room create` makes a room whose key cannot be guessed.",
            examples: &[
                "hobnob join ops --secret-file secret.txt",
                "pass show ops | hobnob join ops --secret-file -",
            ],
        },
        chat: Chat::Command {
            command: ChatCommand::Join,
            takes: "ROOM [SECRET]",
            help: Some("Join a room: its name, with a passphrase if it has one; or its ticket"),
        },
    },
    Action {
        name: "room",
        aliases: &[],
        group: Group::Rooms,
        help: "Create a private room, or show the ticket of one",
        requests: &[CreateRoom::NAME, GetRoomTicket::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "A private room has a random key that nobody can guess. Its \
                      ticket admits people with `hobnob join TICKET`, and lets them read its history.",
            examples: &["hobnob room create ops", "hobnob room ticket ops"],
        },
        chat: Chat::Command {
            command: ChatCommand::Room,
            takes: "create ROOM",
            help: Some("Create a private room; /room ticket shows the ticket of this one"),
        },
    },
    Action {
        name: "part",
        aliases: &["leave", "close"],
        group: Group::Rooms,
        help: "Leave a room",
        requests: &[PartRoom::NAME],
        command_line: ask(""),
        chat: Chat::Command {
            command: ChatCommand::Part,
            takes: "[ROOM]",
            help: Some("Leave a room, or close a direct conversation"),
        },
    },
    Action {
        name: "rooms",
        aliases: &[],
        group: Group::Rooms,
        help: "List the rooms that you are in",
        requests: &[ListRooms::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Rooms, ""),
    },
    Action {
        name: "names",
        aliases: &[],
        group: Group::Rooms,
        help: "List who is in this room",
        requests: &[ListRooms::NAME],
        command_line: CommandLine::Absent("`hobnob rooms --json` lists the members of each room"),
        chat: chat(ChatCommand::Names, ""),
    },
    Action {
        name: "query",
        aliases: &["q", "win"],
        group: Group::Rooms,
        help: "Open the conversation with somebody",
        requests: &[Resolve::NAME],
        command_line: CommandLine::Absent(ONLY_IN_CHAT),
        chat: chat(ChatCommand::Query, "TARGET"),
    },
    Action {
        name: "delete",
        aliases: &[],
        group: Group::Rooms,
        help: "Delete a message",
        requests: &[DeleteMessage::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Your own message is deleted here at once, and by everybody who has it as \
                      soon as their nodes learn of it. Somebody else's message is erased on this \
                      node only. `hobnob history --json` shows the ids of messages.",
            examples: &["hobnob delete f33731c0a1b2c3d4-7"],
        },
        chat: Chat::Command {
            command: ChatCommand::Delete,
            takes: "ID",
            help: Some("Delete a message; with --here, your own message on this node only"),
        },
    },
    Action {
        name: "clear",
        aliases: &[],
        group: Group::Rooms,
        help: "Erase all messages of a conversation on this node",
        requests: &[ClearConversation::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "The texts leave the database, its log and the search index. Nobody else \
                      learns of it. Refuses while messages of yours are not delivered.",
            examples: &["hobnob clear bob", "hobnob clear '#ops'"],
        },
        chat: chat(ChatCommand::Clear, "TO [--yes]"),
    },
    Action {
        name: "keep",
        aliases: &[],
        group: Group::Rooms,
        help: "Show or set how long the messages of a conversation are kept here",
        requests: &[KeepConversation::NAME, ListKeepTimes::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Older messages are erased on this node every hour, except yours that are \
                      not delivered. The setting `keep` is for all other conversations. Without a \
                      conversation, lists what is set.",
            examples: &[
                "hobnob keep",
                "hobnob keep '#ops' 7d",
                "hobnob keep bob forever",
            ],
        },
        chat: chat(ChatCommand::Keep, "[TO TIME]"),
    },
    Action {
        name: "topic",
        aliases: &[],
        group: Group::Rooms,
        help: "Show or set the topic of a room",
        requests: &[SetTopic::NAME, ListRooms::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Every member may set it, and the newest one counts. In an open room, only \
                      members that are connected receive it.",
            examples: &[
                "hobnob topic '#ops'",
                "hobnob topic '#ops' \"the disk of db3\"",
                "hobnob topic '#ops' --off",
            ],
        },
        chat: chat(ChatCommand::Topic, "[TEXT]"),
    },
    Action {
        name: "notify",
        aliases: &[],
        group: Group::Rooms,
        help: "Set which messages of a conversation alert you",
        requests: &[SetNotify::NAME, ListNotifyRules::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Without a conversation, lists the rules that you have set. By default, direct \
                      messages alert you, and in rooms those that mention you.",
            examples: &["hobnob notify '#ops' all", "hobnob notify bob none"],
        },
        chat: Chat::Command {
            command: ChatCommand::Notify,
            takes: "[TO] [RULE]",
            help: Some(
                "Set which messages here alert you: all, mentions, none or default; without a rule, \
                 list the rules",
            ),
        },
    },
    Action {
        name: "mute",
        aliases: &[],
        group: Group::Rooms,
        help: "Let no message of a conversation alert you",
        requests: &[SetNotify::NAME],
        command_line: CommandLine::Absent("use `hobnob notify CONVERSATION none`"),
        chat: chat(ChatCommand::Mute, "[TO]"),
    },
    Action {
        name: "cls",
        aliases: &[],
        group: Group::Rooms,
        help: "Clear the screen; the messages stay on disk",
        requests: &[],
        command_line: CommandLine::Absent(ONLY_IN_CHAT),
        chat: chat(ChatCommand::Cls, ""),
    },
    Action {
        name: "peers",
        aliases: &["who"],
        group: Group::People,
        help: "List the peers you know: state, path, address, round trip, id",
        requests: &[ListPeers::NAME, GetStatus::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "",
            examples: &["hobnob peers --watch"],
        },
        chat: chat(ChatCommand::Peers, ""),
    },
    Action {
        name: "whois",
        aliases: &[],
        group: Group::People,
        help: "Show what is known of a peer",
        requests: &[Resolve::NAME, ListPeers::NAME],
        command_line: ask("If the target is an address, the node connects to it."),
        chat: chat(ChatCommand::Whois, "TARGET"),
    },
    Action {
        name: "verify",
        aliases: &[],
        group: Group::People,
        help: "Compare a safety number with a peer, and mark it as verified",
        requests: &[Verify::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Shows 60 digits. Your peer's node shows the same digits if nobody intercepts \
                      your session. Compare them by voice. If they are equal, confirm: from then \
                      on, nobody else can use this peer's name at your node.",
            examples: &["hobnob verify bob", "hobnob verify bob --confirm"],
        },
        chat: Chat::Command {
            command: ChatCommand::Verify,
            takes: "TARGET",
            help: Some("Show the safety number to compare; then /verify TARGET confirm (or undo)"),
        },
    },
    Action {
        name: "contacts",
        aliases: &[],
        group: Group::People,
        help: "List your contacts, and the strangers who wrote to you",
        requests: &[ListPeers::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "A stranger becomes a contact when you accept it, answer it or write to it \
                      first. Until then it can send you 20 messages; further ones wait at the \
                      stranger. `hobnob contacts delete NAME` deletes what a stranger wrote.",
            examples: &[
                "hobnob contacts accept bob",
                "hobnob contacts remove bob",
                "hobnob contacts delete mallory",
            ],
        },
        chat: chat(ChatCommand::Contacts, ""),
    },
    Action {
        name: "introduce",
        aliases: &[],
        group: Group::People,
        help: "Introduce two of your contacts to each other",
        requests: &[Introduce::NAME],
        command_line: ask(
            "Both are asked. Once each has accepted the other as a contact, they learn each other's \
             relays from you.",
        ),
        chat: chat(ChatCommand::Introduce, "ONE OTHER"),
    },
    Action {
        name: "invite",
        aliases: &[],
        group: Group::People,
        help: "Invite somebody by a code of a number and three words",
        requests: &[Invite::NAME, AwaitInvitation::NAME],
        command_line: CommandLine::Command {
            flags: Flags::AskInRoom,
            details: "The other user types the code, and you are verified contacts. The code works \
                      once, for ten minutes, while your node runs. A wrong guess ends it. Waits until \
                      it is used: the exit code is 5 if somebody guessed wrong, 4 if it expired. If \
                      the relay in the code requires a token, the other user needs one to stay there \
                      for longer than two minutes: --share-relay gives them yours.",
            examples: &[
                "hobnob invite",
                "hobnob invite --room ops",
                "hobnob invite --share-relay",
            ],
        },
        chat: chat(ChatCommand::Invite, "[ROOM]"),
    },
    Action {
        name: "accept-invite",
        aliases: &[],
        group: Group::People,
        help: "Accept an invitation by its code",
        requests: &[AcceptInvite::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Both nodes must run, on one network or with a relay in common; a code with \
                      an @ names the relay. A mistyped word is found before anything is sent. With \
                      wrong words of the list, the code is dead: ask for a new one.",
            examples: &["hobnob accept-invite 481593-maple-violin-stone"],
        },
        chat: chat(ChatCommand::AcceptInvite, "CODE"),
    },
    Action {
        name: "befriend",
        aliases: &[],
        group: Group::People,
        help: "Accept a stranger as a contact",
        requests: &[AcceptContact::NAME],
        command_line: CommandLine::Absent("use `hobnob contacts accept NAME`"),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Accept), "TARGET"),
    },
    Action {
        name: "unfriend",
        aliases: &[],
        group: Group::People,
        help: "Make a contact a stranger again",
        requests: &[RemoveContact::NAME],
        command_line: CommandLine::Absent("use `hobnob contacts remove NAME`"),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Remove), "TARGET"),
    },
    Action {
        name: "ignore",
        aliases: &[],
        group: Group::People,
        help: "Hide what a peer writes",
        requests: &[Ignore::NAME],
        command_line: ask("Hides old and new messages. The peer does not learn of it."),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Ignore), "TARGET"),
    },
    Action {
        name: "unignore",
        aliases: &[],
        group: Group::People,
        help: "Show again what a peer writes",
        requests: &[Unignore::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Unignore), "TARGET"),
    },
    Action {
        name: "block",
        aliases: &["ban"],
        group: Group::People,
        help: "Disconnect a peer and refuse it from now on",
        requests: &[Block::NAME],
        command_line: ask(
            "The peer's messages are hidden and no longer forwarded. The peer can see that it is \
             blocked. In a room, it can still receive your messages from other members.",
        ),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Block), "TARGET"),
    },
    Action {
        name: "forget",
        aliases: &[],
        group: Group::People,
        help: "Erase the conversation with a peer, and forget its name and addresses",
        requests: &[ForgetPeer::NAME],
        command_line: ask(
            "Erases on this node only. The peer becomes a stranger, and addresses that you typed \
             are removed. A block stays. Refuses while messages of yours to the peer are not \
             delivered.",
        ),
        chat: chat(ChatCommand::Forget, "TARGET [ADDR]"),
    },
    Action {
        name: "unblock",
        aliases: &["unban"],
        group: Group::People,
        help: "Undo a block or a kick",
        requests: &[Unblock::NAME],
        command_line: ask("Missed messages then arrive by normal sync."),
        chat: chat(ChatCommand::ChangePolicy(PolicyChange::Unblock), "TARGET"),
    },
    Action {
        name: "kick",
        aliases: &[],
        group: Group::People,
        help: "Disconnect a peer and refuse it for ten minutes",
        requests: &[Kick::NAME],
        command_line: ask(
            "The ten minutes end early if you `unblock` the peer, or when the node stops: the \
             command has no effect if no node runs.",
        ),
        chat: chat(ChatCommand::Kick, "TARGET"),
    },
    Action {
        name: "away",
        aliases: &[],
        group: Group::People,
        help: "Show your contacts that you are away, with a text",
        requests: &[SetStatus::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "It counts until `back`, or until your node stops. The setting share-status \
                      decides who sees it.",
            examples: &["hobnob away lunch"],
        },
        chat: chat(ChatCommand::Away, "[TEXT]"),
    },
    Action {
        name: "back",
        aliases: &[],
        group: Group::People,
        help: "Show your contacts that you are back",
        requests: &[SetStatus::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Back, "[TEXT]"),
    },
    Action {
        name: "id",
        aliases: &[],
        group: Group::Node,
        help: "Show your id, addresses and ticket, and who can see you",
        requests: &[GetStatus::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Id, ""),
    },
    Action {
        name: "nick",
        aliases: &[],
        group: Group::Node,
        help: "Change your nickname",
        requests: &[SetNick::NAME],
        command_line: ask(""),
        chat: chat(ChatCommand::Nick, "NAME"),
    },
    Action {
        name: "picture",
        aliases: &["avatar"],
        group: Group::Node,
        help: "Set your profile picture, or show or save one",
        requests: &[SetPicture::NAME, GetPicture::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Any PNG, JPEG, GIF or WebP file will do: it is made small, and what it says \
                      about camera and place is removed. Your contacts and the members of your rooms \
                      with a key see it. Nobody else does.",
            examples: &[
                "hobnob picture ann.jpg",
                "hobnob picture --of bob --save bob.png",
                "hobnob picture --remove",
            ],
        },
        chat: Chat::Command {
            command: ChatCommand::Picture,
            takes: "FILE|--off",
            help: Some("Set your profile picture, or remove it"),
        },
    },
    Action {
        name: "doctor",
        aliases: &["net"],
        group: Group::Node,
        help: "Examine your network: what is wrong, and what to do",
        requests: &[Diagnose::NAME, GetStatus::NAME],
        command_line: ask("Takes a few seconds. The exit code is 1 if there is a problem."),
        chat: chat(ChatCommand::Doctor, ""),
    },
    Action {
        name: "mailbox",
        aliases: &[],
        group: Group::Node,
        help: "Show who holds mail for you, and what holders have for others",
        requests: &[GetMailbox::NAME],
        command_line: ask(
            "A relay that holds mail keeps sealed messages for you while you are away, and yours for \
             contacts that are away.",
        ),
        chat: Chat::Absent("run `hobnob mailbox` in a shell"),
    },
    Action {
        name: "why",
        aliases: &[],
        group: Group::Node,
        help: "Explain why a peer is not reachable, and what to do",
        requests: &[Why::NAME],
        command_line: ask("Takes a few seconds. The exit code is 1 if there is a problem."),
        chat: chat(ChatCommand::Why, "TARGET"),
    },
    Action {
        name: "backup",
        aliases: &[],
        group: Group::Node,
        help: "Write your identity and all messages to an encrypted file",
        requests: &[TakeSnapshot::NAME, GetStatus::NAME],
        command_line: CommandLine::Command {
            flags: Flags::Ask,
            details: "Asks for a passphrase, twice. The file has the key, messages, settings and \
                      the list of your offered files, but not the files. It is consistent even \
                      while the node runs. The setting `backup` makes one each day.",
            examples: &[
                "hobnob backup /media/usb/hobnob.age",
                "pass show hobnob | hobnob backup hobnob.age --passphrase-file -",
                "hobnob backup --new-key backup-key.txt",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "restore",
        aliases: &[],
        group: Group::Node,
        help: "Make a home from a backup",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "A damaged file or a wrong passphrase changes nothing. If the home exists, the \
                      command needs --replace; messages that you deleted since the backup stay \
                      deleted. What your peers have and the backup lacks arrives when they connect. \
                      Run an identity on one machine only.",
            examples: &[
                "hobnob restore /media/usb/hobnob.age",
                "hobnob restore hobnob.age --key-file backup-key.txt --replace",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "lock",
        aliases: &[],
        group: Group::Node,
        help: "Encrypt the home with a passphrase, or by the system keyring",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "Encrypts your key, messages, search index and list of offered files, and \
                      overwrites what was there before. No node may run. From then on, each \
                      start needs the passphrase. With --keyring, the system keyring has the key, \
                      and each start opens the home without a question. Settings and downloaded \
                      files are not encrypted.",
            examples: &[
                "hobnob lock",
                "hobnob lock --keyring",
                "hobnob up --home-passphrase-file ~/secret",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "unlock",
        aliases: &[],
        group: Group::Node,
        help: "Store a locked home without encryption again",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "No node may run. To use a locked home, start hobnob as usual: it asks for \
                      the passphrase, or the system keyring opens the home.",
            examples: &[],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "passwd",
        aliases: &[],
        group: Group::Node,
        help: "Change what opens a locked home: the passphrase, the system keyring, or both",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "Without an option, sets a new passphrase. A node may run meanwhile. The files \
                      are not encrypted anew: only the key that encrypts them is. If the system \
                      keyring opens the home, the command does not ask for the old passphrase.",
            examples: &["hobnob passwd", "hobnob passwd --keyring"],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "up",
        aliases: &[],
        group: Group::Node,
        help: "Run a node without a chat, and print what happens",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Node,
            details: "Runs until it receives SIGINT or SIGTERM, or until nobody reads its output. \
                      With --json, it also reads requests from stdin, one JSON object per line: \
                      see `hobnob help protocol`.",
            examples: &[
                "hobnob up --accept-from verified",
                "hobnob up --irc 127.0.0.1:6667",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "irc-token",
        aliases: &[],
        group: Group::Node,
        help: "Print the password for IRC clients of this node",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "`hobnob up --irc ADDR:PORT` serves them. The password is in the file irc-token \
                      of the home, which only you can read.",
            examples: &["hobnob irc-token", "hobnob irc-token --new"],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "web",
        aliases: &[],
        group: Group::Node,
        help: "Open the chat as a web page in your browser",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Node,
            details: "The page is for this machine only. If `hobnob up --web` serves it, the command \
                      opens it and ends. Otherwise the command serves it until it receives SIGINT or \
                      SIGTERM, and runs a node if none runs.",
            examples: &["hobnob web", "hobnob up --web 127.0.0.1:4680"],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "token",
        aliases: &[],
        group: Group::Node,
        help: "Create, list and revoke tokens for programs",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "With a token, a program speaks the JSON lines over the WebSocket /ws of the web \
                      page's address. A token permits only the requests of its rights.",
            examples: &[
                "hobnob token create dashboard --rights read",
                "hobnob token create bot --rights read,send --expires 30d",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "relay",
        aliases: &[],
        group: Group::Node,
        help: "Run a relay, or administer the one that runs in this home",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Own,
            details: "Through a relay, peers behind NATs reach each other. Without a command, \
                      runs a relay until it receives SIGINT or SIGTERM.",
            examples: &[],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "help",
        aliases: &["h"],
        group: Group::Program,
        help: "Explain all commands, or one",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::None,
            details: "`hobnob help protocol` prints the page about the JSON lines that programs \
                      exchange with a node. With --schema it prints their JSON Schema, with \
                      --asyncapi an AsyncAPI document.",
            examples: &["hobnob help send", "hobnob help protocol | less"],
        },
        chat: chat(ChatCommand::Help, "[COMMAND]"),
    },
    Action {
        name: "quit",
        aliases: &["exit"],
        group: Group::Program,
        help: "Close the chat",
        requests: &[],
        command_line: CommandLine::Absent("single commands end by themselves"),
        chat: chat(ChatCommand::Quit, ""),
    },
    Action {
        name: "config",
        aliases: &[],
        group: Group::Program,
        help: "Print every setting with its default and its meaning",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::Home,
            details: "The output is a settings file that changes nothing.",
            examples: &["hobnob config > \"$(hobnob config --path)\""],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "completions",
        aliases: &[],
        group: Group::Program,
        help: "Print a script that completes commands in your shell",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::None,
            details: "",
            examples: &[
                "hobnob completions bash > ~/.local/share/bash-completion/completions/hobnob",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
    Action {
        name: "man",
        aliases: &[],
        group: Group::Program,
        help: "Print the manual page",
        requests: &[],
        command_line: CommandLine::Command {
            flags: Flags::None,
            details: "",
            examples: &[
                "hobnob man | man -l -",
                "hobnob man --dir ~/.cargo/share/man/man1",
            ],
        },
        chat: Chat::Absent(ONLY_IN_SHELL),
    },
];
