//! IRC clients, netcat and a tutorial's program as interfaces of real nodes: issue 17.
//!
//! Each node is on a machine of its own, so all can use the usual port.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Size, Switch, Terminal, until};

/// Where every node of these tests serves IRC and lines.
const ADDR: &str = "127.0.0.1:6667";

/// Time for what is normally immediate.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A node that serves IRC and plain lines at one address.
fn up(office: &Switch, nick: &str) -> Node {
    let machine = office.machine(nick);
    machine.up(nick, &["--irc", ADDR, "--lines", ADDR])
}

/// Two nodes that see each other and are contacts.
fn ann_and_bob(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (up(office, "ann"), up(office, "bob"));
    ann.sees(&bob);
    bob.sees(&ann);
    ann.are_contacts(&bob);
    (ann, bob)
}

/// The password of a node's IRC server.
fn token(node: &Node) -> String {
    let printed = node.home().run(&["irc-token"]).expect(0).stdout;
    printed.trim().to_owned()
}

/// A client's connection to its node.
struct Connection {
    lines: BufReader<TcpStream>,
    /// Everything received, for failure messages.
    received: Vec<String>,
}

impl Connection {
    /// Connects and sends nothing.
    fn open(node: &Node) -> Connection {
        let connect = || TcpStream::connect(ADDR);
        let stream = node.machine().inside(connect).expect("the node listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("not zero");
        Connection {
            lines: BufReader::new(stream),
            received: Vec::new(),
        }
    }

    /// Registers as an IRC client with these capabilities, and waits for the rooms.
    fn irc(node: &Node, caps: &str) -> Connection {
        let mut client = Connection::open(node);
        client.sends(&format!("CAP REQ :{caps}"));
        client.sends(&format!("PASS {}", token(node)));
        client.sends("NICK whoever");
        client.sends("USER whoever 0 * :Whoever");
        client.sends("CAP END");
        client.sees(" 366 ");
        client
    }

    fn sends(&mut self, line: &str) {
        self.sends_bytes(format!("{line}\r\n").as_bytes());
    }

    fn sends_bytes(&mut self, bytes: &[u8]) {
        self.lines
            .get_mut()
            .write_all(bytes)
            .expect("the node reads");
    }

    /// The next line, or none at the end.
    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                let line = line.trim_end_matches(['\r', '\n']).to_owned();
                self.received.push(line.clone());
                Some(line)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error} after {:#?}", self.received),
        }
    }

    /// Waits for a line that contains this, and returns it.
    fn sees(&mut self, part: &str) -> String {
        while let Some(line) = self.next() {
            if line.contains(part) {
                return line;
            }
        }
        panic!("{part:?} did not come before the end: {:#?}", self.received)
    }

    /// Waits for lines that contain these, in any order, and returns them.
    fn sees_all(&mut self, parts: &[&str]) -> Vec<String> {
        let (mut waiting, mut seen) = (parts.to_vec(), Vec::new());
        while !waiting.is_empty() {
            let line = self.sees("");
            if let Some(at) = waiting.iter().position(|part| line.contains(part)) {
                waiting.remove(at);
                seen.push(line);
            }
        }
        seen
    }

    /// Waits until the node has closed the connection.
    fn is_closed(&mut self) {
        while self.next().is_some() {}
    }
}

