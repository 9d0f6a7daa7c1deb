//! The rules of English draughts: the legal moves of a position. Not here: the end of a game, which
//! is in [`super::game`].
//!
//! Squares are numbered 1 to 32 as draughts players do: black begins on 1 to 12 and moves towards
//! 32, and white begins on 21 to 32. A man moves and captures forward only. A player who can capture
//! must capture. A capture continues as long as the piece can capture again, and its player chooses
//! the path. A man that reaches the last row becomes a king, and its move ends. A king moves one
//! square, forward or back.

use std::fmt;
use std::str::FromStr;

/// Dark squares.
pub(crate) const SQUARES: u8 = 32;

/// A dark square, 1 to 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Square(u8);

impl Square {
    /// The square of this number, if there is one.
    pub(crate) fn new(number: u8) -> Option<Square> {
        (1..=SQUARES).contains(&number).then_some(Square(number))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    fn index(self) -> usize {
        usize::from(self.0 - 1)
    }

    /// From black's side, 0 to 7.
    fn row(self) -> i8 {
        (self.0 - 1).cast_signed() / 4
    }

    fn column(self) -> i8 {
        (self.0 - 1).cast_signed() % 4 * 2 + (self.row() + 1) % 2
    }

    /// The dark square in this row and column, if there is one.
    pub(crate) fn at(row: i8, column: i8) -> Option<Square> {
        let dark = (0..8).contains(&row) && (0..8).contains(&column) && (row + column) % 2 == 1;
        dark.then(|| Square((row * 4 + column / 2 + 1).cast_unsigned()))
    }

    fn step(self, (down, right): Way, steps: i8) -> Option<Square> {
        Square::at(self.row() + down * steps, self.column() + right * steps)
    }
}

/// One diagonal step: rows down, columns to the right.
type Way = (i8, i8);

/// One of the two players.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The side that moves first.
    Black,
    White,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Black => Side::White,
            Side::White => Side::Black,
        }
    }

    /// The row where men of this side become kings.
    fn last_row(self) -> i8 {
        match self {
            Side::Black => 7,
            Side::White => 0,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Black => "black",
            Side::White => "white",
        })
    }
}

/// A piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) side: Side,
    pub(crate) king: bool,
}

impl Piece {
    fn ways(self) -> &'static [Way] {
        const ALL: [Way; 4] = [(1, -1), (1, 1), (-1, -1), (-1, 1)];
        match (self.king, self.side) {
            (true, _) => &ALL,
            (false, Side::Black) => &ALL[..2],
            (false, Side::White) => &ALL[2..],
        }
    }
}

/// A move: the squares that the piece visits, beginning with its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Move {
    pub(crate) path: Vec<Square>,
    pub(crate) captures: bool,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.captures { "x" } else { "-" };
        let numbers: Vec<_> = self
            .path
            .iter()
            .map(|square| square.0.to_string())
            .collect();
        f.write_str(&numbers.join(between))
    }
}

/// A move as a player writes it, `11-15` or `15x22x31`. It may be illegal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written(Vec<Square>);

impl FromStr for Written {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let square = |word: &str| word.trim().parse().ok().and_then(Square::new).ok_or(());
        let path: Vec<Square> = text
            .split(['-', 'x', 'X'])
            .map(square)
            .collect::<Result<_, ()>>()?;
        if path.len() < 2 {
            Err(())
        } else {
            Ok(Written(path))
        }
    }
}

impl Written {
    /// The one legal move with this path. If only one legal move has these first and last squares,
    /// they are enough.
    pub(crate) fn among(&self, legal: &[Move]) -> Option<Move> {
        if let Some(whole) = legal.iter().find(|legal| legal.path == self.0) {
            return Some(whole.clone());
        }
        let ends = |path: &[Square]| (path.first().copied(), path.last().copied());
        let mut fitting = legal
            .iter()
            .filter(|legal| self.0.len() == 2 && ends(&legal.path) == ends(&self.0));
        let first = fitting.next()?;
        fitting.next().is_none().then(|| first.clone())
    }
}

