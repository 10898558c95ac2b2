"""Hardware addresses and address ranges. Home of netaddr. No I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

from provisioner.errors import ConfigError

Mac = NewType("Mac", str)
"""A hardware address in one spelling: six octets, lower case, colons."""

_MAC = re.compile(r"([0-9a-f]{2})[:-]?" * 5 + r"([0-9a-f]{2})")


def parse_mac(text: str) -> Mac:
    """Read a MAC in any usual spelling (colons, hyphens, Cisco dots, bare hex); raise `ConfigError`."""
    match = _MAC.fullmatch(text.strip().lower().replace(".", ""))
    if match is None:
        raise ConfigError(f"not a MAC address: {text[:40]!r}", hint="six octets, such as 52:54:00:12:34:56")
    return Mac(":".join(match.groups()))


def is_of_port(mac: Mac) -> bool:
    """Say whether a network port can have this address: not a group's (IEEE 802 section 8.2.2), nor all zeros."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return any(octets) and not octets[0] & 1


def mac_from_bytes(octets: bytes) -> Mac:
    """Spell the hardware address of a packet (any length; six on Ethernet)."""
    return Mac(octets.hex(":"))


@lru_cache(maxsize=4096)
def vendor_of(mac: Mac) -> str | None:
    """Name the organisation that the IEEE gave this prefix to. The first call reads the registry: 0.4 s."""
    import netaddr

    try:
        return str(netaddr.EUI(mac).oui.registration()["org"])
    except (netaddr.NotRegisteredError, netaddr.AddrFormatError, KeyError):
        return None
