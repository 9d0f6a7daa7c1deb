//! The table of two players: the state that results from their words.
//!
//! The table applies words in arrival order, so a word that claims to be older cannot undo an
//! earlier one. Two words may cross on their way and arrive in different orders. These rules give both
//! players the same game anyway:
//!
//! - One game at a time. A challenge during a game does not count. A challenge is open until the
//!   other player answers it.
//! - Two challenges that cross accept each other. The game has the lower of the two ids.
//! - Moves are numbered, and the players take turns. A player offers a draw with a move. The other
//!   player accepts it instead of the next move.
//! - A player may give up at any time. That undoes a move that crossed it.

use std::fmt;

use hobnob::{MessageId, PersonId};

use super::game::{End, Game};
use super::rules::{Move, Side, Square};
use super::words::Word;

/// Two players and the state between them.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    me: PersonId,
    other: PersonId,
    state: State,
}

/// The state between two players.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Nothing,
    /// One player has challenged with this message, and the other has not answered.
    Challenged(PersonId, MessageId),
    Playing(Match),
    Over(Match, Ending),
}

/// A game and its players.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) id: MessageId,
    pub(crate) game: Game,
    black: PersonId,
    white: PersonId,
    /// The last move has an offer of a draw.
    pub(crate) offered: bool,
}

/// How a game ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    OnBoard(End),
    Agreed,
    /// This player gave up.
    Resigned(PersonId),
}

/// The result of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    Challenged,
    Declined,
    /// A game began.
    Begun,
    Moved {
        number: u32,
        made: Move,
        offers_draw: bool,
    },
    Ended(Ending),
    /// The word does not count, for this reason.
    Refused(Reason),
}

/// Why a word does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    Unreadable(String),
    GameIsOn,
    AlreadyChallenged,
    NoSuchChallenge,
    NoSuchGame,
    GameIsOver,
    NotTheirTurn,
    WrongNumber { said: u32, next: u32 },
    Illegal,
    NothingOffered,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Unreadable(why) => why,
            Reason::GameIsOn => "a game is on",
            Reason::AlreadyChallenged => "the first challenge is not answered yet",
            Reason::NoSuchChallenge => "there is no such challenge",
            Reason::NoSuchGame => "there is no such game",
            Reason::GameIsOver => "the game is over",
            Reason::NotTheirTurn => "it is out of turn",
            Reason::WrongNumber { said, next } => {
                return write!(f, "it is called move {said}, and move {next} is next");
            }
            Reason::Illegal => "it is against the rules",
            Reason::NothingOffered => "no draw was offered",
        })
    }
}

