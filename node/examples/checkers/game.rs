//! One game from its first move to its end.
//!
//! A side that can't move when it is its turn has lost. The game is drawn when a position occurs
//! for the third time with the same side to move, or when in 40 moves of each side nothing was
//! captured and no man moved. (At a board, a player claims such a draw. Here the program notices
//! it.) Resigning and agreeing on a draw are in [`super::table`].

use std::collections::BTreeMap;
use std::fmt;

use super::rules::{Move, Position, Side, Square};

/// Positions with the same side to move that make a draw.
const REPEATED: u32 = 3;

/// Moves, of both sides together, without a capture or a man's move that make a draw.
const QUIET: u32 = 80;

/// How a game stands.
#[derive(Debug, Clone)]
pub(crate) struct Game {
    position: Position,
    legal: Vec<Move>,
    moves: u32,
    seen: BTreeMap<Position, u32>,
    /// Moves since something was captured or a man moved.
    quiet: u32,
}

/// How a game ended on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side has no move.
    Won(Side),
    /// The same position for the third time.
    Repeated,
    /// Too long without a capture or a man's move.
    Quiet,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Won(side) => write!(f, "{} can't move", side.other()),
            End::Repeated => f.write_str("a draw: the same position for the third time"),
            End::Quiet => {
                f.write_str("a draw: 40 moves of each side without a capture or a man's move")
            }
        }
    }
}

impl Game {
    pub(crate) fn new() -> Game {
        let position = Position::start();
        Game {
            legal: position.moves(),
            seen: BTreeMap::from([(position.clone(), 1)]),
            position,
            moves: 0,
            quiet: 0,
        }
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The legal moves of the side to move.
    pub(crate) fn legal(&self) -> &[Move] {
        &self.legal
    }

    /// Moves made so far.
    pub(crate) fn moves(&self) -> u32 {
        self.moves
    }

    /// Makes the move with this path, if it is legal.
    pub(crate) fn make(&mut self, path: &[Square]) -> Option<Move> {
        let made = self.legal.iter().find(|legal| legal.path == path)?.clone();
        let is_king = self
            .position
            .piece(made.path[0])
            .is_some_and(|piece| piece.king);
        self.quiet = if is_king && !made.captures {
            self.quiet + 1
        } else {
            0
        };
        self.position = self.position.after(&made);
        self.legal = self.position.moves();
        self.moves += 1;
        *self.seen.entry(self.position.clone()).or_insert(0) += 1;
        Some(made)
    }

    pub(crate) fn end(&self) -> Option<End> {
        if self.legal.is_empty() {
            Some(End::Won(self.position.turn().other()))
        } else if self
            .seen
            .get(&self.position)
            .is_some_and(|times| *times >= REPEATED)
        {
            Some(End::Repeated)
        } else if self.quiet >= QUIET {
            Some(End::Quiet)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rules::Written;

    fn at(position: &str) -> Game {
        let position = Position::written(position);
        Game {
            legal: position.moves(),
            seen: BTreeMap::from([(position.clone(), 1)]),
            position,
            ..Game::new()
        }
    }

    fn make(game: &mut Game, text: &str) {
        let made = text
            .parse::<Written>()
            .unwrap()
            .among(game.legal())
            .unwrap_or_else(|| panic!("{text} is not legal"));
        assert_eq!(game.make(&made.path), Some(made));
    }

    #[test]
    fn who_has_no_move_loses_with_pieces_or_without() {
        let mut taken = at("B:B14:W18");
        make(&mut taken, "14x23");
        assert_eq!(taken.end(), Some(End::Won(Side::Black)));
        assert_eq!(at("W:W21:B17,14").end(), Some(End::Won(Side::Black)));
    }

    #[test]
    fn the_third_time_is_a_draw() {
        let mut game = at("B:BK1:WK32");
        for _ in 0..2 {
            assert_eq!(game.end(), None);
            for made in ["1-5", "32-27", "5-1", "27-32"] {
                make(&mut game, made);
            }
        }
        assert_eq!(game.end(), Some(End::Repeated));
    }

    #[test]
    fn forty_quiet_moves_are_a_draw() {
        let mut game = at("B:BK1,13:WK32,21");
        game.quiet = QUIET - 2;
        make(&mut game, "1-6");
        assert_eq!(game.end(), None);
        make(&mut game, "32-27");
        assert_eq!(game.end(), Some(End::Quiet));
    }

    #[test]
    fn captures_and_moves_of_men_begin_the_count_anew() {
        let mut game = at("B:BK1,13:WK32,21");
        for (made, quiet) in [
            ("1-6", 1),
            ("32-27", 2),
            ("13-17", 0),
            ("21x14", 0),
            ("6-2", 1),
        ] {
            make(&mut game, made);
            assert_eq!(game.quiet, quiet, "{made}");
        }
    }

    #[test]
    fn what_is_not_legal_is_not_made() {
        let mut game = Game::new();
        for wrong in [[11, 18], [9, 9], [22, 18], [1, 6]] {
            let path = wrong.map(|n| Square::new(n).unwrap());
            assert_eq!(game.make(&path), None);
        }
        assert_eq!((game.moves(), game.make(&[])), (0, None));
    }
}
