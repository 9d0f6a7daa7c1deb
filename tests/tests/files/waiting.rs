//! Many offers while somebody is away, and a downloads disk that is not mounted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Home, Lab, Machine, Node, until};
use serde_json::Value;

use crate::actions::{TIMEOUT, beside};
use crate::{FileActions, bytes_of, random_file};

/// More than the downloads that run at a time.
const OFFERS: u64 = 100;

/// A few more than the downloads that run at a time.
const ACCEPTED: u64 = 70;

/// Time for many small transfers on a machine that is busy with other tests.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// Offers small files. Returns the path of each by its offer's id.
fn offer_many(from: &Node, to: &Node, count: u64) -> BTreeMap<String, PathBuf> {
    let folder = beside(from);
    let offer = |number| {
        let path = folder.join(format!("{number}.bin"));
        fs::write(&path, bytes_of(number, 1_000)).expect("the lab's folder can be written to");
        (from.offers(to, &path), path)
    };
    (1..=count).map(offer).collect()
}

/// The offers in the node's list, by id.
fn listed(node: &Node) -> BTreeMap<String, Value> {
    let files = node.run(&["files"]).expect(0).json().into_iter();
    let by_id = files.map(|file| (file["id"].as_str().unwrap_or_default().to_owned(), file));
    by_id.collect()
}

/// Waits until the node lists all offers in this state.
fn all_are(node: &Node, offers: &BTreeMap<String, PathBuf>, state: &str) {
    until(&format!("all offers are {state}"), ALL_WITHIN, || {
        let listed = listed(node);
        let fit = |id: &&String| listed.get(*id).is_some_and(|file| file["state"] == state);
        match offers.keys().filter(fit).count() {
            all if all == offers.len() => Ok(()),
            some => Err(format!("{some} of {}", offers.len())),
        }
    });
}

/// Checks that the node has the content of each offer.
fn all_are_whole(node: &Node, offers: &BTreeMap<String, PathBuf>) {
    let listed = listed(node);
    for (id, path) in offers {
        let saved = listed[id]["saved"]
            .as_str()
            .expect("a finished download has a path");
        let read = |path: &Path| fs::read(path).expect("the file is there");
        assert_eq!(read(Path::new(saved)), read(path), "{id}");
    }
}

#[test]
fn offers_made_while_the_recipient_is_away_are_all_accepted_automatically() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let home = office.machine("bob").home("bob");
    fs::create_dir_all(home.path()).expect("the lab's folder can be written to");
    let settings = format!("accept-from = [\"{}\"]\n", ann.id());
    fs::write(home.path().join("config.toml"), settings)
        .expect("the lab's folder can be written to");
    let bob = home.up(&[]);
    ann.sees(&bob);
    ann.are_contacts(&bob);
    bob.terminate();
    ann.loses_within(&bob, TIMEOUT);
    let offers = offer_many(&ann, &bob, OFFERS);
    bob.start();
    all_are(&bob, &offers, "done");
    all_are_whole(&bob, &offers);
    all_are(&ann, &offers, "done");
}

#[test]
fn offers_accepted_while_the_sender_is_away_all_arrive_once_it_is_back() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    bob.terminate();
    ann.loses_within(&bob, TIMEOUT);
    let offers = offer_many(&ann, &bob, ACCEPTED);
    bob.start();
    all_are(&bob, &offers, "offered");
    ann.terminate();
    bob.loses_within(&ann, TIMEOUT);
    // A person is no file.
    bob.run(&["accept", "ann"])
        .expect(2)
        .says(&["hobnob contacts accept ann"]);
    for id in offers.keys() {
        bob.run(&["accept", id, "--timeout", "1ms"]).expect(4);
    }
    ann.start();
    all_are(&bob, &offers, "done");
    all_are_whole(&bob, &offers);
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A disk for downloads, of which a machine sees the files at a mount point.
struct Disk {
    machine: Machine,
    disk: PathBuf,
    point: PathBuf,
}

