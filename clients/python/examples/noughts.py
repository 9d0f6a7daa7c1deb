#!/usr/bin/env python3
"""Noughts and crosses for two players on two nodes. Both run it; the one with the smaller id begins.

    python3 clients/python/examples/noughts.py BOB

A move is an app message: the number of a square, 1 to 9. The history is the game, so a player that was
killed continues where it was. A new game begins once the last one is over.
"""
import sys
from typing import Iterable

from hobnob import Node, lines

KIND = "org.hobnob.example.noughts"
LINES = [(1, 2, 3), (4, 5, 6), (7, 8, 9), (1, 4, 7), (2, 5, 8), (3, 6, 9), (1, 5, 9), (3, 5, 7)]


class Game:
    """The squares, and whose turn it is: "X" begins."""

    def __init__(self) -> None:
        self.squares: dict[int, str] = {}

    @property
    def turn(self) -> str:
        return "XO"[len(self.squares) % 2]

    @property
    def result(self) -> str | None:
        for line in LINES:
            marks = {self.squares.get(square) for square in line}
            if marks in ({"X"}, {"O"}):
                return f"{marks.pop()} wins"
        return "a draw" if len(self.squares) == 9 else None

    def play(self, mark: str, square: int) -> bool:
        """Plays a move, if it is allowed."""
        if self.result or mark != self.turn or square not in range(1, 10) or square in self.squares:
            return False
        self.squares[square] = mark
        return True

    def __str__(self) -> str:
        rows = (range(row, row + 3) for row in (1, 4, 7))
        return "\n".join(" ".join(self.squares.get(n, str(n)) for n in row) for row in rows)


def show(game: Game, mark: str) -> None:
    ending = game.result or ("your turn" if game.turn == mark else "the other one's turn")
    print(f"{game}\nyou are {mark}: {ending}", flush=True)


def main(words: Iterable[str]) -> None:
    with Node.attach() as node:
        me = node.status().peer
        other = node.ask(lines.Resolve(target=sys.argv[1])).peer
        my_mark, other_mark = ("X", "O") if me < other else ("O", "X")
        game, caught_up = Game(), node.ask(lines.HistoryFilter(limit=1)).messages
        newest = caught_up[-1].id if caught_up else None
        words = iter(words)
        asked = newest is None
        if asked:
            show(game, my_mark)
            move(node, other, game, my_mark, words)
        for message in node.messages():
            if message.conversation == f"@{other}" and message.kind == KIND and message.bytes:
                if game.result:
                    game = Game()
                mark = my_mark if message.from_ == me else other_mark
                if message.bytes.isdigit() and game.play(mark, int(message.bytes)) and asked:
                    show(game, my_mark)
                    if game.result:
                        return
                    move(node, other, game, my_mark, words)
            if message.id == newest:
                asked = True
                show(game, my_mark)
                if game.result:
                    game = Game()
                move(node, other, game, my_mark, words)


def move(node: Node, other: str, game: Game, mark: str, words: Iterable[str]) -> None:
    """Sends the next word as a move, if it is this player's turn. It counts when it is in the
    history."""
    if game.turn != mark:
        return
    for word in words:
        square = word.strip()
        if square.isdigit() and int(square) in range(1, 10) and int(square) not in game.squares:
            node.ask(lines.SendMessage(target=other, kind=KIND, bytes=square.encode(), wait="queued"))
            return
        print("type the number of a free square", flush=True)
    sys.exit("no more moves")


if __name__ == "__main__":
    main(sys.stdin)
