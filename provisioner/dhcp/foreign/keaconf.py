"""kea-dhcp4.conf: reservations of subnets and global ones, and pools. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provisioner.dhcp.foreign.found import Contents, FoundRange, FoundReservation, clean_name, key_in, key_of, octets
from provisioner.dhcp.foreign.json import Map, Reader

KIND = "kea-dhcp4.conf"
OTHER_IDENTITIES = ("circuit-id", "duid", "flex-id")


def read(data: bytes, where: str) -> Contents:
    """Read a configuration; raises `FileFault` where it is no JSON."""
    contents = Contents(where, KIND)
    reader = Reader(data.decode("utf-8", "replace"), where)
    for line, path in reader.includes:
        contents.note(line, f"includes {path[:200]!r}: import that file, too")
    top = reader.value if isinstance(reader.value, Map) else Map()
    if "Dhcp6" in top:
        contents.note(1, "Dhcp6 is left out")
    dhcp4 = top.get("Dhcp4", top if {"subnet4", "reservations", "shared-networks"} & top.keys() else None)
    if not isinstance(dhcp4, Map):
        contents.fault(1, "there is no Dhcp4 in it")
        return contents
    for scope in _scopes(dhcp4):
        for each in _maps(scope.get("reservations")):
            _take(contents, each, _reservation)
        for each in _maps(scope.get("pools")):
            _take(contents, each, _pool)
    return contents


def _scopes(dhcp4: Map) -> Iterator[Map]:
    """Give what may hold reservations: the server, shared networks, subnets."""
    yield dhcp4
    yield from _maps(dhcp4.get("subnet4"))
    for network in _maps(dhcp4.get("shared-networks")):
        yield network
        yield from _maps(network.get("subnet4"))


def _maps(value: Any) -> Iterator[Map]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, Map))


def _take(contents: Contents, each: Map, read_one: Any) -> None:
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
