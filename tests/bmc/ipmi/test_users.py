"""Users and LAN parameters byte by byte (IPMI 2.0 tables 22-31 to 22-35 and 23-4)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.ipmi import users
from provisioner.errors import BmcUnsupported, WireError
from provisioner.model.board import BmcNetwork, Role

BYTES = {
    "rights of an operator": (users.access_bytes(3, Role.OPERATOR), "be 03 03 00"),
    "no rights": (users.access_bytes(3, Role.NONE), "8e 03 0f 00"),
    "a name": (users.name_bytes(3, "bob"), "03" + b"bob".hex() + "00" * 13),
    "a password of twenty octets": (users.password_bytes(3, "x" * 20), "83 02" + "78" * 20),
    "a comparison": (users.password_bytes(3, "x", test=True), "83 03 78" + "00" * 19),
    "let in": (users.switch_bytes(3, enabled=True), "03 01"),
    "keep out": (users.switch_bytes(3, enabled=False), "03 00"),
}


@pytest.mark.parametrize(("written", "octets"), BYTES.values(), ids=BYTES.keys())
def test_bytes(written: bytes, octets: str) -> None:
    assert written == bytes.fromhex(octets)


def test_read_access() -> None:
    assert users.read_access(bytes.fromhex("0a 42 01 34")) == users.Access(10, True, Role.ADMINISTRATOR)
    assert users.read_access(bytes.fromhex("0a 82 01 33")) == users.Access(10, False, Role.OPERATOR)
    assert users.read_access(bytes.fromhex("0a 02 01 3f")) == users.Access(10, True, Role.NONE)


@given(st.binary(max_size=20))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(WireError):
        users.read_access(data)
    assert isinstance(users.read_name(data), str)
    assert isinstance(users.read_network(dict.fromkeys((3, 4, 5, 6, 12, 20), data)), BmcNetwork)


def test_read_network() -> None:
    parameters = {3: "c0000211", 4: "02", 5: "52540000000a", 6: "ffffff00", 12: "c0000201", 20: "0780"}
    found = users.read_network({number: bytes.fromhex(octets) for number, octets in parameters.items()})
    assert found == BmcNetwork("52:54:00:00:00:0a", True, "192.0.2.17", 24, "192.0.2.1", vlan=7)
    assert users.read_network({}) == BmcNetwork()


HELD = BmcNetwork(dhcp=True, address="192.0.2.17", prefix=24, gateway="192.0.2.1", vlan=7)
CHANGES = {
    "nothing": (BmcNetwork(), []),
    "as it is": (HELD, []),
    "a fixed address comes last": (
        BmcNetwork(dhcp=False, address="192.0.2.18", prefix=26, gateway="192.0.2.2"),
        [(4, "01"), (6, "ffffffc0"), (12, "c0000202"), (3, "c0000212")],
    ),
    "a VLAN comes after all": (
        BmcNetwork(dhcp=False, address="192.0.2.18", prefix=26, gateway="192.0.2.2", vlan=9),
        [(4, "01"), (6, "ffffffc0"), (12, "c0000202"), (3, "c0000212"), (20, "0980")],
    ),
    "no VLAN": (BmcNetwork(vlan=0), [(20, "0000")]),
    "another VLAN": (BmcNetwork(vlan=9), [(20, "0980")]),
}


@pytest.mark.parametrize(("wanted", "changes"), CHANGES.values(), ids=CHANGES.keys())
def test_network_changes(wanted: BmcNetwork, changes: list[tuple[int, str]]) -> None:
    assert [(number, octets.hex()) for number, octets in users.network_changes(HELD, wanted)] == changes


@pytest.mark.parametrize("wanted", [BmcNetwork(hostname="x"), BmcNetwork(dns=("x",)), BmcNetwork(address="fd00::1")])
def test_what_ipmi_cannot_set(wanted: BmcNetwork) -> None:
    with pytest.raises(BmcUnsupported):
        users.network_changes(HELD, wanted)
