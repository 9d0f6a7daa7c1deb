//! WebSocket messages (RFC 6455 section 5) that carry datagrams. No I/O.
//!
//! Only what the carrier needs is accepted: binary messages in any number of fragments, ping, pong
//! and close. Text, extensions such as compression, and frames with a wrong mask are errors. The
//! decoder is small enough to check every limit before it stores a byte.

use super::{DATAGRAM_MAX, LENGTH_BYTES};

/// Most payload bytes of one message. An end that sends more violates the protocol.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// Most frames of one message. It bounds the work that empty fragments can cause.
const FRAGMENTS_MAX: u32 = 64;

/// Most payload bytes of a control frame (RFC 6455 section 5.5).
const CONTROL_MAX: usize = 125;

/// Longest header: two bytes, eight of the length, four of the mask.
const HEADER_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The end of a connection that this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It dialed. It masks what it sends.
    Client,
    /// It accepted.
    Server,
}

/// How the other end violates the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An empty datagram, or one that is too long.
    #[error("a datagram of {0} bytes, but 1 to {DATAGRAM_MAX} are allowed")]
    Length(usize),
    /// A message ends within a datagram.
    #[error("a message ends within a datagram")]
    Cut,
    /// A text message.
    #[error("a text message")]
    Text,
    /// A reserved bit is set, as compression does.
    #[error("a message with an extension, such as compression")]
    Extension,
    /// An unknown or misplaced frame.
    #[error("an unexpected frame of type {0}")]
    Opcode(u8),
    /// A client must mask its frames, and a server must not.
    #[error("a frame with a wrong mask bit")]
    Mask,
    /// A message or control frame is too long.
    #[error("a message that is too long")]
    TooLong,
}

/// Decodes the bytes from one end. It stores at most one message.
#[derive(Debug)]
pub struct Decoder {
    side: Side,
    header: [u8; HEADER_MAX],
    header_len: usize,
    frame: Option<Frame>,
    /// Frames of the message that is incomplete; 0 between messages.
    fragments: u32,
    /// Payload bytes of this message so far.
    message_len: usize,
    /// Length-prefixed datagrams. The last may be incomplete.
    run: Vec<u8>,
    /// The end of the last whole datagram.
    whole: usize,
    control: Vec<u8>,
    pinged: Option<Vec<u8>>,
    closed: bool,
}

/// A frame whose payload is incomplete.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    fin: bool,
    mask: [u8; 4],
    len: usize,
    read: usize,
}

