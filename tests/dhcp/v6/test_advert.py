"""Router advertisements, octet by octet (RFC 4861 sections 4.1, 4.2, 4.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.v6.advert import Advert, Prefix, encode, is_solicitation
from provisioner.errors import WireError

MAC = bytes.fromhex("525400770011")
NETWORK = bytes.fromhex("fd77") + bytes(14)


def test_without_a_dhcpv6_server_nothing_else_is_promised() -> None:
    assert encode(Advert(managed=False)) == bytes.fromhex("86000000 40000000 00000000 00000000")


def test_managed_with_prefix_and_address() -> None:
    assert encode(Advert(True, 1800, MAC, (Prefix(NETWORK, 64),))) == bytes.fromhex(
        "86000000 40c00708 00000000 0000000003044080 00015180 00003840 00000000" + NETWORK.hex() + "0101" + MAC.hex()
    )


def test_a_solicitation_is_told_from_other_messages() -> None:
    assert is_solicitation(bytes.fromhex("85000000 00000000 0101") + MAC)
    assert is_solicitation(bytes.fromhex("85000000 00000000"))
    assert not is_solicitation(bytes.fromhex("86000000 00000000"))


@given(st.binary(max_size=64))
def test_any_bytes_are_answered(data: bytes) -> None:
    try:
        assert is_solicitation(data) in (True, False)
    except WireError:
        return


def test_one_that_is_cut_short_is_refused() -> None:
    with pytest.raises(WireError):
        is_solicitation(bytes.fromhex("85000000 00000000 01"))