#[test]
fn two_people_talk_by_irc_and_see_the_history_after_reconnecting() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let caps = "server-time message-tags echo-message batch draft/chathistory \
                draft/message-redaction";
    let mut at_ann = Connection::irc(&ann, caps);
    let mut at_bob = Connection::irc(&bob, "server-time");

    at_ann.sends("PRIVMSG #lobby :hi all");
    let echo = at_ann.sees(":hi all");
    assert!(echo.contains("msgid=") && echo.contains("time="), "{echo}");
    let seen = at_bob.sees(":hi all");
    assert!(
        seen.contains(":ann!") && seen.contains("PRIVMSG #lobby"),
        "{seen}"
    );

    at_bob.sends("PRIVMSG ann :psst");
    assert!(at_ann.sees(":psst").contains(":bob!"));
    at_ann.sends("PRIVMSG bob :\u{1}ACTION nods\u{1}");
    at_bob.sees("PRIVMSG bob :\u{1}ACTION nods\u{1}");

    // An answer, a reaction and a deletion, by the id of the message.
    let id = echo.split("msgid=").nth(1).expect("it has one");
    let id = id.split([';', ' ']).next().expect("it ends").to_owned();
    at_ann.sends(&format!("@+draft/reply={id} PRIVMSG #lobby :to myself"));
    at_bob.sees(":ann: to myself");
    at_ann.sends(&format!("@+draft/reply={id};+draft/react=👍 TAGMSG #lobby"));
    at_bob.sees("(reacts with 👍)");
    at_ann.sends(&format!("REDACT #lobby {id}"));
    at_bob.sees("(deleted a message)");
    at_ann.sees(&format!("REDACT #lobby {id}"));

    // What was said while a client was away is there when it comes back.
    at_bob.sends("QUIT");
    at_bob.is_closed();
    at_ann.sends("PRIVMSG bob :while you were away");
    at_ann.sees("PRIVMSG bob :while you were away");
    bob.shows_once("while you were away");
    let mut at_bob = Connection::irc(&bob, "server-time");
    // The room and the direct messages are read side by side.
    for line in at_bob.sees_all(&[":ann: to myself", ":while you were away"]) {
        assert!(line.starts_with("@time="), "{line}");
    }

    at_ann.sends("CHATHISTORY LATEST bob * 10");
    let begin = at_ann.sees(" BATCH +");
    assert!(begin.ends_with("chathistory :bob"), "{begin}");
    let first = at_ann.next().expect("a message");
    assert!(first.contains(":psst"), "{first}");
    at_ann.sees(":while you were away");
    assert!(at_ann.next().expect("the end").contains(" BATCH :-"));
}

#[test]
fn names_rooms_and_absences_change_for_everybody() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let mut at_ann = Connection::irc(&ann, "server-time away-notify");
    let mut at_bob = Connection::irc(&bob, "server-time away-notify");

    at_ann.sends("NICK anna");
    assert!(at_ann.sees(" NICK ").contains(":ann!"));
    at_bob.sees(" NICK :anna");
    // A name that IRC does not allow has a stand-in, and messages reach it.
    at_ann.sends("SETNAME :Ann Marie");
    let renamed = at_bob.sees(" NICK :Ann_Marie|");
    let nick = renamed.rsplit(':').next().expect("it has one").to_owned();
    at_bob.sends(&format!("PRIVMSG {nick} :hello Ann Marie"));
    at_ann.sees("PRIVMSG Ann_Marie :hello Ann Marie");

    at_ann.sends("JOIN #ops");
    at_ann.sees(" JOIN :#ops");
    at_bob.sends("JOIN #ops");
    at_bob.sees(" JOIN :#ops");
    at_ann.sees(" JOIN :#ops");
    at_bob.sends("PRIVMSG #ops :only here");
    at_ann.sees("PRIVMSG #ops :only here");
    // Everybody sets the topic, and who enters later sees it.
    at_bob.sends("TOPIC #ops :the disk of db3");
    for client in [&mut at_ann, &mut at_bob] {
        let topic = client.sees(" TOPIC #ops :the disk of db3");
        assert!(topic.contains(":bob!"), "{topic}");
    }
    at_ann.sends("TOPIC #ops");
    at_ann.sees(" 332 Ann_Marie #ops :the disk of db3");
    at_ann.sees(" 333 Ann_Marie #ops bob!");
    at_ann.sends("TOPIC #ops :");
    at_bob.sees(" TOPIC #ops :");
    at_ann.sends("PART #ops");
    at_bob.sees(" PART :#ops");

    at_ann.sends("AWAY :lunch");
    at_ann.sees(" 306 ");
    at_bob.sees(" AWAY :lunch");
    at_ann.sends("QUIT");
    ann.terminate();
    at_bob.sees(" QUIT :");
    bob.loses_within(&ann, TIMEOUT);
    at_bob.sends(&format!("PRIVMSG {nick} :for later"));
    at_bob.sees("is offline; the message is queued");
}

#[test]
fn old_lines_have_the_name_of_their_time() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let mut at_ann = Connection::irc(&ann, "server-time");
    let mut at_bob = Connection::irc(&bob, "server-time message-tags batch draft/chathistory");
    at_ann.sends("PRIVMSG #lobby :the old line");
    at_bob.sees(":the old line");
    at_ann.sends("PRIVMSG bob :the old word");
    at_bob.sees(":the old word");
    at_ann.sends("NICK anna");
    at_bob.sees(" NICK :anna");
    at_ann.sends("PRIVMSG #lobby :the new line");
    at_bob.sees(":the new line");
    at_bob.sends("CHATHISTORY LATEST #lobby * 10");
    assert!(at_bob.sees(":the old line").contains(" :ann!"));
    assert!(at_bob.sees(":the new line").contains(" :anna!"));
    // Whoever answers a direct message answers to the name of today.
    at_bob.sends("CHATHISTORY LATEST anna * 10");
    let old = at_bob.sees("the old word");
    assert!(
        old.contains(" :anna!") && old.ends_with(":<ann> the old word"),
        "{old}"
    );
    // The same for what a client is shown that does not ask.
    let mut again = Connection::irc(&ann, "server-time");
    for line in again.sees_all(&[":the old line", ":<ann> the old word", ":the new line"]) {
        let name = if line.contains("the old line") {
            "ann!"
        } else {
            "anna!"
        };
        assert!(line.contains(&format!(" :{name}")), "{line}");
    }
}

