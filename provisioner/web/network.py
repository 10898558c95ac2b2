"""What is on the wires, in the operator API: other DHCP servers, and whether they are watched for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from provisioner.netwatch.rogues import Rogue
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply
from provisioner.web.views import when


class Guard(Protocol):
    """What is known of other servers; `netwatch.guard.Guard` is the real one."""

    def rogues(self) -> Sequence[Rogue]: ...

    def fallen(self) -> Mapping[str, str]: ...


class Netwatch(Protocol):
    """The process that watches (`netwatch.supervisor.Netwatch`)."""

    fault: str

    @property
    def deaf(self) -> Mapping[str, str]: ...


class ServerView(msgspec.Struct, frozen=True):
    """A DHCP server that should not be there. `place` is the interface that it is on, or the subnet behind a relay."""

    server: str
    mac: str
    place: str
    how: str
    first: str
    last: str
    answers: bool


class NetworkView(msgspec.Struct, frozen=True):
    """`fallbacks`: subnets in which we are a proxy only, and whose. `fault`: why nobody
    watches, empty where somebody does; `deaf`: interfaces that cannot be listened on, or not be asked on by DHCPv6,
    and why."""

    rogues: list[ServerView]
    fallbacks: Mapping[str, str]
    fault: str
    deaf: Mapping[str, str]


class NetworkApi:
    """Handlers over what is watched."""

    def __init__(self, guard: Guard, netwatch: Netwatch) -> None:
        self._guard = guard
        self._netwatch = netwatch

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (Route("GET", "/v1/network", self.network),)

    async def network(self, request: web.Request) -> web.Response:
        """Say which other DHCP servers were seen that should not be there."""
        rogues = [_view(rogue) for rogue in self._guard.rogues()]
        return json_reply(NetworkView(rogues, self._guard.fallen(), self._netwatch.fault, self._netwatch.deaf))


def _view(rogue: Rogue) -> ServerView:
    first, last = when(rogue.first) or "", when(rogue.last) or ""
    return ServerView(rogue.server, rogue.mac, rogue.place, str(rogue.how), first, last, rogue.answers)
