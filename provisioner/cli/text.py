"""How values read on a terminal: ages, sizes, tables that fit. What a machine said cannot steer it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from provisioner.errors import ProvisionerError

Row = Mapping[str, Any]

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_GAP = re.compile(r"\S\s{2,}(?=\S)")
_WORD = re.compile(r"\s*(?:[^\s`]*`[^`]*`\S*|\S+)")
"""A word, or a command in backticks, which is to be copied whole."""
_SGR = re.compile(r"\x1b\[[\d;]*m")
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
GAP = 2
SHORTEST = 6
"""A column that has to give way keeps so much: a word or a time that is shorter says nothing any more."""


def printable(value: object) -> str:
    """Write a value with control characters escaped: a host name may hold ESC, a vendor class a line feed."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def error_lines(error: ProvisionerError, before: str = "") -> Iterator[str]:
    """Say an error in one line that begins with `before`, with a line more for each fault where there are several."""
    faults = [printable(fault) for fault in error.faults]
    hint = f" ({printable(error.hint)})" if error.hint else ""
    message = printable(error.message.partition("\n")[0])
    yield f"{before}{message}{': ' + faults[0] if len(faults) == 1 else ''}{hint}"
    if len(faults) > 1:
        yield from (f"  {fault}" for fault in faults)


def seconds_of(written: str | None) -> float | None:
    """Read an RFC 3339 time of the API as seconds since the epoch."""
    return datetime.fromisoformat(written).timestamp() if written else None


def age(seconds: float | None) -> str:
    """Write a span as people say it: 8s, 12m, 3h, 5d. Empty for None; a clock that runs behind shows 0s."""
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def span(seconds: float) -> str:
    """Write a duration to the second: 41s, 2m41s, 1h05m."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def parse_span(text: str) -> float | None:
    """Read 90m, 1h30m, 45s or plain seconds; None for what is none of them."""
    if text.isdecimal():
        return float(text)
    match = _SPAN.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    return float(sum(int(n or 0) * size for n, size in zip(match.groups(), (86400, 3600, 60, 1), strict=True)))


def size(octets: float) -> str:
    """Write a size in binary units, at most one digit after the point."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "B" or octets >= 10 else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} TiB"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how it is headed, what it shows, and whether only `-o wide` has it. `style` is an SGR code or "".

    What has to be typed again, such as a name, is never cut and never left out (`keep`); nor is a number or a time cut
    (`right`), for it would be another one.
    """

    title: str
    value: Callable[[Row], object]
    wide: bool = False
    style: Callable[[Row], str] = lambda row: ""
    right: bool = False
    keep: bool = False


def table(rows: Sequence[Row], columns: Sequence[Column], *, width: int = 0, colour: bool = False) -> list[str]:
    """Lay rows out under their titles. With `width` a line fits: columns are left out (`_room`), or give way."""
    cells = [[printable(column.value(row)) for row in rows] for column in columns]
    widths = [max(len(column.title), *map(len, cells[at]), 0) for at, column in enumerate(columns)]
    least = [
        size if c.keep or c.right else min(size, max(len(c.title), SHORTEST))
        for c, size in zip(columns, widths, strict=True)
    ]
    shown = list(range(len(columns)))
    if width and _across(widths) > width:
        shown = _room([at for at in shown if columns[at].keep or any(cells[at])], columns, least, width)
        for at, size in zip(
            shown, fitted([widths[at] for at in shown], [least[at] for at in shown], width), strict=True
        ):
            widths[at] = size
    columns, widths = [columns[at] for at in shown], [widths[at] for at in shown]
    lines = [_line([c.title for c in columns], widths, columns, [""] * len(columns))]
    for number, row in enumerate(rows):
        styles = [column.style(row) if colour else "" for column in columns]
        lines.append(_line([cells[at][number] for at in shown], widths, columns, styles))
    return lines


def _across(widths: Sequence[int]) -> int:
    """How wide a line of columns is."""
    return sum(widths) + GAP * (len(widths) - 1)


def _room(shown: Sequence[int], columns: Sequence[Column], least: Sequence[int], width: int) -> list[int]:
    """Leave out the last columns until the others have room; those that are kept stay, and the first one."""
    found = list(shown)
    for at in reversed(shown[1:]):
        if _across([least[other] for other in found]) <= width:
            break
        if not columns[at].keep:
            found.remove(at)
    return found


def fitted(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Narrow the widest columns that can give, one character at a time, until all fit or none can give more."""
    found = list(widths)
    while _across(found) > width and (giving := [at for at, size in enumerate(found) if size > least[at]]):
        found[max(giving, key=lambda at: (found[at], at))] -= 1
    return found


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], styles: Sequence[str]) -> str:
    parts = []
    for cell, width, column, style in zip(cells, widths, columns, styles, strict=True):
        cut = cell if len(cell) <= width else cell[: width - 1] + "…"
        padded = cut.rjust(width) if column.right else cut.ljust(width)
        parts.append(painted(padded, style))
    return (" " * GAP).join(parts).rstrip()


def painted(text: str, style: str) -> str:
    """Colour a text by an SGR code; the blanks after it stay plain, so that lines can be cut."""
    bare = text.rstrip()
    return f"\x1b[{style}m{bare}\x1b[0m{text[len(bare) :]}" if style and bare else text


def folded(line: str, width: int) -> list[str]:
    """Fold a line at its words where it is wider; what follows hangs under the text behind a name and its gap."""
    bare = _SGR.sub("", line)
    if len(bare) <= width or not width:
        return [line]
    gap = _GAP.search(bare)
    hang = min(gap.end() if gap else len(bare) - len(bare.lstrip()) + GAP, width // 2)
    found = [""]
    for word in _WORD.findall(line):
        if found[-1].strip() and len(_SGR.sub("", found[-1] + word)) > width:
            found.append(" " * hang + word.lstrip())
        else:
            found[-1] += word
    return found


def listing(pairs: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """Lay out names and values as two columns; empty ones are left out, further lines hang under the first."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    lines = []
    for name, value in shown:
        for number, line in enumerate(value.split("\n")):
            lines.append(f"{indent}{(name if not number else '').ljust(width)}  {printable(line)}".rstrip())
    return lines
