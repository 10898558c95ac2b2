"""Rows on their way into a table, in few statements. No I/O.

Each statement takes the interpreter's lock some times, against the thread that answers packets; and one that is the
same as an earlier one but for its values needs not be read again by SQLite, which takes longer than carrying it out.
A value that all rows of a statement share is handed over once: most of what a row costs is handing over its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

Row = Sequence[Any]
MOST_ROWS = 64
"""Rows in one statement: a rack that starts at once. With a dozen columns far from SQLite's limit of 32,766 values."""
SHARED_FROM = 8
"""Rows from which on a look for what they share pays; few of them share things by chance, each time others, and every
other set of columns is another text."""
TEXTS_KEPT = 256
"""Texts of statements remembered: those of some tables."""
_WORDS = (str, bytes)


def statements(insert: str, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    """Carry out `insert` (`INSERT INTO ... VALUES`) for rows of one length: give statements and their values.

    Up to `MOST_ROWS` are one statement; there are as many different ones, whatever comes, for each set of columns that
    rows share. Raises `ValueError` for rows of different lengths.
    """
    at, end = 0, len(rows)
    while at < end:
        some = rows[at : at + MOST_ROWS]
        columns = list(zip(*some, strict=True))
        shared = _shared(columns) if len(some) >= SHARED_FROM else (False,) * len(columns)
        values = [column[0] for column, same in zip(columns, shared, strict=True) if same]
        own = [column for column, same in zip(columns, shared, strict=True) if not same]
        values += chain.from_iterable(zip(*own, strict=True))
        yield _text(insert, len(some), shared), values
        at += MOST_ROWS


def _shared(columns: list[tuple[Any, ...]]) -> tuple[bool, ...]:
    """Say which columns have one value in all rows. Of numbers none: those that are equal may be of two kinds."""
    return tuple(
        [
            isinstance(column[0], _WORDS) and column[0] == column[-1] and column.count(column[0]) == len(column)
            for column in columns
        ]
    )


@lru_cache(maxsize=TEXTS_KEPT)
def _text(insert: str, count: int, shared: tuple[bool, ...]) -> str:
    """Write the statement; its values are those that are shared, then each row's own."""
    number, own = 0, sum(shared)
    names = [f"?{(number := number + 1)}" if same else "" for same in shared]
    rows = [",".join(name or f"?{(own := own + 1)}" for name in names) for _ in range(count)]
    return f"{insert} {','.join(f'({row})' for row in rows)}"
