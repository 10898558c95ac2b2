"""What a parameter takes, in words: its schema for people, in documents and on the command line. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from provisioner.model.catalog import Param

Schema = Mapping[str, Any] | bool
"""True takes anything, and False nothing (JSON Schema, section 4.3.2)."""
REFERENCE = "where a secret is"

_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}

_WRITTEN = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


class Word(NamedTuple):
    """A parameter, or a key inside of it: `net.interfaces[].match.mac`."""

    path: str
    takes: str
    about: str
    required: bool = False


def words(param: Param) -> Iterator[Word]:
    """List what a parameter is made of, itself first."""
    yield Word(param.name, REFERENCE if param.secret else spelled(param.schema), " ".join(param.about.split()))
    yield from _inside(param.name, param.schema)


def spelled(schema: Schema) -> str:
    """Say what values a schema takes, on one line."""
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    if "const" in schema or "enum" in schema:
        return ", ".join(_value(value) for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "array":
            return f"list{_count(schema)} of {spelled(schema.get('items', {}))}"
        case "object":
            inside = schema.get("additionalProperties")
            return f"mapping of names to {spelled(inside)}" if isinstance(inside, dict) else "mapping"
        case str(kind):
            return _plain(kind, schema)
        case _:
            return "anything"


def _plain(kind: str, schema: Mapping[str, Any]) -> str:
    said = [_KINDS.get(kind, kind)]
    if bounds := _bounds(schema.get("minimum"), schema.get("maximum")):
        said.append(bounds)
    if "maxLength" in schema:
        said.append(f"of at most {schema['maxLength']} characters")
    if "format" in schema:
        said.append(f"({schema['format']})")
    if "pattern" in schema:
        said.append(schema["pattern"].translate(_WRITTEN))
    return " ".join(said)


def _inside(name: str, schema: Schema) -> Iterator[Word]:
    if isinstance(schema, bool):
        return
    items = schema.get("items")
    where, one = (f"{name}[]", items) if isinstance(items, dict) else (name, schema)
    for key, part in one.get("properties", {}).items():
        path = f"{where}.{key}"
        about = part.get("description", "") if isinstance(part, dict) else ""
        yield Word(path, spelled(part), about, key in one.get("required", ()))
        yield from _inside(path, part)


def _count(schema: Mapping[str, Any]) -> str:
    bounds = _bounds(schema.get("minItems"), schema.get("maxItems"))
    return f" ({bounds})" if bounds else ""


def _bounds(low: int | None, high: int | None) -> str:
    if low is None:
        return "" if high is None else f"up to {high}"
    return f"{low} or more" if high is None else f"{low} to {high}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
