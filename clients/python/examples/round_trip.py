#!/usr/bin/env python3
"""Measures the round trip of datagrams between two programs, as a game would have it.

    python3 clients/python/examples/round_trip.py          answers
    python3 clients/python/examples/round_trip.py bob      asks bob, where the program answers, and prints the times

The two users must have accepted each other.
"""
import sys
import time
from itertools import count

from hobnob import Node, lines

APP = "org.example.round-trip"

with Node.attach() as node:
    node.ask(lines.OpenApp(app=APP))
    events = (event for event in node.events() if isinstance(event, lines.DatagramEvent))
    if len(sys.argv) == 1:
        print("answering", flush=True)
        for event in events:
            node.ask(lines.SendDatagram(app=APP, target=event.peer, bytes=event.bytes))
    peer = node.ask(lines.Resolve(target=sys.argv[1])).peer
    for number in count():
        # A datagram may be lost: a game sends the next one anyway.
        begun = time.perf_counter()
        node.ask(lines.SendDatagram(app=APP, target=peer, bytes=str(number).encode()))
        answer = next(events)
        print(f"{answer.bytes.decode()}: {(time.perf_counter() - begun) * 1000:.1f} ms", flush=True)
        time.sleep(1)
