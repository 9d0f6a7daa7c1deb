//! TCP connections through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928),
//! both with user and password.
//!
//! The proxy resolves names. It learns the host and the port, and sees only TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::request::{HeadError, read_head};

/// Longest user name and password, in bytes (RFC 1929).
const SECRET_MAX: usize = 255;

/// A proxy, written as `http://[user:password@]host:port` or `socks5://[user:password@]host:port`.
///
/// ```
/// use hobnob_transport::stream::proxy::Proxy;
///
/// let proxy: Proxy = "socks5://ann:secret@proxy.example:1080".parse()?;
/// assert_eq!(proxy.to_string(), "socks5://proxy.example:1080");
/// # Ok::<(), hobnob_transport::stream::proxy::NotAProxy>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// Why a text names no proxy. It does not repeat the text, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a proxy is written as http://host:port or socks5://host:port, with user:password@ before the host if it needs them"
)]
pub struct NotAProxy;

/// Why a proxy does not connect.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It requires another user name or password.
    #[error("the proxy requires a user name and a password, or other ones")]
    Login,
    /// It refuses this destination, or cannot reach it.
    #[error("the proxy does not connect there (it answers {0})")]
    Refused(u16),
    /// The answer is not that of such a proxy.
    #[error("what answers there is no proxy of this kind")]
    Protocol,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl FromStr for Proxy {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (kind, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 8080),
            // Names are resolved by the proxy in either form.
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(NotAProxy),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, at) = match rest.rsplit_once('@') {
            Some((login, at)) => (Some(parse_login(login)?), at),
            None => (None, rest),
        };
        let (host, port) = match at.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| NotAProxy)?)
            }
            Some(_) | None => (at, usual_port),
        };
        let host = host.trim_matches(['[', ']']);
        let is_in_host = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || port == 0 || !host.chars().all(is_in_host) {
            return Err(NotAProxy);
        }
        Ok(Self {
            kind,
            host: host.to_owned(),
            port,
            login,
        })
    }
}

fn parse_login(text: &str) -> Result<Login, NotAProxy> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let [user, password] = [unescape(user)?, unescape(password)?];
    let fits = |secret: &String| secret.len() <= SECRET_MAX && !secret.contains(['\r', '\n', '\0']);
    if user.is_empty() || !fits(&user) || !fits(&password) {
        return Err(NotAProxy);
    }
    Ok(Login { user, password })
}

/// Replaces `%40` and the like, as in the user and password of a URL.
fn unescape(text: &str) -> Result<String, NotAProxy> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or(NotAProxy)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| NotAProxy)
}

impl fmt::Display for Proxy {
    /// Without the user and the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Proxy {
    /// Its own host and port.
    pub fn at(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks the proxy at the other end of `io` for a connection with this host and port.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        host: &str,
        port: u16,
    ) -> Result<(), ProxyError> {
        match self.kind {
            Kind::Http => self.connect_by_http(io, host, port).await,
            Kind::Socks5 => self.connect_by_socks(io, host, port).await,
        }
    }

