//! Passphrases: typed on the terminal without an echo, or read from a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hobnob::UnlockSource;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::exit_code::Usage;
use super::keyring;

/// Maximum length of a passphrase in bytes.
const BYTES_MAX: usize = 1024;

/// The passphrase of a new file. On the terminal, the user types it twice.
pub(crate) fn new(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    if let Some(file) = file {
        return read(file);
    }
    let mut terminal = Terminal::open()?;
    let passphrase = checked(terminal.ask("Passphrase: ")?)?;
    if *terminal.ask("The same passphrase again: ")? != *passphrase {
        return Err(Usage("the two passphrases differ: nothing was done".into()).into());
    }
    Ok(passphrase)
}

/// The passphrase of a file that exists.
pub(crate) fn existing(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    match file {
        Some(file) => read(file),
        None => checked(Terminal::open()?.ask("Passphrase: ")?),
    }
}

/// The systemd credential with the passphrase of the home.
const CREDENTIAL: &str = "hobnob-passphrase";

/// What opens a locked home at a start: the passphrase in a file or in a credential of the service;
/// without one, the key in the system keyring, or else a passphrase that is typed on the terminal.
pub(crate) fn of_home(file: Option<PathBuf>) -> UnlockSource {
    let file = file.or_else(credential);
    source(file, "Passphrase of the home: ", "--home-passphrase-file")
}

/// What opens a locked home for a command that changes how it is locked.
pub(crate) fn of_locked(file: Option<PathBuf>) -> UnlockSource {
    source(file, "Passphrase: ", "--passphrase-file")
}

/// A passphrase that the user has typed in the page. Without one, the key in the system keyring.
#[cfg(feature = "web")]
pub(crate) fn typed(passphrase: Zeroizing<String>) -> UnlockSource {
    let is_empty = passphrase.is_empty();
    let source = UnlockSource::new(move || {
        let passphrase = checked(passphrase.clone());
        let passphrase = passphrase.map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(passphrase.as_str().to_owned())
    });
    if is_empty {
        return source.with_keyring(|id| keyring::find(id).map_err(io::Error::other));
    }
    source
}

/// `flag` names a file instead of the terminal.
fn source(file: Option<PathBuf>, prompt: &'static str, flag: &'static str) -> UnlockSource {
    let has_file = file.is_some();
    let source = UnlockSource::new(move || {
        let passphrase = match &file {
            Some(file) => read(file),
            None => Terminal::open()
                .map_err(|_| {
                    let way = format!("there is no terminal to ask for it: use {flag}");
                    Usage(way).into()
                })
                .and_then(|mut terminal| checked(terminal.ask(prompt)?)),
        };
        let passphrase = passphrase.map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(passphrase.as_str().to_owned())
    });
    if has_file {
        return source;
    }
    source.with_keyring(|id| keyring::find(id).map_err(io::Error::other))
}

fn credential() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let file = Path::new(&folder).join(CREDENTIAL);
    file.exists().then_some(file)
}

/// The first line of a file, or of stdin.
fn read(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    // One byte and a line break beyond the limit, to notice a passphrase that is too long.
    let limit = (BYTES_MAX + 2) as u64;
    let done = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    done.with_context(|| format!("can't read the passphrase from {}", file.display()))?;
    checked(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

pub(crate) fn checked(passphrase: Zeroizing<String>) -> anyhow::Result<Zeroizing<String>> {
    match passphrase.len() {
        0 => Err(Usage("the passphrase is empty".into()).into()),
        1..=BYTES_MAX => Ok(passphrase),
        _ => Err(Usage(format!("a passphrase has at most {BYTES_MAX} bytes")).into()),
    }
}

/// The terminal of this process, without echo. Dropping it restores the modes.
struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    fn open() -> anyhow::Result<Terminal> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty");
        let file = file.map_err(|_| {
            Usage("there is no terminal to ask for the passphrase: use --passphrase-file".into())
        })?;
        let before = tcgetattr(&file)?;
        let mut quiet = before.clone();
        // Without signals, too: one would end this process before it restores the modes.
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&file, OptionalActions::Flush, &quiet)?;
        Ok(Terminal { file, before })
    }

    fn ask(&mut self, prompt: &str) -> anyhow::Result<Zeroizing<String>> {
        const CTRL_C: u8 = 3;
        const CTRL_D: u8 = 4;
        const CTRL_U: u8 = 21;
        self.file.write_all(prompt.as_bytes())?;
        // Room for all of it, so that no part of it stays behind in memory that was outgrown.
        let mut typed = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 1));
        loop {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            match byte[0] {
                b'\n' | b'\r' => break,
                CTRL_C | CTRL_D => {
                    self.file.write_all(b"\n")?;
                    anyhow::bail!("interrupted");
                }
                CTRL_U => typed.clear(),
                // Backspace removes a whole character.
                8 | 127 => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
                byte if typed.len() <= BYTES_MAX => typed.push(byte),
                _ => {}
            }
        }
        self.file.write_all(b"\n")?;
        let text = std::str::from_utf8(&typed).context("a passphrase is text in UTF-8")?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no modes.
        let _ = tcsetattr(&self.file, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |content: &str| {
            std::fs::write(file.path(), content).unwrap();
            existing(Some(file.path())).map(|passphrase| passphrase.to_string())
        };
        for content in ["tin roof", "tin roof\n", "tin roof\r\nand more\n"] {
            assert_eq!(read(content).unwrap(), "tin roof");
        }
        for wrong in ["", "\n", &"x".repeat(BYTES_MAX + 1)] {
            assert!(read(wrong).is_err());
        }
        assert_eq!(read(&"x".repeat(BYTES_MAX)).unwrap().len(), BYTES_MAX);
    }
}
