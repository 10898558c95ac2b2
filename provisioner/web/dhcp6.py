"""DHCPv6 in the operator API: fixed addresses and subnets of the running server. docs/api.md."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from aiohttp import web

from provisioner.dhcp.layers import Origin
from provisioner.dhcp.v6.book import Dhcp6Book
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.errors import WireError
from provisioner.web.dhcpsettings import SubnetsApi, held_view, read_settings, said_view
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply, page_limit


class Dhcp6Api:
    """Handlers over one `Dhcp6Book`."""

    def __init__(self, book: Dhcp6Book) -> None:
        self._book = book

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        reservation = "/v1/dhcp/reservations6/{address}"
        return (
            Route("GET", "/v1/dhcp/reservations6", self.reservations, query=("after", "limit")),
            Route("PUT", reservation, self.reserve),
            Route("DELETE", reservation, self.unreserve),
            *SubnetsApi(self._book.subnets, Subnet6, "subnets6", dict).routes(),
        )

    async def reservations(self, request: web.Request) -> web.Response:
        """List fixed addresses in order, a page at a time."""
        given = request.query
        limit = page_limit(given)
        after = _address(given["after"]) if given.get("after") else ""
        found = self._book.reservations(after, limit)
        rows = [said_view(said, origin) for said, origin in found]
        return json_reply({"reservations6": rows, "next": rows[-1]["address"] if len(rows) == limit else None})

    async def reserve(self, request: web.Request) -> web.Response:
        """Fix an address for a machine."""
        address = _address(request.match_info["address"])
        wanted = await read_settings(request, Reservation6)
        if wanted.address and _address(wanted.address) != address:
            raise WireError(f"body.address: {wanted.address[:40]!r} is not the one of the path")
        said = replace(wanted, address=address)
        await self._book.set_reservation(said)
        held = held_view(self._book.held_by_others(said), lambda ip: str(IPv6Address(ip)))
        return json_reply(said_view(said, Origin.OPERATOR) | held)

    async def unreserve(self, request: web.Request) -> web.Response:
        """Take it back."""
        await self._book.remove_reservation(_address(request.match_info["address"]))
        return web.Response(status=204)


def _address(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError as error:
        raise WireError(f"address: {error}") from error