#[test]
fn a_file_is_offered_and_accepted_by_irc() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let mut at_ann = Connection::irc(&ann, "server-time");
    let mut at_bob = Connection::irc(&bob, "server-time");
    let path = ann.home().path().join("notes.txt");
    std::fs::write(&path, "remember the milk").expect("the lab's folder can be written to");
    at_ann.sends(&format!("PRIVMSG *hobnob :send bob {}", path.display()));
    let offer = at_bob.sees("(offers notes.txt, 17 bytes: /msg *hobnob accept 1)");
    assert!(offer.contains(":ann!"), "{offer}");
    at_bob.sends("PRIVMSG *hobnob :accept 1");
    let done = at_bob.sees("notes.txt is complete: ");
    let saved = done.split("complete: ").nth(1).expect("its path");
    let text = std::fs::read_to_string(Path::new(saved)).expect("it is there");
    assert_eq!(text, "remember the milk");
}

#[test]
fn a_strangers_request_is_accepted_by_irc() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, mallory) = (up(&office, "ann"), up(&office, "mallory"));
    ann.sees(&mallory);
    let mut at_ann = Connection::irc(&ann, "server-time");
    mallory.queues(&ann, "we met yesterday");
    at_ann.sees("/msg *hobnob contacts accept mallory");
    at_ann.sends("PRIVMSG *hobnob :contacts accept mallory");
    at_ann.sees("PRIVMSG ann :we met yesterday");
}

#[test]
fn without_the_password_nobody_registers() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = up(&office, "ann");
    for password in [None, Some("PASS wrong")] {
        let mut client = Connection::open(&ann);
        if let Some(password) = password {
            client.sends(password);
        }
        client.sends("NICK ann");
        client.sends("USER ann 0 * :Ann");
        client.sees(" 464 ");
        client.sees("ERROR ");
        client.is_closed();
    }
    let file = ann.home().path().join("irc-token");
    let mode = std::fs::metadata(&file).expect("it exists").permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
    // A new token replaces the old one at once.
    let before = token(&ann);
    ann.home().run(&["irc-token", "--new"]).expect(0);
    assert_ne!(token(&ann), before);
    let mut client = Connection::open(&ann);
    client.sends(&format!("PASS {before}"));
    client.sends("NICK ann");
    client.sends("USER ann 0 * :Ann");
    client.sees("ERROR ");
}

#[test]
fn browsers_and_tls_are_closed_and_other_machines_cannot_connect() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = up(&office, "ann");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: 127.0.0.1:6667\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\n\r\nNICK ann\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ] {
        let mut client = Connection::open(&ann);
        client.sends_bytes(bytes);
        client.is_closed();
        assert!(client.received.is_empty(), "{:?}", client.received);
    }
    let refused = ann.home().machine().home("carol");
    let refused = refused.run(&["up", "--irc", "0.0.0.0:6667"]);
    refused.expect(2).says(&["not a loopback address"]);
}

#[test]
fn netcat_has_the_lobby() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    needs("nc");
    let mut netcat = ann.machine().screen("nc", &["127.0.0.1", "6667"]);
    netcat.shows("* Welcome to hobnob, ann. It is ");
    netcat.shows("* Here in #lobby: ann (you), bob");
    netcat.types("hello from netcat");
    bob.shows_once("hello from netcat");
    bob.says("welcome");
    netcat.shows("<bob> welcome\n");
    netcat.types("/msg bob just you");
    let direct = bob.shows_once("just you");
    assert_eq!(direct["conversation"], format!("@{}", ann.id()));
    bob.tells(&ann, "and you");
    netcat.shows("*bob* and you");
    netcat.types("/who");
    netcat.types("/quit");
    netcat.shows("* Goodbye.");
}

