"""Our side of the benchmark: 10,000 machines and what the daemon gives their installers, with its own parts.

    python -m tests.bench.render.serve PORT MACHINES FOLDER

`/kept/NAME` goes the daemon's way, as behind a ticket that was found good: the parameters of the machine, its secrets
out of the encrypted store, its URLs and artefacts, then the text that was rendered with its boot script, unless
anything differs from what that was made from. `/anew/NAME` renders it at each request, `/alone/NAME` gives the same
bytes out of a table: what HTTP takes. Not in it: the redeeming of the ticket, a durable write. Every machine's file is
written to FOLDER first, for the peer to serve.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from aiohttp import web

from provisioner import fairloop
from provisioner.boot.plan import BootPolicy
from provisioner.boot.tickets import SECRET_BYTES, Holder, Ticket, arm
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.fleet import SITE, machine
from provisioner.catalog.kept import Kept
from provisioner.catalog.load import Catalog
from provisioner.catalog.renderer import RenderProcess
from provisioner.catalog.samplesecrets import ROOT_HASH
from provisioner.catalog.secretsource import STORE_PREFIX, SecretSources
from provisioner.catalog.site import SiteCatalogue
from provisioner.collector import settle
from provisioner.dhcp.subnets import Subnet
from provisioner.lifecycle.answers import SEED_BYTES, Answers
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import ANSWERS_S, Verb
from provisioner.lifecycle.ports import Bmcs, Discovery, Network, Ports
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.catalog import Bootenv
from provisioner.model.net import Mac
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.store.secrets import KEY_OCTETS, Secrets
from provisioner.web.app import machine_app
from provisioner.web.ports import Route
from provisioner.web.server import Server
from provisioner.web.whole import WholeAnswer
from provisioner.wiring import Addresses, SiteArtifacts

BOOTENV, ANSWER, KIND = "rocky-9", "kickstart", "uefi-nvme"
SECRETS = {"root": ROOT_HASH, "admin": ROOT_HASH, "site": "c2l0ZQ=="}
SUBNET = Subnet(network="127.1.0.0/16", interface="lo", server_address="127.0.0.1")


def address_of(number: int) -> str:
    """Each machine has an address of its own on the loopback interface, from which it can be played."""
    return f"127.1.{number >> 8}.{number & 255}"


def armed(number: int, bootenv: Bootenv) -> tuple[str, Ticket]:
    """Make a machine's ticket: the same whenever it is asked for."""
    chance = number.to_bytes(SECRET_BYTES + SEED_BYTES, "big")[::-1]
    holder = Holder(f"node{number}", f"run-{number}", mac_of(number), address_of(number))
    return arm(chance, holder, BOOTENV, bootenv.answers, 0.0, ANSWERS_S)


def mac_of(number: int, port: int = 0) -> Mac:
    return Mac(f"52:54:{number.to_bytes(3, 'big').hex(':')}:{port:02x}")


class Kitchen:
    """The machines, each with a run and a ticket, and the daemon's parts as `daemon.py` puts them together."""

    def __init__(self, catalog: Catalog, renderer: RenderProcess, db: Database, kept: Kept) -> None:
        addresses = Addresses([SUBNET], lambda _: "127.0.0.1", 8080)
        self.leases: dict[str, Mac] = {}
        secrets = Secrets(db, bytes(KEY_OCTETS))
        self.secrets = secrets
        self.catalog = catalog
        self.ports = Ports(
            cast(Bmcs, None),  # no power is touched, and nothing is discovered
            SiteCatalogue(catalog, renderer, kept),
            SiteArtifacts(ArtifactStore(db.path.parent / "artifacts", ArtifactIndex(db))),
            cast(Discovery, None),
            Network(addresses.base_url, self.leases.get, lambda _: BootPolicy()),
            secrets=SecretSources(secrets).look_up,
        )
        self.conductor = Conductor(db, secrets, self.ports)
        self.answers: Answers = self.conductor.booter.answers
        self.tickets: dict[str, tuple[str, Ticket]] = {}

    def stock(self, count: int) -> None:
        """Put machines on record that have a name, ports and parameters of their own, and stand in their installs."""
        like, bootenv = machine(KIND), self.catalog.bootenv(BOOTENV)
        assert like.facts is not None
        bmc = BmcAddress(Driver.REDFISH, "10.1.0.1", 443, "admin")
        for number in range(count):
            name, macs = f"node{number}", tuple(mac_of(number, port) for port in range(4))
            nics = tuple(replace(nic, mac=mac) for nic, mac in zip(like.facts.nics, macs, strict=True))
            params = {**SITE, "users.root.password": "store:root", "packages.install": [f"package-{number}"]}
            facts = replace(like.facts, nics=nics)
            node = replace(like, id=name, name=name, macs=macs, bmc=bmc, facts=facts, params=params)
            node, _ = advance(node, Begin(f"run-{number}", Verb.INSTALL, BOOTENV), 0.0)
            self.conductor.machines.put(node)
            self.leases[address_of(number)] = macs[0]
            self.tickets[name] = armed(number, bootenv)

    async def make(self, name: str, wanted: str = ANSWER) -> bytes:
        """What one machine gets."""
        node = self.conductor.machines.get(name)
        secret, ticket = self.tickets[name]
        bootenv = self.ports.catalogue.bootenv(ticket.bootenv)
        answer = bootenv.answer(wanted)
        assert answer is not None
        return await self.answers.render(node, bootenv, answer, secret, ticket)

    async def serve(self, request: web.Request) -> WholeAnswer:
        """Answer one request."""
        return WholeAnswer(await self.make(request.match_info["name"]))


class Table:
    """Every machine's file, as it was rendered once."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def serve(self, request: web.Request) -> WholeAnswer:
        """Answer one request."""
        return WholeAnswer(self.files[request.match_info["name"]])


async def write_all(names: list[str], make: Callable[[str], Awaitable[bytes]], folder: Path) -> Table:
    """Write every machine's file, a hundred at a time."""
    table = Table()
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        for name, content in zip(some, await asyncio.gather(*(make(name) for name in some)), strict=True):
            (folder / name).write_bytes(content)
            table.files[name] = content
    return table


async def main(port: int, count: int, folder: Path) -> None:
    """Serve until killed."""
    catalog = Catalog.load()
    with tempfile.TemporaryDirectory(prefix="bench-render-") as state:
        db = Database(Path(state) / "state.db")
        await db.open()
        async with RenderProcess() as renderer:
            await renderer.load(catalog.content.renderer.codes)
            kept, anew = (Kitchen(catalog, renderer, db, each) for each in (Kept(), Kept(max_octets=0)))
            for kitchen in (kept, anew):
                kitchen.stock(count)
                for name, value in SECRETS.items():
                    await kitchen.secrets.put(STORE_PREFIX + name, value)
            table = await write_all(list(kept.tickets), kept.make, folder)
            ways = {"kept": kept.serve, "anew": anew.serve, "alone": table.serve}
            server = Server(machine_app([Route("GET", f"/{way}/{{name}}", serve) for way, serve in ways.items()]))
            await server.listen_tcp("127.0.0.1", port)
            settle()
            print("ready", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    fairloop.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
