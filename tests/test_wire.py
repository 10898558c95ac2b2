"""The cursor gives up at the right byte and never reads past its window."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.wire import Cursor, tlv, tlvs


def test_reads_in_order() -> None:
    cursor = Cursor(bytes(range(8)))
    assert (cursor.u8(), cursor.u16(), cursor.u32(), cursor.rest()) == (0, 0x0102, 0x03040506, b"\7")


def test_a_window_ends_reads() -> None:
    cursor = Cursor(bytes(4))
    with pytest.raises(WireError, match="3 bytes wanted at byte 0, 2 left"), cursor.window(2):
        cursor.take(3)
    assert cursor.end == 4


def test_a_window_has_to_be_used_up() -> None:
    cursor = Cursor(bytes(4))
    with pytest.raises(WireError, match="1 bytes too many"), cursor.window(2):
        cursor.u8()


def test_a_window_past_the_end() -> None:
    with pytest.raises(WireError, match="length 5 at byte 0"), Cursor(bytes(4)).window(5):
        pass


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=255)), max_size=20))
def test_rows_round_trip(rows: list[tuple[int, bytes]]) -> None:
    assert tlvs(b"".join(tlv(*row) for row in rows)) == rows


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(WireError):
        tlvs(data)
