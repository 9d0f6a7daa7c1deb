#!/usr/bin/env python3
"""Reminds people: "remind me in 10m to stretch" is answered at once, and again after ten minutes. A
reminder is not lost if the program is killed.

    python3 clients/python/examples/reminder.py [FILE]     FILE keeps its state (default: reminders.sqlite)
"""
import asyncio
import re
import sqlite3
import sys
import time

from hobnob import NodeGone, RequestFailed, aio, lines

ORDER = re.compile(r"remind me in (\d{1,4})\s*(s|m|h) to (.+)", re.IGNORECASE | re.DOTALL)
SECONDS = {"s": 1, "m": 60, "h": 3600}

database = sqlite3.connect(sys.argv[1] if len(sys.argv) > 1 else "reminders.sqlite")
database.execute("CREATE TABLE IF NOT EXISTS reminders (message TEXT PRIMARY KEY, due REAL, what TEXT)")
database.execute("CREATE TABLE IF NOT EXISTS last (one INTEGER PRIMARY KEY, message TEXT)")


async def listen(node: aio.Node, changed: asyncio.Event) -> None:
    row = database.execute("SELECT message FROM last").fetchone()
    async for message in node.messages(row[0] if row else None):
        order = ORDER.match(message.text or "")
        if order and message.state is None:
            number, unit, what = order.groups()
            # The name makes the answer the same one if the program is killed before the commit.
            await node.reply(message.id, "I will", client_id=f"promise {message.id}")
            due = time.time() + int(number) * SECONDS[unit.lower()]
            database.execute("INSERT OR IGNORE INTO reminders VALUES (?, ?, ?)", (message.id, due, what))
        database.execute("REPLACE INTO last VALUES (1, ?)", (message.id,))
        database.commit()
        changed.set()


async def remind(node: aio.Node, changed: asyncio.Event) -> None:
    while True:
        changed.clear()
        row = database.execute("SELECT message, due, what FROM reminders ORDER BY due LIMIT 1").fetchone()
        if row is None or row[1] > time.time():
            pause = None if row is None else row[1] - time.time()
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                pass
            continue
        message, _, what = row
        try:
            await node.reply(message, f"it is time to {what}", client_id=f"reminder {message}")
        except RequestFailed as error:  # for example, the message was deleted
            print(error, file=sys.stderr)
        database.execute("DELETE FROM reminders WHERE message = ?", (message,))
        database.commit()


async def main() -> None:
    changed = asyncio.Event()
    async with await aio.Node.attach() as node:
        await node.ask(lines.SetStatus(text="remind me in 10m to …", back=True))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(node, changed))
            tasks.create_task(remind(node, changed))


try:
    asyncio.run(main())
except* NodeGone as gone:
    sys.exit(str(gone.exceptions[0]))