impl Table {
    pub(crate) fn new(me: PersonId, other: PersonId) -> Table {
        Table {
            me,
            other,
            state: State::Nothing,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The current game.
    pub(crate) fn playing(&self) -> Option<&Match> {
        match &self.state {
            State::Playing(game) => Some(game),
            State::Nothing | State::Challenged(..) | State::Over(..) => None,
        }
    }

    /// Applies the next word of one of the two players.
    pub(crate) fn hear(
        &mut self,
        id: MessageId,
        from: PersonId,
        word: Result<Word, String>,
    ) -> Vec<News> {
        let heard = match word {
            Err(why) => Err(Reason::Unreadable(why)),
            Ok(Word::Challenge) => self.challenge(id, from),
            Ok(Word::Accept(game)) => self
                .answer(game, from)
                .map(|()| self.begin(game, self.partner_of(from))),
            Ok(Word::Decline(game)) => self.answer(game, from).map(|()| {
                self.state = State::Nothing;
                vec![News::Declined]
            }),
            Ok(Word::Move {
                game,
                number,
                path,
                draw,
            }) => self.make(game, from, number, &path, draw),
            Ok(Word::Draw { game, number }) => self.agree(game, from, number),
            Ok(Word::Resign { game, number }) => self.resign(game, from, number),
        };
        heard.unwrap_or_else(|reason| vec![News::Refused(reason)])
    }

    fn challenge(&mut self, id: MessageId, from: PersonId) -> Result<Vec<News>, Reason> {
        match self.state {
            State::Playing(_) => Err(Reason::GameIsOn),
            State::Challenged(by, _) if by == from => Err(Reason::AlreadyChallenged),
            State::Challenged(by, first) if first < id => Ok(self.begin(first, by)),
            State::Challenged(..) => Ok(self.begin(id, from)),
            State::Nothing | State::Over(..) => {
                self.state = State::Challenged(from, id);
                Ok(vec![News::Challenged])
            }
        }
    }

    /// Whether this challenge waits for an answer of this player.
    fn answer(&self, game: MessageId, from: PersonId) -> Result<(), Reason> {
        match self.state {
            State::Challenged(by, id) if id == game && by != from => Ok(()),
            State::Nothing | State::Challenged(..) | State::Playing(_) | State::Over(..) => {
                Err(Reason::NoSuchChallenge)
            }
        }
    }

    fn begin(&mut self, id: MessageId, black: PersonId) -> Vec<News> {
        let white = self.partner_of(black);
        self.state = State::Playing(Match {
            id,
            game: Game::new(),
            black,
            white,
            offered: false,
        });
        vec![News::Begun]
    }

    fn make(
        &mut self,
        game: MessageId,
        from: PersonId,
        number: u32,
        path: &[Square],
        draw: bool,
    ) -> Result<Vec<News>, Reason> {
        let on = self.turn_of(game, from, number)?;
        let made = on.game.make(path).ok_or(Reason::Illegal)?;
        on.offered = draw;
        let moved = News::Moved {
            number,
            made,
            offers_draw: draw,
        };
        let ending = on.game.end().map(Ending::OnBoard);
        Ok([moved]
            .into_iter()
            .chain(ending.and_then(|ending| self.finish(ending)))
            .collect())
    }

    fn agree(&mut self, game: MessageId, from: PersonId, number: u32) -> Result<Vec<News>, Reason> {
        let on = self.turn_of(game, from, number)?;
        if !on.offered {
            return Err(Reason::NothingOffered);
        }
        Ok(self.finish(Ending::Agreed).into_iter().collect())
    }

    /// `number` is the last move that the player had seen.
    fn resign(
        &mut self,
        game: MessageId,
        from: PersonId,
        number: u32,
    ) -> Result<Vec<News>, Reason> {
        let crossed = |over: &Match| {
            over.id == game && over.game.moves() == number + 1 && over.to_move() == from
        };
        match &mut self.state {
            State::Playing(on) if on.id == game => {
                Ok(self.finish(Ending::Resigned(from)).into_iter().collect())
            }
            State::Over(over, ending @ Ending::OnBoard(_)) if crossed(over) => {
                *ending = Ending::Resigned(from);
                Ok(vec![News::Ended(*ending)])
            }
            State::Over(over, _) if over.id == game => Err(Reason::GameIsOver),
            State::Nothing | State::Challenged(..) | State::Playing(_) | State::Over(..) => {
                Err(Reason::NoSuchGame)
            }
        }
    }

    /// The current game, if it is this player's turn and `number` is the next move.
    fn turn_of(
        &mut self,
        game: MessageId,
        from: PersonId,
        number: u32,
    ) -> Result<&mut Match, Reason> {
        match &mut self.state {
            State::Playing(on) if on.id == game => {
                let next = on.game.moves() + 1;
                if on.to_move() != from {
                    Err(Reason::NotTheirTurn)
                } else if number != next {
                    Err(Reason::WrongNumber { said: number, next })
                } else {
                    Ok(on)
                }
            }
            State::Over(over, _) if over.id == game => Err(Reason::GameIsOver),
            State::Nothing | State::Challenged(..) | State::Playing(_) | State::Over(..) => {
                Err(Reason::NoSuchGame)
            }
        }
    }

    fn finish(&mut self, ending: Ending) -> Option<News> {
        let State::Playing(on) = &self.state else {
            return None;
        };
        self.state = State::Over(on.clone(), ending);
        Some(News::Ended(ending))
    }

    fn partner_of(&self, player: PersonId) -> PersonId {
        if player == self.me {
            self.other
        } else {
            self.me
        }
    }
}

impl Ending {
    /// The winner, if the game is over.
    pub(crate) fn winner(self, over: &Match) -> Option<PersonId> {
        match self {
            Ending::OnBoard(End::Won(side)) => Some(over.player(side)),
            Ending::Resigned(loser) if loser == over.black => Some(over.white),
            Ending::Resigned(_) => Some(over.black),
            Ending::OnBoard(End::Repeated | End::Quiet) | Ending::Agreed => None,
        }
    }
}

impl Match {
    /// The player of this side.
    pub(crate) fn player(&self, side: Side) -> PersonId {
        match side {
            Side::Black => self.black,
            Side::White => self.white,
        }
    }

    /// The side that this player plays.
    pub(crate) fn side_of(&self, player: PersonId) -> Side {
        if player == self.black {
            Side::Black
        } else {
            Side::White
        }
    }

    /// The player whose turn it is.
    pub(crate) fn to_move(&self) -> PersonId {
        self.player(self.game.position().turn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    /// A move or an offer of one player, as a message.
    type Said = (MessageId, PersonId, Word);

    fn id(number: u64) -> MessageId {
        MessageId {
            log: hobnob::LogId(7),
            seq: number,
        }
    }

    fn step(number: u32, from: u8, to: u8) -> Word {
        let path = [from, to].map(|n| Square::new(n).unwrap()).to_vec();
        Word::Move {
            game: id(1),
            number,
            path,
            draw: false,
        }
    }

    fn hear(table: &mut Table, said: &Said) -> Vec<News> {
        let (id, from, word) = said.clone();
        table.hear(id, from, Ok(word))
    }

    /// A table where ann has challenged with message 1 and bob has accepted. It is ann's turn.
    fn begun() -> Table {
        let mut table = Table::new(ANN, BOB);
        assert_eq!(
            hear(&mut table, &(id(1), ANN, Word::Challenge)),
            [News::Challenged]
        );
        assert_eq!(
            hear(&mut table, &(id(2), BOB, Word::Accept(id(1)))),
            [News::Begun]
        );
        table
    }

    /// Two words that cross have the same effect in either order.
    fn check_crossing(before: &Table, ann: &Said, bob: &Said) -> Table {
        let [mut at_ann, mut at_bob] = [before.clone(), before.clone()];
        hear(&mut at_ann, ann);
        hear(&mut at_ann, bob);
        hear(&mut at_bob, bob);
        hear(&mut at_bob, ann);
        let seen = |table: &Table| match &table.state {
            State::Nothing => "nothing".to_owned(),
            State::Challenged(by, id) => format!("{by:?} challenged in {id}"),
            State::Playing(on) => format!("{} by {:?}: {:?}", on.id, on.black, on.game.position()),
            State::Over(over, ending) => format!("{} is over: {ending:?}", over.id),
        };
        assert_eq!(seen(&at_ann), seen(&at_bob), "{ann:?} and {bob:?}");
        at_ann
    }

    #[test]
    fn moves_are_made_in_turns_and_by_the_rules() {
        let mut table = begun();
        let refused = |reason| [News::Refused(reason)];
        assert_eq!(
            hear(&mut table, &(id(3), BOB, step(1, 11, 15))),
            refused(Reason::NotTheirTurn)
        );
        assert_eq!(
            hear(&mut table, &(id(4), ANN, step(1, 11, 20))),
            refused(Reason::Illegal)
        );
        assert_eq!(
            hear(&mut table, &(id(5), ANN, step(2, 11, 15))),
            refused(Reason::WrongNumber { said: 2, next: 1 })
        );
        assert!(matches!(
            hear(&mut table, &(id(6), ANN, step(1, 11, 15)))[..],
            [News::Moved { number: 1, .. }]
        ));
        assert_eq!(
            hear(&mut table, &(id(7), ANN, step(2, 15, 19))),
            refused(Reason::NotTheirTurn)
        );
        assert!(matches!(
            hear(&mut table, &(id(8), BOB, step(2, 22, 18)))[..],
            [News::Moved { number: 2, .. }]
        ));
        assert_eq!(table.playing().unwrap().game.moves(), 2);
        assert!(matches!(
            table.hear(id(9), BOB, Err("odd".into()))[..],
            [News::Refused(Reason::Unreadable(_))]
        ));
    }

    #[test]
    fn words_of_another_game_do_not_count() {
        let mut table = begun();
        let refused = |reason| [News::Refused(reason)];
        assert_eq!(
            hear(&mut table, &(id(3), ANN, Word::Challenge)),
            refused(Reason::GameIsOn)
        );
        assert_eq!(
            hear(
                &mut table,
                &(
                    id(4),
                    BOB,
                    Word::Resign {
                        game: id(9),
                        number: 0
                    }
                )
            ),
            refused(Reason::NoSuchGame)
        );
        assert_eq!(
            hear(
                &mut table,
                &(
                    id(5),
                    BOB,
                    Word::Resign {
                        game: id(1),
                        number: 0
                    }
                )
            ),
            [News::Ended(Ending::Resigned(BOB))]
        );
        assert_eq!(
            hear(&mut table, &(id(6), ANN, step(1, 11, 15))),
            refused(Reason::GameIsOver)
        );
        // The next game has another id.
        assert_eq!(
            hear(&mut table, &(id(7), BOB, Word::Challenge)),
            [News::Challenged]
        );
        assert_eq!(
            hear(&mut table, &(id(8), BOB, Word::Accept(id(7)))),
            refused(Reason::NoSuchChallenge)
        );
        assert_eq!(
            hear(&mut table, &(id(9), ANN, Word::Accept(id(7)))),
            [News::Begun]
        );
        assert_eq!(
            hear(&mut table, &(id(10), ANN, step(1, 11, 15))),
            refused(Reason::NoSuchGame)
        );
        assert_eq!(table.playing().unwrap().to_move(), BOB);
    }

    #[test]
    fn a_challenge_is_answered_once_by_the_other() {
        let mut table = Table::new(ANN, BOB);
        hear(&mut table, &(id(1), ANN, Word::Challenge));
        assert_eq!(
            hear(&mut table, &(id(2), ANN, Word::Challenge)),
            [News::Refused(Reason::AlreadyChallenged)]
        );
        assert_eq!(
            hear(&mut table, &(id(3), ANN, Word::Decline(id(1)))),
            [News::Refused(Reason::NoSuchChallenge)]
        );
        assert_eq!(
            hear(&mut table, &(id(4), BOB, Word::Decline(id(1)))),
            [News::Declined]
        );
        assert_eq!(
            hear(&mut table, &(id(5), BOB, Word::Accept(id(1)))),
            [News::Refused(Reason::NoSuchChallenge)]
        );
    }

    #[test]
    fn challenges_that_cross_make_one_game() {
        let table = check_crossing(
            &Table::new(ANN, BOB),
            &(id(5), ANN, Word::Challenge),
            &(id(4), BOB, Word::Challenge),
        );
        let game = table.playing().expect("both want it");
        assert_eq!((game.id, game.to_move()), (id(4), BOB));
    }

    #[test]
    fn giving_up_and_a_move_may_cross() {
        let resigns = (
            id(3),
            BOB,
            Word::Resign {
                game: id(1),
                number: 0,
            },
        );
        let table = check_crossing(&begun(), &(id(4), ANN, step(1, 11, 15)), &resigns);
        assert!(matches!(table.state, State::Over(_, Ending::Resigned(BOB))));
    }

    #[test]
    fn a_draw_is_offered_with_a_move_and_accepted_instead_of_the_next() {
        let mut table = begun();
        let accepts = |number| Word::Draw {
            game: id(1),
            number,
        };
        assert_eq!(
            hear(&mut table, &(id(3), ANN, accepts(1))),
            [News::Refused(Reason::NothingOffered)]
        );
        let Word::Move {
            game, number, path, ..
        } = step(1, 11, 15)
        else {
            unreachable!("a step is a move")
        };
        hear(
            &mut table,
            &(
                id(4),
                ANN,
                Word::Move {
                    game,
                    number,
                    path,
                    draw: true,
                },
            ),
        );
        assert_eq!(
            hear(&mut table, &(id(5), ANN, accepts(2))),
            [News::Refused(Reason::NotTheirTurn)]
        );
        let mut declined = table.clone();
        hear(&mut declined, &(id(6), BOB, step(2, 22, 18)));
        assert_eq!(
            hear(&mut declined, &(id(7), ANN, accepts(3))),
            [News::Refused(Reason::NothingOffered)]
        );
        assert_eq!(
            hear(&mut table, &(id(6), BOB, accepts(2))),
            [News::Ended(Ending::Agreed)]
        );
    }
}
