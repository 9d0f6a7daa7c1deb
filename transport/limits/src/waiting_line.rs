//! Who waits for a place, with turns that alternate between networks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::places::Entrance;

/// Waiting newcomers `T` from networks `N`.
///
/// Each network has its own line, and the networks take turns: the network whose last turn is the
/// longest ago is next. When all seats are taken, a newcomer replaces the last one in the longest
/// line, if that line then still has at least as many as the newcomer's.
#[derive(Debug)]
pub struct WaitingLine<N, T> {
    seats: usize,
    taken: usize,
    lines: BTreeMap<N, Line<T>>,
    /// The networks that wait, by the number of their turn.
    turns: BTreeSet<(u64, N)>,
    /// The networks that wait, by the length of their line.
    lengths: BTreeSet<(usize, N)>,
    clock: u64,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<T>,
    turn: u64,
}

impl<N: Ord + Copy, T> WaitingLine<N, T> {
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

    /// The number of waiting newcomers.
    pub fn waiting(&self) -> usize {
        self.taken
    }

    /// Adds a newcomer at the end of its network's line. Returns [`Entrance::Full`] without adding it
    /// if it can have no seat.
    pub fn join(&mut self, network: N, newcomer: T) -> Entrance<T> {
        let mut replaced = None;
        if self.taken == self.seats {
            let own = self
                .lines
                .get(&network)
                .map_or(0, |line| line.waiting.len());
            match self.lengths.last() {
                Some(&(length, longest)) if length > own + 1 => {
                    replaced = self.pop(longest, VecDeque::pop_back);
                }
                _ => return Entrance::Full,
            }
        }
        self.clock += 1;
        let turn = self.clock;
        let line = self.lines.entry(network).or_insert_with(|| Line {
            waiting: VecDeque::new(),
            turn,
        });
        self.lengths.remove(&(line.waiting.len(), network));
        line.waiting.push_back(newcomer);
        self.lengths.insert((line.waiting.len(), network));
        self.turns.insert((line.turn, network));
        self.taken += 1;
        replaced.map_or(Entrance::Free, Entrance::Replaces)
    }

    /// Takes the newcomer whose turn it is.
    pub fn next(&mut self) -> Option<T> {
        let &(turn, network) = self.turns.first()?;
        let next = self.pop(network, VecDeque::pop_front);
        if let Some(line) = self.lines.get_mut(&network) {
            self.clock += 1;
            line.turn = self.clock;
            self.turns.remove(&(turn, network));
            self.turns.insert((line.turn, network));
        }
        next
    }

    /// Takes one newcomer out of a network's line, and forgets the line if it is empty now.
    fn pop(&mut self, network: N, take: impl FnOnce(&mut VecDeque<T>) -> Option<T>) -> Option<T> {
        let line = self.lines.get_mut(&network)?;
        self.lengths.remove(&(line.waiting.len(), network));
        let taken = take(&mut line.waiting)?;
        self.taken -= 1;
        if line.waiting.is_empty() {
            self.turns.remove(&(line.turn, network));
            self.lines.remove(&network);
        } else {
            self.lengths.insert((line.waiting.len(), network));
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join_all(line: &mut WaitingLine<char, u32>, network: char, newcomers: &[u32]) {
        for newcomer in newcomers {
            assert_eq!(line.join(network, *newcomer), Entrance::Free);
        }
    }

    #[test]
    fn networks_take_turns_and_each_is_served_in_order() {
        let mut line = WaitingLine::new(10);
        join_all(&mut line, 'a', &[1, 2, 3, 4]);
        join_all(&mut line, 'b', &[10, 11]);
        let served: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, [1, 10, 2, 11, 3, 4]);
        assert_eq!(line.waiting(), 0);
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
        let served: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, [1, 10, 20, 2]);
    }
}
