//! The limits of what strangers may store here, and how much of it is used.
//!
//! A stranger is a peer that the user has not accepted. Its direct messages are a request. Beyond
//! the limits a message is neither stored nor acknowledged, so it stays with its sender. Nothing
//! that was acknowledged is dropped.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::{CheckedBatch, PersonId, Ranges};

use super::disk_cost::bytes_on_disk;
use crate::commit::RequestRecord;
use crate::source_network::SourceNetwork;

/// Maximum messages that one stranger has stored here before the user accepts it.
pub const REQUEST_ENTRIES_MAX: u64 = 20;

/// Maximum bytes of the messages of one stranger.
pub const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// Maximum bytes on disk of the messages of all strangers. What they write in open rooms has another
/// limit: [`OPEN_ROOMS_STRANGERS_MAX`](super::OPEN_ROOMS_STRANGERS_MAX).
pub const REQUESTS_BYTES_MAX: u64 = 12 * 1024 * 1024;

/// A source network fills at most one part in this many of what the other networks leave.
const NETWORK_SHARE: u64 = 8;

/// Bytes on disk for each stranger, in addition to its messages: the rows of the conversation and
/// of the request, with their indexes.
const BYTES_PER_REQUEST: u64 = 1024;

/// The share of a batch in a stranger's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    peer: PersonId,
    network: SourceNetwork,
    entries: u64,
    bytes: u64,
}

impl Charge {
    /// The charge for `pieces` of a batch that its author sent from this network.
    pub(super) fn new(network: SourceNetwork, batch: &CheckedBatch, pieces: &Ranges) -> Self {
        let seqs = pieces.iter().flat_map(|(first, last)| first..=last);
        let sizes = seqs.map(|seq| {
            let entry = batch.at(seq).expect("the pieces are of this batch");
            entry.bytes.len() as u64
        });
        Self {
            peer: batch.batch.name.author,
            network,
            entries: pieces.len(),
            bytes: sizes.sum(),
        }
    }
}

/// One stranger's request.
#[derive(Debug, Clone, Copy)]
struct Request {
    /// With what is not durable yet.
    accepted: RequestRecord,
    durable_entries: u64,
    durable_bytes: u64,
}

/// The contacts, and the messages that strangers have stored.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    contacts: BTreeSet<PersonId>,
    requests: BTreeMap<PersonId, Request>,
    /// Bytes on disk of all requests, and of those from each network.
    total: u64,
    by_network: BTreeMap<SourceNetwork, u64>,
    /// How often messages were refused because strangers had stored too much together.
    refused: u64,
}

impl Strangers {
    pub(super) fn load(records: Vec<RequestRecord>) -> Self {
        let mut strangers = Self::default();
        for record in records {
            strangers.put(Request {
                accepted: record,
                durable_entries: record.entries,
                durable_bytes: record.bytes,
            });
        }
        strangers
    }

    pub(super) fn is_contact(&self, peer: PersonId) -> bool {
        self.contacts.contains(&peer)
    }

    /// The user accepts a peer. Returns whether the store has a request of it.
    pub(super) fn accept(&mut self, peer: PersonId) -> bool {
        self.contacts.insert(peer);
        self.remove(peer).is_some()
    }

    /// A contact becomes a stranger. Its earlier messages stay, and do not count as a request.
    pub(super) fn part_with(&mut self, peer: PersonId) {
        self.contacts.remove(&peer);
    }

