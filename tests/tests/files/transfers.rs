//! Transfers that nothing stops: from one to one, in rooms, through relays, over cuts of every
//! kind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, pause, until};

use crate::actions::{PATIENCE, beside};
use crate::cuts::{has, islands, moves_on};
use crate::{FileActions, bytes_of, random_file, same};

fn two(lab: &Lab) -> (Node, Node) {
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

#[test]
fn a_file_goes_from_one_to_the_other_and_lands_where_files_land() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = random_file(&ann, "holiday.jpg", 5);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
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
            .expect("it is there")
            .permissions()
            .mode()
            & 0o111,
        0,
        "nothing that comes can be run"
    );
    let told = ann.sees_state(&id, "done");
    assert_eq!(told["peers"][0], bob.id());
    assert_eq!(
        ann.state_of(&id)["saved"].as_str(),
        file.to_str(),
        "one's own is where it was"
    );
    // The same again gets another name.
    let again = ann.offers(&bob, &file);
    bob.accepts(&again);
    assert_eq!(
        bob.receives(&again),
        bob.home().path().join("downloads/holiday (2).jpg")
    );
    let left: Vec<_> = fs::read_dir(bob.home().path().join("downloads"))
        .expect("it is there")
        .flatten()
        .collect();
    assert_eq!(left.len(), 2, "nothing else is left there: {left:?}");
}

#[test]
fn send_waits_until_the_other_side_has_it() {
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
        .expect("an id");
    same(&small, &bob.receives(&id));
    // What is larger than what is taken unasked waits for an answer.
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
fn settings_say_where_files_go_and_whose_are_taken_unasked() {
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
fn a_folder_comes_with_everything_in_it_but_links() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let folder = beside(&ann).join("project");
    fs::create_dir_all(folder.join("src/deep")).expect("a folder");
    fs::create_dir_all(folder.join("empty")).expect("a folder");
    for (name, bytes) in [
        ("README", bytes_of(1, 100)),
        ("src/a", bytes_of(2, 70_000)),
        ("src/deep/b", bytes_of(3, 5_000_000)),
        ("src/nothing", Vec::new()),
        (".hidden", bytes_of(4, 10)),
    ] {
        fs::write(folder.join(name), bytes).expect("a file");
    }
    symlink("/etc/passwd", folder.join("passwords")).expect("a link");
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
        "links stay at home"
    );
}

#[test]
fn empty_and_sparse_files_are_files_too() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let empty = beside(&ann).join("empty");
    fs::write(&empty, "").expect("a file");
    let sparse = beside(&ann).join("sparse");
    let file = fs::File::create(&sparse).expect("a file");
    file.set_len(300 << 20).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the midst", 200 << 20)
        .expect("there is room");
    for path in [&empty, &sparse] {
        let id = ann.offers(&bob, path);
        bob.accepts(&id);
        same(path, &bob.receives(&id));
    }
    let used = std::os::unix::fs::MetadataExt::blocks(
        &fs::metadata(bob.home().path().join("downloads/sparse")).expect("it came"),
    );
    assert!(
        used * 512 < 10 << 20,
        "the holes stay holes: {} bytes",
        used * 512
    );
}

#[test]
fn a_receiver_that_is_killed_goes_on_where_it_was() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = random_file(&ann, "film.mp4", 300);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    let had = bob.has_received(&id, 10);
    bob.kill9();
    bob.start();
    let first = bob.wait_for(
        "go on",
        |event| event["event"] == "file" && event["id"] == *id && event["bytes"] != 0,
        PATIENCE,
    );
    assert!(
        first["bytes"].as_u64() >= Some(had),
        "{had} bytes were here, and now: {first}"
    );
    same(&file, &bob.receives(&id));
    ann.sees_state(&id, "done");
}

#[test]
fn a_sender_that_is_killed_goes_on_where_it_was() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
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
fn whoever_quits_amid_a_file_has_left_and_is_not_lost() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = islands(&ann, 1 << 30, 7);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    let mut quit = 0;
    for (quits, stays) in [(&ann, &bob), (&bob, &ann)].repeat(3) {
        ann.sees(&bob);
        bob.sees(&ann);
        moves_on(&bob, &id);
        if has(&bob, &id) == u64::MAX {
            break;
        }
        quit += 1;
        quits.terminate();
        stays.loses_within(quits, Duration::from_secs(2));
        let lines = stays.peers();
        assert!(lines.iter().all(|line| line["lost"].is_null()), "{lines:?}");
        quits.start();
    }
    assert!(quit > 0, "it was over before anybody had quit");
}

