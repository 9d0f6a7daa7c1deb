#!/usr/bin/env python3
"""Echoes each direct message exactly once, even if it is killed.

    python3 clients/python/examples/echo_bot.py [FILE]     FILE keeps its state (default: echo.sqlite)
"""
import sys

from hobnob import Journal, Node

with Node.attach() as node, Journal(sys.argv[1] if len(sys.argv) > 1 else "echo.sqlite") as journal:
    for message in journal.messages(node):
        with journal.handling(message) as answer:
            is_direct = message.conversation.startswith("@")
            if is_direct and message.state is None and message.text is not None:
                answer.reply(message, f"echo: {message.text[:4000]}")
