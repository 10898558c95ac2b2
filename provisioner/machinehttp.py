"""The machines' side of HTTP, put together: boot scripts, files, the agent, image fan-out, package mirrors, TLS."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.boot.files import FileTable
from provisioner.boot.trust import refusal
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.mirror import MirrorCache
from provisioner.catalog.upstream import Sources
from provisioner.config import Config
from provisioner.firstuse import at_hand
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Network
from provisioner.model.trace import NOW, Channel, TraceLine
from provisioner.store.db import Database
from provisioner.store.mirror import MirrorIndex
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.machines import MachineSide
from provisioner.web.media import Discs, Media
from provisioner.web.mirror import Mirror
from provisioner.web.ports import Listener
from provisioner.web.server import Server
from provisioner.web.share import Sharing
from provisioner.web.tlsdoor import Refused

if TYPE_CHECKING:
    from provisioner.tls import Tls

log = logging.getLogger(__name__)

GIB = 1024**3
ANYWHERE = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Doors:
    """What is done for an address of ours that comes later. Each call raises a `ProvisionerError`."""

    listen: Callable[[str], Awaitable[None]]
    name: Callable[[str], Awaitable[None]]
    """Have our certificate name it."""
    renew: Callable[[], Awaitable[None]]
    """Have a new certificate where the one in use nears its end."""


@dataclass(frozen=True, slots=True)
class MachineHttp:
    """Everything that machines ask by HTTP."""

    config: Config
    conductor: Conductor
    network: Network
    cache: MirrorCache
    sharing: Sharing

    @classmethod
    def over(
        cls, config: Config, conductor: Conductor, network: Network, artifacts: ArtifactStore, db: Database
    ) -> MachineHttp:
        """Build it; nothing is opened yet."""
        ours, proxy = config.mirror, config.catalogue.proxy
        sources = Sources(ours.upstreams, ours.max_gib * GIB, ours.offline, proxy)
        cache = MirrorCache(config.state_dir / "mirror", MirrorIndex(db), sources)
        sharing = Sharing(conductor.agent_machine, artifacts.chunk_list, observe=conductor.observe)
        return cls(config, conductor, network, cache, sharing)

    async def start(
        self, stack: AsyncExitStack, table: FileTable, hosts: Sequence[str], called: Sequence[str] = ()
    ) -> tuple[Callable[[], Iterable[Listener]], Doors]:
        """Listen on `hosts`, or where the configuration says; give what says where, and what listens at one more.

        `called` are other addresses that machines know us by.
        """
        http = self.config.http
        await self.cache.open()
        rate = http.rate_mbit * 1e6 / 8
        files = Files(table, observe=self.conductor.observe, whose=self.network.lease_of, rate=rate)
        boots = self.conductor.booter.boots
        files.serves, boots.sent_to = boots.serves, lambda: files.sent_to
        stack.push_async_callback(asyncio.to_thread, files.close)
        where = http.addresses or hosts
        named = [host for host in dict.fromkeys((*where, *hosts, *called)) if host not in ANYWHERE]
        tls = await self._tls(named)
        mirrored = Mirror(self.cache, files).routes() if self.cache.names else ()
        self.conductor.media.served = table.served
        media = (*Media(self.conductor.media.find, files).routes(), *Discs(self.conductor.discs, files).routes())
        routes = (
            *media,
            *MachineSide(self.conductor.booter).routes(),
            *files.routes(),
            *self.sharing.routes(),
            *mirrored,
        )
        server = Server(machine_app((*routes, tls.route()) if tls else routes))
        server.greets = self._greets
        stack.push_async_callback(server.close)

        served: set[str] = set()
        self.conductor.media.listens = lambda host: host in served or bool(served & ANYWHERE)

        async def listen(host: str) -> None:
            await server.listen_tcp(host, http.port)
            served.add(host)
            if tls is not None:
                await name(host)
                await server.listen_tcp(host, http.tls_port, tls.context)

        async def name(host: str) -> None:
            if tls is not None and host not in ANYWHERE:
                await asyncio.to_thread(tls.name, host)

        async def renew() -> None:
            if tls is not None:
                await asyncio.to_thread(tls.renew, time.time())

        for host in where:
            await listen(host)
        return lambda: (Listener("http boot", address) for address in server.addresses), Doors(listen, name, renew)

    async def _tls(self, named: Sequence[str]) -> Tls | None:
        """Our certificate for these names, where there is HTTPS."""
        if not self.config.http.tls_port:
            return None
        await at_hand("provisioner.tls")
        from provisioner.tls import Tls

        return await asyncio.to_thread(Tls, self.config.state_dir / "tls", named)

    def _greets(self, address: str) -> Refused:
        mac = self.network.lease_of(address)  # now: firmware that does not trust us gives its address back at once

        def refused(reason: str) -> None:
            text = refusal(reason)
            log.info("http.tls-refused client=%s mac=%s %s", address, mac, text)
            self.conductor.observe(TraceLine(NOW, Channel.HTTP, "http.tls-refused", text, mac=mac, ok=False))

        return refused
