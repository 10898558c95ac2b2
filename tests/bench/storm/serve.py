"""Boot files by TFTP and by HTTP within a limit, and an echo: `python -m tests.bench.storm.serve ROOT RATE`.

The echo answers as the DHCP server does, from a reader callback: how late it is, DHCP would be.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from provisioner.boot.files import FileTable, ServedFile
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import Trace
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.server import Server
from tests.bench.http.serve import ECHO_PORT, PORT, echo
from tests.bench.tftp.wire import SERVER


async def serve(root: Path, rate: float) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    table = FileTable([ServedFile(path.name, path, path.stat().st_size, path.name) for path in root.iterdir()])
    files = Files(table, trace=Trace(lambda line: None), rate=rate)
    server = Server(machine_app(files.routes()))
    tftp = TftpServer([(SERVER, 69)], table=table, trace=Trace(lambda line: None))
    await tftp.start()
    await server.listen_tcp(SERVER, PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, ECHO_PORT))
        sock.setblocking(False)
        loop.add_reader(sock, echo, sock)
        await stop.wait()
        loop.remove_reader(sock)
    await server.close()
    await tftp.stop()
    await asyncio.to_thread(files.close)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
