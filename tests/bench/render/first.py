"""The daemon's side of a storm of first fetches: `python -m tests.bench.render.first PORT MACHINES`.

Every machine waits for its installer, and its kickstart was rendered when its boot script went out. `/answers/...` is
the daemon's own: the ticket is redeemed and the run told, durably, before an octet leaves. `/commits` says how many
writes there were, and in how many commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from provisioner import fairloop
from provisioner.catalog.kept import Kept
from provisioner.catalog.load import Catalog
from provisioner.catalog.renderer import RenderProcess
from provisioner.catalog.secretsource import STORE_PREFIX
from provisioner.collector import settle
from provisioner.store.db import Database
from provisioner.store.machines import Change, MachineStore
from provisioner.store.tickets import TicketStore
from provisioner.web.app import machine_app
from provisioner.web.machines import MachineSide
from provisioner.web.ports import Route
from provisioner.web.server import Server
from tests.bench.render.serve import BOOTENV, SECRETS, Kitchen


class Counted(Database):
    """The real store, which counts what it writes, and in how many commits."""

    writes = commits = 0

    def _commit(self, connection: sqlite3.Connection, group: list[object]) -> object:  # type: ignore[override]
        self.writes += len(group)
        self.commits += 1
        return super()._commit(connection, group)  # type: ignore[arg-type]

    async def told(self, _request: web.Request) -> web.Response:
        """Say how many, since this was asked last."""
        writes, commits, self.writes, self.commits = self.writes, self.commits, 0, 0
        return web.Response(text=f"{writes} {commits}\n")


async def arm_all(kitchen: Kitchen, db: Database) -> None:
    """Have every machine, and its ticket, in the store, and every run wait for its installer."""
    machines, tickets, now = MachineStore(db), TicketStore(db), time.time()
    writes = []
    for name, (secret, ticket) in kitchen.tickets.items():
        node = kitchen.conductor.machines.get(name)
        assert node.run is not None
        at = [step.name for step in node.run.steps].index("wait.answer")
        node = replace(node, run=replace(node.run, at=at, started=now, deadline=now + 1e4, limit=now + 1e4))
        kitchen.conductor.machines.put(node)
        kitchen.tickets[name] = secret, replace(ticket, armed=now, expires=now + 1e4)
        writes += [machines.save(Change(now, None, node)), tickets.arm(kitchen.tickets[name][1], now)]
    await asyncio.gather(*writes)
    files = [(name, answer.id) for name in kitchen.tickets for answer in kitchen.catalog.bootenv(BOOTENV).answers]
    for start in range(0, len(files), 100):  # as with their boot scripts
        await asyncio.gather(*(kitchen.make(*each) for each in files[start : start + 100]))


async def main(port: int, count: int) -> None:
    """Serve until killed."""
    catalog = Catalog.load()
    with tempfile.TemporaryDirectory(prefix="bench-render-") as state:
        db = Counted(Path(state) / "state.db")
        await db.open()
        async with RenderProcess() as renderer:
            await renderer.load(catalog.content.renderer.codes)
            kitchen = Kitchen(catalog, renderer, db, Kept())
            kitchen.stock(count)
            for name, value in SECRETS.items():
                await kitchen.secrets.put(STORE_PREFIX + name, value)
            await arm_all(kitchen, db)
            side = MachineSide(kitchen.conductor.booter)
            server = Server(machine_app([*side.routes(), Route("GET", "/commits", db.told)]))
            await server.listen_tcp("127.0.0.1", port)
            settle()
            print("ready", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    fairloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
