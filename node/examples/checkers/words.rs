//! The words that two players send each other: app messages of one kind, in JSON.
//!
//! Every word names its game by the id of the challenge, so it cannot count in another game.

use hobnob::{Body, MessageId};
use serde::{Deserialize, Serialize};

use super::rules::Square;

/// The kind of these app messages.
pub(crate) const KIND: &str = "org.hobnob.checkers";

/// The longest path that a word may have: a king that captures twelve pieces visits 13 squares.
const PATH_MAX: usize = 13;

/// A word of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A challenge. Its sender has black and moves first.
    Challenge,
    /// Accepts the challenge.
    Accept(MessageId),
    /// Declines the challenge.
    Decline(MessageId),
    /// A move, the game's `number`th. `draw`: the sender offers a draw with it.
    Move {
        game: MessageId,
        number: u32,
        path: Vec<Square>,
        draw: bool,
    },
    /// Accepts the offered draw instead of making move `number`.
    Draw { game: MessageId, number: u32 },
    /// The sender gives up. It had seen `number` moves.
    Resign { game: MessageId, number: u32 },
}

/// The JSON form of a word.
#[derive(Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "lowercase", deny_unknown_fields)]
enum Written {
    Challenge {},
    Accept {
        game: String,
    },
    Decline {
        game: String,
    },
    Move {
        game: String,
        number: u32,
        path: Vec<u8>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        draw: bool,
    },
    Draw {
        game: String,
        number: u32,
    },
    Resign {
        game: String,
        number: u32,
    },
}

impl Word {
    /// Reads the word in a body, if it is for this program. The error is a sentence for the player.
    pub(crate) fn read(body: &Body) -> Option<Result<Word, String>> {
        match body {
            Body::App { kind, bytes } if kind == KIND => Some(parse(bytes)),
            Body::App { .. }
            | Body::Text(_)
            | Body::Offer(_)
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::React { .. }
            | Body::Topic(_)
            | Body::Pin { .. }
            | Body::Delete { .. }
            | Body::Erased { .. }
            | Body::Unknown { .. } => None,
        }
    }

    pub(crate) fn body(&self) -> Body {
        let written = match self {
            Word::Challenge => Written::Challenge {},
            Word::Accept(game) => Written::Accept {
                game: game.to_string(),
            },
            Word::Decline(game) => Written::Decline {
                game: game.to_string(),
            },
            Word::Move {
                game,
                number,
                path,
                draw,
            } => {
                let path = path.iter().map(|square| square.number()).collect();
                Written::Move {
                    game: game.to_string(),
                    number: *number,
                    path,
                    draw: *draw,
                }
            }
            Word::Draw { game, number } => Written::Draw {
                game: game.to_string(),
                number: *number,
            },
            Word::Resign { game, number } => Written::Resign {
                game: game.to_string(),
                number: *number,
            },
        };
        let bytes = serde_json::to_vec(&written).expect("strings and numbers can be written");
        Body::App {
            kind: KIND.to_owned(),
            bytes,
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Word, String> {
    let written: Written = serde_json::from_slice(bytes)
        .map_err(|_| "it can't be read: another version of this game?")?;
    let id = |game: String| game.parse::<MessageId>().map_err(str::to_owned);
    Ok(match written {
        Written::Challenge {} => Word::Challenge,
        Written::Accept { game } => Word::Accept(id(game)?),
        Written::Decline { game } => Word::Decline(id(game)?),
        Written::Move {
            game,
            number,
            path,
            draw,
        } if path.len() <= PATH_MAX => {
            let squares: Option<Vec<Square>> = path.into_iter().map(Square::new).collect();
            let path = squares.ok_or("it names a square that is not on the board")?;
            Word::Move {
                game: id(game)?,
                number,
                path,
                draw,
            }
        }
        Written::Move { .. } => return Err("no move is that long".to_owned()),
        Written::Draw { game, number } => Word::Draw {
            game: id(game)?,
            number,
        },
        Written::Resign { game, number } => Word::Resign {
            game: id(game)?,
            number,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> MessageId {
        "00000000000000ab-7".parse().unwrap()
    }

    #[test]
    fn words_are_read_as_they_were_said() {
        let path = [11, 15].map(|n| Square::new(n).unwrap()).to_vec();
        for word in [
            Word::Challenge,
            Word::Accept(id()),
            Word::Decline(id()),
            Word::Move {
                game: id(),
                number: 1,
                path: path.clone(),
                draw: false,
            },
            Word::Move {
                game: id(),
                number: 1,
                path,
                draw: true,
            },
            Word::Draw {
                game: id(),
                number: 3,
            },
            Word::Resign {
                game: id(),
                number: 3,
            },
        ] {
            assert_eq!(word.body().check(), Ok(()));
            assert_eq!(Word::read(&word.body()), Some(Ok(word)));
        }
    }

    #[test]
    fn what_is_for_others_is_left_alone_and_nonsense_is_told() {
        assert_eq!(Word::read(&"11-15".into()), None);
        assert_eq!(
            Word::read(&Body::App {
                kind: "org.example.chess".into(),
                bytes: vec![]
            }),
            None
        );
        for wrong in [
            "",
            "{}",
            r#"{"say":"dance"}"#,
            r#"{"say":"accept","game":"x"}"#,
            r#"{"say":"move","game":"00000000000000ab-7","number":1,"path":[11,33]}"#,
            r#"{"say":"move","game":"00000000000000ab-7","number":1,"path":[1,2,3,4,5,6,7,8,9,10,11,12,13,14]}"#,
        ] {
            let body = Body::App {
                kind: KIND.into(),
                bytes: wrong.into(),
            };
            assert!(matches!(Word::read(&body), Some(Err(_))), "{wrong}");
        }
    }
}
