"""Statements for any number of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.store.rows import MOST_ROWS, SHARED_FROM, statements

INSERT = "INSERT INTO a VALUES"
SIZES = {0: [], 1: [1], 3: [3], 64: [64], 65: [64, 1], 200: [64, 64, 64, 8]}


@pytest.mark.parametrize(("count", "sizes"), SIZES.items(), ids=map(str, SIZES))
def test_every_row_is_in_one_statement(count: int, sizes: list[int]) -> None:
    rows = [(number, str(number)) for number in range(count)]
    found = list(statements(INSERT, rows))
    assert [text.count("(") for text, _ in found] == sizes
    assert [value for _, values in found for value in values] == [value for row in rows for value in row]


SHARED: dict[str, tuple[list[tuple[Any, ...]], list[Any]]] = {
    "what all rows share is handed over once": ([(n, "pool", b"") for n in range(8)], ["pool", b"", *range(8)]),
    "numbers are not: 1 and 1.0 are equal": ([(1,)] * 7 + [(1.0,)], [1] * 7 + [1.0]),
    "the first and the last alone are not all": ([("a",)] * 7 + [("b",), ("a",)], ["a"] * 7 + ["b", "a"]),
    "few rows are not looked at": ([("pool",)] * (SHARED_FROM - 1), ["pool"] * (SHARED_FROM - 1)),
}


@pytest.mark.parametrize(("rows", "wanted"), SHARED.values(), ids=SHARED.keys())
def test_shared_values(rows: list[tuple[Any, ...]], wanted: list[Any]) -> None:
    [(_, values)] = statements(INSERT, rows)
    assert values == wanted


def test_there_are_few_texts() -> None:
    """SQLite and its module keep what they have read, as long as it is little."""
    texts = {text for count in range(1000) for text, _ in statements(INSERT, [(0, "a")] * count)}
    assert len(texts) == MOST_ROWS


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(statements(INSERT, [(1, 2), (1,)]))


values = st.sampled_from([0, 1, 1.0, "", "1", "a", b"", b"1", None])


@given(st.lists(st.tuples(values, values, values), max_size=20))
def test_any_rows_are_stored_as_one_by_one(rows: list[tuple[Any, ...]]) -> None:
    assert stored(list(statements(INSERT, rows))) == stored([(f"{INSERT} (?,?,?)", row) for row in rows])


def stored(work: Sequence[tuple[str, Sequence[Any]]]) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE a (b, c, d)")  # columns without a type: nothing is made into another kind
        for text, row in work:
            connection.execute(text, row)
        return [repr(row) for row in connection.execute("SELECT * FROM a ORDER BY rowid")]
