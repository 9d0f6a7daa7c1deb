"""The generated classes against the page that describes the lines."""
import json
import subprocess
import sys
import unittest
from datetime import datetime, timezone
from pathlib import Path

from hobnob import lines
from hobnob.values import Request, decode, encode

CLIENT = Path(__file__).resolve().parent.parent
PAGE = CLIENT.parent.parent / "docs/PROTOCOL.md"

REQUESTS = {
    kind.CMD: kind
    for kind in vars(lines).values()
    if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
}


def examples():
    """The blocks of the page: the direction and the value of each line."""
    for block in PAGE.read_text(encoding="utf-8").split("```jsonl\n")[1:]:
        yield [(line[0], json.loads(line[2:])) for line in block.split("```")[0].splitlines()]


class Lines(unittest.TestCase):
    def test_the_classes_are_those_of_the_schema(self):
        subprocess.run([sys.executable, CLIENT / "generate.py", "--check"], check=True)

    def test_each_request_of_the_page_is_read_and_written_the_same(self):
        count = 0
        for block in examples():
            for direction, line in block:
                if direction == ">":
                    fields = {name: value for name, value in line.items() if name not in ("id", "cmd")}
                    written = encode(decode(REQUESTS[line["cmd"]], line))
                    for name, value in written.items():
                        self.assertEqual(value, fields.get(name, False), line)
                    self.assertLessEqual(fields.keys(), written.keys(), line)
                    count += 1
        self.assertGreater(count, 40)

    def test_each_answer_and_event_of_the_page_becomes_an_object_with_all_fields(self):
        count = 0
        for block in examples():
            asked = {}
            for direction, line in block:
                if direction == ">":
                    asked[line["id"]] = REQUESTS[line["cmd"]]
                    continue
                if "event" in line:
                    kind, fields = lines.EVENTS[line["event"]], line
                elif "ok" in line:
                    kind, fields = asked[line["id"]].ANSWER, line["ok"]
                else:
                    continue
                written = encode(decode(kind, fields))
                for name, value in fields.items():
                    if value is not None and name not in ("v", "event"):
                        self.assert_same(value, written.get(name), line)
                count += 1
        self.assertGreater(count, 50)

    def assert_same(self, there, here, line):
        """Equal, where a list or object here may have more defaults, and a time fewer zeros."""
        if isinstance(there, dict):
            for name, value in there.items():
                if value is not None:
                    self.assert_same(value, here.get(name), line)
        elif isinstance(there, list):
            self.assertEqual(len(there), len(here), line)
            for one, other in zip(there, here):
                self.assert_same(one, other, line)
        elif isinstance(there, str) and there.endswith("Z") and there[:4].isdigit():
            self.assertEqual(datetime.fromisoformat(there), datetime.fromisoformat(here), line)
        else:
            self.assertEqual(there, here, line)

    def test_values_that_json_lacks(self):
        request = lines.SendMessage(target="bob", kind="org.example.x", bytes=b"\0\xff")
        self.assertEqual(encode(request)["bytes"], "AP8=")
        self.assertEqual(decode(lines.SendMessage, encode(request)), request)
        time = datetime(2026, 11, 30, 12, 0, tzinfo=timezone.utc)
        self.assertEqual(encode(lines.HistoryFilter(since=time))["since"], "2026-11-30T12:00:00Z")
        with self.assertRaises(ValueError):
            encode(lines.HistoryFilter(since=datetime(2026, 11, 30)))
        self.assertEqual(encode(lines.ImportFile(path=Path("/a"))), {"path": "/a"})
        odd = Path("/\udcff")  # a path that is not UTF-8
        self.assertEqual(encode(lines.ImportFile(path=odd)), {"path": {"bytes": "L/8="}})

    def test_fields_of_a_newer_version_are_ignored(self):
        event = decode(lines.LaggedEvent, {"v": 1, "event": "lagged", "missed": 3, "why": "rain"})
        self.assertEqual(event, lines.LaggedEvent(missed=3))
