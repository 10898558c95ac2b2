"""DUIDs, and hardware addresses in them and in addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.v6.duid import from_uuid, is_duid, mac_of, mac_of_address, spell, unspell, uuids_of
from tests.dhcp.v6.clients import IPXE_DUID, MAC, OVMF_DUID, UUID, duid_ll, ip, link_local

MACS = {
    "made of an address": (duid_ll(), MAC),
    "made of an address and a time": (bytes.fromhex("0001 0001 32956bde 525400770099"), "52:54:00:77:00:99"),
    "made of an InfiniBand address": (bytes.fromhex("0003 0020") + bytes(20), ""),
    "a vendor's": (bytes.fromhex("0002 0000ab11 0102030405060708"), ""),
    "a UUID": (OVMF_DUID, ""),
    "cut short": (duid_ll()[:9], ""),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("duid", "mac"), MACS.values(), ids=MACS.keys())
def test_mac_of(duid: bytes, mac: str) -> None:
    assert mac_of(duid).hex(":") == mac


@pytest.mark.parametrize("duid", [OVMF_DUID, IPXE_DUID], ids=["as OVMF orders it", "as iPXE orders it"])
def test_one_machine_has_one_uuid(duid: bytes) -> None:
    assert uuids_of(duid)[0] == UUID


def test_a_uuid_without_a_version_may_be_either() -> None:
    assert uuids_of(bytes.fromhex("0004 00112233 4455 6677 8899aabbccddeeff")) == (
        "33221100-5544-7766-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeeff",
    )


@pytest.mark.parametrize("duid", [b"\0\4" + bytes(16), b"\0\4" + b"\xff" * 16, duid_ll(), b"\0\4" + bytes(15)])
def test_no_uuid(duid: bytes) -> None:
    assert uuids_of(duid) == ()


ADDRESSES = {
    "as OVMF and the kernel make it": (link_local(MAC), MAC),
    "as privacy makes it": (ip("fe80::1c2b:3d4e:5f60:7182"), ""),
    "not link-local": (ip("fd00::5054:ff:fe00:1"), ""),
    "none": (0, ""),
}


@pytest.mark.parametrize(("address", "mac"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_mac_of_address(address: int, mac: str) -> None:
    assert mac_of_address(address).hex(":") == mac


@given(st.binary(min_size=3, max_size=130))
def test_spelling_comes_back(duid: bytes) -> None:
    assert unspell(spell(duid)) == duid
    assert unspell(duid.hex()) == duid


@pytest.mark.parametrize("text", ["", "00:04", "00" * 131, "zz:zz:zz"])
def test_no_duid(text: str) -> None:
    with pytest.raises(ValueError, match=r"DUID|hexadecimal"):
        unspell(text)


@given(st.binary(max_size=140))
def test_any_bytes_may_be_asked(data: bytes) -> None:
    assert len(mac_of(data)) in (0, 6)
    assert len(uuids_of(data)) <= 3
    assert is_duid(data) == (3 <= len(data) <= 130)


def test_our_own() -> None:
    assert from_uuid(bytes(range(16))).hex() == "0004000102030405060708090a0b0c0d0e0f"
