//! What a client speaks, by its first bytes.

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// IRC: a command that begins a registration.
    Irc,
    /// Lines of text.
    Lines,
    /// Something else: HTTP, as a web page makes a browser send it, or TLS.
    Refused,
    /// That depends on the bytes to come.
    Undecided,
}

/// The methods of HTTP (RFC 9110 section 9, RFC 5789), with the space after them.
const HTTP: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
];

/// The preface of HTTP/2 (RFC 9113 section 3.4).
const HTTP2: &[u8] = b"PRI ";

/// The first byte of a TLS record with a hello (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Maximum bytes that are read to decide. No command of a registration is longer.
pub(crate) const FIRST_BYTES_MAX: usize = 1_024;

/// Decides by the first bytes of a client. `ended` is true if no more will come.
pub(crate) fn speaks(bytes: &[u8], ended: bool) -> Speaks {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Speaks::Refused;
    }
    let methods = HTTP.iter().copied().chain([HTTP2]);
    for method in methods {
        if bytes.starts_with(method) {
            return Speaks::Refused;
        }
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if is_registration(&bytes[..end]) => Speaks::Irc,
        Some(_) => Speaks::Lines,
        None if ended || bytes.len() >= FIRST_BYTES_MAX => Speaks::Lines,
        None => Speaks::Undecided,
    }
}

/// Whether a line is one of the commands that an IRC client sends first. Clients send capitals, and
/// people seldom do.
fn is_registration(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else {
        return false;
    };
    let mut words = text.split_ascii_whitespace();
    let command = words.next().unwrap_or_default();
    let words: Vec<&str> = words.take(5).collect();
    match command {
        "CAP" => ["LS", "REQ", "LIST", "END"].contains(words.first().unwrap_or(&"")),
        "PASS" | "NICK" | "AUTHENTICATE" => words.len() == 1,
        "USER" => words.len() >= 4,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irc_clients_begin_with_their_registration() {
        for line in [
            "CAP LS 302\r\n",
            "CAP LS\n",
            "PASS secret\r\nNICK ann\r\n",
            "NICK ann\r\n",
            "USER ann 0 * :Ann\r\n",
        ] {
            assert_eq!(speaks(line.as_bytes(), false), Speaks::Irc, "{line}");
        }
    }

    #[test]
    fn anything_else_is_text() {
        for line in [
            "hi\n",
            "\r\n",
            "nick ann\n",
            "NICK is what we call you\n",
            "USER manuals are dull\n",
            "CAP it\n",
            "\u{e9}t\u{e9}\n",
            "getting there\n",
        ] {
            assert_eq!(speaks(line.as_bytes(), false), Speaks::Lines, "{line}");
        }
        assert_eq!(speaks(b"\xff\xfd\x03\n", false), Speaks::Lines);
        assert_eq!(speaks(b"hi", true), Speaks::Lines);
        assert_eq!(speaks(&[b'x'; FIRST_BYTES_MAX], false), Speaks::Lines);
    }

    #[test]
    fn browsers_and_tls_are_refused_before_their_first_line_ends() {
        for bytes in [
            &b"GET "[..],
            b"POST /x HTTP/1.1\r\n",
            b"OPTIONS *",
            b"PRI * HTTP/2.0\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(speaks(bytes, false), Speaks::Refused, "{bytes:?}");
        }
    }

    #[test]
    fn the_bytes_may_be_split_anywhere() {
        let decided = |text: &str| {
            let whole = text.as_bytes();
            let ends = (0..=whole.len()).map(|end| speaks(&whole[..end], false));
            ends.filter(|speaks| *speaks != Speaks::Undecided)
                .collect::<Vec<_>>()
        };
        assert_eq!(decided("NICK ann\r\n"), [Speaks::Irc]);
        assert_eq!(decided("hello there\n"), [Speaks::Lines]);
        assert!(
            decided("GET / HTTP/1.1\r\n")
                .iter()
                .all(|it| *it == Speaks::Refused)
        );
    }
}