impl Decoder {
    /// A decoder for what the other end sends to this side.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            header: [0; HEADER_MAX],
            header_len: 0,
            frame: None,
            fragments: 0,
            message_len: 0,
            run: Vec::new(),
            whole: 0,
            control: Vec::new(),
            pinged: None,
            closed: false,
        }
    }

    /// Decodes the next bytes.
    pub fn decode(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() && !self.closed {
            let Some(frame) = &mut self.frame else {
                bytes = self.read_header(bytes)?;
                continue;
            };
            let (now, rest) = bytes.split_at(bytes.len().min(frame.len - frame.read));
            let target = match frame.opcode {
                CONTINUATION | BINARY => &mut self.run,
                _ => &mut self.control,
            };
            let at = target.len();
            target.extend_from_slice(now);
            apply_mask(&mut target[at..], frame.mask, frame.read);
            frame.read += now.len();
            let frame = *frame;
            bytes = rest;
            if frame.opcode < CLOSE {
                self.check_run()?;
            }
            if frame.read == frame.len {
                self.end_frame(frame)?;
            }
        }
        Ok(())
    }

    /// The whole datagrams so far, with their lengths in front.
    pub fn run(&self) -> &[u8] {
        &self.run[..self.whole]
    }

    /// Forgets the whole datagrams. A large buffer is given back, so that an idle connection costs
    /// little memory.
    pub fn clear(&mut self) {
        self.run.drain(..self.whole);
        self.whole = 0;
        if self.run.is_empty() {
            self.run.shrink_to(4 * 1024);
        }
    }

    /// The content of the last ping, once. It must be returned in a pong.
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.pinged.take()
    }

    /// Whether the other end has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads bytes of a header. Returns the bytes that follow.
    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        let needed = header_len(&self.header[..self.header_len]);
        let (now, rest) = bytes.split_at(bytes.len().min(needed - self.header_len));
        self.header[self.header_len..self.header_len + now.len()].copy_from_slice(now);
        self.header_len += now.len();
        let header = &self.header[..self.header_len];
        if header.len() >= 2 {
            check_start(header, self.side)?;
        }
        if header.len() == header_len(header) {
            let frame = parse_header(header)?;
            self.header_len = 0;
            self.begin_frame(frame)?;
        }
        Ok(rest)
    }

    fn begin_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.opcode {
            CLOSE | PING | PONG => {
                if frame.len > CONTROL_MAX || !frame.fin {
                    return Err(Violation::TooLong);
                }
                self.control.clear();
            }
            CONTINUATION | BINARY => {
                if (frame.opcode == CONTINUATION) != (self.fragments > 0) {
                    return Err(Violation::Opcode(frame.opcode));
                }
                self.fragments += 1;
                // Both are at most MESSAGE_MAX, because the header was checked.
                self.message_len += frame.len;
                if self.message_len > MESSAGE_MAX || self.fragments > FRAGMENTS_MAX {
                    return Err(Violation::TooLong);
                }
            }
            other => return Err(Violation::Opcode(other)),
        }
        if frame.len == 0 {
            return self.end_frame(frame);
        }
        self.frame = Some(frame);
        Ok(())
    }

    fn end_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        self.frame = None;
        match frame.opcode {
            CLOSE => self.closed = true,
            PING => self.pinged = Some(std::mem::take(&mut self.control)),
            PONG => self.control.clear(),
            _ if frame.fin => {
                if self.whole != self.run.len() {
                    return Err(Violation::Cut);
                }
                (self.fragments, self.message_len) = (0, 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Finds the datagrams that are whole now.
    fn check_run(&mut self) -> Result<(), Violation> {
        while let Some(length) = self.run[self.whole..].first_chunk::<LENGTH_BYTES>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > DATAGRAM_MAX {
                return Err(Violation::Length(length));
            }
            if self.run.len() < self.whole + LENGTH_BYTES + length {
                break;
            }
            self.whole += LENGTH_BYTES + length;
        }
        Ok(())
    }
}

/// The length of the header that starts with these bytes, as far as they say it.
fn header_len(start: &[u8]) -> usize {
    let Some(second) = start.get(1) else {
        return 2;
    };
    let length = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED != 0 { 4 } else { 0 }
}

/// Checks the first two bytes of a header.
fn check_start(header: &[u8], side: Side) -> Result<(), Violation> {
    if header[0] & RESERVED != 0 {
        return Err(Violation::Extension);
    }
    if header[0] & 0x0f == TEXT {
        return Err(Violation::Text);
    }
    if (header[1] & MASKED != 0) != (side == Side::Server) {
        return Err(Violation::Mask);
    }
    Ok(())
}

fn parse_header(header: &[u8]) -> Result<Frame, Violation> {
    let (len, after) = match header[1] & !MASKED {
        126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 4),
        127 => {
            let length = header[2..10].try_into().expect("eight bytes");
            (u64::from_be_bytes(length), 10)
        }
        short => (u64::from(short), 2),
    };
    let mask = header[after..].first_chunk::<4>().copied();
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MESSAGE_MAX)
        .ok_or(Violation::TooLong)?;
    Ok(Frame {
        opcode: header[0] & 0x0f,
        fin: header[0] & FIN != 0,
        mask: mask.unwrap_or_default(),
        len,
        read: 0,
    })
}

/// Appends a message of whole datagrams. `mask` is random for a client; a server has none.
pub fn encode(run: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    append(BINARY, run, mask, out);
}

/// Appends the answer to a ping.
pub fn encode_pong(content: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    append(PONG, content, mask, out);
}

fn append(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= MESSAGE_MAX);
    let masked = if mask.is_some() { MASKED } else { 0 };
    out.push(FIN | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(masked | u8::try_from(short).expect("at most 125")),
        len => match u16::try_from(len) {
            Ok(len) => {
                out.push(masked | 126);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(masked | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        },
    }
    let mask = mask.inspect(|mask| out.extend_from_slice(mask));
    let at = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[at..], mask, 0);
    }
}

