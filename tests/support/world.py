"""The world behind a private host: a name server for one name, and a server that tells callers who they are.

Run as a program in the world's network namespace: `world.py ADDRESS [PORT]`.
"""

from __future__ import annotations

import socket
import sys
import threading

NAME, ANSWER = "far.example", "192.0.2.77"
PORT = 80


def names(address: str) -> None:
    """Answer every question for an IPv4 address with ANSWER; there are no others."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        question, asker = server.recvfrom(2048)
        end = question.index(b"\0", 12) + 5
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ANSWER)
        found = record if question[end - 4 : end - 2] == b"\0\1" else b""
        counts = b"\0\1\0\1\0\0\0\0" if found else b"\0\1\0\0\0\0\0\0"
        server.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + found, asker)


def callers(address: str, port: int) -> None:
    """Tell each caller its address, as the answer to whatever was asked."""
    server = socket.create_server((address, port))
    while True:
        connection, caller = server.accept()
        connection.settimeout(5)
        try:
            connection.recv(4096)
            connection.sendall(f"HTTP/1.0 200 OK\r\n\r\nhello {caller[0]}\n".encode())
        except OSError:
            pass
        connection.close()


if __name__ == "__main__":
    threading.Thread(target=names, args=(sys.argv[1],), daemon=True).start()
    callers(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else PORT)
