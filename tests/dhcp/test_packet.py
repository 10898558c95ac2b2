"""The message codec against real clients' packets and scapy's reading of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP
from scapy.utils import rdpcap

from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import DEFAULT_ROOM, MAX_ROOM, Packet, decode, encode, room_of
from provisioner.errors import WireError
from tests.dhcp.clients import CAPTURES, captured, discover, packet

NAMES = sorted(path.stem for path in CAPTURES.glob("*.pcap"))


@pytest.mark.parametrize("name", NAMES)
def test_captures_agree_with_scapy(name: str) -> None:
    oracle = [frame[BOOTP] for frame in rdpcap(str(CAPTURES / f"{name}.pcap")) if BOOTP in frame]
    ours = [decode(data) for data in captured(name)]
    assert len(ours) == len(oracle) > 0
    for mine, theirs in zip(ours, oracle, strict=True):
        assert (mine.op, mine.htype, mine.xid, mine.secs) == (theirs.op, theirs.htype, theirs.xid, theirs.secs)
        assert mine.flags == int(theirs.flags)
        assert mine.chaddr == bytes(theirs.chaddr)[:6]
        assert mine.file == bytes(theirs.file).ljust(128, b"\0")
        codes = {code for option in theirs.payload.options if isinstance(option, tuple) for code in [option[0]]}
        assert len(mine.options) == len(codes)


@pytest.mark.parametrize("name", NAMES)
def test_captures_survive_a_round_trip(name: str) -> None:
    for data in captured(name):
        assert decode(encode(decode(data))) == decode(data)


def raw(options: bytes, sname: bytes = b"", file: bytes = b"") -> bytes:
    """A message with this option field."""
    plain = bytearray(encode(discover())[:240])
    plain[44 : 44 + len(sname)] = sname
    plain[108 : 108 + len(file)] = file
    return bytes(plain) + options


OPTION_FIELDS = {
    "options in order": (raw(b"\x35\1\1\x0c\2hi\xff"), {53: b"\1", 12: b"hi"}),
    "padding between": (raw(b"\x35\1\1\0\0\x0c\2hi\xff"), {53: b"\1", 12: b"hi"}),
    "no END, as old ROMs send it": (raw(b"\x35\1\1"), {53: b"\1"}),
    "what follows END is not read": (raw(b"\x35\1\1\xff\x0c\xff"), {53: b"\1"}),
    "an empty option": (raw(b"\x35\1\1\x0c\0\xff"), {53: b"\1", 12: b""}),
    "a long option in parts (RFC 3396)": (
        raw(b"\x35\1\1\x0c\2he\x06\0\x0c\3llo\xff"),
        {53: b"\1", 12: b"hello", 6: b""},
    ),
    "overload into file": (raw(b"\x35\1\1\x34\1\1\xff", file=b"\x0c\2hi\xff"), {53: b"\1", 52: b"\1", 12: b"hi"}),
    "overload into both, file first": (
        raw(b"\x35\1\1\x34\1\3\xff", sname=b"\x0c\2lo\xff", file=b"\x0c\3hel\xff"),
        {53: b"\1", 52: b"\3", 12: b"hello"},
    ),
}


@pytest.mark.parametrize(("data", "options"), OPTION_FIELDS.values(), ids=OPTION_FIELDS.keys())
def test_option_fields(data: bytes, options: dict[int, bytes]) -> None:
    assert decode(data).options == options


BROKEN = {
    "shorter than BOOTP": (bytes(235), "235 bytes are too short"),
    "longer than any": (bytes(2048), "2048 bytes or more are too long"),
    "an option cut short": (raw(b"\x35\1\1\x0c\5hi"), "option 12 at byte 243 has 5 bytes, 2 left"),
    "a code and nothing else": (raw(b"\x35\1\1\x0c"), "option 12 at byte 243 has no length"),
    "a message type of two bytes": (raw(b"\x35\2\1\1\xff"), "message type of 2 bytes"),
    "a message type of none": (raw(b"\x35\0\xff"), "message type of 0 bytes"),
    "a hardware address of 17 bytes": (b"\1\1\x11" + bytes(240), "hardware address of 17 bytes"),
    "overload that means nothing": (raw(b"\x35\1\1\x34\1\4\xff"), "option overload is 04"),
    "overload of two bytes": (raw(b"\x35\1\1\x34\2\1\1\xff"), "option overload is 0101"),
}


@pytest.mark.parametrize(("data", "error"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(data: bytes, error: str) -> None:
    with pytest.raises(WireError, match=error):
        decode(data)


def test_without_the_magic_cookie_it_is_plain_bootp() -> None:
    found = decode(encode(discover())[:236] + bytes(64))
    assert found.type == 0
    assert found.options == {}


ROOMS = {
    "says nothing": (None, DEFAULT_ROOM),
    "less than everybody must take": (b"\0\x40", DEFAULT_ROOM),
    "the usual": ((1472).to_bytes(2, "big"), 1444),
    "jumbo": (b"\xff\xff", MAX_ROOM),
    "nonsense": (b"\1", DEFAULT_ROOM),
}


@pytest.mark.parametrize(("said", "room"), ROOMS.values(), ids=ROOMS.keys())
def test_room(said: bytes | None, room: int) -> None:
    assert room_of(said) == room


KEYS = {
    "Ethernet": (packet(1, "52:54:00:00:00:01"), bytes.fromhex("525400000001")),
    "the client identifier is not looked at": (packet(1, options={61: b"\xff123"}), bytes.fromhex("525400000001")),
    "InfiniBand has no hardware address": (packet(1, "", {61: b"\xff123"}, htype=32), b"\0id\xff123"),
    "other hardware": (packet(1, "52:54:00:00:00:01", htype=6), bytes.fromhex("06525400000001")),
}


@pytest.mark.parametrize(("sent", "key"), KEYS.values(), ids=KEYS.keys())
def test_key(sent: Packet, key: bytes) -> None:
    assert sent.key == key


options = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code not in (52, 53)), st.binary(max_size=600), max_size=8
)
packets = st.builds(
    lambda kind, fields, found: packet(kind, options=found, **fields),
    st.sampled_from(list(Type)),
    st.fixed_dictionaries(
        {"xid": st.integers(0, 2**32 - 1), "giaddr": st.integers(0, 2**32 - 1), "flags": st.integers(0, 65535)}
    ),
    options,
)


@given(packets)
def test_round_trip(sent: Packet) -> None:
    assert decode(encode(sent)) == sent


@given(st.one_of(st.binary(max_size=700), st.binary(max_size=300).map(raw)))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(data)
