"""The origin of an image with its fan-out: `python -m tests.bench.fanout.serve ADDRESS PORT IMAGE BYTES_PER_SECOND`.

The daemon's own files and tracker; a machine's token is its name.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from provisioner.boot.chunks import Chunker, ChunkList
from provisioner.boot.files import FileTable, ServedFile
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.server import Server
from provisioner.web.share import Sharing


def listed(image: Path) -> ChunkList:
    """List the chunks, as an import does."""
    chunker = Chunker()
    with image.open("rb") as file:
        while data := file.read(1 << 20):
            chunker.update(data)
    return chunker.finish()


async def serve(address: str, port: int, image: Path, rate: float) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chunks = listed(image)

    async def look_up(sha256: str) -> ChunkList | None:
        return chunks if sha256 == chunks.sha256 else None

    table = FileTable([ServedFile("image", image, chunks.size_bytes, chunks.sha256)])
    files = Files(table, observe=lambda line: None, rate=rate)
    sharing = Sharing(lambda token, address: token, look_up, observe=lambda line: None)
    server = Server(machine_app([*files.routes(), *sharing.routes()]))
    await server.listen_tcp(address, port)
    await stop.wait()
    await server.close()
    await asyncio.to_thread(files.close)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
