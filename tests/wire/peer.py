"""A second implementation of hobnob's peer protocol: it shows that docs/WIRE.md is complete.

It dials a node, says Hello, and exchanges direct messages with the node's user. It checks each chain
of hashes and each signature. It shares no code with hobnob: QUIC and TLS are aioquic's, BLAKE3 and
Ed25519 are libraries.

    peer.py talk ADDRESS PORT NODE-ID SEED     dials a node; SEED is 64 hex digits
    peer.py vectors FILE                       checks the test vectors of docs/WIRE.md

`talk` sends each line of stdin as a message, or with `/datagram ` before it as a datagram, and prints one JSON object for each event:
`{"event":"hello","nick":…}`, `{"event":"message","seq":…,"text":…}`, `{"event":"delivered","seq":…}`,
`{"event":"datagram","content":…}`, `{"event":"compressed","bytes":…}` for a message that is sent compressed, `{"event":"waiting"}`,
`{"event":"closed","code":…}`. It ends at the end of stdin, or when the node ends the session.
"""

import asyncio
import base64
import datetime
import json
import os
import ssl
import struct
import sys
import time
from dataclasses import dataclass, field

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived
from blake3 import blake3
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

FRAME_MAX = 64 * 1024
SUITE = 1

# The bit of Hello for datagrams of programs, and the program that this peer is.
APPS, APP = 8, "wire.test"

# The bit of Hello of a node that reads compressed batches. This peer only writes them.
COMPRESSION = 64

# Kinds of frames.
HELLO, PING, PONG, PROFILE = 1, 2, 3, 4
DIGEST, HEADS, BATCH, HAVE, WANT, WAITING, COMPRESSED_BATCH = 16, 17, 18, 19, 20, 23, 29

# Kinds of entries.
TEXT, DELETE = 1, 4


class Malformed(Exception):
    """Bytes that a node of this version does not send."""


# --- Encoding ("Encoding" in docs/WIRE.md)


class Writer:
    """Encodes values one after another."""

    def __init__(self):
        self.bytes = bytearray()

    def number(self, value):
        """An integer of more than one byte."""
        if value < 251:
            self.bytes.append(value)
        elif value < 1 << 16:
            self.bytes += b"\xfb" + struct.pack("<H", value)
        elif value < 1 << 32:
            self.bytes += b"\xfc" + struct.pack("<I", value)
        else:
            self.bytes += b"\xfd" + struct.pack("<Q", value)
        return self

    def byte(self, value):
        self.bytes.append(value)
        return self

    def fixed(self, value):
        """Bytes of a length that both ends know."""
        self.bytes += value
        return self

    def string(self, value):
        """A text, or bytes of any length."""
        value = value.encode() if isinstance(value, str) else value
        return self.number(len(value)).fixed(value)

    def option(self, value, write):
        self.byte(0 if value is None else 1)
        if value is not None:
            write(value)
        return self

    def items(self, values, write):
        self.number(len(values))
        for value in values:
            write(value)
        return self


class Reader:
    """Decodes values one after another."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def fixed(self, length):
        end = self.at + length
        if end > len(self.data):
            raise Malformed("the bytes end early")
        part, self.at = self.data[self.at : end], end
        return part

    def byte(self):
        return self.fixed(1)[0]

    def flag(self):
        value = self.byte()
        if value > 1:
            raise Malformed(f"a flag of {value}")
        return value == 1

    def number(self):
        first = self.byte()
        if first < 251:
            return first
        try:
            form, size = {251: ("<H", 2), 252: ("<I", 4), 253: ("<Q", 8)}[first]
        except KeyError:
            raise Malformed(f"a number that begins with {first}") from None
        return struct.unpack(form, self.fixed(size))[0]

    def string(self):
        return self.fixed(self.number())

    def text(self):
        try:
            return self.string().decode()
        except UnicodeDecodeError as error:
            raise Malformed("a text that is not UTF-8") from error

    def option(self, read):
        return read() if self.flag() else None

    def items(self, read):
        count = self.number()
        if count > len(self.data) - self.at:
            raise Malformed("a list that is longer than its bytes")
        return [read() for _ in range(count)]

    def rest(self):
        return self.fixed(len(self.data) - self.at)

    def end(self):
        """The end of a frame's body: nothing, or extensions. An even tag must be known."""
        if self.at == len(self.data):
            return
        tags = [tag for tag, _ in self.items(lambda: (self.number(), self.string()))]
        if self.at != len(self.data) or sorted(set(tags)) != tags:
            raise Malformed("no list of extensions at the end")
        if any(tag % 2 == 0 for tag in tags):
            raise Malformed("an extension that must be known")


