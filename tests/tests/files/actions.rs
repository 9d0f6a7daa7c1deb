//! Actions and checks for file transfers, and helpers that create and compare files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::Node;
use serde_json::Value;

/// Time limit for a transfer, on a machine that is busy with other tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// Actions and checks of a node's file transfers.
pub(crate) trait FileActions {
    /// Offers a file or folder to a peer. Returns the offer's id.
    fn offers(&self, to: &Node, path: &Path) -> String;
    /// Offers a file or folder in a room. Returns the offer's id.
    fn offers_in(&self, room: &str, path: &Path) -> String;
    /// Waits until the node reports the offer.
    fn sees_offer(&self, id: &str) -> Value;
    /// Waits for the offer and accepts it.
    fn accepts(&self, id: &str);
    /// Waits until the download is done. Returns its path.
    fn receives(&self, id: &str) -> PathBuf;
    /// Waits until the node reports this state of the offer.
    fn sees_state(&self, id: &str, state: &str) -> Value;
    /// Waits until the node has received more than this percentage in the current run. Returns the
    /// number of bytes.
    fn has_received(&self, id: &str, share: u64) -> u64;
    /// The current state of an offer in the node's list.
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
        // The download may be running or done when the command ends. The test checks that later.
        let accepted = self.run(&["accept", id, "--timeout", "1ms"]);
        assert!(matches!(accepted.code, Some(0 | 4 | 5)), "{accepted}");
    }

    fn receives(&self, id: &str) -> PathBuf {
        let done = self.sees_state(id, "done");
        PathBuf::from(
            done["saved"]
                .as_str()
                .unwrap_or_else(|| panic!("no path: {done}")),
        )
    }

    fn sees_state(&self, id: &str, state: &str) -> Value {
        let fits = |event: &Value| is_about(event, id) && event["state"] == state;
        self.wait_for(&format!("report that {id} is {state}"), fits, TIMEOUT)
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
        bytes(&self.wait_for(&format!("receive {share} % of {id}"), fits, TIMEOUT)).0
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
        .unwrap_or_else(|| panic!("no `sent` line: {output}"));
    sent["id"].as_str().expect("an offer has an id").to_owned()
}

/// Pseudo-random bytes, different for each seed.
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

/// Creates a random file of this size beside a node's home.
pub(crate) fn random_file(node: &Node, name: &str, mib: usize) -> PathBuf {
    let path = beside(node).join(name);
    let mut file = fs::File::create(&path).expect("the lab's folder can be written to");
    for part in 0..mib {
        file.write_all(&bytes_of(1 + part as u64 * 2, 1024 * 1024))
            .expect("there is disk space");
    }
    path
}

/// A folder for the files of this node's user.
pub(crate) fn beside(node: &Node) -> PathBuf {
    let folder = node.home().path().with_extension("files");
    fs::create_dir_all(&folder).expect("the lab's folder can be written to");
    folder
}

/// Checks that two files have the same content, without reading them into memory.
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
