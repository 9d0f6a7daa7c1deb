//! Transfers between two nodes, in rooms and through relays; their resumption after crashes;
//! refusals and failures.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, pause, until};

use crate::actions::{TIMEOUT, beside};
use crate::cuts::{has, progresses, sparse_file};
use crate::{FileActions, bytes_of, random_file, same};

#[test]
fn an_accepted_file_is_stored_in_the_downloads_folder() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "holiday.jpg", 5);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the owner may change it");
    let id = ann.offers(&bob, &file);
    let offer = bob.sees_offer(&id);
    assert_eq!(
        (offer["name"].as_str(), offer["media"].as_str()),
        (Some("holiday.jpg"), Some("image/jpeg")),
        "{offer}"
    );
    bob.accepts(&id);
    let place = bob.receives(&id);
    assert_eq!(place, bob.home().path().join("downloads/holiday.jpg"));
    same(&file, &place);
    assert_eq!(
        fs::metadata(&place)
            .expect("the file exists")
            .permissions()
            .mode()
            & 0o111,
        0,
        "received files are not executable"
    );
    let done = ann.sees_state(&id, "done");
    assert_eq!(done["peers"][0], bob.id());
    assert_eq!(
        ann.state_of(&id)["saved"].as_str(),
        file.to_str(),
        "the sender's file is not moved"
    );
    // A second download of the same file gets another name.
    let again = ann.offers(&bob, &file);
    bob.accepts(&again);
    assert_eq!(
        bob.receives(&again),
        bob.home().path().join("downloads/holiday (2).jpg")
    );
    let left: Vec<_> = fs::read_dir(bob.home().path().join("downloads"))
        .expect("the folder exists")
        .flatten()
        .collect();
    assert_eq!(left.len(), 2, "there are no other files: {left:?}");
}

#[test]
fn send_waits_until_the_recipient_has_the_file() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let bob = office
        .machine("bob")
        .up("bob", &["--accept-from", ann.id(), "--accept-max", "2M"]);
    ann.sees(&bob);
    let small = random_file(&ann, "small", 1);
    let sent = ann
        .run(&[
            "send",
            bob.id(),
            "--timeout",
            "60s",
            "--file",
            &small.to_string_lossy(),
        ])
        .expect(0);
    let id = sent
        .json()
        .into_iter()
        .find_map(|line| line["id"].as_str().map(str::to_owned))
        .expect("a line contains an id");
    same(&small, &bob.receives(&id));
    // A file above the limit for automatic downloads waits for the user's answer.
    let large = random_file(&ann, "large", 3);
    ann.run(&[
        "send",
        bob.id(),
        "--timeout",
        "1s",
        "--file",
        &large.to_string_lossy(),
    ])
    .expect(4);
}

#[test]
fn settings_choose_the_downloads_folder_and_automatic_downloads() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let home = office.machine("bob").home("bob");
    fs::create_dir_all(home.path()).expect("the lab's folder can be written to");
    let folder = home.path().join("from others");
    let settings = format!(
        "downloads = {folder:?}\naccept-from = [\"{}\"]\naccept-max = \"2M\"\n",
        ann.id()
    );
    fs::write(home.path().join("config.toml"), settings)
        .expect("the lab's folder can be written to");
    let bob = home.up(&[]);
    ann.sees(&bob);
    let small = random_file(&ann, "small", 1);
    assert_eq!(
        bob.receives(&ann.offers(&bob, &small)),
        folder.join("small")
    );
    let large = ann.offers(&bob, &random_file(&ann, "large", 3));
    bob.sees_offer(&large);
    assert_eq!(bob.state_of(&large)["state"], "offered");
}

#[test]
fn a_folder_is_transferred_with_all_its_files_but_without_links() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let folder = beside(&ann).join("project");
    fs::create_dir_all(folder.join("src/deep")).expect("a folder can be created");
    fs::create_dir_all(folder.join("empty")).expect("a folder can be created");
    for (name, bytes) in [
        ("README", bytes_of(1, 100)),
        ("src/a", bytes_of(2, 70_000)),
        ("src/deep/b", bytes_of(3, 5_000_000)),
        ("src/nothing", Vec::new()),
        (".hidden", bytes_of(4, 10)),
    ] {
        fs::write(folder.join(name), bytes).expect("a file can be created");
    }
    symlink("/etc/passwd", folder.join("passwords")).expect("a link can be created");
    let id = ann.offers(&bob, &folder);
    bob.accepts(&id);
    let place = bob.receives(&id);
    assert_eq!(place, bob.home().path().join("downloads/project"));
    for name in ["README", "src/a", "src/deep/b", "src/nothing"] {
        same(&folder.join(name), &place.join(name));
    }
    same(&folder.join(".hidden"), &place.join("_hidden"));
    assert!(place.join("empty").is_dir());
    assert!(
        place.join("passwords").symlink_metadata().is_err(),
        "links are not transferred"
    );
}

