//! Links to files that the page makes, for people without hobnob: their list. `link_requests` makes and
//! ends them. They end with this server.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hobnob_control::wire::Time;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Maximum number of links that work at once. A further one is refused with 503.
pub const LINKS_MAX: usize = 4;

/// Links that have ended, and are listed with the reason. A further one replaces the oldest.
const ENDED_MAX: usize = 8;

/// The links of this server.
#[derive(Debug)]
pub(crate) struct Links {
    /// The files of the links, each in a folder of its own.
    pub(crate) folder: PathBuf,
    state: Mutex<LinkState>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct LinkState {
    last: u64,
    links: BTreeMap<u64, Link>,
    /// Links that are being made.
    begun: usize,
}

/// A link, for the page.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) blake3: String,
    pub(crate) links: Vec<String>,
    pub(crate) fingerprint: String,
    /// How many downloads may still begin. None: any number.
    pub(crate) left: Option<u32>,
    pub(crate) downloads: u32,
    pub(crate) until: Option<Time>,
    pub(crate) anywhere: bool,
    /// Why it has ended: `used`, `expired` or `stopped`.
    pub(crate) ended: Option<&'static str>,
    #[serde(skip)]
    pub(crate) stop: CancellationToken,
}

impl Links {
    /// The links of a home: none at first. Removes the files of a server that was killed.
    pub(crate) fn of(data_dir: &Path) -> io::Result<Links> {
        let folder = data_dir.join("links");
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Links {
            folder,
            state: Mutex::default(),
            // The page begins with 0.
            changes: watch::Sender::new(1),
        })
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new link, if there is one.
    pub(crate) fn begin(&self) -> Option<Begun<'_>> {
        let mut state = self.state();
        let open = state.links.values().filter(|link| link.ended.is_none());
        if open.count() + state.begun >= LINKS_MAX {
            return None;
        }
        state.begun += 1;
        Some(Begun(self))
    }

    /// Adds a link, whose number is the argument. It is in the list until it was ended and removed.
    pub(crate) fn add(&self, link: impl FnOnce(u64) -> Link) -> Link {
        let mut state = self.state();
        state.last += 1;
        let link = link(state.last);
        state.links.insert(link.number, link.clone());
        drop(state);
        self.changed();
        link
    }

    /// Changes a link, if it is in the list.
    pub(crate) fn change(&self, number: u64, change: impl FnOnce(&mut Link)) {
        let mut state = self.state();
        if let Some(link) = state.links.get_mut(&number) {
            change(link);
        }
        let ended = state.links.values().filter(|link| link.ended.is_some());
        let ended: Vec<u64> = ended.map(|link| link.number).collect();
        let too_many = ended.len().saturating_sub(ENDED_MAX);
        for number in &ended[..too_many] {
            state.links.remove(number);
        }
        drop(state);
        self.changed();
    }

    /// The links, oldest first.
    pub(crate) fn list(&self) -> Vec<Link> {
        self.state().links.values().cloned().collect()
    }

    /// Ends a link, or removes one that has ended from the list. False if there is none.
    pub(crate) fn end(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(link) = state.links.get(&number) else {
            return false;
        };
        if link.ended.is_none() {
            link.stop.cancel();
            return true;
        }
        state.links.remove(&number);
        drop(state);
        self.changed();
        true
    }

    /// The number of changes, and the news of further ones.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// A link that is being made. Dropping it gives the place back.
pub(crate) struct Begun<'a>(&'a Links);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.state().begun -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u64) -> Link {
        Link {
            number,
            name: "a.txt".to_owned(),
            size: 3,
            sha256: String::new(),
            blake3: String::new(),
            links: Vec::new(),
            fingerprint: String::new(),
            left: Some(1),
            downloads: 0,
            until: None,
            anywhere: false,
            ended: None,
            stop: CancellationToken::new(),
        }
    }

    #[test]
    fn few_links_work_at_once() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("links/left over")).unwrap();
        let links = Links::of(home.path()).unwrap();
        assert!(!home.path().join("links").exists());
        let begun: Vec<_> = (1..LINKS_MAX).filter_map(|_| links.begin()).collect();
        let first = links.add(link);
        assert_eq!(begun.len(), LINKS_MAX - 1);
        assert!(links.begin().is_none());
        links.change(first.number, |link| link.ended = Some("used"));
        assert!(links.begin().is_some());
        drop(begun);
        assert_eq!(links.state().begun, 0);
    }

    #[test]
    fn the_oldest_ended_links_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let links = Links::of(home.path()).unwrap();
        for _ in 0..=ENDED_MAX {
            let number = links.add(link).number;
            links.change(number, |link| link.ended = Some("expired"));
        }
        let numbers: Vec<u64> = links.state().links.keys().copied().collect();
        assert_eq!(numbers.len(), ENDED_MAX);
        assert_eq!(numbers.first(), Some(&2));
    }
}
