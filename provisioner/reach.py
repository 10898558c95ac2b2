"""Serves boot files on interfaces whose subnets come while the daemon runs, as on those that it began with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from provisioner.config import Config
from provisioner.dhcp.subnets import Subnet
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ListenError, ProvisionerError
from provisioner.hosts import hosts_for, settled
from provisioner.machinehttp import Listen
from provisioner.tftp.server import TftpServer

log = logging.getLogger(__name__)


class Reach:
    """Follows subnets. `tftp` and `http` are None where their addresses are configured, or they are off."""

    def __init__(
        self, hosts: Iterable[str], tftp: TftpServer | None, http: Listen | None, tftp_port: int, named: Sequence[str]
    ) -> None:
        self._hosts = set(hosts)
        self._tftp = tftp
        self._http = http
        self._tftp_port = tftp_port
        self._named = named
        self._new: asyncio.Queue[str] = asyncio.Queue()

    @classmethod
    def over(cls, config: Config, hosts: Iterable[str], tftp: TftpServer | None, http: Listen) -> Reach:
        """Join it to servers, as they are configured."""
        free_tftp = None if config.tftp.addresses else tftp
        free_http = None if config.http.addresses else http
        return cls(hosts, free_tftp, free_http, config.tftp.port, config.dhcp.interfaces)

    def follow(self, subnets: Iterable[Subnet | Subnet6]) -> None:
        """Go by these subnets from now on. What was listened on stays."""
        for subnet in subnets:
            try:
                hosts = hosts_for(subnet, self._named)
            except ListenError as error:
                log.error("daemon.unreachable interface=%s error=%s", subnet.interface, error.message)
                continue
            for host in hosts:
                if host not in self._hosts:
                    self._hosts.add(host)
                    self._new.put_nowait(host)

    async def run(self) -> None:
        """Listen on what is new, until cancelled."""
        while True:
            host = await self._new.get()
            await settled(host)
            try:
                if self._tftp is not None:
                    self._tftp.listen((host, self._tftp_port))
                if self._http is not None:
                    await self._http(host)
            except ProvisionerError as error:
                log.error("daemon.unreachable host=%s error=%s", host, error.message)
            else:
                log.info("daemon.listening service=boot address=%s", host)
