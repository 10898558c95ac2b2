"""CDs for BMCs, each behind a ticket of its own in the path, and for firmware that boots by HTTP: GET and HEAD with
ranges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from provisioner.boot.files import ServedFile
from provisioner.errors import NotFoundError
from provisioner.web.files import Files
from provisioner.web.machines import address_of
from provisioner.web.ports import Route


class Media:
    """Gives media to who has their ticket. `find` raises `TicketError` for others."""

    def __init__(self, find: Callable[[str], Awaitable[ServedFile]], files: Files) -> None:
        self._find, self._files = find, files

    def routes(self) -> tuple[Route, ...]:
        """The route table. The name at the end is for people and boards: what counts is the ticket."""
        return tuple(Route(method, "/media/{ticket}/{name}", self.medium) for method in ("GET", "HEAD"))

    async def medium(self, request: web.Request) -> web.StreamResponse:
        """Give a medium, or a range of it: BMCs read as their machines do."""
        return await self._files.give(request, await self._find(request.match_info["ticket"]))


class Made(Protocol):
    """Who makes CDs for firmware; `lifecycle.discs.Discs` is the real one."""

    async def find(self, name: str, address: str, *, begins: bool) -> ServedFile: ...


class Discs:
    """Gives firmware the CD that is made for its machine, and no other."""

    def __init__(self, made: Made, files: Files) -> None:
        self._made, self._files = made, files

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return tuple(Route(method, r"/boot/{name:cd[a-z0-9]+\.iso}", self.disc) for method in ("GET", "HEAD"))

    async def disc(self, request: web.Request) -> web.StreamResponse:
        """Give the CD, or a range of it."""
        name, begins = request.match_info["name"], request.method == "HEAD"
        try:
            file = await self._made.find(name, address_of(request), begins=begins)
        except NotFoundError as error:
            raise self._files.refusal(request, f"{name}: {error}") from error
        return await self._files.give(request, file)
