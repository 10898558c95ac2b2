"""Choose the kernel modules of the discovery system: roots by pattern, and what they depend on. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from provisioner.errors import WireError


def dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """Read a modules.dep (depmod(8)): module path -> the paths that it needs, all relative to the modules' folder."""
    table: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        module, colon, rest = line.partition(":")
        if not colon:
            raise WireError(f"modules.dep line {number}: no colon: {line[:60]!r}")
        table[module] = tuple(rest.split())
    return table


def patterns(text: str) -> tuple[str, ...]:
    """Read a list of patterns: one a line, `#` starts a comment, `!` in front leaves a match out."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def choose(table: dict[str, tuple[str, ...]], wanted: Iterable[str]) -> tuple[str, ...]:
    """List the modules that match a pattern, and everything they need, sorted.

    A pattern is a folder (all below it) or a module's path without its suffix, such as `drivers/net/virtio_net`;
    both may hold `*`.
    """
    chosen = list(wanted)
    take = [pattern for pattern in chosen if not pattern.startswith("!")]
    leave = [pattern[1:] for pattern in chosen if pattern.startswith("!")]
    todo = [m for m in table if any(_matches(m, p) for p in take) and not any(_matches(m, p) for p in leave)]
    found: set[str] = set()
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo.extend(table.get(module, ()))
    return tuple(sorted(found))


def _matches(module: str, pattern: str) -> bool:
    stem = module.removeprefix("kernel/").partition(".ko")[0]
    return fnmatchcase(stem, pattern) or fnmatchcase(stem, f"{pattern}/*")
