"""kea-dhcp4.conf, kea-dhcp6.conf: reservations of subnets and global ones, and pools. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from provisioner.dhcp.foreign.found import (
    Contents,
    FoundRange,
    FoundReservation,
    FoundReservation6,
    clean_name,
    duid_in,
    ends_of,
    key_in,
    key_of,
    octets,
)
from provisioner.dhcp.foreign.json import Map, Reader

KIND = "a configuration of Kea"
Read = Callable[[Contents, Map], None]
OTHER_IDENTITIES = ("circuit-id", "duid", "flex-id")


def read(data: bytes, where: str) -> Contents:
    """Read a configuration; raises `FileFault` where it is no JSON."""
    contents = Contents(where, KIND)
    reader = Reader(data.decode("utf-8", "replace"), where)
    for line, path in reader.includes:
        contents.note(line, f"includes {path[:200]!r}: import that file, too")
    top = reader.value if isinstance(reader.value, Map) else Map()
    bare = "subnet6" if "subnet6" in top else "subnet4"
    plain = top if {"subnet4", "subnet6", "reservations", "shared-networks"} & top.keys() else None
    found = 0
    for name, subnets, readers in FAMILIES:
        server = top.get(name, plain if subnets == bare else None)
        if isinstance(server, Map):
            found += 1
            _server(contents, server, subnets, readers)
    if not found:
        contents.fault(1, "there is neither Dhcp4 nor Dhcp6 in it")
    return contents


def _server(contents: Contents, server: Map, subnets: str, readers: tuple[Read, Read]) -> None:
    for scope in _scopes(server, subnets):
        for each in _maps(scope.get("reservations")):
            _take(contents, each, readers[0])
        for each in _maps(scope.get("pools")):
            _take(contents, each, readers[1])
        for each in _maps(scope.get("pd-pools")):
            contents.note(each.line, "pd-pools: prefixes are not given here")


def _scopes(server: Map, subnets: str) -> Iterator[Map]:
    """Give what may hold reservations: the server, shared networks, subnets."""
    yield server
    yield from _maps(server.get(subnets))
    for network in _maps(server.get("shared-networks")):
        yield network
        yield from _maps(network.get(subnets))


def _maps(value: Any) -> Iterator[Map]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, Map))


def _take(contents: Contents, each: Map, read_one: Read) -> None:
    try:
        read_one(contents, each)
    except ValueError as error:
        contents.fault(each.line, str(error))


def _text(each: Map, key: str) -> str:
    value = each.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key}: text is wanted")
    return value


def _reservation(contents: Contents, each: Map) -> None:
    key = b""
    if mac := _text(each, "hw-address"):
        key = key_of(1, octets(mac.replace("-", ":").split(":")))
    elif client_id := _text(each, "client-id"):
        key = key_in(_identifier(client_id))
    ip, name = _text(each, "ip-address"), clean_name(_text(each, "hostname").partition(".")[0])
    if not key:
        by = next((kind for kind in OTHER_IDENTITIES if kind in each), "client-id")
        hint = "; `dhcp.ports` places machines by switch port" if by == "circuit-id" else ""
        contents.note(each.line, f"a reservation by {by}, and machines are known by hardware address{hint}")
    elif not ip and not name:
        contents.note(each.line, "a reservation with neither an address nor a name")
    else:
        number = int(IPv4Address(ip)) if ip else 0
        contents.reservations.append(FoundReservation(number, key, contents.at(each.line), name))


def _identifier(text: str) -> bytes:
    return text.strip("'").encode() if text.startswith("'") else octets(text.replace("-", ":").split(":"))


def _pool(contents: Contents, each: Map) -> None:
    text = _text(each, "pool")
    low, dash, high = (part.strip() for part in text.partition("-"))
    if dash:
        ends = int(IPv4Address(low)), int(IPv4Address(high))
    else:
        network = IPv4Network(low)
        ends = int(network.network_address), int(network.broadcast_address)
    contents.ranges.append(FoundRange(min(ends), max(ends), contents.at(each.line)))


def _reservation6(contents: Contents, each: Map) -> None:
    key = duid = b""
    if mac := _text(each, "hw-address"):
        key = key_of(1, octets(mac.replace("-", ":").split(":")))
    elif text := _text(each, "duid"):
        duid = duid_in(_identifier(text))
    listed = each.get("ip-addresses", [])
    ips = [int(IPv6Address(ip)) for ip in listed] if isinstance(listed, list) else []
    name, where = clean_name(_text(each, "hostname").partition(".")[0]), contents.at(each.line)
    if each.get("prefixes"):
        contents.note(each.line, "prefixes are not given here")
    if not key and not duid:
        contents.note(each.line, "a reservation by neither a hardware address nor a DUID")
    elif not ips:
        contents.note(each.line, "a reservation without an address")
    else:
        contents.reservations6 += [FoundReservation6(ip, where, key, duid, name) for ip in ips]


def _pool6(contents: Contents, each: Map) -> None:
    low, high = ends_of(_text(each, "pool"))
    contents.ranges.append(FoundRange(low, high, contents.at(each.line), six=True))


FAMILIES: tuple[tuple[str, str, tuple[Read, Read]], ...] = (
    ("Dhcp4", "subnet4", (_reservation, _pool)),
    ("Dhcp6", "subnet6", (_reservation6, _pool6)),
)
"""What the servers of both families are called in it, where their subnets stand, how their parts are read."""
