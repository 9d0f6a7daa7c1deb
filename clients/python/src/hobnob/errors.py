"""What can go wrong."""
from __future__ import annotations


class HobnobError(Exception):
    """Any error of this package."""


class RequestFailed(HobnobError):
    """The node answered with an error: `code` for programs, `text` for people."""

    def __init__(self, code: str, exit: int, text: str):
        super().__init__(text)
        self.code = code
        self.exit = exit
        self.text = text


class NodeGone(HobnobError):
    """There is no connection with a node. Whether it carried out an open request is not known: with a
    `client_id`, the request can be repeated."""
