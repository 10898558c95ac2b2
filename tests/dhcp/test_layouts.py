"""What is read by its layout is what is read octet by octet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.identify import Kind
from provisioner.dhcp.layouts import LAYOUTS_LIMIT, TRIED_EVERY, Reader, own_of
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import Packet, decode, encode
from provisioner.dhcp.site import Site
from provisioner.errors import WireError
from tests.dhcp.clients import MAC, OTHER_MAC, chain, discover, request

UUID, OTHER_UUID = b"\0" + bytes(range(16)), b"\0" + bytes(range(16, 32))
FIRMWARE = {Opt.MAX_SIZE: b"\x05\xc0", Opt.VENDOR_CLASS: b"PXEClient:Arch:00007:UNDI:003016", Opt.CLIENT_ARCH: b"\0\7"}


def firmware(mac: str = MAC, uuid: bytes = UUID, **more: bytes) -> Packet:
    return discover(mac, options={**FIRMWARE, Opt.CLIENT_UUID: uuid})


class Counted:
    """Counts how often a kind is worked out: once for each packet that is not read by its layout."""

    def __init__(self) -> None:
        self.site = Site(chain)
        self.times = 0
        self.reader = Reader(self.kind_of)

    def kind_of(self, packet: Packet) -> Kind:
        self.times += 1
        return self.site.kind_of(packet)

    def agrees(self, packet: Packet) -> None:
        data = encode(packet)
        found, kind = self.reader.read(data)
        assert found == decode(data)
        assert kind is self.site.kind_of(found)


def test_the_machines_of_a_rack_are_read_by_one_layout() -> None:
    it = Counted()
    for mac, uuid in ((MAC, UUID), (OTHER_MAC, OTHER_UUID), (MAC, OTHER_UUID)):
        it.agrees(firmware(mac, uuid))
        it.agrees(request("10.0.0.100", mac, server="10.0.0.1", options={Opt.CLIENT_UUID: uuid}))
    assert it.times == 2


DIFFERENT = {
    "another architecture": {Opt.CLIENT_ARCH: b"\0\x0b"},
    "another request list": {Opt.REQUEST_LIST: b"\1\3"},
    "no UUID": {Opt.CLIENT_UUID: b""},
    "an identifier": {Opt.CLIENT_ID: b"\1" + bytes(6)},
}


@pytest.mark.parametrize("options", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_other_firmware_is_not_taken_for_it(options: dict[int, bytes]) -> None:
    it = Counted()
    it.agrees(firmware())
    it.agrees(discover(options={**FIRMWARE, Opt.CLIENT_UUID: UUID, **options}))
    assert it.times == 2


def test_clients_that_differ_in_more_are_remembered_now_and_then() -> None:
    it = Counted()
    for number in range(1 + TRIED_EVERY):
        it.agrees(discover(options={Opt.VENDOR_CLASS: bytes((65 + number,))}))
    assert it.times == 1 + TRIED_EVERY
    it.agrees(discover(options={Opt.VENDOR_CLASS: b"B"}))
    assert it.times == 1 + TRIED_EVERY  # the first one that differed took the place


def test_layouts_are_bounded() -> None:
    it = Counted()
    for size in range(LAYOUTS_LIMIT + 2):
        it.reader.read(encode(discover(options={Opt.ROOT_PATH: bytes(min(size, 255)), Opt.LOG_SERVER: bytes(size)})))
    assert len(it.reader._layouts) <= LAYOUTS_LIMIT


def test_plain_bootp_has_no_layout() -> None:
    assert own_of(bytes(240) + b"\1") is None


SIMPLE = {
    "no options": (b"", None),
    "an option in parts (RFC 3396)": (bytes((53, 1, 1, 61, 1, 1, 61, 1, 2, 255)), None),
    "options that go on in other fields": (bytes((53, 1, 1, 52, 1, 1, 255)), None),
    "the machine's own, behind padding": (bytes((53, 1, 1, 0, 0, 61, 2, 8, 9, 255)), ((61, 247, 249),)),
    "nothing of its own, and no end": (bytes((53, 1, 1)), ()),
}


@pytest.mark.parametrize(("options", "wanted"), SIMPLE.values(), ids=SIMPLE.keys())
def test_where_a_machines_own_lies(options: bytes, wanted: tuple[tuple[int, int, int], ...] | None) -> None:
    assert own_of(encode(discover())[:240] + options) == wanted


@given(st.lists(st.binary(max_size=12), min_size=2, max_size=6), st.binary(min_size=16, max_size=16))
def test_any_octets_are_read_as_octet_by_octet(tails: list[bytes], chaddr: bytes) -> None:
    site = Site(chain)
    for tail in tails:
        data = encode(discover())[:28] + chaddr + encode(discover())[44:243] + tail
        wanted = outcome(decode, data)
        assert outcome(lambda octets: site.read(octets)[0], data) == wanted
        assert outcome(lambda octets: site.read(octets)[0], data) == wanted


def outcome(read: Callable[[bytes], Packet], data: bytes) -> Packet | str:
    try:
        return read(data)
    except WireError as error:
        return str(error)
