//! What a test does with files, in its own words.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::Node;
use serde_json::Value;

/// For a transfer to end, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a node does with files.
pub(crate) trait FileActions {
    /// Offers a file or folder to a peer; the offer's id.
    fn offers(&self, to: &Node, path: &Path) -> String;
    /// Offers it in a room.
    fn offers_in(&self, room: &str, path: &Path) -> String;
    /// Waits until it knows of an offer.
    fn sees_offer(&self, id: &str) -> Value;
    /// Accepts an offer that it knows of.
    fn accepts(&self, id: &str);
    /// Waits until all of it is there; where.
    fn receives(&self, id: &str) -> PathBuf;
    /// Waits until it is told that the offer is in this state.
    fn sees_state(&self, id: &str, state: &str) -> Value;
    /// Waits until more than this share of it has come in the present run; how many bytes.
    fn has_received(&self, id: &str, share: u64) -> u64;
    /// How things stand with an offer.
    fn state_of(&self, id: &str) -> Value;
}

impl FileActions for Node {
    fn offers(&self, to: &Node, path: &Path) -> String {
        offered(
            self,
            &[
                "send",
                to.id(),
                "--wait",
                "queued",
                "--file",
                &path.to_string_lossy(),
            ],
        )
    }

    fn offers_in(&self, room: &str, path: &Path) -> String {
        offered(
            self,
            &[
                "broadcast",
                "--room",
                room,
                "--wait",
                "queued",
                "--file",
                &path.to_string_lossy(),
            ],
        )
    }

    fn sees_offer(&self, id: &str) -> Value {
        self.sees_state(id, "offered")
    }

    fn accepts(&self, id: &str) {
        self.sees_offer(id);
        // Whether it has come by then or not: that is what the test will look at.
        let accepted = self.run(&["accept", id, "--timeout", "1ms"]);
        assert!(matches!(accepted.code, Some(0 | 4 | 5)), "{accepted}");
    }

    fn receives(&self, id: &str) -> PathBuf {
        let done = self.sees_state(id, "done");
        PathBuf::from(
            done["saved"]
                .as_str()
                .unwrap_or_else(|| panic!("it has no place: {done}")),
        )
    }

    fn sees_state(&self, id: &str, state: &str) -> Value {
        let fits = |event: &Value| is_about(event, id) && event["state"] == state;
        self.wait_for(&format!("be told that {id} is {state}"), fits, PATIENCE)
    }

    fn has_received(&self, id: &str, share: u64) -> u64 {
        let bytes = |event: &Value| {
            (
                event["bytes"].as_u64().unwrap_or(0),
                event["size"].as_u64().unwrap_or(u64::MAX),
            )
        };
        let fits = |event: &Value| {
            let (bytes, size) = bytes(event);
            is_about(event, id) && event["state"] == "moving" && bytes * 100 > size * share
        };
        bytes(&self.wait_for(&format!("have {share} % of {id}"), fits, PATIENCE)).0
    }

    fn state_of(&self, id: &str) -> Value {
        let files = self.run(&["files"]).expect(0).json();
        files
            .into_iter()
            .find(|file| file["id"] == id)
            .unwrap_or_else(|| panic!("{} does not list {id}", self.nick()))
    }
}

fn is_about(event: &Value, id: &str) -> bool {
    event["event"] == "file" && event["id"] == id
}

fn offered(node: &Node, arguments: &[&str]) -> String {
    let output = node.run(arguments).expect(0);
    let sent = output
        .json()
        .into_iter()
        .find(|line| line["event"] == "sent")
        .unwrap_or_else(|| panic!("nothing sent: {output}"));
    sent["id"].as_str().expect("an offer has an id").to_owned()
}

/// Bytes that no other seed gives, and that no compression makes fewer.
pub(crate) fn bytes_of(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift64*, by Marsaglia and Vigna.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Makes a file of so many MiB beside a node's home.
pub(crate) fn random_file(node: &Node, name: &str, mib: usize) -> PathBuf {
    let path = beside(node).join(name);
    let mut file = fs::File::create(&path).expect("the lab's folder can be written to");
    for part in 0..mib {
        file.write_all(&bytes_of(1 + part as u64 * 2, 1024 * 1024))
            .expect("there is room");
    }
    path
}

/// A folder of the lab for files of this node's user.
pub(crate) fn beside(node: &Node) -> PathBuf {
    let folder = node.home().path().with_extension("files");
    fs::create_dir_all(&folder).expect("the lab's folder can be written to");
    folder
}

/// Checks that two files have the same bytes, without holding them.
pub(crate) fn same(one: &Path, other: &Path) {
    let compared = std::process::Command::new("cmp")
        .arg(one)
        .arg(other)
        .output()
        .expect("cmp runs");
    assert!(
        compared.status.success(),
        "{}",
        String::from_utf8_lossy(&[compared.stdout, compared.stderr].concat())
    );
}