    async fn connect_by_http<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        host: &str,
        port: u16,
    ) -> Result<(), ProxyError> {
        let to = match host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]:{port}"),
            Err(_) => format!("{host}:{port}"),
        };
        let login = self.login.as_ref().map_or_else(String::new, |login| {
            let pair = BASE64.encode(format!("{}:{}", login.user, login.password).as_bytes());
            format!("Proxy-Authorization: Basic {pair}\r\n")
        });
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n");
        io.write_all(request.as_bytes()).await?;
        io.flush().await?;
        let mut rest = Vec::new();
        let answer = match read_head(io, &mut rest).await {
            Ok(answer) => answer,
            Err(HeadError::Broken(error)) => return Err(error.into()),
            Err(_) => return Err(ProxyError::Protocol),
        };
        match answer.status() {
            // The relay waits for TLS to begin, so nothing may follow.
            Some(200..300) if rest.is_empty() => Ok(()),
            Some(407) => Err(ProxyError::Login),
            Some(status @ 300..) => Err(ProxyError::Refused(status)),
            Some(_) | None => Err(ProxyError::Protocol),
        }
    }

    async fn connect_by_socks<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        host: &str,
        port: u16,
    ) -> Result<(), ProxyError> {
        // Version 5, and the methods: no login, and user with password.
        let hello: &[u8] = match self.login {
            Some(_) => &[5, 2, 0, 2],
            None => &[5, 1, 0],
        };
        io.write_all(hello).await?;
        io.flush().await?;
        match (read_bytes::<2, S>(io).await?, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some(login)) => log_in(io, login).await?,
            ([5, _], _) => return Err(ProxyError::Login),
            _ => return Err(ProxyError::Protocol),
        }
        let mut request = vec![5, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Err(_) => {
                let len = u8::try_from(host.len()).map_err(|_| ProxyError::Refused(8))?;
                request.extend([3, len]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        io.write_all(&request).await?;
        io.flush().await?;
        let [version, code, _, kind] = read_bytes::<4, S>(io).await?;
        if version != 5 {
            return Err(ProxyError::Protocol);
        }
        if code != 0 {
            return Err(ProxyError::Refused(code.into()));
        }
        // The address that the proxy connects from.
        let len = match kind {
            1 => size_of::<Ipv4Addr>(),
            4 => size_of::<Ipv6Addr>(),
            3 => usize::from(read_bytes::<1, S>(io).await?[0]),
            _ => return Err(ProxyError::Protocol),
        };
        let mut rest = vec![0; len + 2];
        io.read_exact(&mut rest).await?;
        Ok(())
    }
}

/// Sends user and password (RFC 1929).
async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    login: &Login,
) -> Result<(), ProxyError> {
    let len = |text: &str| u8::try_from(text.len()).expect("at most SECRET_MAX");
    let mut request = vec![1, len(&login.user)];
    request.extend(login.user.as_bytes());
    request.push(len(&login.password));
    request.extend(login.password.as_bytes());
    io.write_all(&request).await?;
    io.flush().await?;
    match read_bytes::<2, S>(io).await? {
        [_, 0] => Ok(()),
        _ => Err(ProxyError::Login),
    }
}

