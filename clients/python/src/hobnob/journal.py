"""Handle each message exactly once, and send each answer exactly once, however often the program or
its node is killed.

    with Node.attach() as node, Journal("bot.sqlite") as journal:
        for message in journal.messages(node):
            with journal.handling(message) as answer:
                answer.reply(message, "thank you")

The journal is an SQLite database. One transaction stores that a message was handled and what is to be
sent because of it. Each request has a `client_id`, so the node sends it once even if the program repeats
it. Tables of the program in the same database (`journal.database`) are part of the transaction.
"""
from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Iterator

from . import lines
from .errors import RequestFailed
from .node import Node
from .values import Request, decode, encode

_KINDS: dict[str, type[Request[lines.SentLine]]] = {
    kind.CMD: kind
    for kind in (lines.SendMessage, lines.BroadcastMessage, lines.ReplyToMessage, lines.OfferFile)
}


class Answer:
    """What is to be sent because of a message."""

    def __init__(self) -> None:
        self.requests: list[Request[lines.SentLine]] = []

    def add(self, request: Request[lines.SentLine]) -> None:
        """Sends, broadcasts, replies or offers. The journal chooses the `client_id`."""
        if request.CMD not in _KINDS:
            raise ValueError(f"{request.CMD} has no client_id")
        self.requests.append(request)

    def send(self, target: str, text: str) -> None:
        """Sends a direct message."""
        self.add(lines.SendMessage(target=target, text=text))

    def reply(self, message: lines.MessageLine, text: str) -> None:
        """Answers a message, in its conversation."""
        self.add(lines.ReplyToMessage(message=message.id, text=text))


class Journal:
    """The state of a program, in a file."""

    def __init__(self, path: str | os.PathLike[str]):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute("CREATE TABLE IF NOT EXISTS hobnob_last (one INTEGER PRIMARY KEY, id TEXT)")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS hobnob_unsent "
            "(number INTEGER PRIMARY KEY, client_id TEXT UNIQUE, cmd TEXT, fields TEXT)"
        )
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS hobnob_refused "
            "(number INTEGER PRIMARY KEY, cmd TEXT, fields TEXT, code TEXT, exit INTEGER, text TEXT)"
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    @property
    def last(self) -> str | None:
        """The message that was handled last."""
        row = self.database.execute("SELECT id FROM hobnob_last").fetchone()
        return row[0] if row else None

    def messages(self, node: Node) -> Iterator[lines.MessageLine]:
        """The messages that are not handled yet, oldest first, and then the new ones. First sends what
        an earlier run did not send. A message that was not handled comes again in the next run."""
        self.flush(node)
        for message in node.messages(self.last):
            yield message
            self.flush(node)

    @contextmanager
    def handling(self, message: lines.MessageLine) -> Iterator[Answer]:
        """The transaction that handles a message. If it ends with an exception, nothing has
        happened."""
        answer = Answer()
        with self._transaction():
            yield answer
            self._store(answer)
            self.database.execute("REPLACE INTO hobnob_last VALUES (1, ?)", (message.id,))

    @contextmanager
    def sending(self) -> Iterator[Answer]:
        """A transaction that is not about a message. `flush` sends."""
        answer = Answer()
        with self._transaction():
            yield answer
            self._store(answer)

    def flush(self, node: Node) -> None:
        """Sends what is stored and not sent, in order. If the node ends, `NodeGone` is raised, and the
        next `flush` continues. A request that the node refuses is kept in `refused`, with the reason, and
        the ones behind it are sent."""
        while row := self.database.execute(
            "SELECT number, client_id, cmd, fields FROM hobnob_unsent ORDER BY number LIMIT 1"
        ).fetchone():
            number, client_id, cmd, fields = row
            request: Any = decode(_KINDS[cmd], json.loads(fields))
            request.client_id = client_id
            request.wait = "queued"
            refusal = None
            try:
                node.ask(request)
            except RequestFailed as error:
                # A fault of the disk or a node that is stopping: the request itself may be right.
                if error.code == "fault":
                    raise
                refusal = (cmd, fields, error.code, error.exit, error.text)
            with self._transaction():
                if refusal:
                    self.database.execute(
                        "INSERT INTO hobnob_refused (cmd, fields, code, exit, text) VALUES (?, ?, ?, ?, ?)",
                        refusal,
                    )
                self.database.execute("DELETE FROM hobnob_unsent WHERE number = ?", (number,))

    @property
    def refused(self) -> list[tuple[Request[lines.SentLine], RequestFailed]]:
        """The requests that the node has refused, oldest first, and why."""
        rows = self.database.execute("SELECT cmd, fields, code, exit, text FROM hobnob_refused ORDER BY number")
        return [
            (decode(_KINDS[cmd], json.loads(fields)), RequestFailed(code, exit, text))
            for cmd, fields, code, exit, text in rows
        ]

    def forget_refused(self) -> None:
        """Empties `refused`."""
        self.database.execute("DELETE FROM hobnob_refused")

    def _store(self, answer: Answer) -> None:
        for request in answer.requests:
            self.database.execute(
                "INSERT INTO hobnob_unsent (client_id, cmd, fields) VALUES (?, ?, ?)",
                (str(uuid.uuid4()), request.CMD, json.dumps(encode(request))),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")
