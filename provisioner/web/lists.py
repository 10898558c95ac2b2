"""Lists of machines, however many: encoded once for each change of a machine, sent in pieces between which others work.

Ten thousand machines are 20 to 40 MB of JSON and a second of encoding: DHCP, on the same loop, must not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
from aiohttp import web

from provisioner.model.machine import Machine
from provisioner.web import views
from provisioner.web.replies import begin

FRESH = 16
"""Machines encoded in one turn of the loop: 16 x 0.1 ms."""
PIECE = 200
"""Machines in one write, about 500 KB."""
SPARE = 1000
"""Encoded machines that may be kept beyond those that there are, before what is gone is dropped."""


class Encoded:
    """Machines as JSON. A machine is a value: while it is the same one, so is its JSON."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Machine, bytes]] = {}

    def _of(self, machine: Machine) -> tuple[bytes, bool]:
        """Encode a machine, or give what is kept of it; the second says whether it was encoded now."""
        kept = self._kept.get(machine.id)
        if kept is not None and kept[0] is machine:
            return kept[1], False
        encoded = msgspec.json.encode(views.machine_view(machine))
        self._kept[machine.id] = (machine, encoded)
        return encoded, True

    async def _piece(self, machines: Sequence[Machine]) -> bytes:
        parts, fresh = [], 0
        for machine in machines:
            encoded, new = self._of(machine)
            parts.append(encoded)
            fresh += new
            if fresh >= FRESH:
                fresh = 0
                await asyncio.sleep(0)
        return b",".join(parts)

    def trim(self, machines: Sequence[Machine]) -> None:
        """Drop what is kept of machines that are gone, when that is much. `machines` are all that there are."""
        if len(self._kept) > len(machines) + SPARE:
            there = {machine.id for machine in machines}
            self._kept = {ref: kept for ref, kept in self._kept.items() if ref in there}

    async def reply(
        self, request: web.Request, machines: Sequence[Machine], following: str | None
    ) -> web.StreamResponse:
        """Answer with a list, in pieces where it is long: what the client has not taken is not made yet."""
        tail = b'],"next":' + msgspec.json.encode(following) + b"}"
        if len(machines) <= PIECE:
            body = b'{"machines":[' + await self._piece(machines) + tail
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if not await begin(request, response):
            return response
        with contextlib.suppress(ConnectionError):  # the client has gone: so has the rest of its list
            for first in range(0, len(machines), PIECE):
                lead = b"," if first else b'{"machines":['
                await response.write(lead + await self._piece(machines[first : first + PIECE]))
            await response.write(tail)
        return response
