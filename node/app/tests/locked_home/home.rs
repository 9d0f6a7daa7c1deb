//! A home in a temporary folder, and the program in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Texts that must not be in the files of a locked home: of messages, of a search, of an offer.
pub(super) const TEXTS: [&str; 3] = ["attackatdawn", "harbour", "secret-plan"];

/// A home, and a folder with passphrases beside it.
pub(super) struct Home {
    dir: TempDir,
    /// Variables of the environment of each command.
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Home {
    /// A home with messages and an offered file. No node runs.
    pub(super) fn with_messages() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("words", "tin roof rust\n"),
            ("others", "cold war kids\n"),
            ("secret-plan.txt", "nobody reads this"),
        ] {
            fs::write(dir.path().join(name), content).expect("it is writable");
        }
        let environment = Vec::new();
        let home = Self { dir, environment };
        home.succeeds(&["broadcast", "attackatdawn in the harbour"]);
        home.succeeds(&["broadcast", "--file", "secret-plan.txt"]);
        home
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
        command
            .arg("--home")
            .arg(self.path("home"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOBNOB_MDNS", "false")
            .env("HOBNOB_LISTEN", "127.0.0.1:0")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Without a terminal, so that nothing waits for somebody who types.
        let setsid = || rustix::process::setsid().map(drop).map_err(Into::into);
        // SAFETY: the closure makes one system call, which is allowed after a fork.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, setsid) };
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("hobnob runs")
    }

    pub(super) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub(super) fn fails(&self, arguments: &[&str], says: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let failed = !output.status.success();
        assert!(failed && stderr.contains(says), "{arguments:?}: {stderr}");
    }

    /// The texts of all messages. `words` is the file with the passphrase.
    pub(super) fn texts(&self, words: &str) -> Vec<String> {
        self.texts_with(&["--home-passphrase-file", words])
    }

    /// The texts of all messages, read with these options.
    pub(super) fn texts_with(&self, options: &[&str]) -> Vec<String> {
        let lines = self.succeeds(&[&["history", "--json"], options].concat());
        let lines = lines.lines();
        let json = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        json.filter_map(|line| Some(line["text"].as_str()?.to_owned()))
            .collect()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.path("home/locked").exists()
    }

    /// The texts that are in a file of the home or its name.
    pub(super) fn found(&self, texts: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("home")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                if entry.file_type().expect("a type").is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                // A file may be removed meanwhile.
                let content = fs::read(entry.path()).unwrap_or_default();
                let name = entry.file_name().into_string().expect("UTF-8");
                for text in texts {
                    let has = |bytes: &[u8]| {
                        bytes
                            .windows(text.len())
                            .any(|part| part == text.as_bytes())
                    };
                    if has(&content) || has(name.as_bytes()) {
                        found.push(format!("{text} in {name}"));
                    }
                }
            }
        }
        found
    }

    /// The part of the key file that is secret.
    pub(super) fn secret_key(&self) -> String {
        let text = fs::read_to_string(self.path("home/key")).expect("a key file");
        let (_, key) = text.trim_end().split_once(' ').expect("a header and a key");
        key.to_owned()
    }
}
