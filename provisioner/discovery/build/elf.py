"""Read which libraries an ELF program needs (System V ABI, chapter 5: DT_NEEDED and PT_INTERP). No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from provisioner.errors import WireError

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


@dataclass(frozen=True, slots=True)
class Needs:
    """What the program loader has to find: the loader itself, and libraries by their soname."""

    interpreter: str = ""
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needs(data: bytes) -> Needs | None:
    """Say what an ELF file needs; None where `data` is none (a script, say). Raise `WireError` if it is broken."""
    if data[:4] != b"\x7fELF":
        return None
    if data[4:6] != b"\x02\x01":
        raise WireError("ELF file is not 64-bit little-endian", hint="only amd64 and arm64 are built")
    try:
        return _needs(data)
    except (struct.error, OverflowError) as error:
        raise WireError(f"ELF file is cut short: {error}") from error


def _needs(data: bytes) -> Needs:
    segments = list(_segments(data))
    interpreter = next((_text(data, s.offset) for s in segments if s.kind == _PT_INTERP), "")
    dynamic = next((s for s in segments if s.kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return Needs(interpreter)
    entries = list(_dynamic(data, dynamic))
    strings = next((_offset(segments, value) for tag, value in entries if tag == _DT_STRTAB), 0)
    return Needs(interpreter, tuple(_text(data, strings + value) for tag, value in entries if tag == _DT_NEEDED))


def _segments(data: bytes) -> list[_Segment]:
    table, size, count = (*struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
    found = []
    for at in range(table, table + size * count, size or 1):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        found.append(_Segment(kind, offset, address, length))
    return found


def _dynamic(data: bytes, segment: _Segment) -> list[tuple[int, int]]:
    entries = []
    for at in range(segment.offset, segment.offset + segment.size, 16):
        tag, value = struct.unpack_from("<qQ", data, at)
        if tag == _DT_NULL:
            break
        entries.append((tag, value))
    return entries


def _offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise WireError(f"ELF file: address {address:#x} is in no segment")


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    if at >= len(data) or end < 0:
        raise WireError(f"ELF file: no text at byte {at}")
    return data[at:end].decode("ascii", "replace")
