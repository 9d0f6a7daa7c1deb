//! The control socket through a pair of pipes, for a program that runs the node as its child.

use std::io;

use tokio::io::{AsyncBufRead, AsyncWriteExt};

use super::client::{self, ClientError};
use super::wire::{
    Answer, AnyRequest, Done, Outcome, REQUEST_BYTES_MAX, RequestLine, Subscribe, parse_request,
    to_line, too_long,
};
use hobnob_local::home::Home;
use hobnob_local::line::{Line, Lines};

/// Passes the lines of `input` to the running node of `home` as requests, and its answers to
/// `output`, line by line, in the order in which they are ready. At the end of the input, it
/// continues until the node has answered the last request.
///
/// The caller prints the events. So `subscribe` is answered here and has no effect.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let config = || hobnob::Config { listen: "127.0.0.1:0".parse().ok(), mdns: false, ..hobnob::Config::new(dir.path()) };
/// # let home = hobnob_control::Home::at(dir.path())?;
/// # let running = hobnob_control::attach::attach(&home, config).await?;
/// use hobnob_control::pipe;
///
/// let (answer, answered) = std::sync::mpsc::channel();
/// let requests = r#"{"id":7,"cmd":"ping"}"#.to_owned() + "\n";
/// pipe::serve(&home, requests.as_bytes(), |line| answer.send(line.to_owned()).map_err(std::io::Error::other)).await?;
/// assert!(answered.recv()?.starts_with(r#"{"id":7,"ok":{"pid":"#));
/// # running.finish().await;
/// # Ok(()) }
/// ```
pub async fn serve(
    home: &Home,
    input: impl AsyncBufRead + Unpin,
    output: impl Fn(&str) -> io::Result<()>,
) -> Result<(), PipeError> {
    let (mut answers, mut requests) = client::open(home).await?;
    let asking = async {
        let mut lines = Lines::new(input, REQUEST_BYTES_MAX);
        loop {
            match lines.next().await? {
                Line::Whole(line) => match parse_request(line) {
                    Ok(RequestLine {
                        id,
                        request: AnyRequest::Subscribe(Subscribe {}),
                    }) => {
                        output(&to_line(&Answer {
                            id: Some(id),
                            outcome: Outcome::Ok(Done {}),
                        }))?;
                    }
                    Ok(_) | Err(_) => requests.write_all(&[line, b"\n"].concat()).await?,
                },
                Line::TooLong => output(&to_line(&too_long()))?,
                Line::End => break,
            }
        }
        requests.shutdown().await?;
        // Earlier requests are still being answered.
        std::future::pending().await
    };
    let answering = async {
        while let Line::Whole(line) = answers.next().await? {
            output(&format!("{}\n", String::from_utf8_lossy(line)))?;
        }
        Ok(())
    };
    tokio::select! {
        failed = asking => failed,
        ended = answering => ended,
    }
}

/// The reason why no more requests can be passed on.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// The node can't be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A pipe, or the connection to the node, is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
}
