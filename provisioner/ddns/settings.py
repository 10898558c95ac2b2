"""DNS settings as an operator writes them, and what is wrong with them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from provisioner.checks import absolute_or_none
from provisioner.settings import setting

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1", "hmac-md5")
"""As BIND's tsig-keygen names them."""
_ZONE = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?")


class Conflict(StrEnum):
    """Whose names may be changed (RFC 4703). One without a DHCID is never touched: somebody wrote it by hand."""

    DHCID = "dhcid"
    ANY_DHCID = "any-dhcid"


class Clients(StrEnum):
    """Whose names are written."""

    KNOWN = "known"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """The DNS server that is told the names of machines."""

    server: str = setting("", "Address of the DNS server that takes dynamic updates (RFC 2136); empty: no names.")
    port: int = setting(53, "Its port.")
    forward: tuple[str, ...] = setting(
        (),
        "Zones for A and AAAA records, such as rack.example. A machine's name goes into the domain of its subnet, "
        "where that lies in one of them, else into the first.",
    )
    reverse: tuple[str, ...] = setting(
        (), "Zones for PTR records, such as 8.0.10.in-addr.arpa; an address in none of them gets no PTR."
    )
    key_name: str = setting("", "Name of the TSIG key; empty: the name in key_file.")
    key_algorithm: str = setting(
        "hmac-sha256", f"Its algorithm, where key_file does not say it: {', '.join(ALGORITHMS)}."
    )
    key_file: str = setting(
        "",
        "File with its secret in base64, or as tsig-keygen writes it; empty: unsigned updates.",
        check=absolute_or_none,
    )
    ttl_s: int = setting(600, "How long others may keep a record, in seconds.")
    clients: Clients = setting(
        Clients.KNOWN,
        "known: names of machines on record and with a reservation; all: also what unknown machines call themselves.",
    )
    conflict: Conflict = setting(
        Conflict.DHCID,
        "dhcid: a name is changed only where its DHCID record is this machine's (RFC 4703); any-dhcid: also where it "
        "is another's, for machines that are replaced. A name without DHCID is never touched.",
    )


def faults_of(dns: Dns) -> Iterator[str]:
    """Say everything that is wrong, one line each."""
    if not dns.server:
        if dns.forward or dns.reverse or dns.key_file:
            yield "server: empty, and zones or a key are given: name the server that takes the updates"
        return
    try:
        ip_address(dns.server)
    except ValueError as error:
        yield f"server: {error}; a name of the server cannot be looked up in itself"
    if not 0 < dns.port < 65536:
        yield f"port: {dns.port}: from 1 to 65535"
    if not 1 <= dns.ttl_s <= 604800:
        yield f"ttl_s: {dns.ttl_s}: from 1 to 604800"
    yield from _zones(dns)
    yield from _key(dns)


def _zones(dns: Dns) -> Iterator[str]:
    if not dns.forward:
        yield "forward: empty: name at least one zone for the machines' names"
    for name in ("forward", "reverse"):
        for zone in getattr(dns, name):
            if len(zone) > 253 or not _ZONE.fullmatch(zone.lower()):
                yield f"{name}: {zone!r} is no zone"
    for zone in dns.reverse:
        if not zone.rstrip(".").lower().endswith(("in-addr.arpa", "ip6.arpa")):
            yield f"reverse: {zone}: reverse zones end in in-addr.arpa or ip6.arpa"


def _key(dns: Dns) -> Iterator[str]:
    if dns.key_algorithm not in ALGORITHMS:
        yield f"key_algorithm: {dns.key_algorithm!r}: one of {', '.join(ALGORITHMS)}"
    if dns.key_name and not dns.key_file:
        yield "key_file: empty, and key_name is given: name the file with its secret"