#[test]
fn empty_and_sparse_files_are_transferred() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let empty = beside(&ann).join("empty");
    fs::write(&empty, "").expect("a file can be created");
    let sparse = beside(&ann).join("sparse");
    let file = fs::File::create(&sparse).expect("a file can be created");
    file.set_len(300 << 20).expect("a file can have a hole");
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the midst", 200 << 20)
        .expect("there is disk space");
    for path in [&empty, &sparse] {
        let id = ann.offers(&bob, path);
        bob.accepts(&id);
        same(path, &bob.receives(&id));
    }
    let used = std::os::unix::fs::MetadataExt::blocks(
        &fs::metadata(bob.home().path().join("downloads/sparse")).expect("the file was received"),
    );
    assert!(
        used * 512 < 10 << 20,
        "the copy is sparse too: {} bytes",
        used * 512
    );
}

#[test]
fn a_killed_receiver_resumes_the_download() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "film.mp4", 300);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    let had = bob.has_received(&id, 10);
    bob.kill9();
    bob.start();
    let first = bob.wait_for(
        "resume",
        |event| event["event"] == "file" && event["id"] == *id && event["bytes"] != 0,
        TIMEOUT,
    );
    assert!(
        first["bytes"].as_u64() >= Some(had),
        "{had} bytes had been received before the restart, after it: {first}"
    );
    same(&file, &bob.receives(&id));
    ann.sees_state(&id, "done");
}

#[test]
fn a_download_resumes_after_the_sender_was_killed() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "film.mp4", 300);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    bob.has_received(&id, 10);
    ann.kill9();
    pause(Duration::from_millis(300));
    ann.start();
    same(&file, &bob.receives(&id));
    ann.sees_state(&id, "done");
}

#[test]
fn a_peer_that_quits_during_a_transfer_is_offline_but_not_lost() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = sparse_file(&ann, 1 << 30, 7);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    let mut quits_so_far = 0;
    for (quits, stays) in [(&ann, &bob), (&bob, &ann)].repeat(3) {
        ann.sees(&bob);
        bob.sees(&ann);
        progresses(&bob, &id);
        if has(&bob, &id) == u64::MAX {
            break;
        }
        quits_so_far += 1;
        quits.terminate();
        stays.loses_within(quits, Duration::from_secs(2));
        let lines = stays.peers();
        assert!(lines.iter().all(|line| line["lost"].is_null()), "{lines:?}");
        quits.start();
    }
    assert!(
        quits_so_far > 0,
        "the transfer was done before the first quit"
    );
}

#[test]
fn a_room_member_with_the_file_serves_it_when_its_author_is_offline() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|nick| office.machine(nick).up(nick, &[]));
    for node in [&ann, &bob, &cid] {
        node.joins("club", "four unrelated words");
    }
    for (node, other) in [(&ann, &bob), (&ann, &cid), (&bob, &cid)] {
        node.sees(other);
        other.sees(node);
    }
    let file = random_file(&ann, "song.ogg", 20);
    let id = ann.offers_in("club", &file);
    bob.accepts(&id);
    same(&file, &bob.receives(&id));
    cid.sees_offer(&id);
    ann.terminate();
    cid.accepts(&id);
    same(&file, &cid.receives(&id));
}

#[test]
fn a_file_is_downloaded_from_two_sources_at_once() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|nick| office.machine(nick).up(nick, &[]));
    for (node, other) in [(&ann, &bob), (&ann, &cid), (&bob, &cid)] {
        node.sees(other);
        other.sees(node);
    }
    let file = random_file(&ann, "big", 300);
    let id = ann.offers_in("lobby", &file);
    bob.accepts(&id);
    bob.receives(&id);
    ann.sees_state(&id, "done");
    cid.accepts(&id);
    let both = |event: &serde_json::Value| {
        event["event"] == "file"
            && event["id"] == *id
            && event["peers"]
                .as_array()
                .is_some_and(|peers| peers.len() == 2)
    };
    cid.wait_for("download from both", both, TIMEOUT);
    same(&file, &cid.receives(&id));
}

