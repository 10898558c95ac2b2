"""Texts that are kept: given again only for what they were made from, to the type and the order of every value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.catalog.kept import ENTRY_OCTETS, Kept, Stamp, same


@dataclass(frozen=True)
class Thing:
    number: object


PAIRS: dict[str, tuple[Any, Any, bool]] = {
    "the same text": ("a b".replace(" ", ""), "ab", True),
    "another text": ("a", "b", False),
    "a number and a truth value": (1, True, False),
    "a number and one with a point": (1, 1.0, False),
    "zeros that are printed differently": (0.0, -0.0, False),
    "nothing and empty": (None, "", False),
    "mappings": ({"a": [1]}, {"a": [1]}, True),
    "mappings of another order, which a loop shows": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
    "mappings with a value of another type": ({"a": {"b": 1}}, {"a": {"b": True}}, False),
    "a list and a tuple": ([1], (1,), False),
    "lists of other lengths": ([1], [1, 2], False),
    "tuples": ((1, ("a",)), (1, ("a",)), True),
    "values": (Thing([1]), Thing([1]), True),
    "values that differ deep within": (Thing([1]), Thing([True]), False),
}


@pytest.mark.parametrize(("before", "after", "alike"), PAIRS.values(), ids=PAIRS.keys())
def test_same(before: object, after: object, alike: bool) -> None:
    assert same(before, after) is alike
    assert same((before,), (after,)) is alike


def test_a_text_is_given_for_what_it_was_made_from_and_nothing_else() -> None:
    kept = Kept()
    assert kept.find("a", (1,)) is None
    kept.keep("a", (1,), b"one")
    assert kept.find("a", (1,)) == b"one"
    assert kept.find("a", (True,)) is None
    assert kept.find("b", (1,)) is None
    kept.keep("a", (2,), b"two")
    assert (kept.find("a", (1,)), kept.find("a", (2,))) == (None, b"two")
    assert kept.octets == 3 + ENTRY_OCTETS


THING, WORD = Thing(1), "a b"
STAMPS: dict[str, tuple[Stamp, bool]] = {
    "the very same": (Stamp((THING,), ("a b",)), True),
    "an equal word": (Stamp((THING,), (" ".join("ab"),)), True),
    "another word": (Stamp((THING,), ("a",)), False),
    "a thing that is only equal": (Stamp((Thing(1),), ("a b",)), False),
    "a thing more": (Stamp((THING, THING), ("a b",)), False),
    "a thing less": (Stamp((), ("a b",)), False),
}


@pytest.mark.parametrize(("now", "still"), STAMPS.values(), ids=STAMPS.keys())
def test_a_stamp_says_at_once_that_nothing_differs(now: Stamp, still: bool) -> None:
    kept, stamp = Kept[bytes](), Stamp((THING,), (WORD,))
    kept.keep("a", (1,), b"one", stamp)
    assert kept.at_once("a", now) == (b"one" if still else None)
    assert kept.find("a", (1,), now) == b"one"  # what it was made from does not differ: it goes by the new stamp
    assert kept.at_once("a", now) == b"one"
    assert kept.find("a", (1,)) == b"one"
    assert kept.at_once("a", now) is None  # nobody says any more what it follows from


def test_memory_is_bounded_and_what_nobody_asked_for_longest_goes_first() -> None:
    kept = Kept(max_octets=3 * (ENTRY_OCTETS + 10))
    for name in "abc":
        kept.keep(name, (name,), bytes(10))
    assert kept.find("a", ("a",)) is not None
    kept.keep("d", ("d",), bytes(10))
    assert [name for name in "abcd" if kept.find(name, (name,)) is not None] == ["a", "c", "d"]
    kept.keep("e", ("e",), bytes(3 * ENTRY_OCTETS))
    assert [name for name in "acde" if kept.find(name, (name,)) is not None] == []
    assert kept.octets == 0
