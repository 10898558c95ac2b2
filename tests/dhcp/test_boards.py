"""BMCs among DHCP's clients: by their vendor class, by ranges, and what is news."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from provisioner.dhcp.boards import MAX_BOARDS, Boards, read_range
from provisioner.dhcp.packet import Packet
from provisioner.errors import ConfigError

IP = 0x0A000011


def packet(mac: str = "d09466000017", vendor_class: bytes = b"", options: dict[int, bytes] | None = None) -> Packet:
    known = ({60: vendor_class} if vendor_class else {}) | (options or {})
    return Packet(1, 1, 0, 7, 0, 0, 0, 0, 0, 0, bytes.fromhex(mac), b"", b"", 3, known)


KINDS = {
    "an iDRAC says so": (packet(vendor_class=b"iDRAC"), (), "iDRAC"),
    "an iLO": (packet(vendor_class=b"CPQRIB3"), (), "iLO"),
    "DCMI": (packet(vendor_class=b"DCMI36465:1.5"), (), "DCMI"),
    "PXE firmware is none": (packet(vendor_class=b"PXEClient:Arch:00007"), (), None),
    "a system that says nothing is none": (packet(), (), None),
    "one of a range is": (packet(), ("d0:94:66",), ""),
    "one at the end of a range": (packet(), ("d0:94:66:00:00:00-d0:94:66:00:00:17",), ""),
    "one beside it is not": (packet(), ("d0:94:66:00:00:18-d0:94:66:00:00:ff",), None),
    "no Ethernet": (packet("d094660000170000"), ("d0:94:66",), None),
    "bytes that are no text": (packet(vendor_class=b"\xff\xfe"), (), None),
}


@pytest.mark.parametrize(("asked", "ranges", "kind"), KINDS.values(), ids=KINDS.keys())
def test_note(asked: Packet, ranges: tuple[str, ...], kind: str | None) -> None:
    seen = Boards(ranges).note(asked, IP, 5.0)
    assert (seen.kind if seen else None) == kind
    if seen:
        assert (seen.address, seen.at) == ("10.0.0.17", 5.0)


def test_what_is_known_is_no_news_until_it_moves() -> None:
    boards = Boards()
    asked = packet(vendor_class=b"iDRAC")
    assert boards.note(asked, IP, 1.0)
    assert boards.note(asked, IP, 2.0) is None
    assert boards.note(asked, IP + 1, 3.0)
    assert [(one.address, one.at) for one in boards.all()] == [("10.0.0.18", 3.0)]


def test_so_many_are_kept_and_no_more() -> None:
    boards = Boards(("00",))
    for number in range(MAX_BOARDS + 3):
        boards.note(packet(f"{number:012x}"), IP + number, 1.0)
    assert len(boards.all()) == MAX_BOARDS
    assert boards.all()[0].mac == "00:00:00:00:00:03"


@pytest.mark.parametrize(
    "text", ["", "d0:94:6g", "d0-94-66", "d0:94:66:00:00:17:18", "d0:94:66:00:00:17-d0:94:66:00:00:00"]
)
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        read_range(text)


@hypothesis.given(st.text(max_size=40))
def test_any_text_is_a_range_or_a_fault(text: str) -> None:
    try:
        low, high = read_range(text)
    except ConfigError:
        return
    assert len(low) == len(high) == 6
    assert low <= high
