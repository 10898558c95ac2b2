"""A bad link between two network namespaces, and our server at one end of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.spaces import fresh

SERVER, CLIENT = "10.95.0.1", "10.95.0.2"
BADLINK = Path(__file__).with_name("badlink.py")
SERVE = """
import asyncio, signal, sys
from pathlib import Path
from provisioner.boot.files import FileTable, ServedFile
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import Trace

async def main(root, address):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    files = [ServedFile(p.name, p, p.stat().st_size, p.name) for p in root.iterdir()]
    trace = []
    server = TftpServer([(address, 69)], table=FileTable(files), trace=Trace(trace.append))
    await server.start()
    print("ready", flush=True)
    await stop.wait()
    print(dict(server.counts), *(line.text for line in trace), sep="\\n", flush=True)
    await server.stop()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""

Faults = tuple[float, float, float, int]
"""Shares of packets that are lost, come twice, come late; 1: but not in the handshake."""


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """One for the server, one for the client; they go with everything in them."""
    names = (fresh("tftp-server"), fresh("tftp-client"))
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    try:
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def running(*command: str) -> Iterator[list[str]]:
    """A program that says "ready"; when the block ends it is stopped, and the list holds what else it said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said: list[str] = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield said
    finally:
        process.terminate()
        said += process.communicate(timeout=20)[0].splitlines()
        assert process.returncode == 0


def lay(stack: ExitStack, faults: Faults, root: Path) -> tuple[str, str, list[str]]:
    """Lay a link with a server of what is in `root`: both ends, and what the server says when it has ended."""
    server, client = stack.enter_context(namespaces())
    ends = (f"{server}:{SERVER}/24", f"{client}:{CLIENT}/24")
    words = ("1", *(str(fault) for fault in faults))
    stack.enter_context(running(sys.executable, str(BADLINK), *words, *ends))
    serve = (sys.executable, "-c", SERVE, str(root), SERVER)
    return server, client, stack.enter_context(running("ip", "netns", "exec", server, *serve))
