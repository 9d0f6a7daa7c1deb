//! The screen of a player: the board, and sentences.

use hobnob::PersonId;

use super::rules::{Position, Side, Square};
use super::table::{Ending, Match, News, State, Table};

/// The board with `side` at the bottom. `b` and `w` are men, `B` and `W` are kings. Every dark
/// square shows its number.
pub(crate) fn board(position: &Position, side: Side) -> String {
    let turned = |n: i8| if side == Side::White { n } else { 7 - n };
    let edge = "  +---------------------------------+\n";
    let mut text = String::from(edge);
    for row in 0..8 {
        text.push_str("  | ");
        for column in 0..8 {
            let square = Square::at(turned(row), turned(column));
            text.push_str(
                &square.map_or_else(|| "    ".to_owned(), |square| cell(position, square)),
            );
        }
        text.push_str("|\n");
    }
    text + edge
}

fn cell(position: &Position, square: Square) -> String {
    let piece = position
        .piece(square)
        .map_or('.', |piece| match (piece.side, piece.king) {
            (Side::Black, false) => 'b',
            (Side::Black, true) => 'B',
            (Side::White, false) => 'w',
            (Side::White, true) => 'W',
        });
    format!("{piece}{:<3}", square.number())
}

/// A player's view of a table.
pub(crate) struct View<'a> {
    pub(crate) me: PersonId,
    /// The name of the other player.
    pub(crate) other: &'a str,
}

impl View<'_> {
    /// Describes the result of a word. `table` is the state after it.
    pub(crate) fn news(&self, by: PersonId, news: &News, table: &Table) -> String {
        let (other, mine) = (self.other, by == self.me);
        match news {
            News::Challenged if mine => {
                format!("You challenge {other}. The game begins when {other} accepts.")
            }
            News::Challenged => format!("{other} challenges you to a game: `accept` or `decline`."),
            News::Declined if mine => format!("You have declined {other}'s challenge."),
            News::Declined => format!("{other} has declined your challenge."),
            News::Begun => table
                .playing()
                .map(|game| self.begins(game))
                .unwrap_or_default(),
            News::Moved {
                number,
                made,
                offers_draw,
            } => {
                let who = if mine {
                    "you play"
                } else {
                    &format!("{other} plays")
                };
                let draw = if *offers_draw {
                    ", and offers a draw"
                } else {
                    ""
                };
                format!(
                    "Move {number}: {who} {made}{}.",
                    if mine && *offers_draw {
                        ", and offer a draw"
                    } else {
                        draw
                    }
                )
            }
            News::Ended(ending) => self.ending(*ending, table),
            News::Refused(reason) if mine => format!("What you said does not count: {reason}."),
            News::Refused(reason) => format!("Refused what {other} said: {reason}."),
        }
    }

    fn begins(&self, game: &Match) -> String {
        let first = if game.to_move() == self.me {
            "and move first"
        } else {
            &format!("and {} moves first", self.other)
        };
        format!(
            "The game with {} begins: you play {}, {first}.",
            self.other,
            game.side_of(self.me)
        )
    }

    fn ending(&self, ending: Ending, table: &Table) -> String {
        let State::Over(over, _) = table.state() else {
            return String::new();
        };
        let other = self.other;
        match (ending, ending.winner(over)) {
            (Ending::Agreed, _) => "The game is over: a draw, as you both agree.".to_owned(),
            (Ending::Resigned(_), Some(winner)) if winner == self.me => {
                format!("The game is over: {other} gives up, you have won.")
            }
            (Ending::Resigned(_), _) => format!("The game is over: you give up, {other} has won."),
            (Ending::OnBoard(end), None) => format!("The game is over: {end}."),
            (Ending::OnBoard(end), Some(winner)) if winner == self.me => {
                format!("The game is over: {end}, you have won.")
            }
            (Ending::OnBoard(end), Some(_)) => format!("The game is over: {end}, {other} has won."),
        }
    }

    /// Describes the state of a table.
    pub(crate) fn stands(&self, table: &Table) -> String {
        let other = self.other;
        match table.state() {
            State::Nothing => format!("There is no game with {other}."),
            State::Challenged(by, _) if *by == self.me => {
                format!("{other} has not answered your challenge yet.")
            }
            State::Challenged(..) => {
                format!("{other} challenges you to a game: `accept` or `decline`.")
            }
            State::Playing(game) => {
                let whose = self.whose_turn(game);
                format!(
                    "The game with {other} goes on: you play {}, {} moves are made. {whose}",
                    game.side_of(self.me),
                    game.game.moves()
                )
            }
            State::Over(_, ending) => self.ending(*ending, table),
        }
    }

    pub(crate) fn whose_turn(&self, game: &Match) -> String {
        match game.to_move() == self.me {
            true if game.offered => {
                format!("Your move, or `draw` to accept {}'s offer.", self.other)
            }
            true => "Your move.".to_owned(),
            false => format!("{} is to move.", self.other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_player_sits_at_the_bottom() {
        let white = board(&Position::start(), Side::White);
        let black = board(&Position::start(), Side::Black);
        let row = |text: &str, n: usize| text.lines().nth(n).unwrap_or_default().to_owned();
        assert_eq!(row(&white, 1), "  |     b1      b2      b3      b4  |");
        assert_eq!(row(&white, 8), "  | w29     w30     w31     w32     |");
        assert_eq!(row(&black, 1), "  |     w32     w31     w30     w29 |");
        assert_eq!(row(&black, 8), "  | b4      b3      b2      b1      |");
        assert_eq!(row(&black, 4), "  | .20     .19     .18     .17     |");
    }
}
