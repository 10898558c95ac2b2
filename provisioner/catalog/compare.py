"""What one catalogue has that another has not. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from provisioner.catalog.params import Layer
from provisioner.model.catalog import Bootenv, Param


class Content(Protocol):
    """A catalogue as it was read; `catalog.load.Content` is the real one."""

    @property
    def bootenvs(self) -> Mapping[str, Bootenv]: ...

    @property
    def params(self) -> Mapping[str, Param]: ...

    @property
    def templates(self) -> Mapping[str, str]: ...

    @property
    def values(self) -> Mapping[tuple[str, str], Layer]: ...


def compare(before: Content, after: Content) -> Iterator[str]:
    """Name what is added, removed and changed, one line each."""
    yield from _named("bootenv", _placeless(before.bootenvs), _placeless(after.bootenvs))
    yield from _named("template", before.templates, after.templates)
    yield from _named("parameter", _placeless(before.params), _placeless(after.params))
    yield from _named("values of", _values(before.values), _values(after.values))


def _named(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{what} {name}: added"
        elif name not in after:
            yield f"{what} {name}: removed"
        elif before[name] != after[name]:
            yield f"{what} {name}: changed"


def _placeless(items: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where something was read from."""
    return {name: replace(item, source="") for name, item in items.items()}


def _values(layers: Mapping[tuple[str, str], Layer]) -> dict[str, Any]:
    return {" ".join(filter(None, key)): layer.values for key, layer in layers.items()}
