"""Relay agent information: option 82 and its sub-options (RFC 3046, 3527, 5107). No I/O.

What others there are goes back as it came, and is passed over here: no answer follows from the flag of RFC 5010, since
a renewal and a rebinding are answered alike.
"""

from __future__ import annotations

from typing import NamedTuple

from provisioner.errors import WireError
from provisioner.wire import tlvs

CIRCUIT_ID, REMOTE_ID, LINK_SELECTION, SERVER_OVERRIDE = 1, 2, 5, 11


class RelayInfo(NamedTuple):
    """What a relay says of where the client hangs. Addresses are numbers, 0 where not given."""

    circuit_id: bytes = b""
    remote_id: bytes = b""
    link: int = 0
    """Link selection: the subnet that the client is on, where giaddr only says where to answer (RFC 3527)."""
    server: int = 0
    """Server identifier override: what the client shall take for the server (RFC 5107)."""


NOTHING = RelayInfo()


def decode(value: bytes | None) -> RelayInfo:
    """Read option 82; raise `WireError` where a sub-option is cut short or an address has no four bytes."""
    if not value:
        return NOTHING
    found = dict(tlvs(value))
    return RelayInfo(
        circuit_id=found.get(CIRCUIT_ID, b""),
        remote_id=found.get(REMOTE_ID, b""),
        link=_address(found.get(LINK_SELECTION), LINK_SELECTION),
        server=_address(found.get(SERVER_OVERRIDE), SERVER_OVERRIDE),
    )


def _address(value: bytes | None, code: int) -> int:
    if value is None:
        return 0
    if len(value) != 4:
        raise WireError(f"option 82.{code} has {len(value)} bytes instead of 4")
    return int.from_bytes(value, "big")


def spell(identifier: bytes) -> str:
    """Spell a circuit or remote id as an operator writes it: text where it is printable, else `0x` and hex."""
    if identifier and all(32 < c < 127 for c in identifier):
        return identifier.decode("ascii")
    return f"0x{identifier.hex()}" if identifier else ""


def unspell(text: str) -> bytes:
    """Read what `spell` writes; raise `ValueError` for hex that is none."""
    return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode("utf-8")