impl Disk {
    /// The disk for a node that is to run in this home, mounted. Transfers there are slow enough to be
    /// interrupted.
    fn of(machine: &Machine, home: &Home) -> Self {
        let disk = Self {
            machine: machine.clone(),
            disk: home.path().with_extension("disk"),
            point: home.path().with_extension("mounted"),
        };
        for folder in [home.path(), &disk.disk, &disk.point] {
            fs::create_dir_all(folder).expect("the lab's folder can be written to");
        }
        let place = shown(&disk.disk);
        let options = ["-t", "tmpfs", "-o", "size=200m", "tmpfs", &place];
        machine.run("mount", &options).expect(0);
        disk.mount();
        let point = &disk.point;
        let settings = format!("downloads = {point:?}\ndownload-limit = \"4M\"\n");
        fs::write(home.path().join("config.toml"), settings)
            .expect("the lab's folder can be written to");
        disk
    }

    fn mount(&self) {
        let places = ["--bind", &shown(&self.disk), &shown(&self.point)];
        self.machine.run("mount", &places).expect(0);
    }

    /// Unmounts the disk, as if it were pulled out: at once, although files there are open.
    fn pull_out(&self) {
        let options = ["--lazy", &shown(&self.point)];
        self.machine.run("umount", &options).expect(0);
    }

    /// Checks that nothing was written below the mount point. This process sees what is there.
    fn has_nothing_below(&self) {
        let below = fs::read_dir(&self.point).expect("the folder is there");
        assert_eq!(below.count(), 0, "nothing was written on the other disk");
    }
}

/// Ann's node, and Bob's, whose downloads folder is on a disk of its own.
fn with_downloads_disk(lab: &Lab) -> (Node, Node, Disk) {
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let machine = office.machine("bob");
    let home = machine.home("bob");
    let disk = Disk::of(&machine, &home);
    let bob = home.up(&[]);
    ann.sees(&bob);
    (ann, bob, disk)
}

/// Waits until the node says that a download waits for its disk.
fn waits_for_its_disk(node: &Node, id: &str) {
    let waits = |event: &Value| {
        let why = event["why"].as_str().unwrap_or_default();
        event["id"] == *id && event["state"] == "waiting" && why.contains("is not mounted")
    };
    node.wait_for("wait for the disk", waits, TIMEOUT);
}

#[test]
fn a_download_whose_disk_is_not_mounted_waits_for_the_disk() {
    let lab = Lab::open();
    let (ann, bob, disk) = with_downloads_disk(&lab);
    let file = random_file(&ann, "film.mp4", 40);
    let id = ann.offers(&bob, &file);
    bob.accepts(&id);
    bob.has_received(&id, 10);
    bob.kill9();
    disk.pull_out();
    bob.start();
    waits_for_its_disk(&bob, &id);
    disk.has_nothing_below();
    disk.mount();
    let place = bob.receives(&id);
    assert_eq!(place, disk.point.join("film.mp4"));
    let (sent, received) = (shown(&file), shown(&place));
    bob.machine().run("cmp", &[&sent, &received]).expect(0);
}

#[test]
fn a_disk_that_is_unmounted_while_the_node_runs_stops_its_downloads_until_it_is_back() {
    let lab = Lab::open();
    let (ann, bob, disk) = with_downloads_disk(&lab);
    let file = random_file(&ann, "film.mp4", 40);
    let id = ann.offers(&bob, &file);
    let small = random_file(&ann, "notes.bin", 1);
    let next = ann.offers(&bob, &small);
    bob.accepts(&id);
    bob.has_received(&id, 10);
    disk.pull_out();
    waits_for_its_disk(&bob, &id);
    // A new download does not begin below the mount point either, and says why.
    bob.sees_offer(&next);
    let refused = bob.run(&["accept", &next]).expect(1);
    assert!(refused.stderr.contains("is not mounted"), "{refused}");
    disk.has_nothing_below();
    disk.mount();
    let place = bob.receives(&id);
    assert_eq!(place, disk.point.join("film.mp4"));
    bob.machine()
        .run("cmp", &[&shown(&file), &shown(&place)])
        .expect(0);
    bob.accepts(&next);
    assert_eq!(bob.receives(&next), disk.point.join("notes.bin"));
}
