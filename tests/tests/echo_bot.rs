//! The echo bot, a Python program that runs a node as its child process. It answers each message
//! once, even if it is killed.

use std::time::Duration;

use hobnob_control::{Claim, Home};
use hobnob_tests::lab::{Lab, Machine, Node, Screen, hobnob_binary, until};

/// The bot with its node on a machine.
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

    /// Kills the bot and waits until its node, which has lost its input and output, has exited.
    fn kill(&mut self) {
        drop(self.running.take());
        let home = Home::at(self.machine.home("echo").path()).expect("the path is valid");
        until("the node of a killed bot exits", TIMEOUT, || {
            match home.claim() {
                Ok(Claim::Ours(_)) => Ok(()),
                Ok(Claim::Busy(pid)) => Err(format!("process {pid:?} still runs")),
                Err(error) => Err(error.to_string()),
            }
        });
    }
}

#[test]
fn the_bot_echoes_each_message_once_and_in_order_although_it_is_killed_repeatedly() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let machine = office.machine("echo");
    let mut bot = Bot {
        machine: &machine,
        running: None,
    };
    bot.start();
    until("ann's node can resolve the bot's name", TIMEOUT, || {
        match ann.run(&["send", "echo", "0"]).code {
            // Delivered or queued. With any other code the message was not sent.
            Some(0 | 4) => Ok(()),
            code => Err(format!("exit code {code:?}")),
        }
    });
    for round in 0..KILLS {
        for n in round * EACH..(round + 1) * EACH {
            ann.queues("echo", &(n + 1).to_string());
        }
        // The bot is killed before, during or after its answers, depending on how fast it is.
        bot.kill();
        bot.start();
    }
    let last = KILLS * EACH;
    ann.shows_once_within(&format!("echo: {last}"), TIMEOUT);
    let expected: Vec<_> = (0..=last).map(|n| format!("echo: {n}")).collect();
    assert_eq!(echoes(&ann), expected);
}

/// The bot's answers, in the order in which the node showed them.
fn echoes(node: &Node) -> Vec<String> {
    let texts = node
        .events()
        .into_iter()
        .filter(|event| event["event"] == "message" && event["nick"] == "echo");
    texts
        .map(|event| {
            event["text"]
                .as_str()
                .expect("the bot sends texts")
                .to_owned()
        })
        .collect()
}

const BOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/echo-bot");

const KILLS: u32 = 5;

/// Messages between two kills.
const EACH: u32 = 10;

const TIMEOUT: Duration = Duration::from_secs(30);
