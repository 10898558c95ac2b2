"""Statements for any number of rows."""

from __future__ import annotations

import pytest

from provisioner.store.rows import MOST_ROWS, statements

SIZES = {0: [], 1: [1], 3: [3], 64: [64], 65: [64, 1], 200: [64, 64, 64, 8]}


@pytest.mark.parametrize(("count", "sizes"), SIZES.items(), ids=map(str, SIZES))
def test_every_row_is_in_one_statement(count: int, sizes: list[int]) -> None:
    rows = [(number, str(number)) for number in range(count)]
    found = list(statements("INSERT INTO a VALUES", rows))
    assert [text for text, _ in found] == [f"INSERT INTO a VALUES {','.join(['(?,?)'] * size)}" for size in sizes]
    assert [value for _, values in found for value in values] == [value for row in rows for value in row]


def test_there_are_few_texts() -> None:
    """SQLite and its module keep what they have read, as long as it is little."""
    texts = {text for count in range(1000) for text, _ in statements("INSERT INTO a VALUES", [(0,)] * count)}
    assert len(texts) == MOST_ROWS
