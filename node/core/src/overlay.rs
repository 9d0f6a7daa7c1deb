//! Chooses the members of a room at a relay that a node connects with unasked.
//!
//! In a small room, a node connects with the next four members in the order of ids, so that all are
//! connected with all. In a larger room, a node connects with the next three members, and with
//! one far member. On average, as many other nodes connect with it. The near neighbours hold the
//! room together where some are missing. The far ones shorten the path of a message: see
//! `a_message_crosses_a_room_of_a_thousand_in_a_few_steps`.

use hobnob_protocol::DeviceId;

use crate::Rng;

/// The next members with which a node connects in a small room.
const NEXT_IN_SMALL_ROOM: usize = 4;

/// The most other members of a small room, in which all members are connected with each other.
const SMALL_ROOM: usize = 2 * NEXT_IN_SMALL_ROOM;

/// The next members with which a node connects in a larger room, beside a far one.
const NEXT: usize = 3;

/// The members with which `me` connects, at most four. `others` are all others that it could
/// connect with, in the order of ids, from the first one after `me` and around.
pub fn neighbours(me: DeviceId, others: &[DeviceId]) -> Vec<DeviceId> {
    if others.len() <= SMALL_ROOM {
        return others.iter().take(NEXT_IN_SMALL_ROOM).copied().collect();
    }
    let (next, rest) = others.split_at(NEXT);
    // Each pair has a random number. So a newcomer seldom changes which one is the smallest.
    let far = rest.iter().min_by_key(|other| lot(me, **other));
    next.iter().chain(far).copied().collect()
}

/// The same random number each time for the same two members.
fn lot(me: DeviceId, other: DeviceId) -> u64 {
    let number = |id: DeviceId| {
        let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    Rng::new(number(me) ^ number(other).rotate_left(32)).draw()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Links = BTreeMap<DeviceId, BTreeSet<DeviceId>>;

    /// A room with so many members, whose ids are random.
    fn members(count: usize) -> Vec<DeviceId> {
        let mut rng = Rng::new(7);
        let mut id = || {
            let mut bytes = [0; 32];
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&rng.draw().to_le_bytes());
            }
            DeviceId::from_bytes(bytes)
        };
        let mut members: Vec<_> = (0..count).map(|_| id()).collect();
        members.sort();
        members
    }

    /// Who is connected with whom.
    fn links(members: &[DeviceId]) -> Links {
        let mut links = Links::new();
        for (at, me) in members.iter().enumerate() {
            let others = [&members[at + 1..], &members[..at]].concat();
            for other in neighbours(*me, &others) {
                links.entry(*me).or_default().insert(other);
                links.entry(other).or_default().insert(*me);
            }
        }
        links
    }

    /// How many of these members are reached from the first one, and in how many steps at most.
    fn reached(links: &Links, members: &[DeviceId]) -> (usize, usize) {
        let mut reached = BTreeSet::from([members[0]]);
        let (mut last, mut steps) = (vec![members[0]], 0);
        loop {
            let next: BTreeSet<_> = last.iter().flat_map(|at| &links[at]).copied().collect();
            last = next.into_iter().filter(|it| members.contains(it)).collect();
            last.retain(|it| reached.insert(*it));
            if last.is_empty() {
                return (reached.len(), steps);
            }
            steps += 1;
        }
    }

    #[test]
    fn in_a_small_room_everybody_is_connected_with_everybody() {
        for count in 2..=9 {
            let links = links(&members(count));
            assert!(links.values().all(|of| of.len() == count - 1), "{count}");
        }
        assert_eq!(neighbours(members(1)[0], &[]), []);
    }

    #[test]
    fn nobody_has_more_than_sixteen_neighbours_in_a_room_of_a_thousand() {
        for count in [10, 40, 300, 1_000] {
            let links = links(&members(count));
            let counts = links.values().map(BTreeSet::len);
            let (fewest, most) = (counts.clone().min(), counts.max());
            assert!(
                fewest >= Some(2 * NEXT) && most <= Some(16),
                "{count}: {most:?}"
            );
        }
    }

    #[test]
    fn a_message_crosses_a_room_of_a_thousand_in_a_few_steps() {
        let members = members(1_000);
        let (count, steps) = reached(&links(&members), &members);
        assert_eq!(count, 1_000);
        assert!(steps <= 10, "{steps} steps");
    }

    #[test]
    fn a_room_holds_together_without_a_tenth_of_its_members_or_several_in_a_row() {
        let all = members(1_000);
        let links = links(&all);
        let tenth: Vec<_> = (0..1_000).filter(|n| n % 10 != 3).map(|n| all[n]).collect();
        assert_eq!(reached(&links, &tenth).0, 900);
        assert_eq!(reached(&links, &all[20..]).0, 980);
    }

    #[test]
    fn a_newcomer_changes_little() {
        let mut room = members(201);
        let newcomer = room.remove(100);
        let before = links(&room);
        room.insert(100, newcomer);
        let after = links(&room);
        let changed = before.iter().filter(|(it, links)| {
            let now = after[it].iter().filter(|it| **it != newcomer);
            !now.eq(links.iter())
        });
        assert!(changed.count() <= 20);
    }
}
