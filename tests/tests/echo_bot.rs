//! The echo bot, a program of another language that has a node as its child: it answers everything
//! once, whatever befalls it.

use std::time::Duration;

use hobnob_control::{Claim, Home};
use hobnob_tests::lab::{Lab, Machine, Node, Screen, hobnob_binary, until};

/// The bot on a machine, with a node of its own.
struct Bot<'a> {
    machine: &'a Machine,
    running: Option<Screen>,
}

impl Bot<'_> {
    fn start(&mut self) {
        let node = hobnob_binary();
        let home = self.machine.home("echo").path().to_owned();
        let path =
            |path: &std::path::Path| path.to_str().expect("the lab's paths are ASCII").to_owned();
        let arguments = [
            path(&node),
            "up".into(),
            "--json".into(),
            "--nick".into(),
            "echo".into(),
            "--home".into(),
            path(&home),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.running = Some(self.machine.screen(BOT, &arguments));
    }

    /// Kills the bot, and waits until its node, which nobody hears any more, has ended.
    fn kill(&mut self) {
        drop(self.running.take());
        let home = Home::at(self.machine.home("echo").path()).expect("a path");
        until(
            "the node of a bot that was killed ends",
            PATIENCE,
            || match home.claim() {
                Ok(Claim::Ours(_)) => Ok(()),
                Ok(Claim::Busy(pid)) => Err(format!("process {pid:?} runs")),
                Err(error) => Err(error.to_string()),
            },
        );
    }
}

#[test]
fn it_says_everything_back_once_and_in_order_although_it_is_killed_again_and_again() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let machine = office.machine("echo");
    let mut bot = Bot {
        machine: &machine,
        running: None,
    };
    bot.start();
    until("ann can name the bot", PATIENCE, || {
        match ann.run(&["send", "echo", "0"]).code {
            // Delivered, or to be delivered; only then has it been said.
            Some(0 | 4) => Ok(()),
            code => Err(format!("exit code {code:?}")),
        }
    });
    for round in 0..KILLS {
        for n in round * EACH..(round + 1) * EACH {
            ann.queues("echo", &(n + 1).to_string());
        }
        // In the midst of its answers, or before the first, or after the last: however far it has
        // come.
        bot.kill();
        bot.start();
    }
    let last = KILLS * EACH;
    ann.shows_once_within(&format!("echo: {last}"), PATIENCE);
    let expected: Vec<_> = (0..=last).map(|n| format!("echo: {n}")).collect();
    assert_eq!(echoes(&ann), expected);
}

/// What the bot has said to this node, as it was shown.
fn echoes(node: &Node) -> Vec<String> {
    let texts = node
        .events()
        .into_iter()
        .filter(|event| event["event"] == "message" && event["nick"] == "echo");
    texts
        .map(|event| event["text"].as_str().expect("a bot of texts").to_owned())
        .collect()
}

const BOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/echo-bot");

const KILLS: u32 = 5;

/// Messages between two kills.
const EACH: u32 = 10;

const PATIENCE: Duration = Duration::from_secs(30);