/// The pieces on the board, and the side to move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pieces: [Option<Piece>; SQUARES as usize],
    turn: Side,
}

impl Position {
    /// The position at the start of a game.
    pub(crate) fn start() -> Position {
        let man = |side| Some(Piece { side, king: false });
        let mut pieces = [None; SQUARES as usize];
        pieces[..12].fill(man(Side::Black));
        pieces[20..].fill(man(Side::White));
        Position {
            pieces,
            turn: Side::Black,
        }
    }

    pub(crate) fn turn(&self) -> Side {
        self.turn
    }

    pub(crate) fn piece(&self, at: Square) -> Option<Piece> {
        self.pieces[at.index()]
    }

    /// All legal moves, in the order of their squares.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut captures = Vec::new();
        for (from, piece) in self.own() {
            let mut board = self.clone();
            board.pieces[from.index()] = None;
            board.capture_on(piece, &mut vec![from], &mut captures);
        }
        if captures.is_empty() {
            self.steps()
        } else {
            captures
        }
    }

    /// The position after a legal move.
    pub(crate) fn after(&self, made: &Move) -> Position {
        let (from, to) = (made.path[0], *made.path.last().expect("a move has squares"));
        let mut next = self.clone();
        let mut piece = next.pieces[from.index()]
            .take()
            .expect("a legal move starts at a piece");
        if made.captures {
            for jump in made.path.windows(2) {
                next.pieces[between(jump[0], jump[1]).index()] = None;
            }
        }
        piece.king |= to.row() == piece.side.last_row();
        next.pieces[to.index()] = Some(piece);
        next.turn = self.turn.other();
        next
    }

    fn own(&self) -> impl Iterator<Item = (Square, Piece)> {
        let all = (1..=SQUARES)
            .map(Square)
            .filter_map(|square| Some((square, self.piece(square)?)));
        all.filter(|(_, piece)| piece.side == self.turn)
    }

    fn steps(&self) -> Vec<Move> {
        let step = |from: Square, way| from.step(way, 1).filter(|to| self.piece(*to).is_none());
        let ways = self
            .own()
            .flat_map(|(from, piece)| piece.ways().iter().map(move |way| (from, *way)));
        ways.filter_map(|(from, way)| {
            Some(Move {
                path: vec![from, step(from, way)?],
                captures: false,
            })
        })
        .collect()
    }

    /// Finds every path on which the piece can continue to capture from the end of `path`. The piece
    /// itself is lifted from the board.
    fn capture_on(&mut self, piece: Piece, path: &mut Vec<Square>, found: &mut Vec<Move>) {
        let from = *path.last().expect("begins where the piece stood");
        let mut goes_on = false;
        for way in piece.ways() {
            let (Some(over), Some(to)) = (from.step(*way, 1), from.step(*way, 2)) else {
                continue;
            };
            let Some(taken) = self.piece(over).filter(|taken| taken.side != piece.side) else {
                continue;
            };
            if self.piece(to).is_some() {
                continue;
            }
            goes_on = true;
            path.push(to);
            if !piece.king && to.row() == piece.side.last_row() {
                found.push(Move {
                    path: path.clone(),
                    captures: true,
                });
            } else {
                // Remove a captured piece at once, so that no piece is captured twice.
                self.pieces[over.index()] = None;
                self.capture_on(piece, path, found);
                self.pieces[over.index()] = Some(taken);
            }
            path.pop();
        }
        if !goes_on && path.len() > 1 {
            found.push(Move {
                path: path.clone(),
                captures: true,
            });
        }
    }
}

/// The square that is jumped over.
fn between(from: Square, to: Square) -> Square {
    let middle = |a: i8, b: i8| i8::midpoint(a, b);
    let square = Square::at(
        middle(from.row(), to.row()),
        middle(from.column(), to.column()),
    );
    square.expect("a jump goes over a dark square")
}

