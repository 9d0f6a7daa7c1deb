//! The README by the word: every command that it shows is run as it stands there, by somebody who
//! has just installed the program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Node, Size, Terminal, hobnob_binary, until};

/// What is to become of a command.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// It ends, and all is well.
    Ends,
    /// It goes on, after it has shown this: until the reader ends it.
    Shows(&'static str),
    /// As `Shows`, and it goes on while the others run.
    Stays(&'static str),
    /// As `Shows`, on the machine of somebody else.
    Elsewhere(&'static str),
    /// It is not run here, for this reason.
    Not(&'static str),
}

use Run::{Elsewhere, Ends, Not, Shows, Stays};

/// The pages whose commands are run.
const PAGES: &[&str] = &[
    "README.md",
    "docs/GUIDE.md",
    "docs/RELAY.md",
    "docs/BENCHMARKS.md",
];

/// Every command of the pages, in their order, each once.
const COMMANDS: &[(&str, Run)] = &[
    ("hobnob doctor", Ends),
    ("cargo install --path node/app", Not("it takes minutes")),
    (
        "cargo run --release",
        Not("the program was built, and is run below"),
    ),
    ("scripts/test", Not("it runs this")),
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
    ("hobnob --plain", Shows("bob")),
    ("hobnob up", Stays("bob is here")),
    ("echo hi | hobnob send bob -", Ends),
    ("hobnob broadcast \"hi all\"", Ends),
    ("hobnob send bob --file holiday.jpg notes/", Ends),
    ("hobnob broadcast --room ops --file plan.pdf", Ends),
    ("hobnob peers --watch", Shows("bob")),
    ("hobnob history", Ends),
    ("hobnob history '#lobby' --search lunch --since 2h", Ends),
    ("hobnob id", Ends),
    ("hobnob send 10.0.0.2:4626 hi", Ends),
    ("hobnob join ops --secret-file secret.txt", Ends),
    ("hobnob broadcast --room ops \"hi\"", Ends),
    ("hobnob verify bob", Ends),
    ("hobnob verify bob --confirm", Ends),
    ("hobnob ignore bob", Ends),
    ("hobnob block bob", Ends),
    ("hobnob unblock bob", Ends),
    ("hobnob unignore bob", Ends),
    ("hobnob send bob --file film.mp4", Ends),
    ("hobnob files", Ends),
    ("hobnob accept film.mp4", Ends),
    ("hobnob decline film.mp4", Ends),
    ("hobnob up --accept-from verified", Elsewhere("bob is here")),
    ("hobnob --relay ID@HOST:PORT", Elsewhere("relay {RELAY} up")),
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
    ("hobnob why bob", Ends),
    ("hobnob doctor --report report.txt", Ends),
    ("cargo doc --open -p hobnob", Not("it opens a browser")),
    (
        "cargo run --release --example checkers",
        Not("it has tests of its own"),
    ),
    ("hobnob relay peers", Ends),
    (
        "hobnob relay --home /var/lib/hobnob-relay peers",
        Not("systemd makes the folder"),
    ),
    ("scripts/bench", Not("it takes minutes")),
    ("scripts/bench --short", Not("it takes a minute")),
    ("scripts/bench --alone", Not("it takes minutes")),
    ("scripts/bench relay", Not("it takes minutes")),
];

/// The commands in a text: lines of its shell blocks without their comments, and code in its lines
/// that begins with a program of ours.
fn commands(text: &str) -> Vec<String> {
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
fn every_command_of_the_pages_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = PAGES.iter().map(|page| {
        let page = root.join(page);
        std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
    });
    let pages: String = pages.collect();
    let known: Vec<_> = COMMANDS
        .iter()
        .map(|(command, _)| (*command).to_owned())
        .collect();
    assert_eq!(
        commands(&pages),
        known,
        "update COMMANDS: it lists each command of the pages and what happens with it"
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
    bob.joins("ops", "s3cret");
    let mut running = Vec::new();
    for (command, run) in COMMANDS {
        let line = command
            .replace("ID@HOST:PORT", &relay.name())
            .replace("ID@relay.example:4627", &relay.name());
        let line = line.replace("10.0.0.2", &bob.machine().ipv4());
        ann.prepares(command, &bob);
        eprintln!("{line}");
        let shows = |text: &str| text.replace("{RELAY}", &relay.address().ip().to_string());
        match run {
            Ends => ann.does(&line),
            Shows(text) => drop(ann.sees(&line, &shows(text))),
            Elsewhere(text) => drop(cat.sees(&line, &shows(text))),
            Stays(text) => running.push(ann.sees(&line, &shows(text))),
            Not(why) => eprintln!("not run: {why}"),
        }
    }
    bob.shows_once("hi all");
    assert!(
        bob.home()
            .path()
            .join("downloads/notes/monday.txt")
            .exists(),
        "bob has what was offered to him"
    );
}

/// Somebody at a machine of their own, with nothing but the program.
struct Person {
    machine: Machine,
}

impl Person {
    /// They have the files that the pages name.
    fn at(machine: Machine) -> Self {
        let person = Self { machine };
        person.does(
            "mkdir notes && echo agenda > notes/monday.txt && touch holiday.jpg plan.pdf film.mp4 && echo s3cret > secret.txt",
        );
        person
    }

    fn id(&self) -> String {
        let id = self
            .machine
            .run("sh", &["-c", &shell("hobnob id --json")])
            .expect(0)
            .one_json();
        id["peer"].as_str().expect("it has an id").to_owned()
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

    /// Makes true what the reader of the page has by now, and this person does not.
    fn prepares(&self, command: &str, bob: &Node) {
        match command {
            // The table has what is about files in one row, before the row about rooms.
            "hobnob broadcast --room ops --file plan.pdf" => {
                self.does("hobnob join ops --secret-file secret.txt")
            }
            "hobnob accept film.mp4" | "hobnob decline film.mp4" => {
                let film = self.folder().join("film.mp4");
                let film = film.to_str().expect("the lab's paths are ASCII");
                bob.run(&["send", &self.id(), "--wait", "sent", "--file", film])
                    .expect(0);
                until("the film is offered", PATIENCE, || {
                    let files = self
                        .machine
                        .run("sh", &["-c", &shell("hobnob files --json")])
                        .expect(0)
                        .json();
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

    /// Types a line, and it ends well.
    fn does(&self, line: &str) {
        self.machine.run("sh", &["-c", &shell(line)]).expect(0);
    }

    /// Types a line that does not end, and waits until this is on the screen. It ends when the
    /// terminal is closed.
    fn sees(&self, line: &str, text: &str) -> Terminal {
        let terminal = self
            .machine
            .terminal("sh", &["-c", &shell(&format!("exec {line}"))], SIZE);
        terminal.shows(text);
        terminal
    }
}

/// What the shell is told: the program is on the path, and one is in one's own folder.
fn shell(line: &str) -> String {
    let program = hobnob_binary();
    format!(
        "cd && PATH={}:$PATH && {line}",
        program.parent().expect("it is in a folder").display()
    )
}

const PATIENCE: Duration = Duration::from_secs(30);

const SIZE: Size = Size {
    columns: 200,
    rows: 50,
};
