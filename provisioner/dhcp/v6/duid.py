"""DHCP unique identifiers (RFC 8415 section 11, RFC 6355), and hardware addresses that addresses tell. No I/O."""

from __future__ import annotations

from enum import IntEnum

from provisioner.dhcp.pxe import smbios_uuid
from provisioner.model.uuids import tells

MAX_SIZE = 130
"""Two bytes of type and at most 128 (RFC 8415 section 11.1)."""
MIN_SIZE = 3


class DuidType(IntEnum):
    """What a DUID is made of."""

    LLT = 1
    EN = 2
    LL = 3
    UUID = 4


_ETHERNET = b"\0\1"


def is_duid(value: bytes) -> bool:
    """Say whether this may be one: its length is all that is required of its content."""
    return MIN_SIZE <= len(value) <= MAX_SIZE


def mac_of(duid: bytes) -> bytes:
    """Give the Ethernet address that a DUID was made from; empty for none. It may be another port's."""
    kind = int.from_bytes(duid[:2], "big")
    if kind == DuidType.LLT and len(duid) == 14 and duid[2:4] == _ETHERNET:
        return duid[8:]
    if kind == DuidType.LL and len(duid) == 10 and duid[2:4] == _ETHERNET:
        return duid[4:]
    return b""


def uuids_of(duid: bytes) -> tuple[str, ...]:
    """Give the UUIDs that a DUID-UUID may mean, as Linux prints them, the likelier one first.

    OVMF sends the bytes as SMBIOS keeps them, iPXE in network order (RFC 6355): one machine, two DUIDs.
    """
    if len(duid) != 18 or int.from_bytes(duid[:2], "big") != DuidType.UUID:
        return ()
    value = duid[2:]
    swapped = value[3::-1] + value[5:3:-1] + value[7:5:-1] + value[8:]
    candidates = (smbios_uuid(value), _spelt(swapped), _spelt(value))
    return tuple(uuid for uuid in dict.fromkeys(candidates) if tells(uuid))


def _spelt(value: bytes) -> str:
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def spell(duid: bytes) -> str:
    """Spell one as operators and tools do: hex, colons."""
    return duid.hex(":")


def unspell(text: str) -> bytes:
    """Read what an operator wrote, with colons, hyphens or nothing between; raise `ValueError`."""
    found = bytes.fromhex(text.strip().replace(":", "").replace("-", ""))
    if not is_duid(found):
        raise ValueError(f"{text!r} is no DUID: {MIN_SIZE} to {MAX_SIZE} bytes in hex are")
    return found


def from_uuid(value: bytes) -> bytes:
    """Make a DUID of 16 bytes that nobody else has."""
    return DuidType.UUID.to_bytes(2, "big") + value


def mac_of_address(ip: int) -> bytes:
    """Give the Ethernet address that a link-local address was made from (RFC 4291 appendix A); empty where none is."""
    if ip >> 64 != 0xFE80 << 48 or ip >> 24 & 0xFFFF != 0xFFFE:
        return b""
    octets = (ip & (1 << 64) - 1).to_bytes(8, "big")
    return bytes((octets[0] ^ 2,)) + octets[1:3] + octets[5:]
