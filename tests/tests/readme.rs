//! Runs every command of the README and of the pages for users and operators, word for word and in
//! order, as a person who has just installed the program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Node, Size, Terminal, hobnob_binary, until};
use serde_json::Value;

/// What the test does with a command.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// Runs it and expects exit code 0.
    Ends,
    /// Runs it until its screen shows this text, then ends it.
    Shows(&'static str),
    /// As `Shows`, but it keeps running beside the later commands.
    Stays(&'static str),
    /// As `Shows`, on another person's machine.
    Elsewhere(&'static str),
    /// Does not run it, for this reason.
    Not(&'static str),
}

use Run::{Elsewhere, Ends, Not, Shows, Stays};

/// The pages whose commands are run, in this order.
const PAGES: [&str; 4] = [
    "README.md",
    "docs/GUIDE.md",
    "docs/RELAY.md",
    "docs/BENCHMARKS.md",
];

/// Every command of the pages, in their order, each once.
const COMMANDS: &[(&str, Run)] = &[
    // README.md
    ("hobnob doctor", Ends),
    ("cargo install --path node/app", Not("it takes minutes")),
    (
        "cargo run --release",
        Not("the program was built, and is run below"),
    ),
    ("scripts/test", Not("it would run this test")),
    ("hobnob", Shows("bob")),
    ("hobnob send bob \"hi\"", Ends),
    ("hobnob peers", Ends),
    ("hobnob history bob --limit 20", Ends),
    ("hobnob relay", Stays("--relay")),
    (
        "hobnob --relay ID@relay.example:4627",
        Elsewhere("relay {RELAY} up"),
    ),
    ("hobnob up --json", Elsewhere("\"event\":\"listening\"")),
    // docs/GUIDE.md
    ("hobnob --plain", Shows("bob")),
    ("hobnob up", Stays("bob is here")),
    ("hobnob peers --watch", Shows("bob")),
    ("hobnob whois bob", Ends),
    ("echo hi | hobnob send bob -", Ends),
    ("hobnob broadcast \"hi all\"", Ends),
    ("hobnob history", Ends),
    ("hobnob search lunch", Ends),
    ("hobnob search lun", Ends),
    ("hobnob history '#lobby' --search lunch --since 2h", Ends),
    ("hobnob export bob --output bob.html", Ends),
    ("hobnob export --json > everything.jsonl", Ends),
    ("hobnob export --for bob FILE", Ends),
    (
        "hobnob import FILE",
        Not("that file is for bob; tests/tests/carried.rs tests it"),
    ),
    ("hobnob rooms", Ends),
    ("hobnob part ops", Ends),
    (
        "hobnob reply f33731c0a1b2c3d4-7 \"with pleasure\"",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob edit f33731c0a1b2c3d4-7 \"lunch at one\"",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob react f33731c0a1b2c3d4-7 👍",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob cancel f33731c0a1b2c3d4-7",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    ("hobnob receipts bob", Ends),
    ("hobnob receipts '#ops'", Ends),
    ("hobnob away lunch", Ends),
    ("hobnob back", Ends),
    (
        "hobnob history --thread f33731c0a1b2c3d4-7",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob delete f33731c0a1b2c3d4-7",
        Not("the id is an example"),
    ),
    ("hobnob clear bob", Ends),
    ("hobnob clear '#ops'", Ends),
    ("hobnob keep '#ops' 7d", Ends),
    ("hobnob keep", Ends),
    (
        "hobnob topic '#ops'",
        Not("ann joins #ops below: tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob topic '#ops' \"the disk of db3\"",
        Not("ann joins #ops below: tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob pin f33731c0a1b2c3d4-7",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob unpin f33731c0a1b2c3d4-7",
        Not("the id is an example; tests/tests/amending.rs tests it"),
    ),
    (
        "hobnob pins '#ops'",
        Not("ann joins #ops below: tests/tests/amending.rs tests it"),
    ),
    ("hobnob mentions", Ends),
    ("hobnob mentions '#ops'", Ends),
    ("hobnob notify '#ops' all", Ends),
    ("hobnob notify '#ops' none", Ends),
    ("hobnob forget bob", Not("the commands below need bob")),
    (
        "hobnob invite",
        Not("it waits for somebody; tests/tests/invitations.rs tests it"),
    ),
    (
        "hobnob introduce bob carol",
        Not("there is no carol; tests/tests/introductions.rs tests it"),
    ),
    (
        "hobnob accept-invite 481593-maple-violin-stone",
        Not("the code is an example; tests/tests/invitations.rs tests it"),
    ),
    ("hobnob id", Ends),
    ("hobnob nick ann", Ends),
    (
        "hobnob picture ann.jpg",
        Not("it needs a picture; tests/tests/profiles.rs tests it"),
    ),
    ("hobnob help", Ends),
    ("hobnob help send", Ends),
    ("hobnob help protocol", Ends),
    ("hobnob mailbox", Ends),
    ("hobnob why NAME", Not("the name is an example")),
    ("hobnob send 10.0.0.2:4626 hi", Ends),
    ("hobnob room create plans", Ends),
    ("hobnob room ticket plans", Ends),
    ("hobnob join TICKET", Not("the ticket is an example")),
    ("hobnob join ops --secret-file secret.txt", Ends),
    ("hobnob broadcast --room ops \"hi\"", Ends),
    ("hobnob --relay ID@HOST:PORT", Elsewhere("relay {RELAY} up")),
    (
        "hobnob up --relay-for contacts",
        Not("a node runs already; tests/tests/relay/for_contacts.rs tests it"),
    ),
    ("hobnob send bob --file film.mp4", Ends),
    ("hobnob send bob --file holiday.jpg notes/", Ends),
    ("hobnob send bob \"at the sea\" --file holiday.jpg", Ends),
    (
        "tar cf - notes | hobnob send bob --file - --name notes.tar",
        Ends,
    ),
    ("hobnob broadcast --room ops --file plan.pdf", Ends),
    ("hobnob files", Ends),
    ("hobnob accept film.mp4", Ends),
    (
        "hobnob pause film.mp4",
        Not("nothing moves; tests/files/transfers.rs tests it"),
    ),
    (
        "hobnob resume film.mp4",
        Not("nothing is paused; tests/files/transfers.rs tests it"),
    ),
    ("hobnob decline film.mp4", Ends),
    ("hobnob up --accept-from verified", Elsewhere("bob is here")),
    (
        "hobnob share film.mp4",
        Not("it waits for somebody; tests/tests/share.rs tests it"),
    ),
    (
        "hobnob share film.mp4 --times 3",
        Not("it waits for somebody; node/web/tests/share.rs tests it"),
    ),
    (
        "hobnob share film.mp4 --for 1h",
        Not("it lasts an hour; tests/tests/share.rs tests it"),
    ),
    (
        "hobnob picture --of bob --save bob.png",
        Not("it needs a picture; tests/tests/profiles.rs tests it"),
    ),
    (
        "hobnob picture --remove",
        Not("it needs a picture; tests/tests/profiles.rs tests it"),
    ),
    ("hobnob verify bob", Ends),
    ("hobnob verify bob --confirm", Ends),
    ("hobnob verify bob --undo", Ends),
    (
        "hobnob invite --share-relay",
        Not("it needs a relay with a token; tests/tests/invitations.rs tests it"),
    ),
    ("hobnob contacts accept bob", Ends),
    ("hobnob contacts", Ends),
    ("hobnob contacts remove bob", Ends),
    (
        "hobnob contacts delete mallory",
        Not("the lab has no stranger"),
    ),
    ("hobnob ignore bob", Ends),
    ("hobnob unignore bob", Ends),
    ("hobnob kick bob", Ends),
    ("hobnob block bob", Ends),
    ("hobnob unblock bob", Ends),
    ("mkdir -p ~/.config/systemd/user", Ends),
    (
        "cp scripts/hobnob.service ~/.config/systemd/user/",
        Not("the lab has no clone of the repository"),
    ),
    (
        "systemctl --user enable --now hobnob",
        Not("the lab has no systemd"),
    ),
    ("loginctl enable-linger", Not("the lab has no systemd")),
    ("hobnob web", Shows("Open this file")),
    (
        "hobnob up --web 127.0.0.1:4680",
        Not("a node runs already; tests/tests/web.rs tests it"),
    ),
    ("hobnob web --no-open", Shows("Open this file")),
    ("hobnob web --code", Shows("http://127.0.0.1")),
    ("hobnob token list", Ends),
    ("hobnob token revoke NAME", Not("the name is an example")),
    (
        "hobnob up --irc 127.0.0.1:6667",
        Not("a node runs already; tests/tests/irc.rs tests it"),
    ),
    ("hobnob irc-token", Ends),
    ("hobnob irc-token --new", Ends),
    (
        "hobnob up --lines 127.0.0.1:6668",
        Not("a node runs already; tests/tests/irc.rs tests it"),
    ),
    (
        "nc 127.0.0.1 6668",
        Not("it needs the node above; tests/tests/irc.rs tests it"),
    ),
    ("hobnob config", Ends),
    ("hobnob config --path", Ends),
    (
        "mkdir -p ~/.config/hobnob ~/.local/share/bash-completion/completions",
        Ends,
    ),
    ("hobnob config > ~/.config/hobnob/config.toml", Ends),
    (
        "hobnob completions bash > ~/.local/share/bash-completion/completions/hobnob",
        Ends,
    ),
    ("hobnob man --dir ~/.cargo/share/man/man1", Ends),
    (
        "hobnob lock",
        Not("it asks for a passphrase; node/app/tests/locked_home/main.rs tests it"),
    ),
    (
        "hobnob passwd",
        Not("it asks for a passphrase; node/app/tests/locked_home/main.rs tests it"),
    ),
    (
        "hobnob unlock",
        Not("it asks for a passphrase; node/app/tests/locked_home/main.rs tests it"),
    ),
    (
        "hobnob lock --keyring",
        Not("it needs a system keyring; node/app/tests/locked_home/keyring.rs tests it"),
    ),
    (
        "hobnob passwd --keyring",
        Not("it needs a system keyring; node/app/tests/locked_home/keyring.rs tests it"),
    ),
    (
        "hobnob passwd --no-keyring",
        Not("it needs a system keyring; node/app/tests/locked_home/keyring.rs tests it"),
    ),
    (
        "hobnob backup hobnob.age",
        Not("it asks for a passphrase; node/app/tests/backups.rs tests it"),
    ),
    (
        "hobnob restore hobnob.age",
        Not("it asks for a passphrase; node/app/tests/backups.rs tests it"),
    ),
    ("hobnob backup --new-key backup-key.txt", Ends),
    (
        "hobnob restore hobnob-jbswy3dp-2026-11-29T180000Z.age --key-file backup-key.txt",
        Not("node/app/tests/backups.rs tests it"),
    ),
    (
        "cargo run -p hobnob --example two_nodes",
        Not("it has its own test"),
    ),
    ("cargo doc --open -p hobnob", Not("it opens a browser")),
    (
        "cargo run --release -p hobnob --example checkers",
        Not("it has its own tests"),
    ),
    (
        "cargo run --release -p hobnob --example draw -- bob",
        Not("it has its own test"),
    ),
    ("hobnob why bob", Ends),
    ("hobnob doctor --report report.txt", Ends),
    // docs/RELAY.md
    ("hobnob relay --tcp [::]:443", Elsewhere("--relay")),
    (
        "hobnob relay --tcp 127.0.0.1:8627 --behind-proxy",
        Elsewhere("--relay"),
    ),
    ("head -c 24 /dev/urandom | base64 > token", Ends),
    ("hobnob relay --token-file token", Elsewhere("--relay")),
    (
        "hobnob --relay ID@relay.example:4627 --relay-token-file token",
        Elsewhere("relay {RELAY} up"),
    ),
    ("hobnob relay --tokens-file tokens", Elsewhere("--relay")),
    ("hobnob relay --allow-file allowed", Elsewhere("--relay")),
    (
        "hobnob relay --config /etc/hobnob-relay/relay.toml",
        Not("it changes the system; relay/app/tests/relay_command.rs tests it"),
    ),
    ("hobnob relay peers", Ends),
    (
        "hobnob relay kick ID",
        Not("no peer uses this relay; tests/relay/operator.rs tests it"),
    ),
    ("hobnob relay ban ID", Ends),
    ("hobnob relay ban 192.0.2.0/24", Ends),
    ("hobnob relay unban ID", Ends),
    ("hobnob relay bans", Ends),
    (
        "hobnob relay drain",
        Not("the relay serves nobody after it; tests/fleet.rs tests it"),
    ),
    (
        "hobnob relay --admin-socket /run/hobnob-relay/control.sock --admin-group wheel",
        Not("it changes the system; relay/app/tests/other_users.rs tests it"),
    ),
    (
        "hobnob relay --admin-socket /run/hobnob-relay/control.sock peers",
        Not("it changes the system; relay/app/tests/other_users.rs tests it"),
    ),
    (
        "hobnob relay --status",
        Elsewhere("status at http://127.0.0.1:9627"),
    ),
    (
        "cargo build --release",
        Not("the program was built, and is run above"),
    ),
    (
        "sudo cp target/release/hobnob /usr/local/bin/",
        Not("it changes the system"),
    ),
    (
        "sudo cp scripts/hobnob-relay.service /etc/systemd/system/",
        Not("it changes the system"),
    ),
    (
        "sudo systemctl enable --now hobnob-relay",
        Not("the lab has no systemd"),
    ),
    (
        "sudo hobnob relay peers",
        Not("the lab has no systemd; relay/app/tests/other_users.rs tests it"),
    ),
    (
        "sudo groupadd --system hobnob-relay-admin",
        Not("it changes the system"),
    ),
    (
        "sudo usermod --append --groups hobnob-relay-admin ann",
        Not("it changes the system"),
    ),
    (
        "sudo systemctl edit hobnob-relay",
        Not("the lab has no systemd"),
    ),
    (
        "sudo cp scripts/hobnob-relay.socket /etc/systemd/system/",
        Not("it changes the system"),
    ),
    (
        "sudo systemctl enable --now hobnob-relay.socket",
        Not("the lab has no systemd; tests/relay/real_parts.rs tests it"),
    ),
    ("hobnob relay fleet new --key fleet.key", Ends),
    (
        "hobnob relay fleet sign --key fleet.key --list fleet.list ID@relay.example:4627",
        Ends,
    ),
    ("hobnob relay fleet user --credentials relay.nkey", Ends),
    ("hobnob relay fleet show fleet.list", Ends),
    (
        "hobnob up --relay-for contacts --relay-name home.example:4627",
        Not("a node runs already; tests/tests/relay/for_contacts.rs tests it"),
    ),
    ("hobnob id --json", Ends),
    // docs/BENCHMARKS.md
    ("scripts/bench", Not("it takes minutes")),
    ("scripts/bench --short", Not("it takes a minute")),
    ("scripts/bench --alone", Not("it takes minutes")),
    ("scripts/bench relay", Not("it takes minutes")),
];

/// Returns the commands in a text: the lines of its shell blocks without their comments, and the
/// inline code that contains the word `hobnob`. A line that ends with ` \` continues on the next
/// line.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace(" \\\n   ", "");
    let mut fence = None;
    let mut commands: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fence = if fence.is_none() { Some(line) } else { None };
        } else if fence == Some("```sh") {
            commands.push(
                line.split("  #")
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned(),
            );
        } else if fence.is_none() {
            let code = line
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|code| code.replace("\\|", "|"));
            commands.extend(code.filter(|code| code.split(' ').any(|word| word == "hobnob")));
        }
    }
    let mut seen = Vec::new();
    commands.retain(|command| {
        !seen.contains(command) && {
            seen.push(command.clone());
            true
        }
    });
    commands
}

#[test]
fn every_documented_command_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = PAGES.map(|page| std::fs::read_to_string(root.join(page)).expect(page));
    let known: Vec<_> = COMMANDS
        .iter()
        .map(|(command, _)| (*command).to_owned())
        .collect();
    assert_eq!(
        commands(&pages.concat()),
        known,
        "COMMANDS must list every command of {PAGES:?}: update it"
    );
    let lab = Lab::open();
    let office = lab.switch();
    let relay = office.machine("relay").relay(&[]);
    let (ann, cat) = (
        Person::at(office.machine("ann")),
        Person::at(office.machine("cat")),
    );
    let bob = office
        .machine("bob")
        .up("bob", &["--accept-from", &ann.id()]);
    bob.joins("ops", "correct-horse-battery-staple");
    let mut running = Vec::new();
    for (command, run) in COMMANDS {
        let line = command
            .replace("ID@HOST:PORT", &relay.name())
            .replace("ID@relay.example:4627", &relay.name())
            .replace("ban ID", &format!("ban {}", bob.id()))
            .replace("10.0.0.2", &bob.machine().ipv4());
        ann.prepare(command, &bob);
        eprintln!("{line}");
        let shows = |text: &str| text.replace("{RELAY}", &relay.address().ip().to_string());
        match run {
            Ends => ann.run(&line),
            Shows(text) => drop(ann.run_until(&line, &shows(text))),
            Elsewhere(text) => drop(cat.run_until(&line, &shows(text))),
            Stays(text) => running.push(ann.run_until(&line, &shows(text))),
            Not(why) => eprintln!("not run: {why}"),
        }
    }
    bob.shows_once("hi all");
    assert!(
        bob.home()
            .path()
            .join("downloads/notes/monday.txt")
            .exists(),
        "bob downloaded the folder that ann offered"
    );
}

/// A person at their own machine, with only the program installed.
struct Person {
    machine: Machine,
}

impl Person {
    /// Creates the files that the pages name.
    fn at(machine: Machine) -> Self {
        let person = Self { machine };
        person.run("mkdir notes && echo agenda > notes/monday.txt");
        person.run("touch holiday.jpg plan.pdf film.mp4");
        person.run("echo correct-horse-battery-staple > secret.txt && cp secret.txt token && echo '# ids' > allowed && echo 'ann sesame' > tokens");
        person
    }

    fn id(&self) -> String {
        let id = self
            .machine
            .run("sh", &["-c", &shell("hobnob id --json")])
            .expect(0)
            .one_json();
        id["peer"]
            .as_str()
            .expect("the answer has an id")
            .to_owned()
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(
            self.machine
                .run("sh", &["-c", "cd && pwd"])
                .expect(0)
                .stdout
                .trim(),
        )
    }

    /// Sets up what the pages assume before this command.
    fn prepare(&self, command: &str, bob: &Node) {
        match command {
            // Earlier commands blocked bob, so wait until he is online again.
            "hobnob why bob" => until("bob is online again", TIMEOUT, || {
                let peers = self.run_for_json("hobnob peers --json");
                let back = |peer: &Value| peer["name"] == "bob" && peer["state"] == "online";
                if peers.iter().any(back) {
                    Ok(())
                } else {
                    Err(format!("{peers:?}"))
                }
            }),
            "hobnob part ops" => self.run("hobnob join ops --secret-file secret.txt"),
            "hobnob accept film.mp4" | "hobnob decline film.mp4" => {
                let film = self.folder().join("film.mp4");
                let film = film.to_str().expect("the lab's paths are ASCII");
                bob.run(&["send", &self.id(), "--wait", "sent", "--file", film])
                    .expect(0);
                until("the film is offered", TIMEOUT, || {
                    let files = self.run_for_json("hobnob files --json");
                    let offered = files.iter().any(|file| {
                        file.to_string().contains("film.mp4")
                            && file["state"] == "offered"
                            && file["own"] != true
                    });
                    if offered {
                        Ok(())
                    } else {
                        Err(format!("{files:?}"))
                    }
                });
            }
            _ => {}
        }
    }

    /// Runs a line that prints JSON, and returns its values.
    fn run_for_json(&self, line: &str) -> Vec<Value> {
        self.machine
            .run("sh", &["-c", &shell(line)])
            .expect(0)
            .json()
    }

    /// Runs a line and expects success.
    fn run(&self, line: &str) {
        self.machine.run("sh", &["-c", &shell(line)]).expect(0);
    }

    /// Runs a line that does not end, and waits until its screen shows the text. Closing the
    /// terminal ends the program.
    fn run_until(&self, line: &str, text: &str) -> Terminal {
        let terminal = self
            .machine
            .terminal("sh", &["-c", &shell(&format!("exec {line}"))], SIZE);
        terminal.shows(text);
        terminal
    }
}

/// The script that runs a line in the home folder, with the program on the path.
fn shell(line: &str) -> String {
    let program = hobnob_binary();
    format!(
        "cd && PATH={}:$PATH && {line}",
        program
            .parent()
            .expect("the program is in a folder")
            .display()
    )
}

const TIMEOUT: Duration = Duration::from_secs(30);

const SIZE: Size = Size {
    columns: 200,
    rows: 50,
};
