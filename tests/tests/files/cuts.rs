//! One transfer that is interrupted repeatedly: an end is killed, the relay is killed, or the path
//! is cut. `CUTS` sets the number of interruptions, `SEED` their kinds.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use hobnob_tests::lab::{Filter, Lab, Nat, Node, pause, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::actions::{TIMEOUT, beside};
use crate::{FileActions, bytes_of, same};

/// Few enough for each run of the test suite. For a long run, use `CUTS=200`.
const CUTS: u64 = 8;

/// Bytes for each interruption, so that the transfer takes longer than all of them.
const BYTES_PER_CUT: u64 = 64 << 20;

#[test]
fn a_transfer_that_is_interrupted_repeatedly_completes_with_the_right_content() {
    let lab = Lab::open();
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let (cuts, seed) = (
        number("CUTS").unwrap_or(CUTS),
        number("SEED").unwrap_or_else(any_seed),
    );
    eprintln!("SEED={seed} CUTS={cuts} repeats the same interruptions, at other moments");
    let mut rng = StdRng::seed_from_u64(seed);
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let sites = [net.site(Nat::FullCone), net.site(Nat::PortRestricted)];
    let up = |site: usize, nick: &str| {
        sites[site]
            .machine(nick)
            .up(nick, &["--relay", &relay.name()])
    };
    let (ann, bob) = (up(0, "ann"), up(1, "bob"));
    ann.sees(&bob);
    bob.sees(&ann);
    let file = sparse_file(&ann, cuts * BYTES_PER_CUT, seed);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    let mut made = 0;
    while made < cuts {
        progresses(&bob, &id);
        if has(&bob, &id) == u64::MAX {
            assert!(
                made > 0,
                "the transfer completed before the first interruption"
            );
            break;
        }
        made += 1;
        pause(Duration::from_millis(rng.random_range(0..200)));
        match rng.random_range(0..4) {
            0 => restart(&ann),
            1 => restart(&bob),
            2 => {
                relay.kill9();
                relay.start();
            }
            _ => {
                net.cut(&sites[0], &sites[1]);
                pause(Duration::from_millis(rng.random_range(0..2_000)));
                net.heal(&sites[0], &sites[1]);
            }
        }
    }
    eprintln!(
        "{made} interruptions, at {} of {} MiB",
        has(&bob, &id) >> 20,
        (cuts * BYTES_PER_CUT) >> 20
    );
    same(&file, &saved_at(&bob, &id));
}

#[test]
fn a_transfer_continues_over_tcp_while_udp_is_blocked() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let sites = [net.site(Nat::Symmetric), net.site(Nat::Symmetric)];
    let up = |site: usize, nick: &str| {
        let machine = sites[site].machine(nick);
        machine.up(nick, &["--relay", &relay.name()])
    };
    let (ann, bob) = (up(0, "ann"), up(1, "bob"));
    ann.sees(&bob);
    bob.sees(&ann);
    let file = sparse_file(&ann, ROUNDS * BYTES_PER_CUT, 1);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    progresses(&bob, &id);
    let mut blocked = 0;
    while blocked < ROUNDS && has(&bob, &id) != u64::MAX {
        for filter in [Filter::UdpDropped, Filter::Open] {
            sites[0].filter(filter);
            progresses(&bob, &id);
        }
        blocked += 1;
    }
    assert!(blocked > 1, "the file was too short");
    same(&file, &saved_at(&bob, &id));
}

/// How often UDP is blocked, at most.
const ROUNDS: u64 = 5;

#[expect(
    clippy::disallowed_methods,
    reason = "a new seed for each run, which is printed"
)]
fn any_seed() -> u64 {
    rand::random()
}

fn restart(node: &Node) {
    node.kill9();
    node.start();
}

/// Waits until the transfer is done. Returns where Bob has the file.
fn saved_at(bob: &Node, id: &str) -> std::path::PathBuf {
    // Bob reports the completion only once, perhaps just before he was killed. So the test reads
    // the state from his list.
    until("the transfer is done", TIMEOUT, || match bob.state_of(id) {
        state if state["state"] == "done" => Ok(()),
        state => Err(state.to_string()),
    });
    let state = bob.state_of(id);
    let path = state["saved"].as_str();
    path.expect("a completed download has a path").into()
}

/// Waits until the transfer progresses or completes.
pub(crate) fn progresses(bob: &Node, id: &str) {
    let before = has(bob, id);
    until("the transfer progresses", TIMEOUT, || {
        let now = has(bob, id);
        if now > before || now == u64::MAX {
            Ok(())
        } else {
            Err(format!("{now} bytes"))
        }
    });
}

/// The number of bytes that bob last reported, or `u64::MAX` if the transfer is done.
pub(crate) fn has(bob: &Node, id: &str) -> u64 {
    let events = bob.events();
    let last = events
        .iter()
        .rev()
        .find(|event| event["event"] == "file" && event["id"] == *id);
    let last = last.expect("the offer was reported");
    if last["state"] == "done" {
        u64::MAX
    } else {
        last["bytes"].as_u64().unwrap_or(0)
    }
}

/// A long sparse file: random in some places, so that it uses little disk space.
pub(crate) fn sparse_file(node: &Node, len: u64, seed: u64) -> std::path::PathBuf {
    let path = beside(node).join("film.mp4");
    let file = fs::File::create(&path).expect("the lab's folder can be written to");
    file.set_len(len).expect("a file can have a hole");
    for place in (0..len).step_by(1 << 20) {
        file.write_all_at(
            &bytes_of(seed ^ place, 10_000),
            place + place / 1024 % 900_000,
        )
        .expect("there is disk space");
    }
    file.set_len(len).expect("the file can be truncated");
    path
}
