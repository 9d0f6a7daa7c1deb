"""The node for asyncio.

    async with await Node.attach() as node:
        await node.send("bob", "lunch at noon?")
        async for event in node.events():
            print(event)
"""
from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from types import TracebackType
from typing import Any, AsyncIterator, TypeVar

from . import lines
from .errors import NodeGone, RequestFailed
from .home import socket_path
from .values import Event, Request, UnknownEvent, decode, encode

A = TypeVar("A")

ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Longest line that a node writes."""

EVENTS_MAX = 10_000
"""Events that wait for a program that does not read them. The oldest are dropped, and a LaggedEvent
says how many. Messages are in the history."""


class Node:
    """A connection with a node: the methods of this class, and any request by `ask`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        process: asyncio.subprocess.Process | None = None,
    ):
        self._reader = reader
        self._writer = writer
        self._process = process
        self._id = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: deque[Event] = deque()
        self._missed = 0
        self._news = asyncio.Event()
        self._gone = False
        self._messages = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def attach(cls, home: str | os.PathLike[str] | None = None) -> Node:
        """Connects to the node that runs in this home, and subscribes to its events."""
        path = socket_path(home)
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_MAX)
        except OSError as error:
            raise NodeGone(f"no node listens at {path}: start one with `hobnob up`") from error
        node = cls(reader, writer)
        await node.ask(lines.Subscribe())
        return node

    @classmethod
    async def start(
        cls,
        *arguments: str,
        home: str | os.PathLike[str] | None = None,
        nick: str | None = None,
        program: str | os.PathLike[str] = "hobnob",
    ) -> Node:
        """Runs a node as a child process. It ends with `close`. Further arguments are those of
        `hobnob up`."""
        command = [os.fspath(program), "up", "--json", *arguments]
        for flag, value in (("--home", home), ("--nick", nick)):
            if value is not None:
                command += [flag, os.fspath(value)]
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, limit=ANSWER_BYTES_MAX
            )
        except OSError as error:
            raise NodeGone(f"can't run {command[0]}: {error}") from error
        assert process.stdin is not None and process.stdout is not None
        node = cls(process.stdout, process.stdin, process)
        try:
            await node.ask(lines.Ping())  # it answers once it runs
        except BaseException:
            await node.close()
            raise
        return node

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnects. A node that `start` ran ends, after it has stored and said what it must."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        self._writer.close()
        if self._process is not None:
            await self._task  # reads what the node still writes
            await self._process.wait()
        else:
            self._task.cancel()
        self._end()

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._gone

    async def ask(self, request: Request[A]) -> A:
        """Sends a request, and waits for its answer."""
        if self._gone:
            raise NodeGone("the node has ended")
        self._id += 1
        number = self._id
        line = {"id": number, "cmd": request.CMD, **encode(request)}
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._writer.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            await self._writer.drain()
            fields = await answer
        except (ConnectionError, BrokenPipeError) as error:
            raise NodeGone("the node has ended") from error
        finally:
            self._answers.pop(number, None)
        if "error" in fields:
            raise RequestFailed(**{name: fields["error"].get(name) for name in ("code", "exit", "text")})
        answered: A = decode(request.ANSWER, fields["ok"])
        return answered

    async def events(self) -> AsyncIterator[Event]:
        """The events, until the connection ends."""
        while True:
            while self._missed or self._events:
                if self._missed:
                    missed, self._missed = self._missed, 0
                    yield lines.LaggedEvent(missed=missed)
                else:
                    yield self._events.popleft()
            if self._gone:
                return
            self._news.clear()
            await self._news.wait()

    async def messages(self, after: str | None = None) -> AsyncIterator[lines.MessageLine]:
        """Every message after this one, each exactly once, in the order in which they arrived at this
        node: those of earlier runs, and then the new ones, until the connection ends. Own messages
        have a `state`."""
        while True:
            self._messages.clear()
            page = await self.ask(lines.HistoryFilter(oldest=True, after=after))
            for message in page.messages:
                after = message.id
                yield message
            if not page.messages:
                if self._gone:
                    raise NodeGone("the node has ended")
                await self._messages.wait()

    async def send(
        self, target: str, text: str, *, client_id: str | None = None, wait: lines.DeliveryState = "delivered"
    ) -> lines.SentLine:
        """Sends a direct message. `target` is anything that names a peer."""
        return await self.ask(
            lines.SendMessage(target=target, text=text, client_id=client_id, wait=wait)
        )

    async def broadcast(
        self, text: str, *, room: str = "lobby", client_id: str | None = None, wait: lines.DeliveryState = "queued"
    ) -> lines.SentLine:
        """Sends a message to a room."""
        return await self.ask(
            lines.BroadcastMessage(room=room, text=text, client_id=client_id, wait=wait)
        )

    async def reply(
        self, message: str, text: str, *, client_id: str | None = None, wait: lines.DeliveryState = "queued"
    ) -> lines.SentLine:
        """Answers a message, in its conversation."""
        return await self.ask(
            lines.ReplyToMessage(message=message, text=text, client_id=client_id, wait=wait)
        )

    async def peers(self) -> list[lines.PeerLine]:
        """Every peer that the node knows."""
        return (await self.ask(lines.ListPeers(settle=True))).peers

    async def status(self) -> lines.StatusLine:
        """The node's identity, addresses, rooms and relays."""
        return await self.ask(lines.GetStatus())

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # ValueError: a line that is too long or no JSON, so this is no node
        finally:
            self._end()

    def _take(self, line: dict[str, Any]) -> None:
        if "event" not in line:
            answer = self._answers.get(line["id"]) if line["id"] is not None else None
            if answer is not None and not answer.done():
                answer.set_result(line)
            return
        kind = lines.EVENTS.get(line["event"])
        if kind is None:
            event: Event = UnknownEvent(event=line["event"], fields=line)
        else:
            event = decode(kind, line)
        self._events.append(event)
        if len(self._events) > EVENTS_MAX:
            self._events.popleft()
            self._missed += 1
        self._news.set()
        if isinstance(event, (lines.MessageEvent, lines.LaggedEvent)):
            self._messages.set()
        if isinstance(event, lines.GoodbyeEvent):
            self._writer.close()  # the node waits for that

    def _end(self) -> None:
        self._gone = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NodeGone("the node has ended"))
        self._news.set()
        self._messages.set()
