"""An operator who looks at machines, twenty times a second: `python -m tests.bench.lifecycle.watch SOCKET MACHINES`.

A process of its own, so that only the daemon's delay is measured. Ends with its standard input, and says how long each
answer took, in milliseconds, as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from tests.bench.lifecycle.names import name_of

EVERY_S = 0.05
STRIDE = 37


def look(line: socket.socket, path: str) -> None:
    """Ask, and read the answer whole."""
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(line)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
    while len(body) < size:
        body += receive(line)
    if b" 200 " not in head.partition(b"\r")[0] and b" 404 " not in head.partition(b"\r")[0]:
        raise RuntimeError(head.decode())


def receive(line: socket.socket) -> bytes:
    data = line.recv(1 << 16)
    if not data:
        raise RuntimeError("the API hung up")
    return data


def watch(path: str, machines: int) -> list[float]:
    """Look until standard input ends; milliseconds."""
    waits_ms, at = [], 0
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        while not select.select([sys.stdin], [], [], EVERY_S)[0]:
            started = time.perf_counter()
            look(line, f"/v1/machines/{name_of(at % machines)}")
            waits_ms.append((time.perf_counter() - started) * 1000)
            at += STRIDE
    return waits_ms


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1], int(sys.argv[2]))), flush=True)
