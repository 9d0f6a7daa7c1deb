"""The package with real nodes on loopback. HOBNOB names the program."""
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import hobnob
from hobnob import Journal, Node, NodeGone, RequestFailed, aio, lines

PROGRAM = os.environ.get("HOBNOB", "hobnob")
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
JAVASCRIPT = EXAMPLES.parent.parent / "javascript"
LOOPBACK = ("--no-mdns", "--listen", "127.0.0.1:0")
SECONDS = 60


class Background:
    """A node that runs on its own, as for a user, and that other programs attach to."""

    def __init__(self, home: Path, nick: str, *arguments: str):
        self.home = home
        self.command = [PROGRAM, "up", "--json", "--home", home, "--nick", nick, *LOOPBACK, *arguments]
        self.start()

    def start(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=pipe, text=True)
        assert '"listening"' in self.process.stdout.readline()
        # Nobody reads the events: they must not fill the pipe.
        self.reader = threading.Thread(target=self.process.stdout.read)
        self.reader.start()

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(SECONDS)
        self.reader.join()
        self.process.stdout.close()


class WithNodes(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def background(self, nick: str, *arguments: str) -> Background:
        node = Background(self.folder / nick, nick, *arguments)
        self.addCleanup(lambda: node.process.poll() is None and node.end(signal.SIGKILL))
        return node

    def started(self, nick: str) -> Node:
        node = Node.start(*LOOPBACK, home=self.folder / nick, nick=nick, program=PROGRAM)
        self.addCleanup(node.close)
        return node

    def attached(self, home: Path) -> Node:
        node = Node.attach(home)
        self.addCleanup(node.close)
        return node

    def example(self, name: str, home: Path, *arguments: str, **options) -> subprocess.Popen:
        source = str(Path(hobnob.__file__).parent.parent)
        environment = {**os.environ, "HOBNOB_HOME": str(home), "PYTHONPATH": source}
        command = [sys.executable, "-u", EXAMPLES / name, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, text=True, cwd=self.folder, **options)

        def end() -> None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

        self.addCleanup(end)
        return process

    def introduce(self, ann: Node, bob: Node) -> None:
        """Makes the two contacts of each other, by a message in each direction."""
        ann.send(bob.status().ticket, "hello from ann", wait="sent")
        bob.send(ann.status().ticket, "hello from bob")


def texts(node: Node, until: str, *, own: bool = False) -> list[str]:
    """The texts in the history, once this one is there: those of others, or own ones."""
    found = []
    for message in node.messages():
        if message.text is not None and (message.state is not None) == own:
            found.append(message.text)
            if message.text == until:
                return found
    raise AssertionError("the node has ended")


class Nodes(WithNodes):
    def test_two_programs_talk_and_learn_what_goes_wrong(self):
        ann, bob = self.started("ann"), self.started("bob")
        self.introduce(ann, bob)
        sent = ann.send("bob", "lunch at noon?")
        self.assertEqual(sent.state, "delivered")
        event = next(e for e in bob.events() if isinstance(e, lines.MessageEvent) and e.text == "lunch at noon?")
        self.assertEqual((event.id, event.nick, event.state), (sent.id, "ann", None))
        bob.reply(event.id, "with pleasure", wait="delivered")
        answer = [m for m in ann.ask(lines.HistoryFilter()).messages if m.reply_to][0]
        self.assertEqual((answer.text, answer.reply_to.id), ("with pleasure", sent.id))
        self.assertEqual([peer.name for peer in ann.peers()], ["bob"])
        with self.assertRaises(RequestFailed) as failed:
            ann.send("eve", "hi")
        self.assertEqual((failed.exception.code, failed.exception.exit), ("no-such-peer", 3))
        bob.close()
        with self.assertRaises(NodeGone):
            bob.status()

    def test_programs_exchange_datagrams_and_streams(self):
        ann, bob = self.started("ann"), self.started("bob")
        self.introduce(ann, bob)
        for node in (ann, bob):
            node.ask(lines.OpenApp(app="pong"))
        node = bob.status().peer
        ann.ask(lines.SendDatagram(app="pong", target=node, bytes=b"ball"))
        event = next(e for e in bob.events() if isinstance(e, lines.DatagramEvent))
        self.assertEqual((event.app, event.peer, event.bytes), ("pong", ann.status().peer, b"ball"))
        with self.assertRaises(RequestFailed) as failed:
            ann.ask(lines.SendDatagram(app="pong", target=node, bytes=bytes(1101)))
        self.assertEqual(failed.exception.code, "usage")

        there = ann.ask(lines.OpenStream(app="pong", target="bob")).stream
        back = next(e for e in bob.events() if isinstance(e, lines.StreamEvent)).stream
        ann.ask(lines.WriteStream(stream=there, bytes=b"new game?"))
        ann.ask(lines.EndStream(stream=there))
        self.assertEqual(bob.ask(lines.ReadStream(stream=back)).bytes, b"new game?")
        self.assertIsNone(bob.ask(lines.ReadStream(stream=back)).bytes)
        bob.ask(lines.WriteStream(stream=back, bytes=b"yes"))
        self.assertEqual(ann.ask(lines.ReadStream(stream=there)).bytes, b"yes")
        ann.ask(lines.CloseStream(stream=there))

    def test_a_message_with_a_client_id_is_sent_once(self):
        ann, bob = self.started("ann"), self.started("bob")
        self.introduce(ann, bob)
        first = ann.send("bob", "order", client_id="order-4711")
        again = ann.send("bob", "order", client_id="order-4711")
        self.assertEqual(first.id, again.id)
        ann.send("bob", "last")
        self.assertEqual(texts(bob, "last"), ["hello from ann", "order", "last"])

    def test_asyncio(self):
        async def both() -> None:
            home = self.folder
            async with await aio.Node.start(*LOOPBACK, home=home / "ann", nick="ann", program=PROGRAM) as ann:
                async with await aio.Node.start(*LOOPBACK, home=home / "bob", nick="bob", program=PROGRAM) as bob:
                    await ann.send((await bob.status()).ticket, "hello", wait="sent")
                    await bob.send((await ann.status()).ticket, "hello")  # accepts ann
                    asked = [ann.send("bob", str(n)) for n in range(50)]
                    sent = await asyncio.gather(*asked)
                    self.assertEqual(len({one.id for one in sent}), 50)
                    arrived = []
                    async for event in bob.events():
                        if isinstance(event, lines.MessageEvent) and event.state is None:
                            arrived.append(event.text)
                            if len(arrived) == 51:
                                break
                    self.assertEqual(arrived, ["hello"] + [str(n) for n in range(50)])

        asyncio.run(asyncio.wait_for(both(), SECONDS))

    def test_open_requests_end_with_the_node(self):
        node = self.background("ann")
        ann = self.attached(node.home)
        node.end()
        for _ in ann.events():
            pass
        self.assertTrue(ann.gone)
        with self.assertRaises(NodeGone):
            ann.status()
        with self.assertRaises(NodeGone):
            Node.attach(node.home)

    def test_each_message_is_handled_and_answered_once_although_bot_and_node_are_killed(self):
        ann = self.started("ann")
        bot = self.background("bot")
        with Node.attach(bot.home) as node:
            self.introduce(ann, node)
            ann.send("bot", "0", wait="queued")
        for kill in range(4):
            for n in range(10):
                ann.send("bot", str(kill * 10 + n + 1), wait="queued")
            program = self.example("echo_bot.py", bot.home, "echo.sqlite")
            next(e for e in ann.events() if isinstance(e, lines.MessageEvent) and e.reply_to)
            if kill % 2 == 0:
                program.kill()
            else:
                bot.end(signal.SIGKILL)
            program.wait(SECONDS)
            if kill % 2:
                bot.start()
        self.example("echo_bot.py", bot.home, "echo.sqlite")
        echoes = [text for text in texts(ann, "echo: 40") if text.startswith("echo")]
        self.assertEqual(echoes, ["echo: hello from ann"] + [f"echo: {n}" for n in range(41)])

    def test_a_failed_handler_changes_nothing(self):
        ann, bob = self.started("ann"), self.started("bob")
        self.introduce(ann, bob)
        ann.send("bob", "handle this")
        with Journal(self.folder / "j.sqlite") as journal:
            message = next(m for m in journal.messages(bob) if m.text == "handle this")
            with self.assertRaises(ZeroDivisionError), journal.handling(message) as answer:
                answer.reply(message, "never")
                1 / 0
            self.assertIsNone(journal.last)
            with journal.handling(message) as answer:
                answer.reply(message, "handled")
            journal.flush(bob)
            self.assertEqual(journal.last, message.id)
        self.assertNotIn("never", texts(ann, "handled"))

    def test_a_refused_request_is_kept_with_the_reason_and_the_next_one_is_sent(self):
        ann, bob = self.started("ann"), self.started("bob")
        self.introduce(ann, bob)
        with Journal(self.folder / "j.sqlite") as journal:
            with journal.sending() as answer:
                answer.send("nobody-of-this-name", "lost?")
                answer.send("ann", "behind it")
            journal.flush(bob)
        self.assertIn("behind it", texts(ann, "behind it"))
        with Journal(self.folder / "j.sqlite") as journal:
            [(request, why)] = journal.refused
            self.assertEqual((request.text, why.code, why.exit), ("lost?", "no-such-peer", 3))
            journal.forget_refused()
            self.assertEqual(journal.refused, [])


class JavaScript(WithNodes):
    """The bot in clients/javascript, which uses the WebSocket."""

    def bot(self, node: Background, token: str) -> subprocess.Popen:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        old = int(version.removeprefix("v").split(".")[0]) < 22
        url = f"ws://{(node.home / 'web').read_text()}/ws"
        command = ["node", *["--experimental-websocket"] * old, JAVASCRIPT / "echo_bot.mjs", url, self.folder / "last.txt"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env={**os.environ, "HOBNOB_TOKEN": token}, stderr=pipe, text=True)

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def test_the_bot_answers_each_message_once_although_it_is_killed(self):
        ann, node = self.started("ann"), self.background("bot", "--web", "127.0.0.1:0")
        with Node.attach(node.home) as bot:
            self.introduce(ann, bot)
        create = [PROGRAM, "token", "create", "echo", "--rights", "read,send", "--home", node.home]
        token = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
        for kill in range(3):
            for n in range(10):
                ann.send("bot", str(kill * 10 + n), wait="queued")
            program = self.bot(node, token)
            next(e for e in ann.events() if isinstance(e, lines.MessageEvent) and e.reply_to)
            program.kill()
            program.wait(SECONDS)
        self.bot(node, token)
        echoes = [text for text in texts(ann, "echo: 29") if text.startswith("echo")]
        self.assertEqual(echoes, ["echo: hello from ann"] + [f"echo: {n}" for n in range(30)])

    def test_a_wrong_token_is_named(self):
        node = self.background("bot", "--web", "127.0.0.1:0")
        program = self.bot(node, "hobnob-token-wrong")
        _, said = program.communicate(timeout=SECONDS)
        self.assertEqual(program.returncode, 1)
        self.assertIn("this token is wrong", said)


class Examples(WithNodes):
    def test_reminder(self):
        ann, bot = self.started("ann"), self.background("bot")
        node = self.attached(bot.home)
        self.introduce(ann, node)
        self.example("reminder.py", bot.home)
        ann.send("bot", "remind me in 1s to stretch")
        self.assertIn("I will", texts(ann, "it is time to stretch"))

    def test_log_bridge(self):
        ann, bot = self.started("ann"), self.background("bot")
        node = self.attached(bot.home)
        self.introduce(ann, node)
        log = self.folder / "app.log"
        log.write_text("error: before the bridge\n")
        self.example("log_bridge.py", bot.home, log, "error", "ann")
        # It attaches before it opens the file: lines are repeated until one arrives.
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.wait(0.1):
                number += 1
                with log.open("a") as file:
                    file.write(f"all is well\nerror: number {number}\n")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            event = next(e for e in ann.events() if isinstance(e, lines.MessageEvent) and "number" in (e.text or ""))
        finally:
            done.set()
            writer.join()
        log.rename(self.folder / "app.log.1")
        log.write_text("error: the log was rotated\n")
        arrived = texts(ann, "error: the log was rotated")
        self.assertIn(event.text, arrived)
        self.assertNotIn("error: before the bridge", arrived)
        self.assertNotIn("all is well", arrived)

    def test_round_trip(self):
        homes = [self.background(nick).home for nick in ("ann", "bob")]
        self.introduce(*(self.attached(home) for home in homes))
        bob = self.example("round_trip.py", homes[1], stdout=subprocess.PIPE)
        self.assertEqual(bob.stdout.readline(), "answering\n")
        ann = self.example("round_trip.py", homes[0], "bob", stdout=subprocess.PIPE)
        for number in range(2):
            self.assertRegex(ann.stdout.readline(), rf"{number}: \d+\.\d ms")

    def test_a_game_for_two_goes_on_after_a_player_was_killed(self):
        homes = [self.background(nick).home for nick in ("ann", "bob")]
        ann, bob = (self.attached(home) for home in homes)
        self.introduce(ann, bob)
        begins = "ann" if ann.status().peer < bob.status().peer else "bob"
        other = "bob" if begins == "ann" else "ann"
        home = dict(zip(("ann", "bob"), homes))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        player = {nick: self.example("noughts.py", home[nick], enemy, **pipes)
                  for nick, enemy in ((begins, other), (other, begins))}

        def plays(nick: str, square: int) -> None:
            for line in player[nick].stdout:
                if "your turn" in line:
                    break
            player[nick].stdin.write(f"{square}\n")
            player[nick].stdin.flush()

        plays(begins, 1)
        plays(other, 4)
        plays(begins, 2)
        player[other].kill()
        player[other].wait(SECONDS)
        player[other] = self.example("noughts.py", home[other], begins, **pipes)
        plays(other, 5)
        plays(begins, 3)
        for nick in (begins, other):
            ended = player[nick].stdout.read()
            self.assertRegex(ended, re.compile("X X X.*X wins", re.DOTALL))
