"""What is read of the kernel's answer; `test_server` asks a real one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.neighbours import read_neighbour

MAC = bytes.fromhex("525400000001")
REACHABLE, INCOMPLETE, FAILED = 0x02, 0x01, 0x20


def said(*attributes: tuple[int, bytes], kind: int = 28, state: int = REACHABLE) -> bytes:
    body = struct.pack("=BxxxiHBB", 2, 3, state, 0, 0)
    for code, value in attributes:
        body += struct.pack("=HH", 4 + len(value), code) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


DST, LLADDR = (1, b"\x0a\0\0\5"), (2, MAC)
READ: dict[str, tuple[bytes, bytes | None]] = {
    "a neighbour": (said(DST, LLADDR), MAC),
    "a neighbour, its address after others": (said(DST, (3, b"123"), LLADDR), MAC),
    "nobody answered": (said(DST, state=FAILED), None),
    "nobody answered, but somebody did before": (said(DST, LLADDR, state=FAILED), None),
    "an answer is awaited": (said(DST, LLADDR, state=INCOMPLETE), None),
    "no Ethernet": (said(DST, (2, b"1234")), None),
    "an error": (struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -2) + bytes(16), None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("data", "mac"), READ.values(), ids=READ.keys())
def test_what_the_kernel_says(data: bytes, mac: bytes | None) -> None:
    assert read_neighbour(data) == mac


@given(st.binary(max_size=100) | st.builds(lambda tail: said(DST)[:-4] + tail, st.binary(max_size=40)))
def test_any_bytes(data: bytes) -> None:
    found = read_neighbour(data)
    assert found is None or len(found) == 6
