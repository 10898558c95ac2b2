"""Reservations changed one after the other by the operator's API, on time, while a load runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import ClientSession, UnixConnector

from tests.bench.dhcp.serve import API, reservation


async def change(state_dir: Path, *, count: int, every_s: float, took_s: list[float]) -> None:
    """Change another of `count` reservations so often, until cancelled; keep how long after it was due each held.

    A change holds when the answer is here: it is durable then, and DHCP goes by it.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    async with ClientSession(connector=UnixConnector(str(state_dir / API)), raise_for_status=True) as session:
        for number in range(2, count):
            due += every_s
            await asyncio.sleep(due - loop.time())
            entry = reservation(number)
            wanted = {"address": entry.address, "name": f"changed-{number}"}
            async with session.put(f"http://daemon/v1/dhcp/reservations/{entry.mac}", json=wanted):
                took_s.append(loop.time() - due)
