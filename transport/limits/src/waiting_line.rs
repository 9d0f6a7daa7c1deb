//! The newcomers that wait for a place, with turns that alternate between networks.

use std::collections::{BTreeMap, BTreeSet};

use super::places::Entrance;

/// Waiting newcomers from networks `N`. Newcomers are numbered in the order in which they came.
///
/// Each network has its own line, and the networks take turns: the network whose last turn is the
/// longest ago is next. When all seats are taken, a newcomer replaces the last one in the longest
/// line, if that line then still has at least as many as the newcomer's.
#[derive(Debug)]
pub struct WaitingLine<N> {
    seats: usize,
    taken: usize,
    lines: BTreeMap<N, Line>,
    /// The networks that wait, by the number of their turn.
    turns: BTreeSet<(u64, N)>,
    /// The networks that wait, by the length of their line.
    lengths: BTreeSet<(usize, N)>,
    clock: u64,
}

#[derive(Debug)]
struct Line {
    waiting: BTreeSet<u64>,
    turn: u64,
}

impl<N: Ord + Copy> WaitingLine<N> {
    /// Creates a line with free seats.
    pub fn new(seats: usize) -> Self {
        Self {
            seats,
            taken: 0,
            lines: BTreeMap::new(),
            turns: BTreeSet::new(),
            lengths: BTreeSet::new(),
            clock: 0,
        }
    }

    /// Adds a newcomer at the end of its network's line. Returns [`Entrance::Full`] without adding it
    /// if it can have no seat.
    pub fn join(&mut self, network: N, newcomer: u64) -> Entrance<u64> {
        let mut entrance = Entrance::Free;
        if self.taken == self.seats {
            let own = self
                .lines
                .get(&network)
                .map_or(0, |line| line.waiting.len());
            let Some(&(_, longest)) = self.lengths.last().filter(|(length, _)| *length > own + 1)
            else {
                return Entrance::Full;
            };
            let last = *self.lines[&longest]
                .waiting
                .last()
                .expect("a line with a length is not empty");
            self.leave(longest, last);
            entrance = Entrance::Replaces(last);
        }
        self.clock += 1;
        let turn = self.clock;
        let line = self.lines.entry(network).or_insert_with(|| Line {
            waiting: BTreeSet::new(),
            turn,
        });
        self.lengths.remove(&(line.waiting.len(), network));
        line.waiting.insert(newcomer);
        self.lengths.insert((line.waiting.len(), network));
        self.turns.insert((line.turn, network));
        self.taken += 1;
        entrance
    }

    /// Takes the newcomer whose turn it is.
    pub fn next_turn(&mut self) -> Option<u64> {
        let &(turn, network) = self.turns.first()?;
        let next = *self.lines[&network]
            .waiting
            .first()
            .expect("a network with a turn has a line");
        self.leave(network, next);
        if let Some(line) = self.lines.get_mut(&network) {
            self.clock += 1;
            line.turn = self.clock;
            self.turns.remove(&(turn, network));
            self.turns.insert((line.turn, network));
        }
        Some(next)
    }

    /// Takes a newcomer out of the line, if it still waits.
    pub fn leave(&mut self, network: N, newcomer: u64) {
        let Some(line) = self.lines.get_mut(&network) else {
            return;
        };
        let length = line.waiting.len();
        if !line.waiting.remove(&newcomer) {
            return;
        }
        self.taken -= 1;
        self.lengths.remove(&(length, network));
        if length > 1 {
            self.lengths.insert((length - 1, network));
        } else {
            self.turns.remove(&(line.turn, network));
            self.lines.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join_all(line: &mut WaitingLine<char>, network: char, newcomers: &[u64]) {
        for newcomer in newcomers {
            assert_eq!(line.join(network, *newcomer), Entrance::Free);
        }
    }

    #[test]
    fn networks_take_turns_and_each_is_served_in_order() {
        let mut line = WaitingLine::new(10);
        join_all(&mut line, 'a', &[1, 2, 3, 4]);
        join_all(&mut line, 'b', &[10, 11]);
        let served: Vec<_> = std::iter::from_fn(|| line.next_turn()).collect();
        assert_eq!(served, [1, 10, 2, 11, 3, 4]);
        line.leave('a', 4);
        assert_eq!(line.next_turn(), None);
    }

    #[test]
    fn a_newcomer_takes_the_last_seat_of_the_longest_line() {
        let mut line = WaitingLine::new(4);
        join_all(&mut line, 'a', &[1, 2, 3, 4]);
        assert_eq!(line.join('a', 5), Entrance::Full);
        assert_eq!(line.join('b', 10), Entrance::Replaces(4));
        assert_eq!(line.join('b', 11), Entrance::Replaces(3));
        assert_eq!(line.join('b', 12), Entrance::Full);
        assert_eq!(line.join('c', 20), Entrance::Replaces(11));
        assert_eq!(line.join('c', 21), Entrance::Full);
        let served: Vec<_> = std::iter::from_fn(|| line.next_turn()).collect();
        assert_eq!(served, [1, 10, 20, 2]);
    }

    #[test]
    fn a_newcomer_that_leaves_frees_its_seat_and_loses_its_turn() {
        let mut line = WaitingLine::new(3);
        join_all(&mut line, 'a', &[1, 2, 3]);
        line.leave('a', 1);
        join_all(&mut line, 'a', &[4]);
        let served: Vec<_> = std::iter::from_fn(|| line.next_turn()).collect();
        assert_eq!(served, [2, 3, 4]);
    }
}
