//! One HTTP request to the router, whose answer is bounded in size and time.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::request::RequestError;

/// How long a request may take, whatever the router sends meanwhile.
const WITHIN: Duration = Duration::from_secs(3);

/// The largest answer. Real descriptions have less than 8 KiB.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The longest path of a URL.
const PATH_MAX: usize = 512;

/// A URL of the router. No other host can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) at: SocketAddrV4,
    pub(super) path: String,
}

/// The status and the body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Url {
    /// Parses an absolute URL. `None` unless it is plain HTTP at this router's address.
    pub(super) fn parse(url: &str, router: Ipv4Addr) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        };
        let host: Ipv4Addr = host.parse().ok()?;
        (host == router).then_some(())?;
        Some(Self {
            at: SocketAddrV4::new(host, port),
            path: clean_path(path)?,
        })
    }

    /// Another resource: an absolute URL of the same router, or a path.
    pub(super) fn join(&self, other: &str) -> Option<Self> {
        if other.contains("://") {
            return Self::parse(other, *self.at.ip());
        }
        let slash = if other.starts_with('/') { "" } else { "/" };
        Some(Self {
            at: self.at,
            path: clean_path(&format!("{slash}{other}"))?,
        })
    }
}

/// The path, if it cannot change the rest of a request's head.
fn clean_path(path: &str) -> Option<String> {
    let is_clean = path.len() <= PATH_MAX && path.bytes().all(|byte| byte.is_ascii_graphic());
    is_clean.then(|| path.to_owned())
}

/// Fetches a resource.
pub(super) async fn get(from: Ipv4Addr, url: &Url) -> Result<Answer, RequestError> {
    exchange(from, url, "GET", "", "").await
}

/// Calls an action of a service (SOAP).
pub(super) async fn post(
    from: Ipv4Addr,
    url: &Url,
    action: &str,
    body: &str,
) -> Result<Answer, RequestError> {
    let head = format!(
        "Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"{action}\"\r\nContent-Length: {}\r\n",
        body.len()
    );
    exchange(from, url, "POST", &head, body).await
}

async fn exchange(
    from: Ipv4Addr,
    url: &Url,
    method: &str,
    head: &str,
    body: &str,
) -> Result<Answer, RequestError> {
    let Url { at, path } = url;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{head}Connection: close\r\n\r\n{body}");
    let exchange = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((IpAddr::V4(from), 0).into())?;
        let mut stream = socket.connect((*at).into()).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut limited = stream.take(ANSWER_BYTES_MAX as u64);
        // Some routers leave the connection open after an answer of known length.
        while !is_whole(&answer) && limited.read_buf(&mut answer).await? > 0 {}
        parse(&answer).ok_or(RequestError::Silent)
    };
    timeout(WITHIN, exchange)
        .await
        .unwrap_or(Err(RequestError::Silent))
}

/// The head without its empty line, and the body so far.
fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let head = &answer[..answer.len().min(HEAD_BYTES_MAX)];
    let end = head.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((
        std::str::from_utf8(&answer[..end]).ok()?,
        &answer[end + 4..],
    ))
}

/// The value of a header.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let found = headers.find(|(named, _)| named.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Whether the answer has all bytes that its head announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else {
        return false;
    };
    if is_chunked(head) {
        return body.ends_with(b"0\r\n\r\n");
    }
    let len = header(head, "content-length").and_then(|len| len.parse::<usize>().ok());
    len.is_some_and(|len| body.len() >= len)
}

fn is_chunked(head: &str) -> bool {
    header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let (head, body) = split(answer)?;
    let (version, rest) = head.split_once(' ')?;
    version.starts_with("HTTP/1.").then_some(())?;
    let body = if is_chunked(head) {
        unchunk(body)?
    } else {
        body.to_vec()
    };
    Some(Answer {
        status: rest.get(..3)?.parse().ok()?,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Removes the chunked coding (RFC 9112, section 7.1).
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = size.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    #[test]
    fn only_the_router_can_be_named() {
        let router = Ipv4Addr::new(192, 168, 1, 1);
        let parse = |url| Url::parse(url, router);
        let url = parse("http://192.168.1.1:5000/root.xml").unwrap();
        assert_eq!((url.at.port(), url.path.as_str()), (5000, "/root.xml"));
        assert_eq!(parse("http://192.168.1.1").unwrap().path, "/");
        for refused in [
            "http://192.168.1.2:5000/root.xml",
            "http://router.example/root.xml",
            "http://192.168.1.1@evil.example/",
            "https://192.168.1.1/",
            "http://192.168.1.1:99999/",
            "http://192.168.1.1/a b",
            "http://192.168.1.1/a\r\nX: y",
            "",
        ] {
            assert_eq!(parse(refused), None, "{refused:?}");
        }
        assert_eq!(
            parse(&format!("http://192.168.1.1/{}", "a".repeat(600))),
            None
        );
        assert_eq!(url.join("ctl").unwrap().path, "/ctl");
        assert_eq!(url.join("/ctl").unwrap().at, url.at);
        assert_eq!(url.join("http://192.168.1.9/ctl"), None);
    }

    #[test]
    fn a_chunked_body_is_joined() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        assert!(is_whole(answer));
        assert_eq!(parse(answer).unwrap().body, "abcde");
        for wrong in [
            "5\r\nabc\r\n",
            "zz\r\nabc\r\n",
            "ffffffffffffffff\r\nabc",
            "",
        ] {
            assert_eq!(unchunk(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn other_answers_are_refused() {
        for wrong in [
            "",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 2\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
        let head = |len: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(len));
        assert!(parse(head(HEAD_BYTES_MAX / 2).as_bytes()).is_some());
        assert_eq!(parse(head(HEAD_BYTES_MAX).as_bytes()), None);
    }

    /// Fetches from a server that answers like this.
    async fn fetch_from<F: Future<Output = ()> + Send + 'static>(
        answer: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> Result<Answer, RequestError> {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url {
            at: SocketAddrV4::new(LOCAL, port),
            path: "/".into(),
        };
        let serve = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream).await;
        });
        let fetched = get(LOCAL, &url).await;
        serve.abort();
        fetched
    }

    #[tokio::test]
    async fn an_answer_of_known_length_needs_no_end_of_the_connection() {
        let fetched = fetch_from(|mut stream| async move {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(fetched.await.unwrap().body, "hi");
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let fetched = fetch_from(|mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
        });
        let body = fetched.await.unwrap().body;
        assert!(body.len() < ANSWER_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let fetched = fetch_from(|stream| async move {
            let _open = stream;
            std::future::pending::<()>().await;
        });
        assert!(matches!(fetched.await, Err(RequestError::Silent)));
    }
}
