"""UUIDs of boards: what is none, and how one is spelled."""

from __future__ import annotations

from uuid import UUID

import pytest

from provisioner.bmc.ipmi import chassis
from provisioner.bmc.join import match
from provisioner.dhcp.pxe import uuid_of
from provisioner.dhcp.sound import uuid_faults
from provisioner.dhcp.v6.duid import uuids_of
from provisioner.model.bmc import BmcIdentity
from provisioner.model.uuids import are_two, real_uuid, spellings

U1 = "4c4c4544-0042-3510-8051-b7c04f4e3132"
SWAPPED = "44454c4c-4200-1035-8051-b7c04f4e3132"
U2 = "4c4c4544-0043-3610-8052-b8c04f4e3133"
OLD = "00000000-0000-0000-0000-0cc47a6d9c30"
"""Boards that make a UUID of their MAC write no version, so nothing says which order theirs is in."""
NONE = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "ffffffff-ffff-ffff-ffff-fffffffffff0",
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "00080009-0007-0006-0005-000400020003",
    "09000800-0700-0600-0005-000400020003",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "78563412-3412-7856-90ab-cddeefaabbcc",
    "11111111-2222-3333-4444-555555555555",
    "d0000000-0000-0000-0000-000000000000",
    "fefefefe-fefe-fefe-fefe-fefefefefefe",
]


@pytest.mark.parametrize("text", NONE)
def test_a_uuid_that_many_boards_have_is_none_wherever_it_comes_from(text: str) -> None:
    assert real_uuid(text.upper()) == ""
    assert uuid_of(b"\0" + UUID(text).bytes_le) is None
    assert uuid_of(b"\0" + UUID(text).bytes) is None
    assert uuids_of(b"\0\4" + UUID(text).bytes_le) == ()
    assert match(BmcIdentity(uuid=text), text, "") is None
    assert list(uuid_faults(text))


@pytest.mark.parametrize("text", ["none", "", "4c4c4544"])
def test_what_is_no_uuid(text: str) -> None:
    assert real_uuid(text) == ""
    assert spellings(text) == frozenset()


def test_uuids_are_spelt_as_linux_does() -> None:
    assert real_uuid(f" {U1.upper()}\n") == U1
    assert uuid_of(b"\0" + UUID(U1).bytes_le) == U1


TWO = {
    "one in two byte orders": (U1, SWAPPED, False),
    "two": (U1, U2, True),
    "one of no version, by SMBIOS and in each order that IPMI gives it in": (
        OLD,
        chassis.read_guid(UUID(OLD).bytes_le),
        False,
    ),
    "reversed": (OLD, chassis.read_guid(UUID(OLD).bytes[::-1]), False),
    "plain": (OLD, chassis.read_guid(UUID(OLD).bytes), False),
    "reversed, of a board that spells it the other way": (
        str(UUID(bytes=UUID(OLD).bytes_le)),
        chassis.read_guid(UUID(OLD).bytes[::-1]),
        False,
    ),
    "one says nothing": (U1, NONE[0], False),
}


@pytest.mark.parametrize(("one", "other", "two"), TWO.values(), ids=TWO.keys())
def test_are_two(one: str, other: str, two: bool) -> None:
    assert are_two(one, other) is two
