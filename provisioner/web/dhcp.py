"""DHCP in the operator API: leases, reservations and subnets of the running server, and imports. docs/api.md."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any

import msgspec
from aiohttp import web
from multidict import MultiMapping

from provisioner.ddns.keeper import Keeper
from provisioner.dhcp import formats, relay
from provisioner.dhcp.adopt import Kind, Verdict, Want
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.imports import Imports
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import FOR_EVER, Lease, LeaseState
from provisioner.dhcp.packet import address
from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.v6.book import Dhcp6Book
from provisioner.dhcp.v6.duid import unspell
from provisioner.dhcp.v6.site import port_of
from provisioner.errors import WireError
from provisioner.model.net import mac_from_bytes, parse_mac
from provisioner.store.dhcpbook import STATES, Filter
from provisioner.web import bodies
from provisioner.web.dhcpsettings import SubnetsApi, held_view, read_settings, said_view
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply, page_limit
from provisioner.web.views import when

IMPORT_LIMIT = 128 << 20
"""Half a million leases."""
SLICE = 100
"""Entries read or shown at once: about a millisecond of the loop."""

Octets = Annotated[str, msgspec.Meta(max_length=1024)]
Time = Annotated[float, msgspec.Meta(ge=0, le=2**33)]


class EntryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an import. Times are seconds since the epoch, octets hex; `until` null: for ever.

    Of DHCPv6 it is where its address is; a lease of that names its client by `duid` and `iaid`. Options are those of a
    reservation of DHCPv4.
    """

    kind: Kind
    address: str = ""
    mac: Octets = ""
    name: Annotated[str, msgspec.Meta(max_length=255)] = ""
    until: Time | None = None
    since: Time = 0.0
    client_id: Octets = ""
    circuit_id: Octets = ""
    remote_id: Octets = ""
    high: str = ""
    duid: Octets = ""
    iaid: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] = 0
    options: Annotated[dict[str, Octets], msgspec.Meta(max_length=254)] = {}
    where: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class DhcpApi:
    """Handlers over one `DhcpBook`, and what is the same of both families."""

    def __init__(
        self,
        book: DhcpBook,
        book6: Dhcp6Book,
        imports: Imports,
        fallen: Callable[[], Mapping[str, str]],
        names: Keeper | None = None,
    ) -> None:
        self._book = book
        self._book6 = book6
        self._imports = imports
        self._fallen = fallen
        self._names = names

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        reservation = "/v1/dhcp/reservations/{mac}"
        return (
            Route("GET", "/v1/dhcp/leases", self.leases, query=("state", "mac", "network", "family", "after", "limit")),
            Route("POST", "/v1/dhcp/leases/{address}/free", self.free),
            Route("GET", "/v1/dhcp/reservations", self.reservations, query=("after", "limit")),
            Route("PUT", reservation, self.reserve),
            Route("DELETE", reservation, self.unreserve),
            *SubnetsApi(self._book.subnets, Subnet, "subnets", self._fallen).routes(),
            Route("POST", "/v1/dhcp/import", self.take_over, query=("dry_run", "keep_going")),
            Route("GET", "/v1/dhcp/names", self.names),
        )

    async def leases(self, request: web.Request) -> web.Response:
        """List leases by address, a page at a time."""
        given = request.query
        wanted = _filter(given)
        after = _ip(given["after"], "after", six=wanted.six) if given.get("after") else -1
        limit = page_limit(given)
        found = await self._book.leases(wanted, after=after, limit=limit)
        now = self._book.now()
        rows = []
        for at, lease in enumerate(found):
            subnet = lease.pool if wanted.six else self._book.subnet_of(lease.ip)
            rows.append(lease_view(lease, subnet, now, six=wanted.six))
            if at % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return json_reply({"leases": rows, "next": rows[-1]["address"] if len(rows) == limit else None})

    async def free(self, request: web.Request) -> web.Response:
        """Let an address that was declined be given again."""
        text = request.match_info["address"]
        six = ":" in text
        await (self._book6 if six else self._book).forgive(_ip(text, "address", six=six))
        return web.Response(status=204)

    async def reservations(self, request: web.Request) -> web.Response:
        """List reservations by hardware address, a page at a time."""
        given = request.query
        limit = page_limit(given)
        found = self._book.reservations(given.get("after", ""), limit)
        rows = [said_view(said, origin) for said, origin in found]
        following = rows[-1]["mac"] if len({row["mac"] for row in rows}) == limit else None
        return json_reply({"reservations": rows, "next": following})

    async def reserve(self, request: web.Request) -> web.Response:
        """Add or change what is fixed for a hardware address."""
        mac = parse_mac(request.match_info["mac"])
        wanted = await read_settings(request, Reservation)
        if wanted.mac and parse_mac(wanted.mac) != mac:
            raise WireError(f"body.mac: {wanted.mac[:20]!r} is not the one of the path")
        said = await self._book.set_reservation(replace(wanted, mac=mac))
        return json_reply(said_view(said, Origin.OPERATOR) | held_view(self._book.held_by_others(said), address))

    async def unreserve(self, request: web.Request) -> web.Response:
        """Take it back."""
        await self._book.remove_reservation(parse_mac(request.match_info["mac"]))
        return web.Response(status=204)

    async def names(self, request: web.Request) -> web.Response:
        """Say how it stands with names in the DNS."""
        if self._names is None:
            return json_reply({"enabled": False})
        status = self._names.status()
        taken = [{"address": str(ip_address(at)), "name": name} for at, name in status.taken.items()]
        found = {"enabled": True, "there": status.there, "pending": status.pending, "taken": taken}
        return json_reply(found | {"error": status.error, "since": when(status.since) if status.error else None})

    async def take_over(self, request: web.Request) -> web.StreamResponse:
        """Take over reservations and leases: a line of JSON for each, in the body and in the answer."""
        given = request.query
        raw = await bodies.read_body(request, IMPORT_LIMIT)
        wants: list[Want] = []
        for line, text in enumerate(raw.split(b"\n"), 1):
            if text.strip():
                wants.append(_want(line, text))
            if line % SLICE == 0:
                await asyncio.sleep(0)
        flags = {name: _flag(given.get(name, ""), name) for name in ("dry_run", "keep_going")}
        taken = await self._imports.take_over(wants, **flags)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await response.prepare(request)
        counts: Counter[str] = Counter()
        for at in range(0, len(taken.verdicts), SLICE):
            some = taken.verdicts[at : at + SLICE]
            counts.update(verdict.what.value for verdict in some)
            await response.write(b"".join(msgspec.json.encode(verdict_view(verdict)) + b"\n" for verdict in some))
            await asyncio.sleep(0)
        done = {"event": "done", "applied": taken.applied, "counts": counts}
        await response.write(msgspec.json.encode(done) + b"\n")
        return response