#[test]
fn lines_may_be_split_anywhere_and_must_be_utf8() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let mut client = Connection::open(&ann);
    for byte in "h\u{e9} there\r\nsecond\n".as_bytes() {
        client.sends_bytes(&[*byte]);
    }
    bob.shows_once("h\u{e9} there");
    bob.shows_once("second");
    client.sends_bytes(b"caf\xe9\n");
    client.sees("! This line is not UTF-8");
    client.sends_bytes(b"the last line has no end");
    client
        .lines
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("it is open");
    bob.shows_once("the last line has no end");
    client.is_closed();
}

#[test]
fn ten_thousand_lines_in_one_burst_arrive_whole_and_in_order() {
    const LINES: usize = 10_000;
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let mut reader = Connection::open(&bob);
    reader.sees("* Here in #lobby: bob (you), ann");
    let mut writer = Connection::open(&ann);
    writer.sees("* Here in #lobby: ann (you), bob");
    let burst: String = (0..LINES)
        .map(|number| format!("line {number}\n"))
        .collect();
    let socket = writer.lines.get_ref().try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        (&socket)
            .write_all(burst.as_bytes())
            .expect("the node reads");
        socket
    });
    for number in 0..LINES {
        let line = reader.sees("<ann> ");
        assert_eq!(line, format!("<ann> line {number}"));
    }
    drop(sending.join().expect("it has sent everything"));
    let rest = ann
        .home()
        .run(&["history", "#lobby", "--limit", "1"])
        .expect(0);
    assert!(rest.stdout.contains("line 9999"), "{rest}");
}

#[test]
fn a_program_of_a_tutorial_talks_in_the_lobby() {
    needs("python3");
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/lines/client.py");
    let program = program.to_string_lossy().into_owned();
    let mut client = ann
        .machine()
        .screen("python3", &[program.as_str(), "127.0.0.1", "6667"]);
    client.shows("* Welcome to hobnob, ann.");
    client.types("hello from Python");
    bob.shows_once("hello from Python");
    bob.says("hello Python");
    client.shows("<bob> hello Python");
}

#[test]
fn weechat_and_irssi_are_full_interfaces() {
    needs("weechat");
    needs("irssi");
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = ann_and_bob(&office);
    ann.says("said before");
    bob.shows_once("said before");
    let mut weechat = weechat(&ann);
    let mut irssi = irssi(&bob);
    weechat.shows("said before");
    // irssi does not change to the window of a room by itself.
    irssi.shows("[Act: 2]");
    irssi.enters("/window goto #lobby");
    weechat.enters("hello from weechat");
    irssi.shows("hello from weechat");
    irssi.enters("hello from irssi");
    weechat.shows("hello from irssi");
    irssi.enters("/msg ann psst");
    ann.shows_once("psst");
    // In one line: weechat takes lines in quick succession for a paste, and asks about it.
    weechat.enters("/query bob a query");
    bob.shows_once("a query");
    irssi.enters("/nick robert");
    weechat.shows("robert");

    let path = bob.home().path().join("plan.txt");
    std::fs::write(&path, "a plan").expect("the lab's folder can be written to");
    irssi.enters(&format!("/msg *hobnob send #lobby {}", path.display()));
    weechat.enters("/buffer #lobby");
    weechat.shows("offers plan.txt");
    weechat.enters("/msg *hobnob accept 1");
    let done = |event: &serde_json::Value| event["event"] == "file" && event["state"] == "done";
    ann.wait_for("the file is there", done, TIMEOUT);

    weechat.enters("/part #lobby");
    until("ann leaves the lobby", TIMEOUT, || {
        let rooms = ann.home().run(&["rooms"]).expect(0);
        match rooms.stdout.contains("lobby") {
            true => Err(rooms.stdout),
            false => Ok(()),
        }
    });
}

/// Fails clearly where a program of the tests is missing.
fn needs(program: &str) {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    assert!(found, "{program} is missing: run scripts/setup");
}

const SIZE: Size = Size {
    columns: 120,
    rows: 40,
};

fn weechat(node: &Node) -> Terminal {
    let folder = node.home().path().join("weechat");
    let folder = folder.to_string_lossy().into_owned();
    let server = format!("irc://ann:{}@{ADDR}/#lobby", token(node));
    let arguments = ["--dir", folder.as_str(), server.as_str()];
    node.machine().terminal("weechat", &arguments, SIZE)
}

fn irssi(node: &Node) -> Terminal {
    let folder = format!("--home={}", node.home().path().join("irssi").display());
    let token = token(node);
    let arguments = [
        folder.as_str(),
        "-c",
        "127.0.0.1",
        "-p",
        "6667",
        "-w",
        token.as_str(),
        "-n",
        "bob",
    ];
    node.machine().terminal("irssi", &arguments, SIZE)
}
