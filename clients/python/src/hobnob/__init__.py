"""Drive a hobnob node from Python: `Node` for plain programs, `aio.Node` for asyncio.

`Node.attach` connects to the node that runs, `Node.start` runs one. `lines` has a dataclass for each
request, answer and event, and `Journal` handles each message exactly once.
"""
from . import aio, lines
from .errors import HobnobError, NodeGone, RequestFailed
from .home import socket_path
from .journal import Answer, Journal
from .node import Node
from .values import Event, Request, UnknownEvent

__all__ = [
    "Answer", "Event", "HobnobError", "Journal", "Node", "NodeGone", "Request", "RequestFailed", "UnknownEvent",
    "aio", "lines", "socket_path",
]