#[test]
fn a_transfer_continues_on_another_path() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let sites = [net.site(Nat::FullCone), net.site(Nat::PortRestricted)];
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        let site = if nick == "ann" { &sites[0] } else { &sites[1] };
        site.machine(nick).up(nick, &["--relay", &relay.name()])
    });
    ann.are_contacts(&bob);
    ann.connects_over("direct", &bob, Duration::from_secs(30));
    let file = random_file(&ann, "film.mp4", 200);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    bob.has_received(&id, 5);
    net.cut(&sites[0], &sites[1]);
    bob.connects_over("relay", &ann, Duration::from_secs(60));
    same(&file, &bob.receives(&id));
}

#[test]
fn a_file_is_transferred_through_a_relay() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let sites = [net.site(Nat::Symmetric), net.site(Nat::Symmetric)];
    let (ann, bob) = (
        sites[0]
            .machine("ann")
            .up("ann", &["--relay", &relay.name()]),
        sites[1]
            .machine("bob")
            .up("bob", &["--relay", &relay.name()]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    let file = random_file(&ann, "photo.png", 20);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    same(&file, &bob.receives(&id));
    assert!(
        bob.is_connected_over("relay", &ann),
        "the session uses the relay"
    );
}

#[test]
fn the_other_side_is_informed_of_a_declined_or_withdrawn_offer() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "spam", 200);
    let id = ann.offers(&bob, &file);
    bob.sees_offer(&id);
    bob.run(&["decline", &id]).expect(0);
    assert_eq!(ann.sees_state(&id, "declined")["peers"][0], bob.id());
    // During the transfer, declining deletes the partial download, and withdrawing ends the
    // transfer.
    let stopped = ann.offers(&bob, &file);
    bob.accepts(&stopped);
    bob.has_received(&stopped, 1);
    bob.run(&["decline", &stopped]).expect(0);
    assert_eq!(parts(&bob), [""; 0]);
    let withdrawn = ann.offers(&bob, &file);
    bob.accepts(&withdrawn);
    bob.has_received(&withdrawn, 1);
    ann.run(&["decline", &withdrawn]).expect(0);
    assert!(
        bob.sees_state(&withdrawn, "failed")["why"]
            .as_str()
            .is_some_and(|why| why.contains("withdrew the offer"))
    );
    assert_eq!(parts(&bob), [""; 0], "the partial download is deleted too");
    assert_eq!(bob.state_of(&stopped)["state"], "declined");
}

#[test]
fn a_paused_download_keeps_its_part_and_continues_when_it_is_resumed() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "film.mp4", 200);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    bob.has_received(&id, 1);
    bob.run(&["pause", &id]).expect(0);
    assert_eq!(bob.state_of(&id)["state"], "paused");
    assert_eq!(parts(&bob).len(), 1, "the part stays");
    bob.run(&["resume", &id]).expect(0);
    same(&file, &bob.receives(&id));
}

#[test]
fn a_sender_pauses_a_transfer_and_lets_it_go_on() {
    let lab = Lab::open();
    let office = lab.switch();
    let home = office.machine("ann").home("ann");
    fs::create_dir_all(home.path()).expect("the lab's folder can be written to");
    // Slow enough to be paused.
    fs::write(home.path().join("config.toml"), "upload-limit = \"4M\"\n")
        .expect("the lab's folder can be written to");
    let (ann, bob) = (home.up(&[]), office.machine("bob").up("bob", &[]));
    ann.sees(&bob);
    let file = random_file(&ann, "film.mp4", 40);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    bob.has_received(&id, 5);
    ann.run(&["pause", &id]).expect(0);
    assert_eq!(ann.state_of(&id)["state"], "paused");
    let waits = |event: &serde_json::Value| {
        let why = event["why"].as_str().unwrap_or_default();
        event["id"] == *id && why.contains("its sender has paused it")
    };
    bob.wait_for("wait for the sender", waits, TIMEOUT);
    // A restart changes nothing: the sender's decision and the part at the recipient are stored.
    ann.restart();
    bob.restart();
    ann.sees(&bob);
    assert_eq!(ann.state_of(&id)["state"], "paused");
    assert_ne!(bob.state_of(&id)["state"], "done");
    ann.run(&["resume", &id]).expect(0);
    same(&file, &bob.receives(&id));
    ann.sees_state(&id, "done");
    ann.run(&["pause", &id]).expect(2);
}

