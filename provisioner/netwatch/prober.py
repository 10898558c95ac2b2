"""Joins DHCP's question, whether an address is in use, with netwatch: where it is to be looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisioner.dhcp.site import Site
from provisioner.netwatch.supervisor import Netwatch


class Prober:
    """Says who uses an address (`dhcp.server.Probe`)."""

    def __init__(self, netwatch: Netwatch, site: Callable[[], Site]) -> None:
        self._netwatch = netwatch
        self._site = site

    def __call__(self, interface: str, ip: int) -> asyncio.Future[str]:
        """Look on the subnet's own wire; where it has none here, by way of the routers. `interface` is not asked."""
        site = self._site()
        if ip in site.ours:
            return _at_once("this server")
        net = site.net_at(ip)
        if net is None or not net.config.probe:
            return _at_once("")
        wire = net.config.interface
        us = next((own for own in site.addresses.get(wire, ()) if net.holds(own)), 0)
        return self._netwatch.look(wire, ip, us)


def _at_once(user: str) -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result(user)
    return future