#[cfg(test)]
impl Position {
    /// A position as draughts players write it: `B:W18,K22:B1,2` has black to move.
    pub(crate) fn written(text: &str) -> Position {
        let mut parts = text.split(':');
        let side = |word: &str| {
            if word.starts_with('B') {
                Side::Black
            } else {
                Side::White
            }
        };
        let mut position = Position {
            pieces: [None; SQUARES as usize],
            turn: side(parts.next().unwrap()),
        };
        for part in parts {
            for word in part[1..].split(',').filter(|word| !word.is_empty()) {
                let king = word.starts_with('K');
                let square = Square::new(word.trim_start_matches('K').parse().unwrap()).unwrap();
                position.pieces[square.index()] = Some(Piece {
                    side: side(part),
                    king,
                });
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perft(position: &Position, depth: u32) -> u64 {
        let moves = position.moves();
        match depth {
            0 => 1,
            1 => moves.len() as u64,
            _ => moves
                .iter()
                .map(|made| perft(&position.after(made), depth - 1))
                .sum(),
        }
    }

    /// The number of games of each length in moves: OEIS A133046, confirmed by several programs.
    #[test]
    fn there_are_as_many_games_as_others_have_counted() {
        let known = [1, 7, 49, 302, 1469, 7361, 36768, 179_740, 845_931];
        for (depth, games) in (0..).zip(known) {
            assert_eq!(
                perft(&Position::start(), depth),
                games,
                "after {depth} moves"
            );
        }
    }

    #[track_caller]
    fn check(position: &str, expected: &[&str]) {
        let moves: Vec<_> = Position::written(position)
            .moves()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(moves, expected, "{position}");
    }

    #[test]
    fn men_go_forward_and_kings_both_ways() {
        check("B:B18", &["18-22", "18-23"]);
        check("W:W18", &["18-14", "18-15"]);
        check("B:BK18", &["18-22", "18-23", "18-14", "18-15"]);
        check("B:B4", &["4-8"]);
        check("W:W29", &["29-25"]);
        check("B:B18:W22,23,25,27", &[]);
    }

    #[test]
    fn who_can_capture_must_and_goes_on_to_the_end_but_not_by_the_longest_way() {
        check("B:B9,11:W15", &["11x18"]);
        check("B:B6:W9,18,10,19", &["6x13", "6x15x22", "6x15x24"]);
        // A man captures forward only, a king also back.
        check("B:B18:W14", &["18-22", "18-23"]);
        check("B:BK18:W14", &["18x9"]);
        // A piece with no free square behind it cannot be captured.
        check("B:B18:W23,27", &["18-22"]);
    }

    #[test]
    fn becoming_a_king_ends_the_move() {
        check("B:B22:W25,26,27", &["22x29", "22x31"]);
        let position = Position::written("B:B22:W26,27");
        assert_eq!(
            position.after(&position.moves()[0]),
            Position::written("W:BK31:W27")
        );
    }

    #[test]
    fn a_king_may_capture_in_a_circle_and_nothing_twice() {
        check("B:BK2:W6,7,14,15", &["2x9x18x11x2", "2x11x18x9x2"]);
    }

    #[test]
    fn what_is_captured_leaves_the_board() {
        let position = Position::written("W:W30:B25,17,10");
        let legal = position.moves();
        assert_eq!(legal[0].to_string(), "30x21x14x7");
        assert_eq!(position.after(&legal[0]), Position::written("B:W7"));
    }

    #[test]
    fn a_move_may_be_written_by_its_ends_where_that_is_clear() {
        let legal = Position::written("W:W30:B25,17,10").moves();
        let meant = |text: &str| {
            text.parse::<Written>()
                .ok()
                .and_then(|written| written.among(&legal))
                .map(|m| m.to_string())
        };
        assert_eq!(meant("30x7").as_deref(), Some("30x21x14x7"));
        assert_eq!(meant("30-21-14-7").as_deref(), Some("30x21x14x7"));
        assert_eq!(meant("30x21"), None);
        for wrong in ["", "30", "0-5", "30x33", "30x", "a-b", "300x7"] {
            assert_eq!(wrong.parse::<Written>(), Err(()), "{wrong}");
        }
    }
}
