"""UUIDs that boards carry: which of them tell a machine from others, and how one is spelled. No I/O."""

from __future__ import annotations

import re
from uuid import UUID

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHARED = (
    "03000200-0400-0500-0006-000700080009",  # AMI's reference firmware, on boards of many makers
    "12345678-1234-5678-90ab-cddeefaabbcc",  # Insyde's
    "11111111-2222-3333-4444-555555555555",
)


def _orders(value: UUID) -> frozenset[str]:
    """Spell a UUID in SMBIOS's byte order and the plain one, and in each of IPMI's, all sixteen octets reversed."""
    reversed_ = UUID(bytes=value.bytes_le[::-1])
    orders = (value, UUID(bytes=value.bytes_le), reversed_, UUID(bytes=reversed_.bytes_le))
    return frozenset(str(order) for order in orders)


SHARED = frozenset().union(*(_orders(UUID(each)) for text in _SHARED for each in _orders(UUID(text))))
"""UUIDs that firmware has when nobody wrote one, in any byte order."""
FEW_DIGITS = 2
"""A UUID of so many different digits, as of zeros, was made up, too."""


def tells(uuid: str) -> bool:
    """Say whether a UUID, spelled as Linux does, tells a machine from others."""
    return uuid not in SHARED and len(set(uuid)) > FEW_DIGITS + 1  # and the hyphen


def real_uuid(text: str) -> str:
    """Return the UUID in lower case; empty where it is none, or one that many boards share."""
    uuid = text.strip().lower()
    return uuid if _UUID.fullmatch(uuid) and tells(uuid) else ""


def spellings(text: str) -> frozenset[str]:
    """Return a UUID in the byte orders that boards may spell it in; nothing where it is none, or many share it."""
    try:
        value = UUID(text)
    except ValueError:
        return frozenset()
    return _orders(value) if tells(str(value)) else frozenset()


def are_two(uuid_of_one: str, uuid_of_other: str) -> bool:
    """Say whether two boards say by UUID that they are two."""
    one, other = spellings(uuid_of_one), spellings(uuid_of_other)
    return bool(one and other and not one & other)
