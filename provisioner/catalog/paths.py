"""What a template reads of the values that every template is given, branches that nobody takes included. No I/O.

A path is followed through `{% set disk = system.disk %}` and `{% for part in disk.partitions %}` where a name stands
for one thing in the whole template; what stands for several, or is computed, is left to those who render it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from jinja2 import nodes

EACH = "[]"
"""Stands in a path for whichever item of a list."""
SAME = frozenset({"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"})
"""Filters that give items of the list that they are given."""
ONE = frozenset({"first", "last"})
"""Filters that give one item of it."""

Path: TypeAlias = tuple[str, ...]


def paths(found: Sequence[nodes.Node], names: frozenset[str]) -> Iterator[tuple[int, Path]]:
    """List the paths that a template reads, with their lines. `found` are all its nodes, `names` what it is given."""
    follow = _Follow(found, names)
    for node in found:
        if isinstance(node, (nodes.Getattr, nodes.Getitem, nodes.Call)) and (path := follow.path(node)):
            yield node.lineno, path


class _Follow:
    """Knows what the names of one template stand for."""

    def __init__(self, found: Sequence[nodes.Node], names: frozenset[str]) -> None:
        stands: dict[str, list[nodes.Node | None]] = {}
        seen = set[int]()
        for node in found:
            if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name):
                stands.setdefault(node.target.name, []).append(node.node)
                seen.add(id(node.target))
            elif isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
                stands.setdefault(node.target.name, []).append(nodes.Filter(node.iter, "first", [], [], None, None))
                seen.add(id(node.target))
        for node in found:
            if isinstance(node, nodes.Name) and node.ctx != "load" and id(node) not in seen:
                stands.setdefault(node.name, []).append(None)
        self._given = names - stands.keys()
        self._known: dict[str, Path] = {}
        for _ in stands:  # one is told by another: as often as there are names is always enough
            before = len(self._known)
            for name, meanings in stands.items():
                told = {path if (path := meaning and self.path(meaning)) else () for meaning in meanings}
                if len(told) == 1 and (path := told.pop()):
                    self._known[name] = path
            if len(self._known) == before:
                break

    def path(self, node: nodes.Node) -> Path:
        """Return what an expression reads; nothing where that is not known."""
        if isinstance(node, nodes.Name):
            return (node.name,) if node.name in self._given else self._known.get(node.name, ())
        inner, key = _inner(node)
        path = self.path(inner) if inner is not None else ()
        return (*path, key) if path and key else path


def _inner(node: nodes.Node) -> tuple[nodes.Node | None, str]:
    """Return what an expression is taken out of, and by which key: empty for what gives the same items."""
    if isinstance(node, nodes.Getattr):
        return node.node, node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return node.node, node.arg.value if isinstance(node.arg.value, str) else EACH
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "get":
        key = node.args[0] if node.args else None
        return (node.node.node, str(key.value)) if isinstance(key, nodes.Const) else (None, "")
    if isinstance(node, nodes.Filter) and node.name in SAME | ONE:
        return node.node, EACH if node.name in ONE else ""
    return None, ""