#[test]
fn an_offer_withdrawn_while_the_receiver_is_offline_leaves_no_files_and_deletes_no_others() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "film.mp4", 200);
    let [open, withdrawn, declined] = [(); 3].map(|()| ann.offers(&bob, &file));
    for id in [&open, &withdrawn] {
        bob.accepts(id);
        bob.has_received(id, 1);
    }
    bob.sees_offer(&declined);
    bob.run(&["decline", &declined]).expect(0);
    bob.kill9();
    ann.run(&["decline", &withdrawn]).expect(0);
    ann.terminate();
    // Simulates a run that ended between declining and deleting, and files of another home in the
    // same folder.
    let (downloads, content) = (
        bob.home().path().join("downloads"),
        bob.home().path().join("content"),
    );
    let part = |id: &str| format!(".hobnob-{id}.part");
    fs::write(content.join(format!("{declined}.part")), "leaves").expect("the owner may change it");
    for name in [
        part(&declined),
        part("00000000000000aa-7"),
        "holiday.part".to_owned(),
    ] {
        fs::write(downloads.join(name), "part").expect("the owner may change it");
    }
    let kept = [part("00000000000000aa-7"), "holiday.part".to_owned()];
    bob.start();
    let are_left = |ids: &[&String]| {
        let mut expected = [ids.iter().map(|id| part(id)).collect(), kept.to_vec()].concat();
        expected.sort();
        until("only these partial downloads are left", TIMEOUT, || {
            if parts(&bob) == expected {
                Ok(())
            } else {
                Err(parts(&bob).join(" "))
            }
        });
    };
    are_left(&[&open, &withdrawn]);
    ann.start();
    same(&file, &bob.receives(&open));
    bob.sees_state(&withdrawn, "failed");
    are_left(&[]);
}

/// The names of partial downloads in the downloads folder, including files that only have the same
/// extension.
fn parts(node: &Node) -> Vec<String> {
    let folder = fs::read_dir(node.home().path().join("downloads")).expect("the folder exists");
    let names = folder.map(|entry| {
        entry
            .expect("the folder can be read")
            .file_name()
            .into_string()
            .expect("the names are UTF-8")
    });
    let mut parts: Vec<String> = names.filter(|name| name.ends_with(".part")).collect();
    parts.sort();
    parts
}

#[test]
fn both_sides_are_informed_if_an_offered_file_has_changed() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let file = random_file(&ann, "report.txt", 1);
    let id = ann.offers(&bob, &file);
    bob.sees_offer(&id);
    fs::write(&file, "something else").expect("the owner may change it");
    bob.accepts(&id);
    for node in [&ann, &bob] {
        let failed = node.sees_state(&id, "failed");
        assert!(
            failed["why"]
                .as_str()
                .is_some_and(|why| why.contains("changed since it was offered")),
            "{failed}"
        );
    }
    assert!(!bob.home().path().join("downloads/report.txt").exists());
}

#[test]
fn a_download_waits_while_the_disk_is_full() {
    let lab = Lab::open();
    let office = lab.switch();
    let home = office.machine("bob").home("bob");
    home.put_on_small_disk("80m");
    let (ann, bob) = (office.machine("ann").up("ann", &[]), home.up(&[]));
    ann.sees(&bob);
    let file = random_file(&ann, "film.mp4", 40);
    let id = ann.offers(&bob, &file);
    let too_big = ann.offers(&bob, &random_file(&ann, "longer.mp4", 100));
    bob.sees_offer(&too_big);
    bob.run(&["accept", &too_big])
        .expect(1)
        .says(&["too little space"]);
    bob.sees_offer(&id);
    // Something else fills the disk after the offer was accepted.
    ann.terminate();
    bob.run(&["accept", &id, "--timeout", "1ms"]).expect(4);
    home.fill_disk();
    ann.start();
    let full = |event: &serde_json::Value| {
        event["id"] == *id
            && event["why"]
                .as_str()
                .is_some_and(|why| why.contains("disk is full"))
    };
    bob.wait_for("wait for room", full, TIMEOUT);
    home.free_disk();
    let place = bob.receives(&id);
    bob.machine()
        .run("cmp", &[&file.to_string_lossy(), &place.to_string_lossy()])
        .expect(0);
}
