"""Serves boot files on interfaces and addresses that come while the daemon runs, as on those that it began with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from provisioner.config import Config
from provisioner.dhcp.subnets import Subnet
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ListenError, ProvisionerError
from provisioner.hosts import hosts_for, settled
from provisioner.machinehttp import Doors
from provisioner.tftp.server import TftpServer

log = logging.getLogger(__name__)

DAY_S = 86400.0
"""Between looks at our certificate, which is made anew a month before its end."""


class Reach:
    """Follows subnets. What has addresses of its own in the configuration listens there alone; `tftp` None: it is off.

    `hosts` are those that are served, `called` those that machines know us by besides.
    """

    def __init__(
        self, config: Config, hosts: Iterable[str], called: Iterable[str], tftp: TftpServer | None, http: Doors
    ) -> None:
        self._config = config
        self._hosts = set(hosts)
        self._called = set(called)
        self._tftp = tftp
        self._http = http
        self._new: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        """Addresses, and whether they are listened on."""

    def follow(self, subnets: Iterable[Subnet | Subnet6]) -> None:
        """Go by these subnets from now on. What was listened on stays."""
        for subnet in subnets:
            try:
                hosts = hosts_for(subnet, self._config.dhcp.interfaces)
            except ListenError as error:
                log.error("daemon.unreachable interface=%s error=%s", subnet.interface, error.message)
                continue
            for host in hosts:
                if host not in self._hosts:
                    self._hosts.add(host)
                    self._new.put_nowait((host, True))
            if (name := subnet.server_address) and name not in self._hosts | self._called:
                self._called.add(name)
                self._new.put_nowait((name, False))

    async def run(self) -> None:
        """Listen on what is new, and look after our certificate, until cancelled."""
        while True:
            host, listens = "", False
            try:
                async with asyncio.timeout(DAY_S):
                    host, listens = await self._new.get()
            except TimeoutError:
                pass
            try:
                if listens:
                    await self._listen(host)
                elif host:
                    await self._http.name(host)
                else:
                    await self._http.renew()
            except ProvisionerError as error:
                log.error("daemon.unreachable host=%s error=%s", host or "any", error.message)

    async def _listen(self, host: str) -> None:
        await settled(host)
        if self._tftp is not None and not self._config.tftp.addresses:
            self._tftp.listen((host, self._config.tftp.port))
        if self._config.http.addresses:
            await self._http.name(host)  # where it listens anywhere, machines come in by this address, too
        else:
            await self._http.listen(host)
        log.info("daemon.listening service=boot address=%s", host)


def called_by(subnets: Sequence[Subnet | Subnet6]) -> list[str]:
    """List the addresses that subnets say machines know us by."""
    return [subnet.server_address for subnet in subnets if subnet.server_address]
