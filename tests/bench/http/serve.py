"""Our files over HTTP and HTTPS, and a UDP echo on the same loop: `python -m tests.bench.http.serve IMAGE CERTIFICATE`.

The echo answers as the DHCP server does, from a reader callback: how late it is, DHCP would be.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from pathlib import Path

from provisioner.boot.files import FileTable, ServedFile
from provisioner.web.app import machine_app
from provisioner.web.files import DEFAULT, FileBounds, Files
from provisioner.web.server import Server
from tests.bench.tftp.wire import SERVER

PORT, TLS_PORT, ECHO_PORT = 8080, 8443, 6767


def echo(sock: socket.socket) -> None:
    """Send back what came."""
    data, peer = sock.recvfrom(2048)
    sock.sendto(data, peer)


async def serve(image: Path, certificate: Path) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    table = FileTable([ServedFile("image", image, image.stat().st_size, "0" * 64)])
    bounds = FileBounds(per_client=DEFAULT.transfers)  # all of the load has one address
    files = Files(table, observe=lambda line: None, bounds=bounds)
    server = Server(machine_app(files.routes()))
    await server.listen_tcp(SERVER, PORT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await server.listen_tcp(SERVER, TLS_PORT, context)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, ECHO_PORT))
        sock.setblocking(False)
        loop.add_reader(sock, echo, sock)
        await stop.wait()
        loop.remove_reader(sock)
    await server.close()
    await asyncio.to_thread(files.close)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