    /// The strangers with messages, and how much they have stored.
    pub(super) fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.values().map(|request| &request.accepted)
    }

    /// How many messages of a stranger are stored.
    pub(super) fn entries_of(&self, peer: PersonId) -> u64 {
        let request = self.requests.get(&peer);
        request.map_or(0, |request| request.accepted.entries)
    }

    /// Bytes on disk of all requests.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How often messages were refused because all strangers, or those of one network, had stored too
    /// much.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether a peer is a contact, or a stranger below its own limits.
    pub(super) fn may_send_more(&self, peer: PersonId) -> bool {
        let request = self.requests.get(&peer);
        let below = |request: &Request| {
            request.accepted.entries < REQUEST_ENTRIES_MAX
                && request.accepted.bytes < REQUEST_BYTES_MAX
        };
        self.is_contact(peer) || request.is_none_or(below)
    }

    /// Whether these messages of a stranger can be stored. If not, they count as refused.
    pub(super) fn have_room(&mut self, charge: &Charge) -> bool {
        let before = self.requests.get(&charge.peer);
        let before = before.map(|request| request.accepted);
        let after = grown(before, charge);
        if after.entries > REQUEST_ENTRIES_MAX || after.bytes > REQUEST_BYTES_MAX {
            return false;
        }
        // A stranger that returns from elsewhere still counts for the network it first came from.
        let of_network = self.by_network.get(&after.network).copied();
        let of_network = of_network.unwrap_or_default();
        let others = self.total - of_network;
        let left = REQUESTS_BYTES_MAX.saturating_sub(others);
        let added = on_disk(&after) - before.as_ref().map_or(0, on_disk);
        let fits = of_network + added <= left / NETWORK_SHARE;
        self.refused += u64::from(!fits);
        fits
    }

    /// Counts messages that are accepted. Returns the request as it is now, to be stored with them.
    pub(super) fn add(&mut self, charge: &Charge) -> RequestRecord {
        let before = self.remove(charge.peer);
        let accepted = grown(before.map(|before| before.accepted), charge);
        self.put(Request {
            accepted,
            durable_entries: before.map_or(0, |before| before.durable_entries),
            durable_bytes: before.map_or(0, |before| before.durable_bytes),
        });
        accepted
    }

    /// Messages of a peer are durable. The user may have accepted the peer meanwhile.
    pub(super) fn now_durable(&mut self, charge: &Charge) {
        if let Some(request) = self.requests.get_mut(&charge.peer) {
            request.durable_entries += charge.entries;
            request.durable_bytes += charge.bytes;
        }
    }

    /// A commit failed: forgets what is not durable.
    pub(super) fn roll_back(&mut self) {
        let pending = |request: &&Request| request.accepted.entries > request.durable_entries;
        let pending: Vec<_> = self.requests.values().filter(pending).copied().collect();
        for mut request in pending {
            self.remove(request.accepted.peer);
            request.accepted.entries = request.durable_entries;
            request.accepted.bytes = request.durable_bytes;
            if request.durable_entries > 0 {
                self.put(request);
            }
        }
    }

    fn put(&mut self, request: Request) {
        let record = request.accepted;
        self.total += on_disk(&record);
        *self.by_network.entry(record.network).or_default() += on_disk(&record);
        self.requests.insert(record.peer, request);
    }

    fn remove(&mut self, peer: PersonId) -> Option<Request> {
        let request = self.requests.remove(&peer)?;
        let record = request.accepted;
        self.total -= on_disk(&record);
        let of_network = self.by_network.get_mut(&record.network);
        let of_network = of_network.expect("its requests are counted");
        *of_network -= on_disk(&record);
        if *of_network == 0 {
            self.by_network.remove(&record.network);
        }
        Some(request)
    }
}

/// A request with further messages.
fn grown(before: Option<RequestRecord>, charge: &Charge) -> RequestRecord {
    let before = before.unwrap_or(RequestRecord {
        peer: charge.peer,
        network: charge.network,
        entries: 0,
        bytes: 0,
    });
    RequestRecord {
        entries: before.entries + charge.entries,
        bytes: before.bytes + charge.bytes,
        ..before
    }
}

