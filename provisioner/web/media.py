"""CDs for BMCs: GET and HEAD with ranges, each behind a ticket of its own in the path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from provisioner.boot.files import ServedFile
from provisioner.web.files import Files
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
