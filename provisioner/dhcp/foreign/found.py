"""What stands in another DHCP server's file: leases, reservations, ranges, and what is left out. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from provisioner.dhcp.v6.duid import is_duid
from provisioner.errors import ConfigError

FOR_EVER = float(0xFFFFFFFF)
"""The end of a lease that has none."""
FAULTS_LIMIT = 100
"""Faults of one file that are told; a file with more is not what it was taken for."""
ETHERNET = 1
NAME_LIMIT = 63


class Was(StrEnum):
    """What a lease was when the file was written."""

    ACTIVE = "active"
    RELEASED = "released"
    DECLINED = "declined"


class FoundLease(NamedTuple):
    """One lease. Times are seconds since the epoch; `where` is FILE:LINE."""

    ip: int
    key: bytes
    """As `Packet.key` would be for its holder; empty where the file does not say."""
    where: str
    until: float
    since: float = 0.0
    was: Was = Was.ACTIVE
    name: str = ""
    client_id: bytes = b""
    circuit_id: bytes = b""
    remote_id: bytes = b""


Options = tuple[tuple[str, str], ...]
"""Options of DHCPv4 by their names here (`dhcp.formats`), with their values."""


class FoundReservation(NamedTuple):
    """One fixed address (0: none, only a name or options) of one hardware address."""

    ip: int
    key: bytes
    where: str
    name: str = ""
    options: Options = ()


class FoundLease6(NamedTuple):
    """One lease of DHCPv6: an address of one association, which a DUID and a number name."""

    ip: int
    duid: bytes
    iaid: int
    where: str
    until: float
    since: float = 0.0
    was: Was = Was.ACTIVE
    name: str = ""


class FoundReservation6(NamedTuple):
    """One fixed IPv6 address, for a hardware address (as `FoundReservation` has it) or for a DUID."""

    ip: int
    where: str
    key: bytes = b""
    duid: bytes = b""
    name: str = ""


class FoundRange(NamedTuple):
    """Addresses that were given from, both ends included."""

    low: int
    high: int
    where: str
    six: bool = False


class Note(NamedTuple):
    """Something that is not taken over, and why, or that the operator should look at."""

    where: str
    text: str


class FileFault(ConfigError):
    """Another server's file cannot be read as a whole; says the line."""


@dataclass
class Contents:
    """All of one file. `faults` are lines that cannot be understood, as FILE:LINE: what."""

    where: str
    kind: str
    leases: dict[int, FoundLease] = field(default_factory=dict)
    """By address: these files are logs, the last word counts."""
    reservations: list[FoundReservation] = field(default_factory=list)
    leases6: dict[int, FoundLease6] = field(default_factory=dict)
    reservations6: list[FoundReservation6] = field(default_factory=list)
    ranges: list[FoundRange] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def at(self, line: int) -> str:
        """Spell a place in this file."""
        return f"{self.where}:{line}"

    def keep6(self, lease: FoundLease6) -> None:
        """Take in the last word on an address; the order is that of the last words."""
        self.leases6.pop(lease.ip, None)
        self.leases6[lease.ip] = lease

    def note(self, line: int, text: str) -> None:
        """Say what is left out."""
        self.notes.append(Note(self.at(line), text))

    def fault(self, line: int, text: str) -> None:
        """Say what cannot be understood; raise `FileFault` where nothing can."""
        self.faults.append(f"{self.at(line)}: {text}")
        if len(self.faults) >= FAULTS_LIMIT:
            message = f"{self.where}: {FAULTS_LIMIT} lines cannot be read"
            raise FileFault(message, faults=self.faults, hint=f"it was taken for {self.kind}: --format says otherwise")


def key_of(htype: int, address: bytes) -> bytes:
    """Spell a hardware address as `Packet.key` does."""
    return address if htype == ETHERNET and len(address) == 6 else bytes((htype,)) + address


def key_in(client_id: bytes) -> bytes:
    """Take the hardware address out of a client identifier of type 1 (RFC 2132 section 9.14); empty: it has none."""
    return client_id[1:] if len(client_id) == 7 and client_id[0] == ETHERNET else b""


def duid_in(value: bytes) -> bytes:
    """Give a DUID as it is; raise `ValueError` where it cannot be one."""
    if not is_duid(value):
        raise ValueError(f"a DUID of {len(value)} octets")
    return value


def ends_of(text: str) -> tuple[int, int]:
    """Read `LOW - HIGH` or a network of IPv6 as its ends; raise `ValueError`."""
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not dash:
        network = IPv6Network(low)
        return int(network.network_address), int(network.broadcast_address)
    first, last = int(IPv6Address(low)), int(IPv6Address(high))
    return min(first, last), max(first, last)


def clean_name(text: str) -> str:
    """Give a host name as a lease may carry it: printable ASCII, at most 63 characters."""
    return "".join(c if " " < c < "\x7f" else "?" for c in text)[:NAME_LIMIT]


def octets(parts: Iterable[str]) -> bytes:
    """Read hex octets of one or two digits; raise `ValueError`."""
    found = bytearray()
    for part in parts:
        if not 1 <= len(part) <= 2:
            raise ValueError(f"{part[:20]!r} is no octet")
        found.append(int(part, 16))
    return bytes(found)