/// The bytes that a request takes on disk, rounded up: each message can start a log.
fn on_disk(record: &RequestRecord) -> u64 {
    BYTES_PER_REQUEST + bytes_on_disk(record.entries, record.entries, record.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: SourceNetwork = SourceNetwork(1);
    const ELSEWHERE: SourceNetwork = SourceNetwork(2);

    fn peer(n: u64) -> PersonId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        PersonId::from_bytes(bytes)
    }

    fn charge(from: u64, network: SourceNetwork, entries: u64, bytes: u64) -> Charge {
        Charge {
            peer: peer(from),
            network,
            entries,
            bytes,
        }
    }

    /// As many new strangers from a network as there is room for, with a full request each.
    fn fill(strangers: &mut Strangers, network: SourceNetwork, from: u64) -> u64 {
        let before = strangers.total();
        for n in from.. {
            let full = charge(n, network, REQUEST_ENTRIES_MAX, REQUEST_BYTES_MAX);
            if !strangers.have_room(&full) {
                break;
            }
            strangers.add(&full);
        }
        strangers.total() - before
    }

    #[test]
    fn one_stranger_has_room_for_twenty_messages() {
        let mut strangers = Strangers::default();
        for _ in 0..REQUEST_ENTRIES_MAX {
            assert!(strangers.have_room(&charge(1, HOME, 1, 100)));
            strangers.add(&charge(1, HOME, 1, 100));
        }
        assert!(!strangers.have_room(&charge(1, HOME, 1, 100)));
        assert!(strangers.have_room(&charge(2, HOME, 1, 100)));
        assert!(!strangers.have_room(&charge(2, HOME, 21, 100)));
    }

    #[test]
    fn one_stranger_has_room_for_64_kib() {
        let mut strangers = Strangers::default();
        strangers.add(&charge(1, HOME, 1, REQUEST_BYTES_MAX - 10));
        assert!(strangers.have_room(&charge(1, HOME, 1, 10)));
        assert!(!strangers.have_room(&charge(1, HOME, 1, 11)));
    }

    #[test]
    fn a_stranger_is_asked_for_more_until_it_has_stored_as_much_as_it_may() {
        let mut strangers = Strangers::default();
        assert!(strangers.may_send_more(peer(1)), "it has stored nothing");
        strangers.add(&charge(1, HOME, REQUEST_ENTRIES_MAX - 1, 100));
        assert!(strangers.may_send_more(peer(1)));
        strangers.add(&charge(1, HOME, 1, 100));
        assert!(!strangers.may_send_more(peer(1)), "by messages");
        strangers.add(&charge(2, HOME, 1, REQUEST_BYTES_MAX - 1));
        assert!(strangers.may_send_more(peer(2)));
        strangers.add(&charge(2, HOME, 1, 1));
        assert!(!strangers.may_send_more(peer(2)), "by bytes");
        strangers.accept(peer(1));
        assert!(strangers.may_send_more(peer(1)), "a contact has no limit");
    }

    #[test]
    fn a_request_counts_with_its_rows_and_its_words() {
        let mut strangers = Strangers::default();
        strangers.add(&charge(1, HOME, 3, 1000));
        assert_eq!(strangers.total(), 1024 + bytes_on_disk(3, 3, 1000));
    }

    #[test]
    fn a_network_fills_an_eighth_of_what_the_others_leave() {
        let mut strangers = Strangers::default();
        let first = fill(&mut strangers, HOME, 0);
        let request = on_disk(&strangers.requests[&peer(0)].accepted);
        assert!(first <= REQUESTS_BYTES_MAX / 8 && first + request > REQUESTS_BYTES_MAX / 8);
        let second = fill(&mut strangers, ELSEWHERE, 1_000_000);
        let left = REQUESTS_BYTES_MAX - first;
        assert!(second <= left / 8 && second + request > left / 8);
        for network in 3..100 {
            fill(&mut strangers, SourceNetwork(network), network << 32);
        }
        assert!(strangers.total() <= REQUESTS_BYTES_MAX);
    }

    #[test]
    fn a_stranger_cannot_change_its_network_to_get_more_room() {
        let mut strangers = Strangers::default();
        strangers.add(&charge(u64::MAX, HOME, 1, 1));
        fill(&mut strangers, HOME, 0);
        for n in 1_000_000.. {
            if !strangers.have_room(&charge(n, HOME, 1, 1)) {
                break;
            }
            strangers.add(&charge(n, HOME, 1, 1));
        }
        let big = charge(u64::MAX, ELSEWHERE, 1, REQUEST_BYTES_MAX - 1);
        assert!(!strangers.have_room(&big));
    }

    #[test]
    fn an_accepted_stranger_makes_room() {
        let mut strangers = Strangers::default();
        strangers.add(&charge(1, HOME, 20, 100));
        assert!(strangers.accept(peer(1)) && strangers.is_contact(peer(1)));
        assert_eq!((strangers.total(), strangers.by_network.len()), (0, 0));
        assert!(!strangers.accept(peer(1)), "there is no request any more");
        strangers.part_with(peer(1));
        assert!(!strangers.is_contact(peer(1)));
        assert_eq!(strangers.requests().count(), 0);
    }

    #[test]
    fn what_the_disk_did_not_take_does_not_count() {
        let mut strangers = Strangers::default();
        strangers.add(&charge(1, HOME, 2, 20));
        strangers.now_durable(&charge(1, HOME, 2, 20));
        strangers.add(&charge(1, HOME, 3, 30));
        strangers.add(&charge(2, HOME, 1, 10));
        strangers.roll_back();
        let left: Vec<_> = strangers.requests().copied().collect();
        let kept = RequestRecord {
            peer: peer(1),
            network: HOME,
            entries: 2,
            bytes: 20,
        };
        assert_eq!(left, [kept]);
        assert_eq!(strangers.total(), on_disk(&kept));
    }

    #[test]
    fn requests_survive_a_restart() {
        let mut strangers = Strangers::default();
        let record = strangers.add(&charge(1, HOME, 20, 100));
        let mut loaded = Strangers::load(vec![record]);
        assert_eq!(loaded.total(), strangers.total());
        assert!(!loaded.have_room(&charge(1, HOME, 1, 1)));
    }
}
