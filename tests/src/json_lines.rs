//! A program that speaks JSON lines with a node, over the node's socket.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The program. Its requests, and what the node wrote in between.
#[derive(Debug)]
pub struct JsonLines {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    last: u64,
    lines: VecDeque<Value>,
}

impl JsonLines {
    /// Connects to the node that runs in this home.
    pub fn connect(home: &Path) -> Self {
        let socket = UnixStream::connect(home.join("control.sock")).expect("the node runs");
        socket
            .set_read_timeout(Some(LIMIT))
            .expect("the socket is open");
        let writer = socket.try_clone().expect("there are descriptors left");
        Self {
            reader: BufReader::new(socket),
            writer,
            last: 0,
            lines: VecDeque::new(),
        }
    }

    /// Sends a request, which needs no `id`. Returns its number.
    pub fn begins(&mut self, mut request: Value) -> u64 {
        self.last += 1;
        request["id"] = json!(self.last);
        let line = format!("{request}\n");
        self.writer
            .write_all(line.as_bytes())
            .expect("the node reads");
        self.last
    }

    /// Waits for the answer to a request: `ok` or `error`.
    pub fn answer(&mut self, number: u64) -> Result<Value, Value> {
        let mut answer = self.find(|line| line["id"] == number);
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Sends a request and waits for its answer.
    pub fn asks(&mut self, request: Value) -> Result<Value, Value> {
        let number = self.begins(request);
        self.answer(number)
    }

    /// Waits for the next event of this kind.
    pub fn event(&mut self, kind: &str) -> Value {
        self.find(|line| line["event"] == kind)
    }

    fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.lines.iter().position(&fits) {
            return self.lines.remove(at).expect("found just now");
        }
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line);
            let read = read.expect("the node writes in time");
            assert!(read > 0, "the node has ended the connection");
            let line: Value = serde_json::from_str(&line).expect("a node writes JSON");
            if fits(&line) {
                return line;
            }
            self.lines.push_back(line);
        }
    }
}
