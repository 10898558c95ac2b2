"""What a parameter takes, in words."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.catalog.spelled import REFERENCE, Word, spelled, words
from provisioner.model.catalog import Param
from tests.shipped import catalogue

SPELLED: dict[str, tuple[dict[str, Any], str]] = {
    "one of several": ({"enum": ["plain", "lvm", 2]}, "plain, lvm, 2"),
    "one alone": ({"const": True}, "true"),
    "yes or no": ({"type": "boolean"}, "true or false"),
    "a number": ({"type": "integer", "minimum": 576, "maximum": 9216}, "whole number 576 to 9216"),
    "a number from": ({"type": "integer", "minimum": 1}, "whole number 1 or more"),
    "a number up to": ({"type": "number", "maximum": 4}, "number up to 4"),
    "a text": ({"type": "string", "pattern": "^[a-z]+$", "maxLength": 8}, "text of at most 8 characters ^[a-z]+$"),
    "a text of a kind": ({"type": "string", "format": "uri"}, "text (uri)"),
    "a text without line ends": ({"type": "string", "pattern": "^[^\n\r\t]*$"}, "text ^[^\\n\\r\\t]*$"),
    "a list": ({"type": "array", "items": {"type": "string"}}, "list of text"),
    "a list that is not long": ({"type": "array", "maxItems": 8, "items": {"enum": ["a"]}}, "list (up to 8) of a"),
    "a list of anything, said so": ({"type": "array", "items": True}, "list of anything"),
    "a list of nothing more": ({"type": "array", "items": False}, "list of nothing"),
    "a list of anything": ({"type": "array"}, "list of anything"),
    "names": ({"type": "object", "additionalProperties": {"type": "integer"}}, "mapping of names to whole number"),
    "a mapping": ({"type": "object"}, "mapping"),
    "nothing said": ({}, "anything"),
}


@pytest.mark.parametrize(("schema", "said"), SPELLED.values(), ids=SPELLED.keys())
def test_says_what_a_schema_takes(schema: dict[str, Any], said: str) -> None:
    assert spelled(schema) == said


def test_lists_what_is_inside() -> None:
    match = {"type": "object", "properties": {"mac": {"type": "string", "description": "its own"}}}
    keys = {"match": match, "dhcp": {"type": "boolean"}, "x": True}
    item = {"type": "object", "required": ["match"], "properties": keys}
    assert list(words(Param("net.x", "Some\nports.", {"type": "array", "items": item}))) == [
        Word("net.x", "list of mapping", "Some ports."),
        Word("net.x[].match", "mapping", "", True),
        Word("net.x[].match.mac", "text", "its own"),
        Word("net.x[].dhcp", "true or false", ""),
        Word("net.x[].x", "anything", ""),
    ]


def test_every_parameter_of_ours_says_what_it_takes() -> None:
    for param in catalogue().content.params.values():
        assert [word.path for word in words(param) if word.takes == "anything"] == []


def test_of_a_secret_it_says_where_it_is() -> None:
    assert next(words(Param("a.b", "x", {"type": "string", "pattern": "^store:"}, secret=True))).takes == REFERENCE
