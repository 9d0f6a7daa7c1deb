//! A node's home folder on a machine: running `hobnob` with it, once or for long, copying it, and
//! doing it harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
use super::node::Node;
use super::process::{Output, hobnob_binary};
use super::relay::Relay;
use super::screen::Screen;
use super::terminal::{Model, Size, Terminal};

/// Where a node's key and database are. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct Home {
    machine: Machine,
    nick: String,
    path: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A copy of a home as it once was.
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

    /// The machine it is on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The nickname that a node takes here.
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// The folder, which `hobnob` makes when it first needs it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This home, but for programs whose clock is off by as much as `faketime` understands
    /// (`+3650d`). Fails the test where the package faketime is missing: `scripts/setup` installs it.
    pub fn with_clock(mut self, offset: &str) -> Self {
        let library =
            faketime().expect("a wrong clock needs the package faketime: run scripts/setup");
        let settings = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME", offset),
            // A wrong clock shows a wrong time of day; seconds are as long as elsewhere.
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

    /// Runs a subcommand with `--json` to its end: through the running node if there is one.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// As [`Home::run`], with something on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let arguments = [&self.common()[..], &["--json"], arguments].concat();
        self.machine
            .run_with(hobnob_binary(), &arguments, &self.environment, input)
    }

    /// Runs a subcommand as a person would, without `--json`, where its input and output can be
    /// seen byte by byte.
    pub fn screen(&self, arguments: &[&str]) -> Screen {
        self.machine.screen(
            hobnob_binary(),
            &[&self.common()[..], &["--nick", &self.nick], arguments].concat(),
        )
    }

    /// Runs the program as a person would, in a terminal of its own.
    pub fn terminal(&self, arguments: &[&str], size: Size) -> Terminal {
        self.terminal_of(&Model::default(), arguments, size)
    }

    /// As [`Home::terminal`], in a terminal of this model.
    pub fn terminal_of(&self, model: &Model, arguments: &[&str], size: Size) -> Terminal {
        let arguments = [&self.common()[..], &["--nick", &self.nick], arguments].concat();
        self.machine
            .terminal_of(model, hobnob_binary(), &arguments, size)
    }

    /// Copies the home as it is. Nothing may be running in it.
    pub fn backup(&self) -> Backup {
        let copy = self.path.with_extension("backup");
        copy_folder(&self.path, &copy);
        Backup(copy)
    }

    /// Makes the home what it was. Nothing may be running in it.
    pub fn restore(&self, backup: &Backup) {
        copy_folder(&backup.0, &self.path);
    }

    /// Makes this home a copy of another, which may be on another machine.
    pub fn become_copy_of(&self, other: &Home) {
        copy_folder(&other.path, &self.path);
    }

    /// Puts the home on a disk of its own, of this size (as `8m`), before anything is in it.
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
        // dd ends with an error, which is the point.
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

    /// Makes the home read-only, from now on.
    pub fn make_read_only(&self) {
        let path = self.shown();
        self.machine
            .run("mount", &["--bind", &path, &path])
            .expect(0);
        self.machine
            .run("mount", &["-o", "remount,ro,bind", &path])
            .expect(0);
    }

    /// The SQLite database in this home, known by what its first bytes are.
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

    /// What programs in this home find in their environment, besides the usual.
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
        std::fs::remove_dir_all(to).expect("the lab's folders are ours");
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

/// The library of Debian's package faketime, in whichever folder this architecture has it.
fn faketime() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = folders.into_iter().find(|path| path.is_file())?;
    Some(found.to_string_lossy().into_owned())
}
