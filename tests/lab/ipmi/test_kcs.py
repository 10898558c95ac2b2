"""The guest's door to the board, over the socket that QEMU connects to."""

from __future__ import annotations

import asyncio
from pathlib import Path

from provisioner.lab.ipmi.guest import encode_request
from provisioner.lab.ipmi.kcs import KcsServer
from provisioner.lab.ipmi.message import Request
from tests.lab.boards import Rig


async def test_the_guest_reads_the_address_of_its_bmc(tmp_path: Path) -> None:
    server = KcsServer(Rig().board)
    await server.start(tmp_path / "kcs")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "kcs")
    try:
        writer.write(b"\xff\x01\xa1" + encode_request(Request(0x0C, 0x02, b"\x01\x03\x00\x00", sequence=7)))
        answer = await reader.readuntil(b"\xa0")
        assert answer[:-2].hex() == "07" + "34" + "02" + "00" + "11" + "7f000001"
    finally:
        await server.close()
        writer.close()
        await writer.wait_closed()
