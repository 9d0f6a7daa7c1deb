//! Encrypts backups in the format of age (<https://age-encryption.org/v1>), with a passphrase or to
//! a public key. So the program `age` opens them, too.

use std::io::{self, ErrorKind, Read, Write};
use std::iter;

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, Encryptor, scrypt, x25519};
use zeroize::Zeroizing;

/// The cost of trying one passphrase: scrypt with N = 2^18 takes about a second and 256 MiB.
const WORK_FACTOR: u8 = 18;

/// A file that asks for more work is refused: it would need more than a gigabyte.
const WORK_FACTOR_MAX: u8 = 20;

/// The means to encrypt a backup.
pub(crate) enum Lock {
    Passphrase(Zeroizing<String>),
    Key(PublicKey),
}

/// The means to decrypt a backup.
pub(crate) enum Unlock {
    Passphrase(Zeroizing<String>),
    Key(PrivateKey),
}

/// The public key of automatic backups.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey(x25519::Recipient);

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(PublicKey)
            .map_err(|_| "a public key begins with age1: `hobnob backup --new-key FILE` makes one")
    }
}

/// The private key of automatic backups.
pub(crate) struct PrivateKey(x25519::Identity);

impl PrivateKey {
    /// Finds the key in the text of a key file.
    pub(crate) fn in_text(text: &str) -> Result<PrivateKey, &'static str> {
        let mut lines = text.lines().map(str::trim);
        let key = lines.find(|line| line.starts_with("AGE-SECRET-KEY-"));
        key.and_then(|key| key.parse().ok())
            .map(PrivateKey)
            .ok_or("it has no line with a key, which begins with AGE-SECRET-KEY-1")
    }
}

/// Makes a private key, and its public key.
pub(crate) fn make_key() -> io::Result<(Zeroizing<String>, String)> {
    let key = x25519::Identity::generate();
    let secret = Zeroizing::new(key.to_string().expose_secret().to_owned());
    Ok((secret, key.to_public().to_string()))
}

/// Encrypts what `write` writes.
pub(crate) fn seal(
    lock: &Lock,
    out: impl Write,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let recipient: Box<dyn age::Recipient> = match lock {
        Lock::Passphrase(passphrase) => {
            let mut recipient = scrypt::Recipient::new(secret(passphrase));
            recipient.set_work_factor(WORK_FACTOR);
            Box::new(recipient)
        }
        Lock::Key(PublicKey(recipient)) => Box::new(recipient.clone()),
    };
    let encryptor = Encryptor::with_recipients(iter::once(&*recipient))
        .expect("there is exactly one recipient");
    let mut sealed = encryptor.wrap_output(out)?;
    write(&mut sealed)?;
    sealed.finish()?.flush()
}

/// Decrypts a file, for `read`. What `read` has read is authentic, but may end early: then the last
/// read fails.
pub(crate) fn open<T>(
    unlock: &Unlock,
    input: impl Read,
    read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    let decryptor = Decryptor::new(input).map_err(explain)?;
    let identity: Box<dyn age::Identity> = match (unlock, decryptor.is_scrypt()) {
        (Unlock::Passphrase(passphrase), true) => {
            let mut identity = scrypt::Identity::new(secret(passphrase));
            identity.set_max_work_factor(WORK_FACTOR_MAX);
            Box::new(identity)
        }
        (Unlock::Key(PrivateKey(key)), false) => Box::new(key.clone()),
        (Unlock::Passphrase(_), false) => {
            return Err(invalid(
                "it is encrypted to a key: name the key file with --key-file",
            ));
        }
        (Unlock::Key(_), true) => {
            return Err(invalid(
                "it is encrypted with a passphrase: leave out --key-file",
            ));
        }
    };
    let mut opened = decryptor.decrypt(iter::once(&*identity)).map_err(explain)?;
    read(&mut opened).map_err(|error| {
        if error.kind() == ErrorKind::UnexpectedEof {
            invalid("it is truncated")
        } else if error.kind() == ErrorKind::InvalidData {
            invalid(&format!("it is damaged or truncated ({error})"))
        } else {
            error
        }
    })
}

fn secret(passphrase: &str) -> SecretString {
    SecretString::from(passphrase.to_owned())
}

fn explain(error: DecryptError) -> io::Error {
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            invalid("the passphrase is wrong, or the file is damaged")
        }
        DecryptError::NoMatchingKeys => invalid("it is encrypted to another key"),
        DecryptError::ExcessiveWork { .. } => invalid("it demands too much work to open"),
        DecryptError::InvalidMac => invalid("it is damaged"),
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            invalid("it is damaged, or not an encrypted backup")
        }
        DecryptError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            invalid("it is truncated")
        }
        DecryptError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (Lock, Unlock) {
        let (secret, public) = make_key().unwrap();
        let lock = Lock::Key(public.parse().unwrap());
        (lock, Unlock::Key(PrivateKey::in_text(&secret).unwrap()))
    }

    fn sealed(lock: &Lock, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(lock, &mut out, |sealed| sealed.write_all(content)).unwrap();
        out
    }

    fn opened(unlock: &Unlock, sealed: &[u8]) -> io::Result<Vec<u8>> {
        open(unlock, sealed, |opened| {
            let mut content = Vec::new();
            opened.read_to_end(&mut content)?;
            Ok(content)
        })
    }

    #[test]
    fn a_cut_or_altered_file_is_refused() {
        let (lock, unlock) = key();
        let content = vec![7; 150_000];
        let file = sealed(&lock, &content);
        assert_eq!(opened(&unlock, &file).unwrap(), content);
        for length in [0, 1, 50, 200, 70_000, file.len() - 1] {
            let error = opened(&unlock, &file[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{length}: {error}");
        }
        for at in [0, 30, 120, 190, 1_000, 100_000, file.len() - 1] {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(opened(&unlock, &altered).is_err(), "byte {at}");
        }
        let longer = [&file[..], &[0]].concat();
        assert!(opened(&unlock, &longer).is_err());
    }

    #[test]
    fn only_the_right_key_or_passphrase_opens_it() {
        let ((lock, unlock), (_, other)) = (key(), key());
        let passphrase = |text: &str| Zeroizing::new(text.to_owned());
        let to_key = sealed(&lock, b"x");
        let by_words = sealed(&Lock::Passphrase(passphrase("tin roof rust")), b"x");
        let cases = [
            (&to_key, &other, "another key"),
            (
                &to_key,
                &Unlock::Passphrase(passphrase("tin")),
                "--key-file",
            ),
            (
                &by_words,
                &Unlock::Passphrase(passphrase("tin")),
                "passphrase is wrong",
            ),
            (&by_words, &unlock, "leave out --key-file"),
        ];
        for (file, unlock, says) in cases {
            let error = opened(unlock, file).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let right = Unlock::Passphrase(passphrase("tin roof rust"));
        assert_eq!(opened(&right, &by_words).unwrap(), b"x");
    }
}
