"""Two network namespaces and a cable. Clients own a whole network of addresses, so that each is somebody else."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLIENT, SERVER, MASK = "10.94.0.2", "10.94.0.1", 16
CLIENTS = "10.94.128.0/17"
FIRST_CLIENT = "10.94.128.1"
REAL_TIME = ("chrt", "-r", "1")
"""Load and servers alike: what else runs on the machine is then no part of the figures."""
CLIENT_CPU, SERVER_CPU = "0", "1"
READY_S = 20.0
"""Until a server answers: ours imports for a second or two."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The two ends."""

    client: str = f"tftpb{os.getpid()}c"
    server: str = f"tftpb{os.getpid()}s"
    scheduling: tuple[str, ...] = REAL_TIME

    def at_client(self, *words: str) -> list[str]:
        """A command on the clients' end and processor."""
        return ["ip", "netns", "exec", self.client, "taskset", "-c", CLIENT_CPU, *self.scheduling, *words]

    def at_server(self, *words: str) -> list[str]:
        """A command on the server's end and processor."""
        return ["ip", "netns", "exec", self.server, "taskset", "-c", SERVER_CPU, *self.scheduling, *words]


@contextmanager
def wire(scheduling: tuple[str, ...] = REAL_TIME) -> Iterator[Wire]:
    """Make the namespaces; they go with everything in them."""
    it = Wire(scheduling=scheduling)
    for namespace in (it.client, it.server):
        run("ip", "netns", "add", namespace)
    try:
        peer = ("peer", "name", "tbs0", "netns", it.server)
        run("ip", "link", "add", "tbc0", "netns", it.client, "type", "veth", *peer)
        for namespace, port, own in ((it.client, "tbc0", CLIENT), (it.server, "tbs0", SERVER)):
            run("ip", "-n", namespace, "addr", "add", f"{own}/{MASK}", "dev", port)
            for up in ("lo", port):
                run("ip", "-n", namespace, "link", "set", up, "up")
        run("ip", "-n", it.client, "route", "add", "local", CLIENTS, "dev", "tbc0")
        run("ip", "-n", it.server, "route", "add", CLIENTS, "via", CLIENT)
        yield it
    finally:
        for namespace in (it.client, it.server):
            run("ip", "netns", "del", namespace)


@contextmanager
def running(command: Sequence[str], ready: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs until the block ends. It is ready when the command `ready` succeeds."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until = time.monotonic() + READY_S
            while subprocess.run(ready, capture_output=True, timeout=30, check=False).returncode != 0:
                if process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"{command[-1]} ended: {log.read().decode()}")
                if time.monotonic() > until:
                    raise RuntimeError(f"{' '.join(command)}: not ready within {READY_S:.0f} s")
            yield process
        finally:
            process.terminate()
            process.wait(timeout=10)


def run(*words: str) -> None:
    """Run a short command; its error text is the exception's."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def build(source: Path, folder: Path) -> Path:
    """Compile a program that stands in one file."""
    program = folder / source.stem
    run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source))
    return program