def lease_view(lease: Lease, subnet: str, now: float, *, six: bool = False) -> dict[str, Any]:
    """A lease as the API shows it. DHCPv6 numbers the associations of a machine behind its hardware address."""
    spell = _spell6 if six else address
    state = lease.state.value if lease.state is LeaseState.RELEASED or lease.until > now else "expired"
    return {
        "address": spell(lease.ip),
        "mac": _port(lease.key) if six else mac_from_bytes(lease.key) if lease.key else "",
        "name": lease.name,
        "state": "active" if state == LeaseState.BOUND else state,
        "subnet": subnet,
        "since": when(lease.since) if lease.since else None,
        "until": when(lease.until) if lease.until < FOR_EVER else None,
        "client_id": lease.client_id.hex(":"),
        "relay": spell(lease.relay) if lease.relay else "",
        "circuit_id": relay.spell(lease.circuit_id),
        "remote_id": relay.spell(lease.remote_id),
        "reason": lease.reason,
    }


def verdict_view(verdict: Verdict) -> dict[str, Any]:
    """What became of one line of an import."""
    want = verdict.want
    endless = want.until >= FOR_EVER or want.kind is not Kind.LEASE
    spell = _spell6 if want.six else address
    return {
        "event": "entry",
        "kind": want.kind,
        "address": spell(want.ip) if want.ip else "",
        "high": spell(want.high) if want.high else "",
        "mac": mac_from_bytes(want.key) if want.key else "",
        "client_id": want.client_id.hex(":"),
        "duid": want.duid.hex(":"),
        "name": want.name,
        "options": want.options,
        "until": None if endless else when(want.until),
        "what": verdict.what,
        "reason": verdict.reason,
        "where": want.where,
    }


def _want(line: int, text: bytes) -> Want:
    try:
        body = bodies.decode(text, EntryBody)
        six = ":" in body.address
        formats.parse_options(body.options)
        for fault in formats.twice(body.options):
            raise ValueError(fault)
        return Want(
            kind=body.kind,
            ip=_ip(body.address, "address", six=six) if body.address else 0,
            key=bytes.fromhex(body.mac.replace(":", "")),
            name=body.name,
            until=FOR_EVER if body.until is None else body.until,
            since=body.since,
            client_id=bytes.fromhex(body.client_id.replace(":", "")),
            circuit_id=bytes.fromhex(body.circuit_id.replace(":", "")),
            remote_id=bytes.fromhex(body.remote_id.replace(":", "")),
            high=_ip(body.high, "high", six=six) if body.high else 0,
            where=body.where,
            six=six,
            duid=_duid(body.duid),
            iaid=body.iaid,
            options=body.options,
        )
    except (WireError, ValueError) as error:
        raise WireError(f"line {line}: {error}") from error


def _filter(given: MultiMapping[str]) -> Filter:
    state, mac, network = (given.get(name, "") for name in ("state", "mac", "network"))
    if state and state not in STATES:
        raise WireError(f"state: {state[:20]!r} is none of {', '.join(STATES)}")
    if given.get("family", "4") not in ("4", "6"):
        raise WireError("family: 4 or 6")
    six = given.get("family") == "6" or ":" in network
    key = bytes.fromhex(parse_mac(mac).replace(":", "")) if mac else b""
    if not network:
        return Filter(key=key, state=state, six=six)
    try:
        found = IPv6Network(network) if six else IPv4Network(network)
    except ValueError as error:
        raise WireError(f"network: {error}") from error
    return Filter(int(found.network_address), int(found.broadcast_address), key, state, six)


def _port(slot: bytes) -> str:
    """Spell the hardware address of a DHCPv6 lease; empty where nobody told it yet."""
    port = port_of(slot)
    return mac_from_bytes(port) if len(port) == 6 else ""


def _spell6(number: int) -> str:
    return str(IPv6Address(number))


def _ip(text: str, name: str, *, six: bool = False) -> int:
    try:
        return int(IPv6Address(text) if six else IPv4Address(text))
    except ValueError as error:
        raise WireError(f"{name}: {error}") from error


def _duid(text: str) -> bytes:
    return unspell(text) if text else b""


def _flag(text: str, name: str) -> bool:
    if text not in ("", "yes", "no"):
        raise WireError(f"{name}: {text[:20]!r} is neither yes nor no")
    return text == "yes"
