"""Rows on their way into a table, in few statements. No I/O.

Each statement takes the interpreter's lock some times, against the thread that answers packets; and one that is the
same as an earlier one but for its values needs not be read again by SQLite, which takes longer than carrying it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

Row = Sequence[Any]
MOST_ROWS = 64
"""Rows in one statement: a rack that starts at once. With a dozen columns far from SQLite's limit of 32,766 values."""
TEXTS_KEPT = 256
"""Texts of statements remembered: those of some tables."""


def statements(insert: str, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    """Carry out `insert` (`INSERT INTO ... VALUES`) for rows of one length: give statements and their values.

    Up to `MOST_ROWS` are one statement; there are as many different ones, whatever comes.
    """
    at, end = 0, len(rows)
    while at < end:
        count = min(MOST_ROWS, end - at)
        yield _text(insert, count, len(rows[at])), list(chain.from_iterable(rows[at : at + count]))
        at += count


@lru_cache(maxsize=TEXTS_KEPT)
def _text(insert: str, count: int, width: int) -> str:
    row = f"({','.join('?' * width)})"
    return f"{insert} {','.join([row] * count)}"