#[test]
fn in_a_room_who_has_it_serves_it_when_its_author_has_gone() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|nick| office.machine(nick).up(nick, &[]));
    for node in [&ann, &bob, &cid] {
        node.joins("club", "secret");
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
fn two_sources_serve_at_once() {
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
    cid.wait_for("fetch from both", both, PATIENCE);
    same(&file, &cid.receives(&id));
}

#[test]
fn a_transfer_outlives_its_path() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let sites = [net.site(Nat::FullCone), net.site(Nat::PortRestricted)];
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        let site = if nick == "ann" { &sites[0] } else { &sites[1] };
        site.machine(nick).up(nick, &["--relay", &relay.name()])
    });
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
fn through_a_relay() {
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
        "it went through the relay"
    );
}

#[test]
fn no_is_heard_on_the_other_side() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = random_file(&ann, "spam", 200);
    let id = ann.offers(&bob, &file);
    bob.sees_offer(&id);
    bob.run(&["decline", &id]).expect(0);
    assert_eq!(ann.sees_state(&id, "declined")["peers"][0], bob.id());
    // Midway, the receiver's no removes what had come, and the sender's ends it.
    let stopped = ann.offers(&bob, &file);
    bob.accepts(&stopped);
    bob.has_received(&stopped, 1);
    bob.run(&["decline", &stopped]).expect(0);
    assert_eq!(parts(&bob), [""; 0]);
    let taken_back = ann.offers(&bob, &file);
    bob.accepts(&taken_back);
    bob.has_received(&taken_back, 1);
    ann.run(&["decline", &taken_back]).expect(0);
    assert!(
        bob.sees_state(&taken_back, "failed")["why"]
            .as_str()
            .is_some_and(|why| why.contains("taken it back"))
    );
    assert_eq!(parts(&bob), [""; 0], "what had come of it goes, too");
    assert_eq!(bob.state_of(&stopped)["state"], "declined");
}

#[test]
fn what_is_taken_back_while_one_is_away_leaves_nothing_and_nothing_of_others_is_removed() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = random_file(&ann, "film.mp4", 200);
    let [open, taken_back, declined] = [(); 3].map(|()| ann.offers(&bob, &file));
    for id in [&open, &taken_back] {
        bob.accepts(id);
        bob.has_received(id, 1);
    }
    bob.sees_offer(&declined);
    bob.run(&["decline", &declined]).expect(0);
    bob.kill9();
    ann.run(&["decline", &taken_back]).expect(0);
    ann.terminate();
    // As a run leaves it that ends between saying no and removing; and of another home that has its
    // files in the same folder.
    let (downloads, content) = (
        bob.home().path().join("downloads"),
        bob.home().path().join("content"),
    );
    let part = |id: &str| format!(".hobnob-{id}.part");
    fs::write(content.join(format!("{declined}.part")), "leaves").expect("it is ours");
    for name in [
        part(&declined),
        part("00000000000000aa-7"),
        "holiday.part".to_owned(),
    ] {
        fs::write(downloads.join(name), "part").expect("it is ours");
    }
    let kept = [part("00000000000000aa-7"), "holiday.part".to_owned()];
    bob.start();
    let are_left = |ids: &[&String]| {
        let mut expected = [ids.iter().map(|id| part(id)).collect(), kept.to_vec()].concat();
        expected.sort();
        until("only these parts are left", PATIENCE, || {
            if parts(&bob) == expected {
                Ok(())
            } else {
                Err(parts(&bob).join(" "))
            }
        });
    };
    are_left(&[&open, &taken_back]);
    ann.start();
    same(&file, &bob.receives(&open));
    bob.sees_state(&taken_back, "failed");
    are_left(&[]);
}

/// What lies in its downloads folder that is not whole: also what only looks so.
fn parts(node: &Node) -> Vec<String> {
    let folder = fs::read_dir(node.home().path().join("downloads")).expect("it is there");
    let names = folder.map(|entry| {
        entry
            .expect("it can be read")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    let mut parts: Vec<String> = names.filter(|name| name.ends_with(".part")).collect();
    parts.sort();
    parts
}

#[test]
fn a_file_that_changes_is_noticed_and_both_are_told() {
    let lab = Lab::open();
    let (ann, bob) = two(&lab);
    let file = random_file(&ann, "report.txt", 1);
    let id = ann.offers(&bob, &file);
    bob.sees_offer(&id);
    fs::write(&file, "something else").expect("it is ours");
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
fn a_full_disk_is_waited_out() {
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
    bob.run(&["accept", &too_big]).expect(1).says(&["no room"]);
    bob.sees_offer(&id);
    // What else fills the disk comes once it has been accepted.
    ann.terminate();
    bob.run(&["accept", &id, "--timeout", "1ms"]).expect(4);
    home.fill_disk();
    ann.start();
    let full = |event: &serde_json::Value| {
        event["id"] == *id
            && event["why"]
                .as_str()
                .is_some_and(|why| why.contains("no room"))
    };
    bob.wait_for("wait for room", full, PATIENCE);
    home.free_disk();
    let place = bob.receives(&id);
    bob.machine()
        .run("cmp", &[&file.to_string_lossy(), &place.to_string_lossy()])
        .expect(0);
}
