"""Our side of the benchmark: machines, the catalogue, the renderer's process and HTTP, as in the daemon.

    python -m tests.bench.render.serve PORT MACHINES FOLDER

Every request finds its machine, resolves its parameters, describes its system and renders its kickstart in the
renderer's process. With FOLDER, every machine's file is written there first, for the peer to serve.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from provisioner.catalog.context import answer_context
from provisioner.catalog.fleet import ROOT_HASH, SITE, boot, machine
from provisioner.catalog.load import Catalog
from provisioner.catalog.renderer import RenderProcess
from provisioner.catalog.system import Secrets
from provisioner.errors import NotFoundError
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.web.app import machine_app
from provisioner.web.ports import Route
from provisioner.web.server import Server

BOOTENV, ANSWER, KIND = "rocky-9", "kickstart", "uefi-nvme"


def fleet(count: int) -> dict[str, Machine]:
    """Machines with a name, ports and parameters of their own."""
    like = machine(KIND)
    assert like.facts is not None
    machines = {}
    for number in range(count):
        name = f"node{number}"
        macs = [
            Mac(f"52:54:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:{n:02x}") for n in range(4)
        ]
        nics = tuple(replace(nic, mac=mac) for nic, mac in zip(like.facts.nics, macs, strict=True))
        params = {**SITE, "users.root.password": "store:root", "packages.install": [f"package-{number}"]}
        machines[name] = replace(
            like, id=name, name=name, macs=tuple(macs), facts=replace(like.facts, nics=nics), params=params
        )
    return machines


class Kitchen:
    """Renders any machine's file."""

    def __init__(self, count: int) -> None:
        self.catalog = Catalog.load()
        self.machines = fleet(count)
        self.renderer = RenderProcess(self.catalog.content.templates)
        self.bootenv = self.catalog.bootenv(BOOTENV)
        self.boot = boot(machine(KIND), self.bootenv)
        self.secrets = Secrets("seed", {"store:root": ROOT_HASH, "store:admin": ROOT_HASH, "store:site": "c2l0ZQ=="})

    async def make(self, name: str) -> bytes:
        """What one machine gets."""
        found = self.machines.get(name)
        if found is None:
            raise NotFoundError("no such machine")
        resolved = self.catalog.resolve_for(self.bootenv, found)
        one_boot = replace(self.boot, mac=found.macs[0])
        context = answer_context(found, self.bootenv, one_boot, resolved, self.secrets)
        answer = self.bootenv.answer(ANSWER)
        assert answer is not None
        return (await self.renderer.render(answer.template, context)).encode()

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request."""
        return web.Response(body=await self.make(request.match_info["name"]), content_type="text/plain")


async def write_all(kitchen: Kitchen, folder: Path) -> None:
    """Write every machine's file, a hundred at a time."""
    names = list(kitchen.machines)
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        for name, content in zip(some, await asyncio.gather(*(kitchen.make(name) for name in some)), strict=True):
            (folder / name).write_bytes(content)


async def main(port: int, count: int, folder: Path | None) -> None:
    """Serve until killed."""
    kitchen = Kitchen(count)
    async with kitchen.renderer:
        if folder:
            await write_all(kitchen, folder)
        server = Server(machine_app([Route("GET", "/ks/{name}", kitchen.serve)]))
        await server.listen_tcp("127.0.0.1", port)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
