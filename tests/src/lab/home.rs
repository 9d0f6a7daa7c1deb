//! A node's home folder on a machine: runs programs in it, copies it, and simulates disk faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
use super::node::Node;
use super::process::{Output, hobnob_binary};
use super::relay::Relay;
use super::screen::Screen;
use super::terminal::{Model, Size, Terminal};

/// The folder with a node's key and database. Clones refer to the same folder.
#[derive(Debug, Clone)]
pub struct Home {
    machine: Machine,
    nick: String,
    path: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A copy of a home at an earlier time.
#[derive(Debug)]
pub struct Backup(PathBuf);

impl Home {
    pub(super) fn new(machine: Machine, nick: &str, path: PathBuf) -> Self {
        Self {
            machine,
            nick: nick.to_owned(),
            path,
            environment: BTreeMap::new(),
        }
    }

    /// The machine that contains the home.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The nickname of a node in this home.
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// The path of the folder. `hobnob` creates it at the first run.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same home for programs with a wrong clock. The offset has the syntax of `faketime`
    /// (`+3650d`). Panics if the package faketime is missing. `scripts/setup` installs it.
    pub fn with_clock(mut self, offset: &str) -> Self {
        let library =
            faketime().expect("a wrong clock needs the package faketime: run scripts/setup");
        let settings = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME", offset),
            // Only the time of day is wrong. The monotonic clock is right.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ];
        self.environment
            .extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// Starts a node and waits until it listens.
    pub fn up(&self, arguments: &[&str]) -> Node {
        let node = Node::new(self.clone(), arguments);
        node.start();
        node
    }

    /// Starts a relay and waits until it listens.
    pub fn relay(&self, arguments: &[&str]) -> Relay {
        let relay = Relay::new(self.clone(), arguments);
        relay.start();
        relay
    }

    /// Runs a subcommand with `--json` and waits until it exits. It uses the running node if there
    /// is one.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Like [`Home::run`], with standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let arguments = [&self.common()[..], &["--json"], arguments].concat();
        self.machine
            .run_with(hobnob_binary(), &arguments, &self.environment, input)
    }

    /// Runs a subcommand without `--json`, with access to every byte of its input and output.
    pub fn screen(&self, arguments: &[&str]) -> Screen {
        self.machine.screen(
            hobnob_binary(),
            &[&self.common()[..], &["--nick", &self.nick], arguments].concat(),
        )
    }

    /// Runs the program in its own terminal.
    pub fn terminal(&self, arguments: &[&str], size: Size) -> Terminal {
        self.terminal_of(&Model::default(), arguments, size)
    }

    /// Like [`Home::terminal`], in a terminal of this model.
    pub fn terminal_of(&self, model: &Model, arguments: &[&str], size: Size) -> Terminal {
        let arguments = [&self.common()[..], &["--nick", &self.nick], arguments].concat();
        self.machine
            .terminal_of(model, hobnob_binary(), &arguments, size)
    }

    /// Copies the home. No process may use it.
    pub fn backup(&self) -> Backup {
        let copy = self.path.with_extension("backup");
        copy_folder(&self.path, &copy);
        Backup(copy)
    }

    /// Restores the home from a copy. No process may use it.
    pub fn restore(&self, backup: &Backup) {
        copy_folder(&backup.0, &self.path);
    }

    /// Replaces this home by a copy of another, which may be on another machine.
    pub fn become_copy_of(&self, other: &Home) {
        copy_folder(&other.path, &self.path);
    }

    /// Puts the home on its own disk of this size (for example `8m`). The home must still be empty.
    pub fn put_on_small_disk(&self, size: &str) {
        std::fs::create_dir_all(&self.path).expect("the lab's folder can be written to");
        let options = format!("size={size},mode=0700");
        self.machine
            .run(
                "mount",
                &["-t", "tmpfs", "-o", &options, "tmpfs", &self.shown()],
            )
            .expect(0);
    }

    /// Fills the home's disk to the last byte.
    pub fn fill_disk(&self) {
        // dd is expected to fail when the disk is full.
        self.machine
            .run(
                "dd",
                &["if=/dev/zero", &format!("of={}", self.filler()), "bs=4k"],
            )
            .says(&["no space"]);
    }

    /// Undoes [`Home::fill_disk`].
    pub fn free_disk(&self) {
        self.machine.run("rm", &[&self.filler()]).expect(0);
    }

    /// Makes the home read-only.
    pub fn make_read_only(&self) {
        let path = self.shown();
        self.machine
            .run("mount", &["--bind", &path, &path])
            .expect(0);
        self.machine
            .run("mount", &["-o", "remount,ro,bind", &path])
            .expect(0);
    }

    /// The SQLite database in this home, recognized by its first bytes.
    pub fn database(&self) -> PathBuf {
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)
                .expect("the home exists")
                .flatten()
            {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() && is_database(&path) => return path,
                    Ok(_) | Err(_) => {}
                }
            }
        }
        panic!("no database in {}", self.path.display())
    }

    /// Additional environment variables for programs in this home.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(super) fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    fn common(&self) -> [&str; 2] {
        [
            "--home",
            self.path.to_str().expect("the lab's paths are ASCII"),
        ]
    }

    fn filler(&self) -> String {
        format!("{}/filler", self.shown())
    }
}

fn is_database(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"))
}

fn copy_folder(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("the lab's folder can be removed");
    }
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .output()
        .expect("cp runs");
    assert!(
        copied.status.success(),
        "copying {}: {}",
        from.display(),
        String::from_utf8_lossy(&copied.stderr)
    );
}

/// The library of Debian's package faketime. Its folder depends on the architecture.
fn faketime() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = folders.into_iter().find(|path| path.is_file())?;
    Some(found.to_string_lossy().into_owned())
}
