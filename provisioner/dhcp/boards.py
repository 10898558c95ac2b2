"""BMCs among the clients of DHCP: told by what they call themselves, or by ranges of hardware addresses. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from provisioner.bmc.join import bmc_kind
from provisioner.dhcp.packet import Packet, address
from provisioner.errors import ConfigError
from provisioner.model.net import Mac, parse_mac

MAX_BOARDS = 8192
"""Beyond it the one that was not heard of for longest goes; as many as two daemons of the largest kind serve."""

OCTETS = 6


@dataclass(frozen=True, slots=True)
class BoardSeen:
    """A BMC that was given an address. `kind` is what it calls itself; empty where only its range tells."""

    mac: Mac
    address: str
    kind: str
    at: float


class Boards:
    """The BMCs that were seen, by hardware address."""

    def __init__(self, ranges: Iterable[str] = ()) -> None:
        self._ranges = tuple(read_range(text) for text in ranges)
        self._seen: dict[Mac, BoardSeen] = {}

    def note(self, packet: Packet, ip: int, now: float) -> BoardSeen | None:
        """Hear of an address that was given out; return what is new of a BMC, None where it is none or known."""
        kind = _kind(packet.options.get(60, b""))
        if not kind and not (self._ranges and self._in_range(packet.chaddr)):
            return None
        seen = BoardSeen(packet.mac, str(address(ip)), kind, now)
        before = self._seen.pop(seen.mac, None)
        self._seen[seen.mac] = seen
        while len(self._seen) > MAX_BOARDS:
            del self._seen[next(iter(self._seen))]
        return None if before and (before.address, before.kind) == (seen.address, kind) else seen

    def all(self) -> list[BoardSeen]:
        """List them by address."""
        return sorted(self._seen.values(), key=lambda one: tuple(map(int, one.address.split("."))))

    def _in_range(self, chaddr: bytes) -> bool:
        return len(chaddr) == OCTETS and any(low <= chaddr <= high for low, high in self._ranges)


@lru_cache(maxsize=512)
def _kind(vendor_class: bytes) -> str:
    return bmc_kind(vendor_class.decode("ascii", "replace"))


def read_range(text: str) -> tuple[bytes, bytes]:
    """Read `d0:94:66` (a prefix of one to six octets) or `FIRST-LAST`; raise `ConfigError`."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = (bytes.fromhex(parse_mac(part).replace(":", "")) for part in (first, last))
        else:
            prefix = bytes.fromhex(text.strip().replace(":", ""))
            low, high = prefix.ljust(OCTETS, b"\0"), prefix.ljust(OCTETS, b"\xff")
        fits = len(low) == OCTETS and low <= high and (dash or text.strip())
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(f"{text[:60]!r}: neither a prefix such as d0:94:66 nor a range FIRST-LAST of addresses")
    return low, high