async fn read_bytes<const N: usize, S: AsyncRead + Unpin>(io: &mut S) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Whether `NO_PROXY` excludes a host: it lists names with their subdomains, addresses, or `*`.
pub fn is_excluded(no_proxy: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    no_proxy.split(',').map(str::trim).any(|entry| {
        let entry = entry.trim_start_matches('.').to_ascii_lowercase();
        let is_within = || {
            let parent = host.strip_suffix(&entry);
            parent.is_some_and(|parent| parent.ends_with('.'))
        };
        !entry.is_empty() && (entry == "*" || host == entry || is_within())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().unwrap()
    }

    /// Connects through a proxy that reads each of these requests and sends the answer to it.
    async fn connects(text: &str, host: &str, script: &[(&[u8], &[u8])]) -> Result<(), ProxyError> {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let serving = async {
            for (request, answer) in script {
                let mut read = vec![0; request.len()];
                theirs.read_exact(&mut read).await.unwrap();
                assert_eq!(&read, request);
                theirs.write_all(answer).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let proxy = proxy(text);
        tokio::select! {
            connected = proxy.connect(&mut ours, host, 443) => connected,
            () = serving => unreachable!("it waits"),
        }
    }

    #[test]
    fn the_usual_forms_are_understood_and_no_password_is_shown() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("proxy.example:3128/", "http://proxy.example:3128"),
            ("http://ann:p%40ss@10.0.0.1", "http://10.0.0.1:8080"),
            (
                "SOCKS5h://[2001:db8::1]:1080",
                "socks5://[2001:db8::1]:1080",
            ),
            ("socks5://[2001:db8::1]", "socks5://[2001:db8::1]:1080"),
        ] {
            assert_eq!(proxy(text).to_string(), shown);
            assert!(!format!("{:?}", proxy(text)).contains("ss@"));
        }
        for text in [
            "",
            "https://a:1",
            "socks4://a:1",
            "http://a:0",
            "http://a:b",
            "http://a b:1",
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(NotAProxy), "{text}");
        }
        assert!("http://a%0d%0a:b@c:1".parse::<Proxy>().is_err());
    }

    #[tokio::test]
    async fn http_connect_names_the_host_and_the_login() {
        let plain = "CONNECT relay.example:443 HTTP/1.1\r\nHost: relay.example:443\r\n\r\n";
        let script = [(plain.as_bytes(), &b"HTTP/1.1 200 OK\r\n\r\n"[..])];
        connects("http://p:1", "relay.example", &script)
            .await
            .unwrap();
        let login = "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\
            Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n";
        let script = [(login.as_bytes(), &b"HTTP/1.0 407 No\r\n\r\n"[..])];
        let refused = connects("http://ann:secret@p:1", "::1", &script).await;
        assert!(matches!(refused, Err(ProxyError::Login)));
        let script = [(plain.as_bytes(), &b"HTTP/1.1 403 No\r\n\r\n"[..])];
        let refused = connects("http://p:1", "relay.example", &script).await;
        assert!(matches!(refused, Err(ProxyError::Refused(403))));
        let script = [(plain.as_bytes(), &b"SSH-2.0-x\r\n\r\n"[..])];
        let refused = connects("http://p:1", "relay.example", &script).await;
        assert!(matches!(refused, Err(ProxyError::Protocol)));
    }

    #[tokio::test]
    async fn socks_lets_the_proxy_resolve_names() {
        let script: [(&[u8], &[u8]); 2] = [
            (&[5, 1, 0], &[5, 0]),
            (
                b"\x05\x01\0\x03\x0drelay.example\x01\xbb",
                &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            ),
        ];
        connects("socks5://p", "relay.example", &script)
            .await
            .unwrap();
        let script: [(&[u8], &[u8]); 3] = [
            (&[5, 2, 0, 2], &[5, 2]),
            (b"\x01\x03ann\x06secret", &[1, 0]),
            (
                &[5, 1, 0, 1, 192, 0, 2, 1, 1, 187],
                b"\x05\0\0\x03\x01x\0\0",
            ),
        ];
        connects("socks5://ann:secret@p", "192.0.2.1", &script)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_socks_proxy_may_refuse() {
        let script: [(&[u8], &[u8]); 1] = [(&[5, 1, 0], &[5, 255])];
        let refused = connects("socks5://p", "a", &script).await;
        assert!(matches!(refused, Err(ProxyError::Login)));
        let script: [(&[u8], &[u8]); 2] = [
            (&[5, 1, 0], &[5, 0]),
            (b"\x05\x01\0\x03\x01a\x01\xbb", &[5, 2, 0, 1]),
        ];
        let refused = connects("socks5://p", "a", &script).await;
        assert!(matches!(refused, Err(ProxyError::Refused(2))));
        let script: [(&[u8], &[u8]); 1] = [(&[5, 1, 0], b"HT")];
        let refused = connects("socks5://p", "a", &script).await;
        assert!(matches!(refused, Err(ProxyError::Protocol)));
    }

    #[test]
    fn no_proxy_lists_names_with_their_subdomains() {
        let list = "localhost, .example.com,10.0.0.1";
        for host in ["localhost", "example.com", "a.Example.com", "10.0.0.1"] {
            assert!(is_excluded(list, host), "{host}");
        }
        for host in ["badexample.com", "10.0.0.11", "relay.example"] {
            assert!(!is_excluded(list, host), "{host}");
        }
        assert!(is_excluded("*", "relay.example") && !is_excluded("", "relay.example"));
    }
}
