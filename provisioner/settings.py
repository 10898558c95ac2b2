"""Settings as typed values: declare each with its default and its explanation, read them from a document, write the
example file that lists them all. No I/O.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

from provisioner.checks import Check
from provisioner.fields import Faults, Fields
from provisioner.yamlfile import Document

T = TypeVar("T")


def setting(default: Any, doc: str, *, check: Check | None = None, keys: Check | None = None) -> Any:
    """Declare a field with a default and the line that documents it.

    `check` judges its value, or each of its items; `keys` the names in a mapping. A default that it refuses is one that
    has to be replaced.
    """
    metadata = {"doc": doc, "check": check, "keys": keys}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    if is_dataclass(default) and isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def docs_of(kind: type) -> dict[str, str]:
    """Give each field of a settings class with the line that documents it."""
    return {each.name: str(each.metadata["doc"]) for each in fields(kind)}


def decode(kind: type[T], document: Document, faults: Faults) -> T:
    """Read a settings class from a document; what is wrong goes to `faults`, and the default stands in."""
    return _decode(kind, Fields(document, faults))


def _decode(kind: type[T], source: Fields) -> T:
    hints = typing.get_type_hints(kind)
    values = {}
    for each in fields(kind):  # type: ignore[arg-type]
        before = len(source.faults.found)
        values[each.name] = _value(hints[each.name], each.name, _default(each), source)
        if source.usable and len(source.faults.found) == before:
            _judge(each.metadata, each.name, values[each.name], source)
    source.done()
    return kind(**values)


def _default(each: Any) -> Any:
    return each.default_factory() if each.default is MISSING else each.default


def _value(hint: Any, name: str, default: Any, source: Fields) -> Any:
    if not source.has(name):
        return default
    if is_dataclass(hint):
        return _decode(typing.cast("type[Any]", hint), source.part(name))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return source.choice(name, hint, default)
    simple = {bool: source.flag, int: source.whole, float: source.seconds, str: source.text}
    if hint in simple:
        return simple[hint](name, default)  # type: ignore[operator]
    return _many(hint, name, source)


def _judge(metadata: Mapping[str, Check | None], name: str, value: Any, source: Fields) -> None:
    """Note what the checks of a field find wrong with what was read."""
    check, keys = metadata.get("check"), metadata.get("keys")
    items = [((), value)] if not isinstance(value, tuple | Mapping) else _items(value)
    for place, item in items:
        if check is not None and (fault := check(item)):
            source.fault(name, fault, *place)
        if keys is not None and (fault := keys(place[-1])):
            source.fault(name, fault, *place)


def _items(value: tuple[Any, ...] | Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], Any]]:
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    return [((place,), item) for place, item in pairs]


def _many(hint: Any, name: str, source: Fields) -> Any:
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and is_dataclass(of[0]):
        return tuple(_decode(typing.cast("type[Any]", of[0]), part) for _, part in source.parts(name))
    if origin is tuple:
        return source.texts(name)
    if origin is Mapping and is_dataclass(of[1]):
        if isinstance(source.any(name), list):
            source.fault(name, "a mapping is wanted, not a list: give each a name")
            return {}
        return {key: _decode(typing.cast("type[Any]", of[1]), part) for key, part in source.parts(name)}
    if origin is Mapping:
        return _texts(source, name)
    raise TypeError(f"{name}: settings of type {hint} cannot be read")


def _texts(source: Fields, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in source.mapping(name).items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found[str(key)] = str(value)
        else:
            source.fault(name, f"{key}: text is wanted: quote it")
    return found


def example(kind: type, depth: int = 0) -> str:
    """Write the file that lists every key with its default and what it means."""
    return "\n".join(_example(kind, depth)) + "\n"


def _example(kind: type, depth: int) -> Iterator[str]:
    pad, hints = "  " * depth, typing.get_type_hints(kind)
    for each in fields(kind):
        hint = hints[each.name]
        for line in _wrap(str(each.metadata["doc"]), 116 - len(pad)):
            yield f"{pad}# {line}"
        if is_dataclass(hint):
            yield f"{pad}{each.name}:"
            yield from _example(typing.cast("type[Any]", hint), depth + 1)
            continue
        default = _default(each)
        inner = _inner(hint)
        if inner is not None and not default:
            yield f"{pad}{each.name}: {'{}' if typing.get_origin(hint) is Mapping else '[]'}"
            yield from (f"{pad}#   {line}" for line in _example(inner, 0))
            continue
        yield f"{pad}{each.name}: {_scalar(default)}"


def _inner(hint: Any) -> type | None:
    of = typing.get_args(hint)
    found = next((each for each in of if is_dataclass(each)), None)
    return typing.cast("type", found) if not isinstance(hint, types.UnionType) else None


def _scalar(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case tuple():
            return "[" + ", ".join(_scalar(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {_scalar(item)}" for key, item in value.items()) + "}"
        case _:
            return '"' + str(value) + '"'


def _wrap(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
