//! The beginning of an IRC session: capabilities, password or SASL, nickname and user.
//!
//! A client is registered once it has sent NICK and USER, has ended the negotiation of
//! capabilities, and has shown the home's token by PASS or SASL PLAIN (RFC 4616).

use data_encoding::BASE64;

use crate::caps::Caps;
use crate::line::Line;
use crate::token::Token;

/// The name of this server in IRC. No nickname contains a dot.
pub(crate) const SERVER: &str = "hobnob.node";

/// Wrong tokens after which the connection ends.
const FAILURES_MAX: u32 = 3;

/// Maximum bytes of one AUTHENTICATE line (IRCv3 sasl-3.1).
const SASL_CHUNK: usize = 400;

/// Maximum bytes of a whole SASL message. A longer one fails.
const SASL_BYTES_MAX: usize = 4 * SASL_CHUNK;

/// A client that registers, or has done so: its capabilities may still change.
#[derive(Debug)]
pub(crate) struct Registration {
    token: Token,
    pub(crate) caps: Caps,
    nick: Option<String>,
    has_user: bool,
    negotiates: bool,
    authenticated: bool,
    failures: u32,
    /// The part of a SASL message that has arrived, after PLAIN was chosen.
    sasl: Option<String>,
}

/// The result of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// More lines are needed.
    More,
    /// The client is registered.
    Done,
    /// The connection ends, for this reason.
    Refused(&'static str),
}

const WRONG_TOKEN: &str = "wrong password: `hobnob irc-token` prints it";
const NO_TOKEN: &str =
    "this server needs a password, by PASS or SASL: `hobnob irc-token` prints it";

impl Registration {
    pub(crate) fn new(token: Token) -> Registration {
        Registration {
            token,
            caps: Caps::default(),
            nick: None,
            has_user: false,
            negotiates: false,
            authenticated: false,
            failures: 0,
            sasl: None,
        }
    }

    /// The nickname that the client has asked for. The node's own one counts.
    pub(crate) fn nick(&self) -> &str {
        self.nick.as_deref().unwrap_or("*")
    }

    /// Handles a line of a client that is not registered yet. Replies are appended to `out`.
    pub(crate) fn line(&mut self, line: &Line, out: &mut Vec<Line>) -> Step {
        match line.command.as_str() {
            "CAP" => {
                let nick = self.nick().to_owned();
                self.cap(&nick, line, out);
            }
            "AUTHENTICATE" => {
                if let Step::Refused(why) = self.authenticate(line.param(0), out) {
                    return Step::Refused(why);
                }
            }
            "PASS" => {
                if self.token.is(line.param(0)) {
                    self.authenticated = true;
                } else if self.fails() {
                    return Step::Refused(WRONG_TOKEN);
                }
            }
            "NICK" if line.param(0).is_empty() => {
                out.push(self.reply("431", &["no nickname given"]));
            }
            "NICK" => self.nick = Some(line.param(0).to_owned()),
            "USER" => self.has_user = true,
            "PING" => out.push(Line::new(SERVER, "PONG", &[SERVER, line.param(0)])),
            "QUIT" => return Step::Refused("you have quit"),
            // Some clients send these at once.
            "PONG" | "MODE" | "JOIN" => {}
            _ => out.push(self.reply("451", &["register first"])),
        }
        if self.negotiates || !self.has_user || self.nick.is_none() {
            return Step::More;
        }
        match self.authenticated {
            true => Step::Done,
            false if self.failures > 0 => Step::Refused(WRONG_TOKEN),
            false => Step::Refused(NO_TOKEN),
        }
    }

    /// Handles `CAP`, before and after the registration.
    pub(crate) fn cap(&mut self, nick: &str, line: &Line, out: &mut Vec<Line>) {
        let subcommand = line.param(0).to_ascii_uppercase();
        let answer = |kind: &str, text: &str| Line::new(SERVER, "CAP", &[nick, kind, text]);
        match subcommand.as_str() {
            "LS" => {
                let version = line.param(1).parse().unwrap_or(0);
                out.push(answer("LS", &Caps::offered(version)));
                self.negotiates = true;
            }
            "LIST" => out.push(answer("LIST", &self.caps.list())),
            "REQ" => {
                let words = line.param(1).to_owned();
                self.negotiates = true;
                let kind = if self.caps.change(&words) {
                    "ACK"
                } else {
                    "NAK"
                };
                out.push(Line::new(SERVER, "CAP", &[nick, kind, &words]));
            }
            "END" => self.negotiates = false,
            _ => out.push(Line::new(
                SERVER,
                "410",
                &[nick, line.param(0), "unknown subcommand of CAP"],
            )),
        }
    }

    /// Handles `AUTHENTICATE`: the name of the mechanism, then the message in base64.
    fn authenticate(&mut self, word: &str, out: &mut Vec<Line>) -> Step {
        if self.authenticated {
            out.push(self.reply("907", &["you are authenticated already"]));
            return Step::More;
        }
        let Some(begun) = &mut self.sasl else {
            if word.eq_ignore_ascii_case("PLAIN") {
                self.sasl = Some(String::new());
                out.push(Line {
                    command: "AUTHENTICATE".into(),
                    params: vec!["+".into()],
                    ..Line::default()
                });
            } else {
                out.push(self.reply("908", &["PLAIN", "are the mechanisms"]));
                out.push(self.reply("904", &["SASL failed: PLAIN is the only mechanism"]));
            }
            return Step::More;
        };
        if word == "*" {
            self.sasl = None;
            out.push(self.reply("906", &["SASL ended"]));
            return Step::More;
        }
        if word != "+" {
            begun.push_str(word);
        }
        if word.len() == SASL_CHUNK && begun.len() < SASL_BYTES_MAX {
            return Step::More;
        }
        let message = self.sasl.take().unwrap_or_default();
        if self.shows_token(&message) {
            self.authenticated = true;
            let nick = self.nick().to_owned();
            let account = format!("{nick}!hobnob@{SERVER}");
            out.push(self.reply("900", &[&account, "hobnob", "you are authenticated"]));
            out.push(self.reply("903", &["SASL succeeded"]));
            return Step::More;
        }
        out.push(self.reply("904", &[WRONG_TOKEN]));
        match self.fails() {
            true => Step::Refused(WRONG_TOKEN),
            false => Step::More,
        }
    }

