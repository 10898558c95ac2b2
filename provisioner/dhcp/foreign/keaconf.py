"""kea-dhcp4.conf, kea-dhcp6.conf: reservations of subnets and global ones, and pools. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from provisioner.dhcp.foreign import hostoptions
from provisioner.dhcp.foreign.found import (
    Contents,
    FoundRange,
    FoundReservation,
    FoundReservation6,
    Options,
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
READ = {"hw-address", "client-id", "ip-address", "hostname", "option-data", *OTHER_IDENTITIES}
READ6 = {"hw-address", "duid", "ip-addresses", "hostname", "prefixes", "flex-id"}
OF_NO_CLIENT = {"user-context", "comment"}
BOOT = {"boot-file-name", "next-server", "server-hostname"}
CLASSES = {"client-class", "client-classes", "require-client-classes", "evaluate-additional-classes"}
NOTHING: tuple[Any, ...] = ("", "0.0.0.0", [], {}, None)
"""What Kea itself writes where nothing was said."""
NO_CLASSES = "client classes are not taken over: `unknown` of a subnet and profiles are what is here"


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
    for each in _maps(server.get("client-classes")):
        contents.note(each.line, f"class {each.get('name', '')!r}: {NO_CLASSES}")
    for scope in _scopes(server, subnets):
        for each in (scope, *_maps(scope.get("pools"))) if scope is not server else ():
            _of_classes(contents, each)
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


def _of_classes(contents: Contents, each: Map) -> None:
    for key in sorted(CLASSES & each.keys()):
        if each[key] not in NOTHING:
            contents.note(each.line, f"{key} {each[key]!r}: {NO_CLASSES}")


def _left_out(contents: Contents, each: Map, read: set[str]) -> None:
    """Say what else a reservation says."""
    _of_classes(contents, each)
    for key in sorted(each.keys() - read - OF_NO_CLIENT - CLASSES):
        if each[key] not in NOTHING:
            why = hostoptions.BOOTS if key in BOOT else "there is nothing like it here"
            contents.note(each.line, f"{key} {each[key]!r:.100} of a reservation is left out: {why}")


def _options(contents: Contents, each: Map) -> Options:
    """Read the options that a reservation has for its client alone."""
    found = []
    for option in _maps(each.get("option-data")):
        key = str(option.get("name") or option.get("code", ""))
        try:
            if option.get("space", "dhcp4") != "dhcp4":
                raise ValueError("there is no such option here")
            found.append(hostoptions.taken(key, _option_value(key, option)))
        except ValueError as error:
            contents.note(option.line, f"option {key[:60]} of a reservation is left out: {error}")
    return tuple(found)


def _option_value(key: str, option: Map) -> str:
    data = _text(option, "data")
    if option.get("csv-format", True) is False:
        return "hex:" + data.removeprefix("0x").replace(":", "").replace(" ", "")
    return data.replace("\\,", ",") if hostoptions.is_text(key) else data


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
        return
    _left_out(contents, each, READ)
    options = _options(contents, each)
    if not ip and not name and not options:
        contents.note(each.line, "a reservation with neither an address nor a name, nor options that are taken over")
    else:
        number = int(IPv4Address(ip)) if ip else 0
        contents.reservations.append(FoundReservation(number, key, contents.at(each.line), name, options))


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
    _left_out(contents, each, READ6)
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
