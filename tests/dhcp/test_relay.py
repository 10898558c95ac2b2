"""Option 82: what relays say, bounds included (the rule of CVE-2017-14493: lengths of inner options)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.relay import NOTHING, RelayInfo, decode, spell, unspell
from provisioner.errors import WireError

CASES = {
    "nothing": (b"", NOTHING),
    "circuit and remote id": (b"\1\3se1\2\2\xab\1", RelayInfo(b"se1", b"\xab\1")),
    "link selection (RFC 3527)": (b"\5\4\x0a\2\0\0", RelayInfo(link=0x0A020000)),
    "server identifier override (RFC 5107)": (b"\x0b\4\x0a\0\0\xfe", RelayInfo(server=0x0A0000FE)),
    "no answer follows from flags (RFC 5010)": (b"\x0a\1\x80", RelayInfo()),
    "an unknown sub-option is passed over": (b"\x97\2\1\2\1\1x", RelayInfo(b"x")),
    "empty ids": (b"\1\0\2\0", RelayInfo()),
}


@pytest.mark.parametrize(("value", "expected"), CASES.values(), ids=CASES.keys())
def test_decode(value: bytes, expected: RelayInfo) -> None:
    assert decode(value) == expected


BROKEN = {
    "longer than the option": b"\1\5se1",
    "a code and nothing else": b"\1",
    "an address of three bytes": b"\5\3\x0a\2\0",
    "an address of five bytes": b"\x0b\5\x0a\2\0\0\0",
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN.keys())
def test_broken(value: bytes) -> None:
    with pytest.raises(WireError):
        decode(value)


@given(st.binary(max_size=260))
def test_any_bytes(value: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(value)


SPELLINGS = {
    "text": (b"eth0/1/3", "eth0/1/3"),
    "binary": (b"\0\4\0\1", "0x00040001"),
    "a space is no text": (b"a b", "0x612062"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("value", "text"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_spelling(value: bytes, text: str) -> None:
    assert spell(value) == text
    assert unspell(text) == value
