//! The checkers example: two programs that embed the library play in the lab.

use std::time::Duration;

use hobnob::DeliveryState;
use hobnob_control::wire::{RequestLine, SendMessage, Text, WaitOptions, to_line};
use hobnob_protocol::{Body, Target};
use hobnob_tests::lab::{Lab, Machine, Nat, Screen, checkers_binary, hobnob_binary, until};
use serde_json::{Value, json};

/// A whole game: white makes multiple captures, crowns men, and leaves black without a move.
const GAME: &str = "10-15 23-19 12-16 19x12 9-13 21-17 7-10 26-23 3-7 12x3 4-8 3x12 5-9 23-18 15-19 24x15x8 10-14 17x10x3 9-14 18x9 \
                    13-17 22x13 2-7 9x2 1-5 2x11 5-9 13x6";

/// A player on a machine. The test can kill the program and start it again.
struct Player<'a> {
    machine: &'a Machine,
    nick: &'static str,
    arguments: Vec<String>,
    running: Option<Screen>,
}

impl<'a> Player<'a> {
    fn joins(machine: &'a Machine, nick: &'static str, more: &[&str]) -> Self {
        let home = machine
            .home(nick)
            .path()
            .to_str()
            .expect("the lab's paths are ASCII")
            .to_owned();
        let arguments = ["--home", &home, "--nick", nick]
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect();
        let mut player = Self {
            machine,
            nick,
            arguments,
            running: None,
        };
        player.start();
        player
    }

    fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.running = Some(self.machine.screen(checkers_binary(), &arguments));
    }

    /// Kills the program, like a power failure, and starts it again.
    fn is_killed_and_restarts(&mut self) {
        drop(self.running.take());
        self.start();
    }

    fn types(&mut self, line: &str) {
        self.running.as_mut().expect("the program runs").types(line);
    }

    /// Waits until the program has shown this text in the current run.
    fn shows(&self, text: &str) {
        self.running.as_ref().expect("the program runs").shows(text);
    }
}

#[test]
fn a_game_through_a_relay_survives_crashes_of_both_players_and_of_the_relay() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let (home, office) = (net.site(Nat::Symmetric), net.site(Nat::Symmetric));
    let (kitchen, desk) = (home.machine("ann"), office.machine("bob"));
    let relay_name = relay.name();
    let [mut ann, mut bob] = [(&kitchen, "ann"), (&desk, "bob")]
        .map(|(machine, nick)| Player::joins(machine, nick, &["--relay", &relay_name]));
    ann.shows("bob is here.");
    ann.types("challenge bob");
    bob.shows("ann challenges you to a game");
    bob.types("accept");
    ann.shows("begins: you play black, and move first.");
    bob.shows("begins: you play white, and ann moves first.");
    for (made, number) in GAME.split_whitespace().zip(1..) {
        let (mover, other) = if number % 2 == 1 {
            (&mut ann, &mut bob)
        } else {
            (&mut bob, &mut ann)
        };
        mover.types(made);
        mover.shows(&format!("Move {number}: you play {made}."));
        if number == RELAY_KILLED_AT {
            relay.kill9();
            relay.start();
        }
        other.shows(&format!("Move {number}: {} plays {made}.", mover.nick));
        if number == PLAYERS_KILLED_AT {
            for player in [&mut ann, &mut bob] {
                player.is_killed_and_restarts();
                player.shows(&format!("{PLAYERS_KILLED_AT} moves are made."));
            }
        }
    }
    bob.shows("The game is over: black can't move, you have won.");
    ann.shows("The game is over: black can't move, bob has won.");
    // Both have stored the result on disk, and they can play another game.
    for player in [&mut ann, &mut bob] {
        player.is_killed_and_restarts();
        player.types("games");
        player.shows("The game is over: black can't move");
    }
    bob.shows("ann is here.");
    bob.types("challenge ann");
    ann.shows("bob challenges you to a game");
    ann.types("accept");
    ann.shows("begins: you play white, and bob moves first.");
}

#[test]
fn illegal_moves_are_rejected_and_shown() {
    let lab = Lab::open();
    let lan = lab.switch();
    let (table, cheat) = (lan.machine("ann"), lan.machine("bob"));
    let mut ann = Player::joins(&table, "ann", &[]);
    let mut bob = Cheat::on(&cheat);
    ann.shows("bob is here.");
    ann.types("challenge bob");
    let (ann_id, game) = bob.receives_challenge();
    bob.sends(&ann_id, &json!({"say": "accept", "game": game}));
    ann.shows("begins: you play black, and move first.");
    let step = |number: u32, path: [u8; 2]| json!({"say": "move", "game": game, "number": number, "path": path});
    bob.sends(&ann_id, &step(1, [22, 18]));
    ann.shows("Refused what bob said: it is out of turn.");
    ann.types("11-16");
    ann.shows("Move 1: you play 11-16.");
    bob.sends(&ann_id, &step(2, [22, 14]));
    ann.shows("Refused what bob said: it is against the rules.");
    bob.sends(&ann_id, &json!({"say": "I have won"}));
    ann.shows("Refused what bob said: it can't be read");
    ann.types("22-18");
    ann.shows("it is not your turn");
    bob.sends(&ann_id, &step(2, [22, 18]));
    ann.shows("Move 2: bob plays 22-18.");
    ann.is_killed_and_restarts();
    ann.shows("2 moves are made. Your move.");
    ann.types("16-23");
    ann.shows("that is against the rules");
}

/// A node that sends any message.
struct Cheat(Screen);

impl Cheat {
    fn on(machine: &Machine) -> Self {
        let home = machine
            .home("bob")
            .path()
            .to_str()
            .expect("the lab's paths are ASCII")
            .to_owned();
        Self(machine.screen(
            hobnob_binary(),
            &["up", "--json", "--nick", "bob", "--home", &home],
        ))
    }

    /// Waits for the challenge. Returns the challenger and the message's id.
    fn receives_challenge(&self) -> (String, String) {
        until("the challenge arrives", Duration::from_secs(30), || {
            let printed = String::from_utf8_lossy(&self.0.bytes()).into_owned();
            let lines = printed
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let challenge = lines
                .into_iter()
                .find(|line| line["kind"] == "org.hobnob.checkers")
                .ok_or("no checkers message")?;
            let field = |name: &str| {
                challenge[name]
                    .as_str()
                    .expect("a message has this field")
                    .to_owned()
            };
            Ok((field("from"), field("id")))
        })
    }

    fn sends(&mut self, to: &str, message: &Value) {
        let body = Body::App {
            kind: "org.hobnob.checkers".into(),
            bytes: message.to_string().into_bytes(),
        };
        let options = WaitOptions {
            wait: DeliveryState::Queued,
            timeout_ms: 0,
        };
        let target = Text(to.parse::<Target>().expect("an id"));
        let request = RequestLine {
            id: 1,
            request: SendMessage {
                client_id: None,
                target,
                body: body.into(),
                options,
            }
            .into(),
        };
        self.0.types(to_line(&request).trim_end());
    }
}

/// The relay is killed during this move.
const RELAY_KILLED_AT: u32 = 7;

/// Both players are killed after this move.
const PLAYERS_KILLED_AT: u32 = 13;
