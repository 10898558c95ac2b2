"""Network ASCII can be undone, whatever was converted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.tftp.netascii import to_netascii

CASES = {
    "a line": (b"a\n", b"a\r\n"),
    "a carriage return": (b"a\rb", b"a\r\0b"),
    "both": (b"a\r\n", b"a\r\0\r\n"),
    "neither": (b"abc", b"abc"),
}


@pytest.mark.parametrize(("content", "sent"), CASES.values(), ids=CASES.keys())
def test_to_netascii(content: bytes, sent: bytes) -> None:
    assert to_netascii(content) == sent


@given(st.binary(max_size=200))
def test_round_trip(content: bytes) -> None:
    assert to_netascii(content).replace(b"\r\n", b"\n").replace(b"\r\0", b"\r") == content
