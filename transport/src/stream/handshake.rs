//! The upgrade of an HTTP connection to WebSocket (RFC 6455 section 4), as text. No I/O.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;

use super::request::Head;

/// The path that nodes ask for. Behind a reverse proxy it may be another.
pub const PATH: &str = "/hobnob";

/// The subprotocol: relay protocol 1 over QUIC in length-prefixed datagrams.
pub const SUBPROTOCOL: &str = "hobnob-relay-1";

/// The text that is appended to the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Answers of a relay that are no upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is a plain request for `/`: the answer says what this is.
    About,
    /// Another path, without an upgrade.
    NotFound,
    /// Not a GET, or an incomplete upgrade.
    BadRequest,
    /// A web page asks. Only nodes may, so that no page can use its visitors' relays.
    FromBrowser,
}

impl Refusal {
    /// The answer.
    pub fn answer(self) -> Vec<u8> {
        let (status, text) = match self {
            Self::About => (
                "200 OK",
                "This is a hobnob relay: hobnob nodes behind NAT and firewalls reach each other through it.\n",
            ),
            Self::NotFound => ("404 Not Found", "There is nothing here.\n"),
            Self::BadRequest => ("400 Bad Request", "This relay accepts only hobnob nodes.\n"),
            Self::FromBrowser => ("403 Forbidden", "This relay does not serve web pages.\n"),
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
        .into_bytes()
    }
}

/// Judges a request. Returns the answer that completes the upgrade.
pub fn accept(request: &Head) -> Result<Vec<u8>, Refusal> {
    let (method, path) = request.request().ok_or(Refusal::BadRequest)?;
    if method != "GET" {
        return Err(Refusal::BadRequest);
    }
    if !request.has_word("upgrade", "websocket") {
        let about = path == "/" || path == PATH;
        return Err(if about {
            Refusal::About
        } else {
            Refusal::NotFound
        });
    }
    if request.all("origin").next().is_some() {
        return Err(Refusal::FromBrowser);
    }
    let key = request
        .one("sec-websocket-key")
        .filter(|key| is_key(key))
        .ok_or(Refusal::BadRequest)?;
    let is_ours = request.has_word("connection", "upgrade")
        && request.one("sec-websocket-version") == Some("13")
        && request.has_word("sec-websocket-protocol", SUBPROTOCOL);
    if !is_ours {
        return Err(Refusal::BadRequest);
    }
    // Extensions, such as compression, are never accepted.
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
        accepted(key)
    )
    .into_bytes())
}

/// The request of a node, and the key that the answer must prove to have read.
pub fn request(host: &str, path: &str, random: [u8; 16]) -> (Vec<u8>, String) {
    let key = BASE64.encode(&random);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    (request.into_bytes(), key)
}

/// Whether an answer completes the upgrade.
pub fn is_upgraded(answer: &Head, key: &str) -> bool {
    answer.status() == Some(101)
        && answer.has_word("upgrade", "websocket")
        && answer.one("sec-websocket-accept") == Some(&accepted(key))
        && answer.one("sec-websocket-protocol") == Some(SUBPROTOCOL)
        && answer.all("sec-websocket-extensions").next().is_none()
}

/// A key is 16 bytes in Base64.
fn is_key(key: &str) -> bool {
    BASE64
        .decode(key.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 16)
}

fn accepted(key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    BASE64.encode(hash.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::request::read_head;

    async fn head(bytes: &[u8]) -> Head {
        let mut read = bytes.to_vec();
        read_head(&mut tokio::io::empty(), &mut read).await.unwrap()
    }

    async fn judged(request: &str) -> Result<Vec<u8>, Refusal> {
        accept(&head(request.as_bytes()).await)
    }

    #[test]
    fn the_accept_value_is_that_of_rfc_6455() {
        let accepted = accepted("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn both_ends_agree_on_an_upgrade() {
        let (asked, key) = request("relay.example", PATH, [7; 16]);
        let answer = accept(&head(&asked).await).unwrap();
        let answer = head(&answer).await;
        assert!(is_upgraded(&answer, &key));
        assert!(!is_upgraded(&answer, &BASE64.encode(&[8; 16])));
    }

    #[tokio::test]
    async fn a_captive_portal_is_no_relay() {
        let (_, key) = request("relay.example", PATH, [7; 16]);
        for answer in [
            "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ] {
            assert!(
                !is_upgraded(&head(answer.as_bytes()).await, &key),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn plain_requests_learn_what_this_is() {
        let about = judged("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap_err();
        assert_eq!(about, Refusal::About);
        let text = String::from_utf8(about.answer()).unwrap();
        assert!(text.contains("hobnob relay") && text.starts_with("HTTP/1.1 200 "));
        let other = judged("GET /admin HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(other, Err(Refusal::NotFound));
        let post = judged("POST / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(post, Err(Refusal::BadRequest));
    }

    #[tokio::test]
    async fn an_upgrade_must_be_complete_and_from_no_web_page() {
        let good = String::from_utf8(request("a", PATH, [7; 16]).0).unwrap();
        assert!(judged(&good).await.is_ok());
        let compressed = good.replace(
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        );
        let answer = String::from_utf8(judged(&compressed).await.unwrap()).unwrap();
        assert!(!answer.contains("Extensions"), "it is not accepted");
        for (from, to) in [
            ("Version: 13", "Version: 8"),
            (SUBPROTOCOL, "chat"),
            ("Key: B", "Key: "),
            ("Connection: Upgrade", "Connection: close"),
        ] {
            let bad = judged(&good.replace(from, to)).await;
            assert_eq!(bad, Err(Refusal::BadRequest), "{to}");
        }
        let page = good.replace("Host: a\r\n", "Host: a\r\nOrigin: https://evil.example\r\n");
        assert_eq!(judged(&page).await, Err(Refusal::FromBrowser));
    }
}
