//! `hobnob up` as a service: its output reads as a log, and a signal ends it cleanly and at once.

use std::time::Duration;

use hobnob_tests::lab::Lab;

#[test]
fn a_signal_ends_the_node_within_a_second_and_peers_notice_at_once() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    for signal in ["INT", "TERM"] {
        let ann = office.machine("ann").up("ann", &[]);
        ann.sees(&bob);
        bob.sees(&ann);
        // The lock file contains the process id. The lock is released when the process ends.
        let lock = ann
            .home()
            .path()
            .join("lock")
            .to_str()
            .expect("the lab's paths are ASCII")
            .to_owned();
        let script = format!("kill -{signal} $(head -n 1 {lock}) && flock -w 10 {lock} true");
        let ended = ann.machine().run("sh", &["-c", &script]).expect(0);
        assert!(ended.took < SECOND, "SIG{signal}: {ended}");
        bob.loses_within(&ann, SECOND);
    }
}

#[test]
fn the_log_shows_peers_messages_and_the_stop_with_dates() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("ann");
    let log = machine.home("ann").screen(&["up"]);
    log.shows("ann (");
    log.shows("ticket hobnob:");
    let bob = office.machine("bob").up("bob", &[]);
    log.shows("bob is here (lan, ");
    bob.says("good morning");
    log.shows("#lobby <bob> good morning");
    bob.terminate();
    log.shows("bob has left");
    let lock = machine
        .home("ann")
        .path()
        .join("lock")
        .to_str()
        .expect("the lab's paths are ASCII")
        .to_owned();
    machine
        .run("sh", &["-c", &format!("kill -TERM $(head -n 1 {lock})")])
        .expect(0);
    log.shows(" stopped");
    let text = String::from_utf8(log.bytes()).expect("UTF-8");
    for line in text.lines() {
        let dated = line.len() > 20
            && line.as_bytes()[4] == b'-'
            && line.as_bytes()[16] == b':'
            && line.as_bytes()[19] == b' ';
        assert!(dated, "{line:?} in:\n{text}");
    }
    assert_eq!(text.matches("bob is here").count(), 1, "{text}");
}

const SECOND: Duration = Duration::from_secs(1);
