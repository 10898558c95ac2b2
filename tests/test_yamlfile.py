"""YAML as people write it: what is read, and what is refused with its line."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import yamlfile
from provisioner.errors import ConfigError

READ: dict[str, tuple[str, Any]] = {
    "an empty file is an empty mapping": ("", {}),
    "a comment alone too": ("# nothing\n", {}),
    "plain values of JSON's types": (
        "a: 1\nb: -2.5\nc: true\nd: null\ne: text",
        {"a": 1, "b": -2.5, "c": True, "d": None, "e": "text"},
    ),
    "a version in quotes stays text": ('v: "22.04"', {"v": "22.04"}),
    "quoted words are words": ("a: 'no'\nb: \"012\"", {"a": "no", "b": "012"}),
    "a key may look like anything": ("on: 1\n22.04: 2\nyes: 3", {"on": 1, "22.04": 2, "yes": 3}),
    "folded text is one line": ("a: >-\n  x\n  y", {"a": "x y"}),
    "an alias gives a copy": ("a: &x {b: [1]}\nc: *x", {"a": {"b": [1]}, "c": {"b": [1]}}),
    "an explicit text tag says nothing new": ("a: ! b", {"a": "b"}),
}


@pytest.mark.parametrize(("text", "value"), READ.values(), ids=READ.keys())
def test_reads(text: str, value: Any) -> None:
    assert yamlfile.load(text, "x.yaml").value == value


REFUSED = {
    "a key given twice": ("a: 1\nb: 2\na: 3", ["x.yaml:3: a: given twice, first on line 1"]),
    "yes, no, on and off": (
        "a: no\nb: On",
        ["x.yaml:1: YAML 1.1 reads no as a truth value", "x.yaml:2: YAML 1.1 reads On"],
    ),
    "an octal number": ("a: 012", ["x.yaml:1: YAML 1.1 reads 012 as an octal number"]),
    "a number of base sixty": ("a: 1:30", ["reads 1:30 as a number of base sixty"]),
    "a date": ("a: 2024-01-01", ["reads 2024-01-01 as a date"]),
    "a number with underscores": ("a: 1_000", ["reads 1_000 as a number"]),
    "True with a capital": ("a: True", ["only true, false and null in lower case"]),
    "a Python object": (
        "a: !!python/object/apply:os.system [id]",
        ["tag tag:yaml.org,2002:python/object/apply:os.system"],
    ),
    "a merge key": ("a: &x {b: 1}\nc:\n  <<: *x", ["merge keys (<<) are not read"]),
    "two documents": ("a: 1\n---\nb: 2", ["x.yaml:2: a second document begins"]),
    "an alias before its anchor": ("a: *x", ["*x is not defined above this line"]),
    "an alias to what is still open": ("a: &x [*x]", ["*x is not defined above this line"]),
    "a mapping as a key": ("? {a: 1}\n: b", ["cannot be a key"]),
    "an unclosed list": ("a: [1,\n", ["not YAML"]),
    "a tab for indentation": ("a:\n\tb: 1", ["not YAML"]),
    "a hundred thousand brackets": ("[" * 100_000, ["x.yaml:1: nested deeper than 32"]),
    "all faults at once": ("a: no\nb: 012\nb: 1", [":1:", ":2:", ":3: b: given twice"]),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        yamlfile.load(text, "x.yaml")
    assert len(caught.value.faults) == len(says)
    for fault, part in zip(caught.value.faults, says, strict=True):
        assert part in fault


def test_aliases_cannot_multiply_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 200000 values"):
        yamlfile.load("\n".join(lines), "bomb.yaml")


LONG = {
    "text": f"a: &a {'x' * 65_000}\n",
    "text in a list": f"a: &a [{'x' * 65_000}]\n",
    "a key": f"a: &a {{? {'x' * 65_000} : 1}}\n",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_aliases_cannot_multiply_long_text(text: str) -> None:
    """It is one text in memory, and as many as it is named in whatever is written from it."""
    assert yamlfile.load(text + "b: [*a, *a]\n", "x.yaml")
    with pytest.raises(ConfigError, match="more than 200000 values"):
        yamlfile.load(f"{text}b: [{', '.join(['*a'] * 1000)}]\n", "bomb.yaml")


def test_aliases_cannot_nest_without_bound() -> None:
    lines = ["a0: &a0 [[[[[[[[x]]]]]]]]"]
    lines += [f"a{n}: &a{n} [[[[[[[[*a{n - 1}]]]]]]]]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="makes it nested deeper than 32"):
        yamlfile.load("\n".join(lines), "bomb.yaml")


def test_a_huge_file_is_not_read() -> None:
    with pytest.raises(ConfigError, match="at most 4194304 are read"):
        yamlfile.load("#" * (yamlfile.MAX_BYTES + 1), "x.yaml")


def test_a_place_is_named_by_its_line() -> None:
    document = yamlfile.load("a:\n  - b: 1\n    c: 2\n", "x.yaml")
    assert document.where(("a", 0, "c")) == "x.yaml:3"
    assert document.where(("a", 0, "nothing")) == "x.yaml:2"


texts = st.text(st.characters(codec="utf-8"))
keys = st.text("abc<é \n", min_size=1, max_size=4).filter(lambda key: key != "<<")
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    ["", "~", "null", "True", "no", "7", "08", "-0_1", "1.5", "0E0", "1e3", "0x1F", "1:30", ".inf", "2026-01-01"],
)
def test_a_text_that_reads_as_something_else_is_written_in_quotes(text: str) -> None:
    assert yamlfile.load(yamlfile.dump({"of": text, text: [text]}), "x").value == {"of": text, text: [text]}


@given(plain.filter(lambda value: value is not None))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert yamlfile.load(yamlfile.dump(value), "x").value == value


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_a_config_error(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        yamlfile.load(data, "x.yaml")
