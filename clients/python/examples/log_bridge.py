#!/usr/bin/env python3
"""Sends the new lines of a log file that match a pattern to a room, or to a person.

    python3 clients/python/examples/log_bridge.py /var/log/syslog 'error|fail' '#ops'
"""
import os
import re
import sys
import time
from pathlib import Path
from typing import Iterator

from hobnob import Node

TEXT_BYTES_MAX = 16_384
PAUSE_S = 0.5


def new_lines(path: Path) -> Iterator[str]:
    """The lines that are appended from now on, also after the file was replaced or cut."""
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, 2)
    part = ""
    while True:
        text = file.readline()
        part += text
        if part.endswith("\n"):
            yield part.rstrip("\n")
            part = ""
        elif not text:
            time.sleep(PAUSE_S)
            try:
                now = path.stat()
            except FileNotFoundError:  # the next one does not exist yet
                continue
            open_one = os.fstat(file.fileno())
            if now.st_ino != open_one.st_ino or now.st_size < file.tell():
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
                part = ""


def main() -> None:
    path, pattern, target = Path(sys.argv[1]), re.compile(sys.argv[2]), sys.argv[3]
    with Node.attach() as node:
        for line in new_lines(path):
            if not pattern.search(line):
                continue
            text = line.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
            if target.startswith("#"):
                node.broadcast(text, room=target)
            else:
                node.send(target, text, wait="queued")


if __name__ == "__main__":
    main()
