"""Typed fields: all faults at once, with lines and hints."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from provisioner import yamlfile
from provisioner.errors import CatalogError, ConfigError
from provisioner.fields import Faults, Fields, nearest, parse_size


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


TAKEN: dict[str, tuple[str, Callable[[Fields], Any], Any]] = {
    "text": ("a: b", lambda f: f.text("a"), "b"),
    "text that is not there": ("{}", lambda f: f.text("a"), ""),
    "a flag": ("a: true", lambda f: f.flag("a"), True),
    "a whole number": ("a: 7", lambda f: f.whole("a", high=9), 7),
    "seconds, whole or not": ("a: 2\nb: 0.5", lambda f: f.seconds("a", 1) + f.seconds("b", 1), 2.5),
    "a size in bytes": ("a: 512", lambda f: f.size("a"), 512),
    "a size with a unit": ("a: 1.5GiB", lambda f: f.size("a"), 3 << 29),
    "a choice": ("a: blue", lambda f: f.choice("a", Colour), Colour.BLUE),
    "one text as a list": ("a: b", lambda f: f.texts("a"), ("b",)),
    "a list of texts": ("a: [b, c]", lambda f: f.texts("a"), ("b", "c")),
    "a mapping": ("a: {b: 1}", lambda f: f.mapping("a"), {"b": 1}),
    "parts of a mapping": ("a: {b: {c: d}}", lambda f: {k: p.text("c") for k, p in f.parts("a")}, {"b": "d"}),
    "parts of a list": ("a: [{c: d}]", lambda f: {k: p.text("c") for k, p in f.parts("a")}, {"0": "d"}),
    "a part": ("a: {b: c}", lambda f: f.part("a").text("b"), "c"),
    "a part that is not there": ("{}", lambda f: f.part("a").text("b"), ""),
}


@pytest.mark.parametrize(("text", "take", "value"), TAKEN.values(), ids=TAKEN.keys())
def test_takes(text: str, take: Callable[[Fields], Any], value: Any) -> None:
    faults = Faults()
    assert take(Fields(yamlfile.load(text, "x.yaml"), faults)) == value
    assert faults.found == []


WRONG: dict[str, tuple[str, Callable[[Fields], Any], str]] = {
    "missing": ("b: 1", lambda f: f.text("a", None), "x.yaml:1: a: missing"),
    "a NUL": ('a: "x\\0"', lambda f: f.text("a"), "x.yaml:1: a: 'x\\x00': a text has no NUL in it"),
    "a number for text": (
        "a: 22.10",
        lambda f: f.text("a"),
        "x.yaml:1: a: text is wanted, not the number 22.1: quote it",
    ),
    "text for a number": ("a: x", lambda f: f.whole("a"), "a whole number is wanted, not 'x'"),
    "a truth value for a number": ("a: true", lambda f: f.whole("a"), "not the truth value true"),
    "a number out of bounds": ("a: 70000", lambda f: f.whole("a", high=65535), "70000 is not between 0 and 65535"),
    "seconds out of bounds": ("a: 0", lambda f: f.seconds("a", 1, low=1), "0 is not between 1"),
    "no size": ("a: big", lambda f: f.size("a"), "'big' is not a size such as 10GiB"),
    "a word that is no choice": (
        "a: bleu",
        lambda f: f.choice("a", Colour),
        "'bleu' is not known, did you mean 'blue'?",
    ),
    "a number among texts": (
        "a:\n - b\n - 1",
        lambda f: f.texts("a"),
        "x.yaml:3: a[1]: text is wanted, not the number 1",
    ),
    "text where parts are wanted": ("a: b", lambda f: list(f.parts("a")), "a mapping or list is wanted"),
    "a list where a part is wanted": ("a: [b]", lambda f: f.part("a"), "a mapping is wanted, not a list"),
    "a name that does not match": ("a: A B", lambda f: f.name("a", "[a-z]+"), "'A B' does not match"),
}


@pytest.mark.parametrize(("text", "take", "says"), WRONG.values(), ids=WRONG.keys())
def test_says_what_is_wrong(text: str, take: Callable[[Fields], Any], says: str) -> None:
    faults = Faults()
    take(Fields(yamlfile.load(text, "x.yaml"), faults))
    assert len(faults.found) == 1
    assert says in faults.found[0]


def test_unknown_keys_come_with_a_hint_and_all_at_once() -> None:
    faults = Faults(CatalogError)
    fields = Fields(yamlfile.load("kernal: a\nargs: b\nzzz: c", "x.yaml"), faults)
    fields.text("kernel")
    fields.text("args")
    fields.done()
    with pytest.raises(CatalogError) as caught:
        faults.check("x.yaml")
    assert caught.value.faults == (
        "x.yaml:1: kernal: unknown key, did you mean 'kernel'?",
        "x.yaml:3: zzz: unknown key; known: args, kernel",
    )


def test_a_document_that_is_no_mapping_is_a_fault() -> None:
    faults = Faults()
    Fields(yamlfile.load("- a", "x.yaml"), faults).done()
    with pytest.raises(ConfigError, match="a mapping is wanted, not a list"):
        faults.check("x.yaml")


SIZES = {"1": 1, "10K": 10_000, "10KiB": 10_240, "2 GiB": 2 << 30, "1.5TB": 1_500_000_000_000, "x": None, "-1": None}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


def test_nothing_is_near_to_nothing() -> None:
    assert nearest("x", []) == ""
