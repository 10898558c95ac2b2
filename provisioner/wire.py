"""A cursor over bytes from strangers: every read is checked, every length opens a window. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from provisioner.errors import WireError


class Cursor:
    """Reads forwards through `data` and never past the end of the window that it stands in.

    Numbers are in network byte order. Every method raises `WireError` that names the byte where it gave up.
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    @property
    def left(self) -> int:
        """How many bytes this window still holds."""
        return self.end - self.at

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        stop = self.at + count
        if count < 0 or stop > self.end:
            raise WireError(f"{count} bytes wanted at byte {self.at}, {self.left} left")
        found = self.data[self.at : stop]
        self.at = stop
        return found

    def number(self, size: int) -> int:
        """Read an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def u8(self) -> int:
        """Read one byte."""
        return self.number(1)

    def u16(self) -> int:
        """Read two bytes."""
        return self.number(2)

    def u32(self) -> int:
        """Read four bytes."""
        return self.number(4)

    def rest(self) -> bytes:
        """Read all that this window still holds."""
        return self.take(self.left)

    @contextmanager
    def window(self, size: int) -> Iterator[Cursor]:
        """Confine reads to the next `size` bytes, which must be used up exactly."""
        stop = self.at + size
        if size < 0 or stop > self.end:
            raise WireError(f"length {size} at byte {self.at} runs past the end, {self.left} left")
        outer, self.end = self.end, stop
        try:
            yield self
            if self.at != stop:
                raise WireError(f"{stop - self.at} bytes too many at byte {self.at}")
        finally:
            self.end = outer


def tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Read a row of (one-byte code, one-byte length, value), as in DHCP sub-options; raise `WireError`."""
    cursor = Cursor(data)
    found = []
    while cursor.left:
        code = cursor.u8()
        found.append((code, cursor.take(cursor.u8())))
    return found


def tlv(code: int, value: bytes) -> bytes:
    """Write one (code, length, value); `value` has at most 255 bytes."""
    return bytes((code, len(value))) + value
