"""Packets survive a round trip, real requests are read, and no bytes make the codec fail otherwise than it says."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.tftp.packet import (
    MAX_OPTIONS,
    Ack,
    Data,
    Error,
    Mode,
    OptionAck,
    Packet,
    Request,
    decode,
    encode,
)

DECODED: dict[str, tuple[bytes, Packet]] = {
    "a bare request": (b"\0\1undionly.kpxe\0octet\0", Request("undionly.kpxe", Mode.OCTET)),
    "mode and option names in any case (RFC 1350, 2347)": (
        b"\0\1a\0OcTeT\0BLKSIZE\x001468\0TSize\x000\0",
        Request("a", Mode.OCTET, (("blksize", "1468"), ("tsize", "0"))),
    ),
    "OVMF's first request": (
        b"\0\1snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",
        Request("snponly.efi", Mode.OCTET, (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4"))),
    ),
    "netascii": (b"\0\1a\0netascii\0", Request("a", Mode.NETASCII)),
    "a write request": (b"\0\2a\0octet\0", Request("a", Mode.OCTET, write=True)),
    "zeros after the last option, as some ROMs pad": (
        b"\0\1a\0octet\0tsize\x000\0\0\0\0\0",
        Request("a", Mode.OCTET, (("tsize", "0"),)),
    ),
    "an option without a value is left out": (b"\0\1a\0octet\0tsize\0", Request("a", Mode.OCTET)),
    "an option that never ends is left out": (b"\0\1a\0octet\0tsize\x000", Request("a", Mode.OCTET)),
    "an empty name is a name": (b"\0\1\0octet\0", Request("", Mode.OCTET)),
    "a name that is not ASCII": (b"\0\1\xc3\xa4\0octet\0", Request("\xc3\xa4", Mode.OCTET)),
    "an ACK padded to Ethernet's minimum": (b"\0\4\0\7" + bytes(14), Ack(7)),
    "an empty block": (b"\0\3\xff\xff", Data(65535, b"")),
    "an error without its last zero": (b"\0\5\0\1gone", Error(1, "gone")),
    "an error that no RFC names": (b"\0\5\1\2\0", Error(258, "")),
    "an OACK": (b"\0\6blksize\x001024\0", OptionAck((("blksize", "1024"),))),
}


@pytest.mark.parametrize(("data", "packet"), DECODED.values(), ids=DECODED.keys())
def test_decode(data: bytes, packet: Packet) -> None:
    assert decode(data) == packet


REFUSED = {
    "nothing": b"",
    "one octet": b"\0",
    "an opcode alone": b"\0\1",
    "the octets that end tftpy 0.8.7 (C-T8)": bytes.fromhex("0001000031"),
    "no mode (C-T2)": b"\0\1name\0",
    "no zero at all": b"\0\1name",
    "an empty mode": b"\0\1name\0\0",
    "mail mode": b"\0\1name\0mail\0",
    "opcode 0": b"\0\0\0\0",
    "opcode 7": b"\0\7\0\0",
    "the opcode's octets swapped": b"\1\0a\0octet\0",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_options_are_bounded() -> None:
    request = decode(b"\0\1a\0octet\0" + b"blksize\x00512\0" * 500)
    assert isinstance(request, Request)
    assert len(request.options) == MAX_OPTIONS


@pytest.mark.parametrize("text", ["a\0b", "snow \u2603"], ids=["a zero octet", "a character wider than an octet"])
def test_what_does_not_fit_is_not_written(text: str) -> None:
    with pytest.raises(WireError):
        encode(Request(text, Mode.OCTET))


strings = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=40)
numbers = st.integers(0, 65535)
names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
options = st.lists(st.tuples(names, strings), max_size=MAX_OPTIONS).map(tuple)
packets = st.one_of(
    st.builds(Request, strings, st.sampled_from(Mode), options, st.booleans()),
    st.builds(Data, numbers, st.binary(max_size=600)),
    st.builds(Ack, numbers),
    st.builds(OptionAck, options),
    st.builds(Error, numbers, strings),
)


@given(packets)
def test_round_trip(packet: Packet) -> None:
    data = encode(packet)
    if len(data) >= 4:  # an OACK without options is no packet
        assert decode(data) == packet


@given(st.one_of(st.binary(max_size=600), st.binary(max_size=60).map(lambda tail: b"\0\1" + tail)))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(data)
