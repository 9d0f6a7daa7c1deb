//! Mailboxes: peers that are never online at the same time. A relay or a node holds sealed envelopes.

mod clocks;
mod holders;
mod net;
mod nodes;
mod refusals;

use std::path::Path;

use hobnob_tests::lab::until;

use self::net::{LIMIT, MailNet, all_are};

/// "Both must be online" is the oldest complaint about chat without servers.
#[test]
fn messages_and_receipts_pass_between_peers_that_never_meet() {
    let net = MailNet::new();
    net.passes_without_meeting(1_000);
    let ann = &net.ann;
    until("ann has her mail", LIMIT, || match net.waiting_for(ann) {
        0 => Ok(()),
        waiting => Err(waiting.to_string()),
    });
    assert!(!net.relay.id().is_empty());
}

/// A holder learns sender, recipient, size and time.
#[test]
fn the_holders_disk_and_memory_have_no_text_and_no_name() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let word = "xylophone-in-the-attic";
    ann.queues(bob, word);
    let plan = ann.home().path().join("plan-of-the-harbour.txt");
    std::fs::write(&plan, "barricade the quay").expect("the lab's folder can be written to");
    let plan = plan.to_str().expect("the lab's paths are ASCII");
    ann.run(&["send", bob.id(), "--wait", "queued", "--file", plan])
        .expect(0);
    all_are(ann, bob, "held");
    assert!(net.waiting_for(bob) > 0);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&net.mail).expect("the folder of the relay") {
        files.push(entry.expect("a file").path());
    }
    let holds = |needle: &[u8]| files.iter().any(|file| contains(file, needle));
    assert!(!holds(word.as_bytes()), "the text");
    assert!(!holds(b"xylophone"), "a part of the text");
    assert!(!holds(b"plan-of-the-harbour"), "the name of a file");
    assert!(!holds(b"barricade"), "its content");
    let id: hobnob_protocol::DeviceId = ann.id().parse().expect("an id");
    assert!(holds(id.as_bytes()), "the control: the sender is there");

    let folder = net.mail.to_str().expect("the lab's paths are ASCII");
    let secrets = [
        word,
        "xylophone",
        "plan-of-the-harbour",
        "barricade the quay",
    ];
    let searched: Vec<String> = secrets
        .into_iter()
        .chain([folder])
        .map(str::to_owned)
        .collect();
    let found: Vec<String> = net.relay.memory_contains(&searched).into_iter().collect();
    assert_eq!(found, [folder], "the control is there, and nothing else");
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    let bytes = std::fs::read(file).expect("it can be read");
    bytes.windows(needle.len()).any(|window| window == needle)
}