/// Masks or unmasks bytes that start at this offset of a frame's payload (RFC 6455 section 5.3).
fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    if mask == [0; 4] {
        return;
    }
    let mask: [u8; 8] = std::array::from_fn(|n| mask[(offset + n) % 4]);
    let word = u64::from_ne_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{datagrams, push_datagram};
    use proptest::prelude::*;

    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 250]);

    fn run(texts: &[&[u8]]) -> Vec<u8> {
        let mut run = Vec::new();
        texts
            .iter()
            .for_each(|text| assert!(push_datagram(&mut run, text)));
        run
    }

    fn message(texts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&run(texts), MASK, &mut out);
        out
    }

    /// The result of a server's decoder for these bytes.
    fn decoded(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
        let mut decoder = Decoder::new(Side::Server);
        decoder.decode(bytes)?;
        Ok(datagrams(decoder.run()).map(<[u8]>::to_vec).collect())
    }

    /// A frame with a zero mask, so that its payload is readable.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(first & 0x0f, payload, Some([0; 4]), &mut bytes);
        bytes[0] = first;
        bytes
    }

    #[test]
    fn several_datagrams_travel_in_one_message() {
        let bytes = message(&[b"ann", &[7; DATAGRAM_MAX], b"bob"]);
        let got = decoded(&bytes).unwrap();
        assert_eq!(
            got,
            [b"ann".to_vec(), vec![7; DATAGRAM_MAX], b"bob".to_vec()]
        );
    }

    #[test]
    fn a_message_may_come_in_fragments_with_a_ping_between_them() {
        let run = run(&[b"hello"]);
        let bytes = [
            frame(BINARY, &run[..3]),
            frame(FIN | PING, b"there?"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, &run[3..]),
        ]
        .concat();
        let mut decoder = Decoder::new(Side::Server);
        decoder.decode(&bytes).unwrap();
        assert_eq!(datagrams(decoder.run()).collect::<Vec<_>>(), [b"hello"]);
        assert_eq!(decoder.take_ping(), Some(b"there?".to_vec()));
        assert_eq!(decoder.take_ping(), None);
    }

    #[test]
    fn a_close_ends_the_connection_and_nothing_after_it_counts() {
        let mut decoder = Decoder::new(Side::Server);
        let bytes = [frame(FIN | CLOSE, &[3, 232]), frame(FIN | TEXT, b"late")].concat();
        decoder.decode(&bytes).unwrap();
        assert!(decoder.is_closed());
    }

    #[test]
    fn each_violation_is_named() {
        let long = [0x05, 0xdd]; // 1,501
        let mut endless = frame(FIN | BINARY, &[]);
        endless[1] = MASKED | 127;
        endless.splice(2..2, u64::MAX.to_be_bytes());
        let mut unmasked = Vec::new();
        encode(&run(&[b"x"]), None, &mut unmasked);
        let many = [frame(BINARY, &[]), frame(CONTINUATION, &[]).repeat(64)].concat();
        let whole = MESSAGE_MAX / 1502 * 1502;
        let filler = run(&vec![&[1; 1500][..]; MESSAGE_MAX / 1502]);
        let huge = [frame(BINARY, &filler[..whole]), frame(FIN, &filler)].concat();
        for (bytes, violation) in [
            (frame(FIN | BINARY, &[0, 0]), Violation::Length(0)),
            (frame(FIN | BINARY, &long), Violation::Length(1501)),
            (frame(FIN | BINARY, &[0, 3, b'a']), Violation::Cut),
            (frame(FIN | BINARY, &[0]), Violation::Cut),
            (frame(FIN | TEXT, b"hi"), Violation::Text),
            (frame(FIN | 0x40 | BINARY, b"hi"), Violation::Extension),
            (frame(FIN | 0x5, b"hi"), Violation::Opcode(5)),
            (frame(FIN | CONTINUATION, b""), Violation::Opcode(0)),
            (frame(PING, b"hi"), Violation::TooLong),
            (frame(FIN | PING, &[0; 126]), Violation::TooLong),
            (unmasked, Violation::Mask),
            (endless, Violation::TooLong),
            (many, Violation::TooLong),
            (huge, Violation::TooLong),
            (
                [frame(BINARY, &[]), frame(FIN | BINARY, &[])].concat(),
                Violation::Opcode(BINARY),
            ),
        ] {
            assert_eq!(decoded(&bytes), Err(violation));
        }
    }

    #[test]
    fn a_client_accepts_only_unmasked_frames() {
        let mut decoder = Decoder::new(Side::Client);
        assert_eq!(decoder.decode(&message(&[b"x"])), Err(Violation::Mask));
        let mut bytes = Vec::new();
        encode(&run(&[b"x"]), None, &mut bytes);
        encode_pong(b"!", None, &mut bytes);
        let mut decoder = Decoder::new(Side::Client);
        assert_eq!(decoder.decode(&bytes), Ok(()));
        assert_eq!(datagrams(decoder.run()).count(), 1);
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_bytes_arrive_do_not_matter(
            sizes in proptest::collection::vec(1..=DATAGRAM_MAX, 1..30),
            pieces in proptest::collection::vec(1_usize..700, 1..40),
        ) {
            let texts: Vec<Vec<u8>> = sizes.iter().map(|size| vec![u8::try_from(*size % 251).unwrap(); *size]).collect();
            let mut bytes = message(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            bytes.extend(message(&[b"last"]));
            let mut decoder = Decoder::new(Side::Server);
            let mut got = Vec::new();
            let mut rest = &bytes[..];
            for piece in pieces.into_iter().cycle() {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                decoder.decode(now).unwrap();
                got.extend(datagrams(decoder.run()).map(<[u8]>::to_vec));
                decoder.clear();
                rest = later;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(got.pop(), Some(b"last".to_vec()));
            prop_assert_eq!(got, texts);
        }

        #[test]
        fn no_bytes_panic_or_store_more_than_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::new(Side::Server);
            let _ = decoder.decode(&bytes);
            prop_assert!(decoder.run.len() <= MESSAGE_MAX && decoder.control.len() <= CONTROL_MAX);
        }
    }
}
