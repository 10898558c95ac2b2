"""Which records a machine's name makes: FQDN, zones, and the DHCID that says whose it is (RFC 4701, 4703). No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple
from uuid import UUID

from provisioner.ddns.settings import Dns

HTYPE, DUID = 0x0000, 0x0002
"""Kinds of identifiers (RFC 4701 section 3.3)."""
SHA256 = 1
DUID_UUID = 4
ETHERNET = 1
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Owner(NamedTuple):
    """Whose a name is: the identifier that its DHCID is made of."""

    kind: int
    identifier: bytes


class Wanted(NamedTuple):
    """What an address is to be called, by whom, and until when (seconds since the epoch)."""

    name: str
    owner: Owner
    until: float


def owner_of(key: bytes, uuid: str) -> Owner:
    """Say who a machine is: by its UUID where it has one (RFC 6355), so that all its ports, and IPv6, are one owner.

    Client identifiers are of no use: firmware and operating system of one machine send different ones.
    """
    try:
        return Owner(DUID, DUID_UUID.to_bytes(2, "big") + UUID(uuid).bytes)
    except ValueError:
        return Owner(HTYPE, bytes((ETHERNET,)) + key if len(key) == 6 else key)


def dhcid(owner: Owner, fqdn: str) -> bytes:
    """Make the data of a DHCID record (RFC 4701 section 3.5)."""
    digest = hashlib.sha256(owner.identifier + wire_name(fqdn)).digest()
    return owner.kind.to_bytes(2, "big") + bytes((SHA256,)) + digest


def wire_name(fqdn: str) -> bytes:
    """Write a name in canonical wire form (RFC 4034 section 6.2)."""
    labels = fqdn.rstrip(".").lower().encode("ascii").split(b".")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def fqdn_of(name: str, domain: str, dns: Dns) -> str:
    """Say a machine's full name, with a dot at the end; empty where its host name is none."""
    label = name.partition(".")[0].lower()
    if not _LABEL.fullmatch(label):
        return ""
    return f"{label}.{_domain(domain, dns.forward)}."


def _domain(domain: str, zones: Sequence[str]) -> str:
    """The subnet's domain as the DNS has it, where it lies in a zone of ours."""
    bare = domain.rstrip(".").lower().encode("idna").decode("ascii")
    return bare if bare and zone_of(bare, zones) else zones[0].rstrip(".").lower()


def zone_of(name: str, zones: Sequence[str]) -> str:
    """Find the zone that a name lies in, the narrowest first; empty where it is in none."""
    bare = name.rstrip(".").lower()
    found = [zone.rstrip(".").lower() for zone in zones]
    fitting = [zone for zone in found if bare == zone or bare.endswith(f".{zone}")]
    return max(fitting, key=len, default="")


def reverse_name(address: bytes) -> str:
    """Say the name that an address has in the reverse tree."""
    return f"{ip_address(address).reverse_pointer}."
