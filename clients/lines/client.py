#!/usr/bin/env python3
"""The chat client of the tutorials about sockets: it works with `hobnob up --lines ADDR` as it is.

    python3 clients/lines/client.py 127.0.0.1 6668
"""
import socket
import sys
import threading


def show(connection):
    for line in connection.makefile(encoding="utf-8"):
        print(line.rstrip("\r\n"), flush=True)


with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    reader = threading.Thread(target=show, args=(connection,))
    reader.start()
    for line in sys.stdin:
        connection.sendall(line.encode())
    connection.sendall(b"/quit\n")
    reader.join()
