"""JSON with comments: values, lines, and what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.dhcp.foreign.found import FileFault
from provisioner.dhcp.foreign.json import Map, Reader

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

TEXTS = {
    "comments of three kinds": ('// a\n# b\n/* c\n d */ {"a": 1, # e\n "b": [2, // f\n 3] }', {"a": 1, "b": [2, 3]}),
    "commas at the end": ('{"a": [1, 2,], }', {"a": [1, 2]}),
    "escapes": (r'["\u0041\n\"\\\/"]', ['A\n"\\/']),
    "what looks like a comment in a string": ('{"a": "http://x#y /* z */"}', {"a": "http://x#y /* z */"}),
    "numbers": ("[-1, 2.5, 1e3]", [-1, 2.5, 1000.0]),
    "words": ("[true, false, null]", [True, False, None]),
}


@pytest.mark.parametrize(("text", "value"), TEXTS.values(), ids=TEXTS.keys())
def test_texts(text: str, value: Any) -> None:
    assert Reader(text, "f").value == value


def test_objects_know_their_line() -> None:
    found = Reader('{\n "a": [\n  {},\n  { "b": 1 } ] }', "f").value
    assert isinstance(found, Map)
    assert (found.line, [each.line for each in found["a"]]) == (1, [3, 4])


def test_includes_are_told() -> None:
    assert Reader('{\n"a": 1 <?include "/etc/x.json"?> }', "f").includes == [(2, "/etc/x.json")]


@settings(max_examples=50)
@given(values)
def test_reads_what_others_write(value: Any) -> None:
    assert Reader(json.dumps(value, ensure_ascii=True), "f").value == value
    assert Reader(json.dumps(value, ensure_ascii=False), "f").value == value


@given(st.text(alphabet='{}[]:,"\\ \n#/*1atrue', max_size=40))
def test_any_text_gives_a_value_or_a_fault(text: str) -> None:
    with contextlib.suppress(FileFault):
        Reader(text, "f")


REFUSED = {
    "nothing": ("", "f:1: the document ends too early"),
    "an end too early": ('{"a": [1', "f:1: the document ends too early"),
    "two documents": ("{} {}", "f:1: something follows the document"),
    "no comma": ("[1\n 2]", "f:2: a comma is wanted"),
    "no colon": ('{"a" 1}', "f:1: a comma is wanted"),
    "no key": ("{1: 2}", "f:1: a key is wanted"),
    "no value": ('{"a": }', "f:1: a bracket closes what is not open"),
    "the wrong bracket": ("[1}", "f:1: a bracket closes what is not open"),
    "a comma for nothing": ("[,]", "f:1: a comma stands behind a value"),
    "a colon for nothing": ("[:]", "f:1: a colon stands behind a key"),
    "a word that is none": ("[maybe]", "f:1: 'maybe' is no value"),
    "a number of a thousand digits": (f"[{'9' * 1000}]", "f:1: '999"),
    "a string without an end": ('["a\n]', "f:1: '\"' has no place here"),
    "a comment without an end": ("[1, /* ]", "f:1: '/' has no place here"),
    "a hundred thousand brackets": ("[" * 100_000, "f:1: nests deeper than 64"),
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, fault: str) -> None:
    with pytest.raises(FileFault) as raised:
        Reader(text, "f")
    assert str(raised.value).startswith(fault)