def frame(kind, body=b""):
    """A frame as it travels on a stream."""
    return struct.pack(">IB", 1 + len(body), kind) + bytes(body)


# --- Identity ("Identity")


def derive(context, *parts):
    """BLAKE3 in its derive-key mode, over the parts one after another."""
    return blake3(b"".join(parts), derive_key_context=context).digest()


def peer_text(key):
    """The text form of an id."""
    return base64.b32encode(key).decode().lower().rstrip("=")


def peer_key(text):
    """The 32 bytes of an id."""
    return base64.b32decode(text.upper() + "====")


class Identity:
    """An Ed25519 key and its certificate."""

    def __init__(self, seed):
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.id = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def certificate(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hobnob")])
        day = datetime.timedelta(days=1)
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        builder = builder.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - day).not_valid_after(now + day).sign(self.key, None)


def is_signed(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except InvalidSignature:
        return False


# --- Records ("Records")


def public_record(identity, number, nick):
    """The signed public record of this peer."""
    wire = Writer().number(SUITE).number(number).string(nick)
    wire.items([identity.id], lambda key: wire.number(SUITE).fixed(key))
    wire.option(None, wire.fixed)
    wire.items([], None)
    to_sign = derive("hobnob 1 public record", identity.id, bytes(wire.bytes))
    return identity.key.sign(to_sign) + bytes(wire.bytes)


def read_public_record(peer, record):
    """The number and the nickname of a peer's public record."""
    signature, signed = record[:64], record[64:]
    if not is_signed(peer, derive("hobnob 1 public record", peer, signed), signature):
        raise Malformed("a public record that its peer has not signed")
    wire = Reader(signed)
    if wire.number() != SUITE:
        raise Malformed("a record of another suite")
    number, nick = wire.number(), wire.text()
    wire.items(lambda: (wire.number(), wire.fixed(32)))
    wire.option(lambda: wire.fixed(32))
    wire.items(lambda: (wire.number(), wire.string()))
    return number, nick


# --- Logs and entries ("Logs", "Entries", "Batches")


def direct_conversation(a, b):
    return derive("hobnob 1 direct conversation", min(a, b), max(a, b))


@dataclass(frozen=True)
class LogName:
    """A log whose device is its author's own key."""

    conversation: bytes
    author: bytes
    log: int

    def write(self, to):
        to.fixed(self.conversation).fixed(self.author).option(None, to.fixed).number(self.log)

    @staticmethod
    def read(of):
        conversation, author, device, log = of.fixed(32), of.fixed(32), of.option(lambda: of.fixed(32)), of.number()
        if device is not None:
            raise Malformed("the log of another device")
        return LogName(conversation, author, log)

    def hashed(self):
        return self.conversation + self.author + struct.pack("<Q", self.log)

    def genesis(self):
        return derive("hobnob 1 log", self.hashed())

    def body_key(self):
        return derive("hobnob 1 body", self.hashed())

    def signed(self, last, head):
        named = self.conversation + struct.pack("<QQ", self.log, last)
        return b"hobnob 1 batch \0" + named + head


def body_hash(name, seq, salt, body):
    return blake3(struct.pack("<Q", seq) + salt + body, key=name.body_key()).digest()


def next_hash(prev, seq, header, body):
    return blake3(prev + struct.pack("<Q", seq) + header + body).digest()


@dataclass
class Entry:
    kind: int
    lamport: int
    sent_at_ms: int
    body: bytes | None  # None: erased
    hash: bytes


def entry_header(kind, lamport, sent_at_ms):
    header = Writer().number(kind).number(lamport).number(sent_at_ms)
    return bytes(header.items([], None).bytes)


def encode_entry(header, salt, body):
    """An entry with its body: the second form of its content."""
    return bytes(Writer().fixed(header).number(1).fixed(salt).string(body).bytes)


def read_entry(of, name, seq, prev):
    start = of.at
    kind, lamport, sent_at_ms = of.number(), of.number(), of.number()
    of.items(lambda: (of.number(), of.string()))
    header = of.data[start : of.at]
    if of.number() == 0:
        body, hashed = None, of.fixed(32)
    else:
        salt, body = of.fixed(16), of.string()
        hashed = body_hash(name, seq, salt, body)
    return Entry(kind, lamport, sent_at_ms, body, next_hash(prev, seq, header, hashed))


@dataclass
class Batch:
    name: LogName
    first: int
    prev: bytes
    entries: list


def read_batch(body):
    """Reads a batch and checks its chain and its signature."""
    wire = Reader(body)
    if wire.number() != SUITE:
        raise Malformed("a batch of another suite")
    name, first, prev = LogName.read(wire), wire.number(), wire.fixed(32)
    encoded, signature = Reader(wire.string()), wire.string()
    wire.end()
    if first == 0 or (first == 1 and prev != name.genesis()):
        raise Malformed("a batch that does not begin where its log begins")
    entries, head = [], prev
    while encoded.at < len(encoded.data):
        entry = read_entry(encoded, name, first + len(entries), head)
        if entries and entries[-1].lamport > entry.lamport:
            raise Malformed("Lamport numbers decrease")
        entries.append(entry)
        head = entry.hash
    if not entries:
        raise Malformed("a batch without entries")
    last = first + len(entries) - 1
    if not is_signed(name.author, name.signed(last, head), signature):
        raise Malformed("a batch that its author has not signed")
    return Batch(name, first, prev, entries)


def encode_batch(identity, name, first, prev, encoded, head):
    """A batch of one entry, which may be compressed: that changes nothing else."""
    wire = Writer().number(SUITE)
    name.write(wire)
    wire.number(first).fixed(prev).string(encoded)
    return bytes(wire.string(identity.key.sign(name.signed(first, head))).bytes)


def compress(data):
    """A Zstandard frame (RFC 8878) that only makes the longest run of one byte shorter, or None if it is not
    worth it. Real compressors do more. A reader sees no difference."""
    longest, start = (0, 0), 0
    for at in range(1, len(data) + 1):
        if at == len(data) or data[at] != data[start]:
            longest, start = max(longest, (at - start, start)), at
    count, start = longest
    if count < 1024 or not 256 <= len(data) <= 65_280:
        return None

    def block(kind, size, content, last=0):
        return (size << 3 | kind << 1 | last).to_bytes(3, "little") + content

    before, after = data[:start], data[start + count :]
    # A frame in one segment, whose length less 256 has two bytes. Blocks: raw, one repeated byte, raw.
    header = b"\x28\xb5\x2f\xfd\x60" + (len(data) - 256).to_bytes(2, "little")
    blocks = block(0, len(before), before) + block(1, count, data[start : start + 1]) + block(0, len(after), after, 1)
    compressed = header + blocks
    # Readers refuse more than this.
    return compressed if len(data) <= 32 * len(compressed) else None


# --- Holdings ("Synchronization")


def write_ranges(to, ranges):
    to.items(ranges, lambda span: to.number(span[0]).number(span[1]))


def read_ranges(of):
    ranges, least = of.items(lambda: (of.number(), of.number())), 1
    for first, last in ranges:
        if first < least or last < first:
            raise Malformed("ranges out of order")
        least = last + 2
    return ranges


def heads_digest(heads):
    """The hash of heads without their lists of erased entries. `heads` has an author, a log and the
    ranges for each log, in this order."""
    by_author = {}
    for author, log, ranges in heads:
        by_author.setdefault(author, []).append((log, ranges))
    wire = Writer()

    def write_log(held):
        wire.number(held[0])
        write_ranges(wire, held[1])

    def write_author(author):
        wire.fixed(author).option(None, wire.fixed).items(by_author[author], write_log)

    return derive("hobnob 1 heads digest", bytes(wire.items(sorted(by_author), write_author).bytes))


# --- Programs ("Programs")


def app_tag(name):
    return derive("hobnob 1 app", name.encode())[:8]


def app_datagram(name, data):
    """A datagram of a program, the content of a QUIC datagram."""
    return b"\x01" + app_tag(name) + data


# --- A session ("Sessions")


def print_event(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


@dataclass
class Own:
    """The log that this run writes."""

    name: LogName
    batches: list = field(default_factory=list)
    head: bytes = b""
    lamport: int = 0


class Session(QuicConnectionProtocol):
    """A session with one node, which this end has dialed."""

    def start(self, identity, node):
        self.identity, self.node = identity, node
        self.conversation = direct_conversation(identity.id, node)
        self.own = Own(LogName(self.conversation, identity.id, int.from_bytes(os.urandom(8))))
        self.own.head = self.own.name.genesis()
        self.held, self.heads = {}, {}
        self.buffers, self.kinds = {}, {}
        self.ended = asyncio.Event()
        self.control = self._quic.get_next_available_stream_id()
        self.batches, self.reads_compressed = None, False
        self.send(self.control, frame(HELLO, self.hello()))

    def hello(self):
        now = int(time.time() * 1000)
        wire = Writer().number(1).number(0).number(APPS).number(int.from_bytes(os.urandom(8)))
        wire.number(now).number(now)
        wire.string(public_record(self.identity, now, "python"))
        return bytes(wire.items([], None).byte(0).items([], None).bytes)

    def send(self, stream, data):
        self._quic.send_stream_data(stream, data)
        self.transmit()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            print_event("closed", code=event.error_code, reason=event.reason_phrase)
            self.ended.set()
        elif isinstance(event, DatagramFrameReceived):
            if event.data[:9] == app_datagram(APP, b""):
                print_event("datagram", content=event.data[9:].decode())
        elif isinstance(event, StreamDataReceived):
            self.received(event.stream_id, event.data)

    def received(self, stream, data):
        buffer = self.buffers.setdefault(stream, bytearray())
        buffer += data
        try:
            while len(buffer) >= 4:
                (length,) = struct.unpack(">I", buffer[:4])
                if not 1 <= length <= FRAME_MAX:
                    raise Malformed(f"a frame of {length} bytes")
                if len(buffer) < 4 + length:
                    break
                kind, body = buffer[4], bytes(buffer[5 : 4 + length])
                del buffer[: 4 + length]
                self.frame_received(kind, body)
        except Malformed as error:
            print_event("malformed", reason=str(error))
            self._quic.close(error_code=4, reason_phrase=str(error))
            self.transmit()

    def frame_received(self, kind, body):
        wire = Reader(body)
        if kind == HELLO:
            self.greeted(wire)
        elif kind == PING:
            token = wire.number()
            wire.end()
            if token != 0:
                self.send(self.control, frame(PONG, Writer().number(token).bytes))
        elif kind == DIGEST and wire.fixed(32) == self.conversation:
            digest, self.own.lamport = wire.fixed(32), max(self.own.lamport, wire.number())
            wire.end()
            if digest != heads_digest(self.own_heads()):
                self.send_heads()
        elif kind == HEADS and wire.fixed(32) == self.conversation:
            self.heads_received(wire)
        elif kind == HAVE:
            name = LogName.read(wire)
            settled, _ = read_ranges(wire), read_ranges(wire)
            wire.end()
            self.have_received(name, settled)
        elif kind == WANT:
            name, first, last = LogName.read(wire), wire.number(), wire.option(wire.number)
            wire.end()
            if name == self.own.name:
                self.push(first, last)
        elif kind == BATCH:
            self.batch_received(read_batch(body))
        elif kind == WAITING and wire.fixed(32) == self.conversation:
            print_event("waiting")

    def greeted(self, wire):
        major, _minor = wire.number(), wire.number()
        if major != 1:
            raise Malformed(f"a node of version {major}")
        features, _instance, _started, _clock = (wire.number() for _ in range(4))
        self.reads_compressed = features & COMPRESSION != 0
        _number, nick = read_public_record(self.node, wire.string())
        print_event("hello", nick=nick)
        digest = Writer().fixed(self.conversation).fixed(heads_digest(self.own_heads())).number(self.own.lamport)
        self.send(self.control, frame(DIGEST, digest.bytes))

    def own_heads(self):
        """Everything that this end holds and may tell the node: the ranges of each log."""
        heads = [(name.author, name.log, held) for name, held in self.held.items()]
        if self.own.batches:
            heads.append((self.identity.id, self.own.name.log, [(1, len(self.own.batches))]))
        return sorted(heads)

    def send_heads(self):
        wire = Writer().fixed(self.conversation).byte(0)

        def write_log(head):
            wire.number(head[1])
            write_ranges(wire, head[2])
            write_ranges(wire, [])

        by_author = {}
        for head in self.own_heads():
            by_author.setdefault(head[0], []).append(head)

        def write_author(author):
            wire.fixed(author).option(None, wire.fixed).items(by_author[author], write_log)

        wire.items(sorted(by_author), write_author)
        self.send(self.control, frame(HEADS, wire.bytes))

    def heads_received(self, wire):
        wire.flag()

        def read_log():
            return wire.number(), read_ranges(wire), read_ranges(wire)

        authors = wire.items(lambda: (wire.fixed(32), wire.option(lambda: wire.fixed(32)), wire.items(read_log)))
        wire.end()
        for author, device, logs in authors:
            for log, settled, _erased in logs:
                if device is None:
                    self.have_received(LogName(self.conversation, author, log), settled)

    def have_received(self, name, settled):
        if name.conversation != self.conversation:
            return
        if name == self.own.name:
            for _first, last in settled[-1:]:
                print_event("delivered", seq=last)
        elif name.author == self.node:
            held = self.held.get(name, [(0, 0)])[-1][1]
            if settled and settled[-1][1] > held:
                wire = Writer()
                name.write(wire)
                wire.number(held + 1).option(None, wire.number)
                self.send(self.control, frame(WANT, wire.bytes))

    def batch_received(self, batch):
        """Takes entries of the node's user, and confirms them."""
        name = batch.name
        if name.conversation != self.conversation or name.author != self.node:
            raise Malformed("an entry of somebody else")
        head, held = self.heads.get(name, (name.genesis(), 0))
        last = batch.first + len(batch.entries) - 1
        if batch.first > held + 1 or last <= held:
            return
        if batch.first == held + 1 and batch.prev != head:
            raise Malformed("a batch that does not continue its log")
        for seq, entry in enumerate(batch.entries, batch.first):
            if seq > held:
                self.own.lamport = max(self.own.lamport, entry.lamport)
                if entry.kind == TEXT and entry.body is not None:
                    print_event("message", log=name.log, seq=seq, text=entry.body.decode())
        self.heads[name], self.held[name] = (batch.entries[-1].hash, last), [(1, last)]
        # Only what is on disk may be confirmed. This peer's disk is its output, which it has written.
        wire = Writer()
        name.write(wire)
        write_ranges(wire, [(1, last)])
        write_ranges(wire, [])
        self.send(self.control, frame(HAVE, wire.bytes))

    def say(self, text):
        """Writes a message into the log of this run, and sends it."""
        own, seq = self.own, len(self.own.batches) + 1
        own.lamport += 1
        header, salt = entry_header(TEXT, own.lamport, int(time.time() * 1000)), os.urandom(16)
        encoded, prev = encode_entry(header, salt, text.encode()), own.head
        own.head = next_hash(prev, seq, header, body_hash(own.name, seq, salt, text.encode()))
        batch = encode_batch(self.identity, own.name, seq, prev, encoded, own.head)
        own.batches.append(frame(BATCH, batch))
        compressed = compress(encoded) if self.reads_compressed else None
        if compressed is not None:
            length = Writer().number(len(encoded)).bytes
            batch = encode_batch(self.identity, own.name, seq, prev, compressed, own.head)
            own.batches[-1] = frame(COMPRESSED_BATCH, length + batch)
            print_event("compressed", bytes=len(own.batches[-1]))
        self.push(seq, seq)

    def push(self, first, last):
        if self.batches is None:
            self.batches = self._quic.get_next_available_stream_id(is_unidirectional=True)
        for batch in self.own.batches[first - 1 : last]:
            self.send(self.batches, batch)


async def talk(host, port, node, seed):
    identity = Identity(seed)
    configuration = QuicConfiguration(alpn_protocols=["hobnob/1"], is_client=True, idle_timeout=60)
    configuration.max_datagram_frame_size = 2048
    # There is no authority. The handshake proves the key in the certificate, which is checked below.
    configuration.verify_mode = ssl.CERT_NONE
    configuration.certificate, configuration.private_key = identity.certificate(), identity.key
    async with connect(host, port, configuration=configuration, create_protocol=Session) as session:
        certificate = session._quic.tls._peer_certificate
        if certificate.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) != node:
            raise SystemExit("another node answers at this address")
        session.start(identity, node)
        lines = asyncio.create_task(read_lines(session))
        ended = asyncio.create_task(session.ended.wait())
        await asyncio.wait([lines, ended], return_when=asyncio.FIRST_COMPLETED)
        session._quic.close(error_code=0, reason_phrase="bye")
        session.transmit()


async def read_lines(session):
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        text = line.decode().removesuffix("\n")
        if text.startswith("/datagram "):
            session._quic.send_datagram_frame(app_datagram(APP, text.removeprefix("/datagram ").encode()))
            session.transmit()
        else:
            session.say(text)


# --- Test vectors


def check_vectors(path):
    """Computes each vector again from its inputs. Prints how many are right."""
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors:
        given, wanted = vector["given"], vector["result"]
        result = VECTORS[vector["what"]](**given)
        if result != wanted:
            raise SystemExit(f"{vector['what']} of {given}: {result}, and not {wanted}")
    print(f"{len(vectors)} vectors are right")


def name_of(given):
    return LogName(bytes.fromhex(given["conversation"]), bytes.fromhex(given["author"]), given["log"])


def entry_vector(name, seq, prev, kind, lamport, sent_at_ms, salt, body):
    log, salt, body = name_of(name), bytes.fromhex(salt), bytes.fromhex(body)
    header = entry_header(kind, lamport, sent_at_ms)
    hashed = body_hash(log, seq, salt, body)
    return {
        "encoded": encode_entry(header, salt, body).hex(),
        "erased": bytes(Writer().fixed(header).number(0).fixed(hashed).bytes).hex(),
        "body_hash": hashed.hex(),
        "hash": next_hash(bytes.fromhex(prev), seq, header, hashed).hex(),
    }


def batch_vector(seed, name, first, prev, entry, head):
    prev, entry, head = bytes.fromhex(prev), bytes.fromhex(entry), bytes.fromhex(head)
    return encode_batch(Identity(bytes.fromhex(seed)), name_of(name), first, prev, entry, head).hex()


VECTORS = {
    "number": lambda value: Writer().number(value).bytes.hex(),
    "id": lambda seed: {"key": Identity(bytes.fromhex(seed)).id.hex(), "text": peer_text(Identity(bytes.fromhex(seed)).id)},
    "direct conversation": lambda a, b: direct_conversation(bytes.fromhex(a), bytes.fromhex(b)).hex(),
    "genesis": lambda **name: name_of(name).genesis().hex(),
    "entry": entry_vector,
    "batch": batch_vector,
    "digest": lambda heads: heads_digest(
        [(bytes.fromhex(author), log, [tuple(span) for span in ranges]) for author, log, ranges in heads]
    ).hex(),
    "datagram": lambda app, content: app_datagram(app, bytes.fromhex(content)).hex(),
    "public record": lambda seed, number, nick: public_record(Identity(bytes.fromhex(seed)), number, nick).hex(),
}


def main(words):
    match words:
        case ["talk", host, port, node, seed]:
            asyncio.run(talk(host, int(port), peer_key(node), bytes.fromhex(seed)))
        case ["vectors", path]:
            check_vectors(path)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