    /// Whether a message of SASL PLAIN has the token as its password. The names in it don't matter.
    fn shows_token(&self, message: &str) -> bool {
        let Ok(bytes) = BASE64.decode(message.as_bytes()) else {
            return false;
        };
        let mut parts = bytes.splitn(3, |byte| *byte == 0).skip(2);
        let password = parts.next().and_then(|part| std::str::from_utf8(part).ok());
        password.is_some_and(|password| self.token.is(password))
    }

    /// Counts a wrong token. Whether the connection ends.
    fn fails(&mut self) -> bool {
        self.failures += 1;
        self.failures >= FAILURES_MAX
    }

    fn reply(&self, number: &str, params: &[&str]) -> Line {
        Line::new(SERVER, number, &[&[self.nick()], params].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::Cap;

    const TOKEN: &str = "0123456789abcdef";

    /// Sends these lines and returns the result of the last, and all replies.
    fn register(lines: &[&str]) -> (Step, Vec<String>) {
        let mut registration = Registration::new(Token::for_tests(TOKEN));
        let mut out = Vec::new();
        let mut step = Step::More;
        for line in lines {
            assert_eq!(step, Step::More, "before {line}");
            step = registration.line(&Line::parse(line.as_bytes()).unwrap(), &mut out);
        }
        let text = |line: &Line| {
            String::from_utf8(line.to_wire())
                .unwrap()
                .trim_end()
                .to_owned()
        };
        (step, out.iter().map(text).collect())
    }

    #[test]
    fn a_password_registers() {
        let pass = format!("PASS {TOKEN}");
        let (step, out) = register(&[&pass, "NICK ann", "USER ann 0 * :Ann"]);
        assert_eq!((step, out), (Step::Done, Vec::new()));
    }

    #[test]
    fn without_a_token_the_connection_ends() {
        let (step, _) = register(&["NICK ann", "USER ann 0 * :Ann"]);
        assert_eq!(step, Step::Refused(NO_TOKEN));
        let (step, _) = register(&["PASS wrong", "NICK ann", "USER ann 0 * :Ann"]);
        assert_eq!(step, Step::Refused(WRONG_TOKEN));
        let (step, _) = register(&["PASS a", "PASS b", "PASS c"]);
        assert_eq!(step, Step::Refused(WRONG_TOKEN));
    }

    #[test]
    fn sasl_registers_and_the_negotiation_holds_the_registration_back() {
        let message = BASE64.encode(format!("ann\0ann\0{TOKEN}").as_bytes());
        let authenticate = format!("AUTHENTICATE {message}");
        let (step, out) = register(&[
            "CAP LS 302",
            "NICK ann",
            "USER ann 0 * :Ann",
            "CAP REQ :sasl server-time",
            "AUTHENTICATE PLAIN",
            &authenticate,
            "CAP END",
        ]);
        assert_eq!(step, Step::Done);
        assert!(
            out[0].starts_with(":hobnob.node CAP * LS :away-notify"),
            "{out:?}"
        );
        assert_eq!(out[1], ":hobnob.node CAP ann ACK :sasl server-time");
        assert_eq!(out[2], "AUTHENTICATE :+");
        assert!(out[3].contains(" 900 ann ") && out[4].contains(" 903 ann "));
    }

    #[test]
    fn a_wrong_sasl_message_fails_and_may_be_repeated() {
        let wrong = BASE64.encode(b"ann\0ann\0wrong");
        let right = BASE64.encode(format!("\0ann\0{TOKEN}").as_bytes());
        let (step, out) = register(&[
            "CAP REQ :sasl",
            "AUTHENTICATE PLAIN",
            &format!("AUTHENTICATE {wrong}"),
            "AUTHENTICATE EXTERNAL",
            "AUTHENTICATE PLAIN",
            "AUTHENTICATE *",
            "AUTHENTICATE PLAIN",
            "AUTHENTICATE !!!",
            "AUTHENTICATE PLAIN",
            &format!("AUTHENTICATE {right}"),
            "NICK ann",
            "USER ann 0 * :Ann",
            "CAP END",
        ]);
        assert_eq!(step, Step::Done);
        let numbers: Vec<&str> = out
            .iter()
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        assert_eq!(
            numbers,
            [
                "CAP", ":+", "904", "908", "904", ":+", "906", ":+", "904", ":+", "900", "903"
            ]
        );
    }

    #[test]
    fn unknown_capabilities_are_refused_and_other_commands_wait() {
        let (step, out) = register(&["CAP REQ :no-such-thing", "PRIVMSG #lobby :hi", "PING x"]);
        assert_eq!(step, Step::More);
        assert!(out[0].contains(" NAK ") && out[1].contains(" 451 ") && out[2].contains("PONG"));
        let mut registration = Registration::new(Token::for_tests(TOKEN));
        registration.line(&Line::parse(b"CAP REQ :batch").unwrap(), &mut Vec::new());
        assert!(registration.caps.has(Cap::Batch));
    }
}
