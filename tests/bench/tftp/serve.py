"""Our TFTP server over the files of a directory: `python -m tests.bench.tftp.serve ROOT`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from provisioner.boot.files import FileTable, ServedFile
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import Trace
from tests.bench.tftp.wire import SERVER


async def serve(root: Path) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    table = FileTable([ServedFile(path.name, path, path.stat().st_size, path.name) for path in root.iterdir()])
    server = TftpServer([(SERVER, 69)], table=table, trace=Trace(lambda line: None))
    await server.start()
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
