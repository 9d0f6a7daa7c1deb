"""The node for programs without asyncio. A thread runs the connection.

    with Node.attach() as node:
        node.send("bob", "lunch at noon?")
        for event in node.events():
            print(event)
"""
from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import Any, AsyncIterator, Coroutine, Iterator, TypeVar

from . import aio, lines
from .errors import NodeGone
from .values import Event, Request

A = TypeVar("A")


class Node:
    """A connection with a node. The methods may be called from any thread."""

    def __init__(self, connect: Coroutine[Any, Any, aio.Node]):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hobnob", daemon=True)
        self._thread.start()
        try:
            self._node = self._run(connect)
        except BaseException:
            self._stop()
            raise

    @classmethod
    def attach(cls, home: str | os.PathLike[str] | None = None) -> Node:
        """Connects to the node that runs in this home, and subscribes to its events."""
        return cls(aio.Node.attach(home))

    @classmethod
    def start(
        cls,
        *arguments: str,
        home: str | os.PathLike[str] | None = None,
        nick: str | None = None,
        program: str | os.PathLike[str] = "hobnob",
    ) -> Node:
        """Runs a node as a child process. It ends with `close`. Further arguments are those of
        `hobnob up`."""
        return cls(aio.Node.start(*arguments, home=home, nick=nick, program=program))

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnects. A node that `start` ran ends."""
        if not self._loop.is_closed():
            self._run(self._node.close())
            self._stop()

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._node.gone

    def ask(self, request: Request[A]) -> A:
        """Sends a request, and waits for its answer."""
        return self._run(self._node.ask(request))

    def events(self) -> Iterator[Event]:
        """The events, until the connection ends."""
        return self._each(self._node.events())

    def messages(self, after: str | None = None) -> Iterator[lines.MessageLine]:
        """Every message after this one, each exactly once, in the order in which they arrived at this
        node: those of earlier runs, and then the new ones, until the connection ends. Own messages
        have a `state`."""
        return self._each(self._node.messages(after))

    def send(
        self, target: str, text: str, *, client_id: str | None = None, wait: lines.DeliveryState = "delivered"
    ) -> lines.SentLine:
        """Sends a direct message. `target` is anything that names a peer."""
        return self._run(self._node.send(target, text, client_id=client_id, wait=wait))

    def broadcast(
        self, text: str, *, room: str = "lobby", client_id: str | None = None, wait: lines.DeliveryState = "queued"
    ) -> lines.SentLine:
        """Sends a message to a room."""
        return self._run(self._node.broadcast(text, room=room, client_id=client_id, wait=wait))

    def reply(
        self, message: str, text: str, *, client_id: str | None = None, wait: lines.DeliveryState = "queued"
    ) -> lines.SentLine:
        """Answers a message, in its conversation."""
        return self._run(self._node.reply(message, text, client_id=client_id, wait=wait))

    def peers(self) -> list[lines.PeerLine]:
        """Every peer that the node knows."""
        return self._run(self._node.peers())

    def status(self) -> lines.StatusLine:
        """The node's identity, addresses, rooms and relays."""
        return self._run(self._node.status())

    def _run(self, work: Coroutine[Any, Any, A]) -> A:
        if self._loop.is_closed():
            work.close()
            raise NodeGone("the node is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _each(self, items: AsyncIterator[A]) -> Iterator[A]:
        async def following() -> A:
            return await anext(items)

        while True:
            try:
                item = self._run(following())
            except StopAsyncIteration:
                return
            yield item

    def _stop(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
