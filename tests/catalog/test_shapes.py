"""Schemas of parameters: what they may say, and that every check of every value by every one of them ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog.shapes import FORMATS, KEYWORDS, MAX_FAULTS, MAX_SCHEMA, Purse, Shape, TooMuch


def nested(levels: int) -> Any:
    """A schema that doubles with each level, as aliases make it in a few lines."""
    return {"allOf": [nested(levels - 1), nested(levels - 1)]} if levels else {"type": "string"}


REFUSED: dict[str, tuple[Any, str]] = {
    "what another server says": ({"$ref": "http://127.0.0.1:9/schema"}, "$ref: no keyword that is known here: write"),
    "what a file says": ({"items": {"$ref": "file:///etc/secret.json"}}, "items.$ref: no keyword"),
    "what is said nowhere": ({"$ref": "#/nope"}, "$ref: no keyword"),
    "itself": ({"properties": {"a": {"$dynamicRef": "#"}}}, "properties.a.$dynamicRef: no keyword"),
    "another base": ({"$id": "http://127.0.0.1:9/"}, "$id: no keyword"),
    "another dialect": ({"$schema": "http://json-schema.org/draft-03/schema#"}, "$schema: no keyword"),
    "a keyword that is spelt wrongly": ({"anyOf": [{"minLenght": 1}]}, "anyOf[0].minLenght: no keyword that is known"),
    "names by pattern": ({"patternProperties": {"a": {}}}, "propertyNames says which"),
    "a keyword's wrong value": ({"type": "nonsense"}, "'nonsense' is not valid under any of the given schemas"),
    "properties that are none": ({"properties": [1]}, "[1] is not of type 'object'"),
    "parts that are none": ({"allOf": {"a": 1}}, "is not of type 'array'"),
    "a schema that is text": ({"items": "string"}, "'string' is not of type 'object', 'boolean'"),
    "a pattern that is none": ({"pattern": "["}, "pattern: '[': missing ]: [ (RE2's syntax"),
    "a pattern that looks ahead": ({"pattern": "^(?!a)"}, "invalid perl operator: (?!"),
    "a pattern that refers back": ({"pattern": r"(a)\1"}, "invalid escape sequence"),
    "a pattern that is large": ({"pattern": "(a{1000}b){900}"}, "invalid repetition size"),
    "a pattern of many parts": ({"pattern": "|".join(r"\p{L}+x" for _ in range(90))}, "too large"),
    "a pattern that is a number": ({"pattern": 5}, "5 is not of type 'string'"),
    "a schema that doubles": (nested(16), f"more than {MAX_SCHEMA} words and values"),
    "long lists": ({"enum": list(range(MAX_SCHEMA))}, f"more than {MAX_SCHEMA} words and values"),
}


@pytest.mark.parametrize(("schema", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_says_what_is_wrong_with_a_schema(schema: Any, says: str) -> None:
    faults = Shape(schema).faults
    assert any(says in fault for fault in faults), faults


def test_a_schema_that_is_wrong_checks_nothing() -> None:
    assert list(Shape({"$ref": "#", "type": "string"}).errors(5, Purse())) == []


def told(schema: Any, value: Any) -> list[str]:
    shape = Shape(schema)
    assert shape.faults == ()
    return [error.message for error in shape.errors(value, Purse())]


CHECKED: dict[str, tuple[Any, Any, bool]] = {
    "a repetition of a repetition": ({"pattern": "^(a+)+$"}, "a" * 5000 + "1", False),
    "a repetition of a repetition that fits": ({"pattern": "^([a-z]+)*$"}, "a" * 5000, True),
    "a pattern that is anywhere": ({"pattern": "b"}, "abc", True),
    "a line end after the end": ({"pattern": "^[a-z]+$"}, "node\n", False),
    "letters of any script": ({"pattern": r"^\p{L}+$"}, "größe", True),
    "half a character": ({"pattern": "^[a-z]+$"}, "\ud800", False),
    "a number has no pattern": ({"pattern": "^a"}, 5, True),
    "each item once": ({"uniqueItems": True}, ["a", "b"], True),
    "an item twice": ({"uniqueItems": True}, [{"a": 1}, {"a": 1}], False),
    "names": ({"propertyNames": {"pattern": "^[a-z]$"}, "additionalProperties": {"type": "integer"}}, {"a": 1}, True),
    "a wrong name": ({"propertyNames": {"pattern": "^[a-z]$"}}, {"A": 1}, False),
    "a choice": (
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
        {"a": 1},
        False,
    ),
    "one of several": ({"oneOf": [{"type": "string"}, {"minimum": 1}]}, 5, True),
    "none of several": ({"not": {"anyOf": [{"type": "string"}, {"minimum": 1}]}}, 5, False),
    "a list of fixed places": ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], False),
    "an address": ({"format": "ipv4"}, "10.0.0.1", True),
    "an address that is none": ({"format": "ipv4"}, "10.0.0.256", False),
    "a format that is not checked": ({"format": "regex"}, "[", True),
}


@pytest.mark.parametrize(("schema", "value", "fits"), CHECKED.values(), ids=CHECKED.keys())
def test_checks_a_value(schema: Any, value: Any, fits: bool) -> None:
    assert (told(schema, value) == []) is fits


ENDLESS: dict[str, tuple[Any, Any]] = {
    "many parts of many items": ({"items": {"allOf": [{"minimum": 0}] * 300}}, list(range(1000))),
    "long messages of many parts": ({"anyOf": [{"type": "number"}] * 300}, "a" * 100_000),
    "items compared with each other": ({"uniqueItems": True}, [{"a": number} for number in range(400)]),
    "a pattern that a table is too small for": ({"pattern": "[ab]*a[ab]{900}x"}, "ab" * 10_000),
    "a long list for each item": ({"items": {"enum": list(range(1000))}}, list(range(1000))),
    "names": ({"items": {"required": list("abcdefghij")}}, [dict.fromkeys("abcdefghij", 1)] * 10_000),
}


@pytest.mark.unmeasured
@pytest.mark.parametrize(("schema", "value"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_check_that_would_take_long_ends(schema: Any, value: Any) -> None:
    with pytest.raises(TooMuch):
        told(schema, value)


def test_says_some_of_many_faults() -> None:
    assert len(told({"items": {"type": "string"}}, list(range(100)))) == MAX_FAULTS


ROOMY: dict[str, tuple[Any, Any]] = {
    "a thousand packages": (
        {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]+$"}},
        [f"package-{number}" for number in range(1000)],
    ),
    "a hundred keys": (
        {"type": "array", "items": {"type": "string", "pattern": "^ssh-[a-z0-9]+ [A-Za-z0-9+/=]+( [^\n]*)?$"}},
        [f"ssh-rsa {'A' * 720} user{number}" for number in range(100)],
    ),
    "a script of 200 kB": ({"type": "array", "items": {"type": "string"}}, ["echo\n" * 40_000]),
}


@pytest.mark.parametrize(("schema", "value"), ROOMY.values(), ids=ROOMY.keys())
def test_there_is_room_for_what_sites_have(schema: Any, value: Any) -> None:
    assert told(schema, value) == []


def test_a_purse_is_for_one_check() -> None:
    purse, shape = Purse(20), Shape({"items": {"type": "string"}})
    assert list(shape.errors(["a"], purse)) == []
    with pytest.raises(TooMuch):
        list(shape.errors(["a"] * 20, purse))
    assert list(shape.errors(["a"] * 20, Purse())) == []


def test_formats_are_those_that_are_linear() -> None:
    assert set(Purse().checkers) == set(FORMATS)


def test_the_documents_have_every_keyword() -> None:
    text = (Path(__file__).parents[2] / "docs/templates.md").read_text()
    table = text[text.index("| keywords | for |") : text.index("Nothing refers to anything")]
    assert set(re.findall(r"`([^`]+)`", table)) == set(KEYWORDS) | set(FORMATS)
