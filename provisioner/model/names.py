"""What people call things: several machines (`node17,node18`, `node[01-20,30]`), and runs. No I/O."""

from __future__ import annotations

import re

from provisioner.errors import ConfigError

MOST = 10_000
"""Names that one text stands for, at the most: each is made, and looked for among the machines."""
RANGES = 8
"""Brackets in one name: four make 10,000 names of ten each, the others are of one."""
SHOWN = 80
"""Characters of a text that are told with a fault of it: it may be as long as a request."""
_MARK = re.compile(r"[\[\],]")
_RANGE = re.compile(r"\[([^\[\]]*)\]")
_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_BY_ITSELF = {
    "local": "boot from disk",
    "release": "release",
    "release-keep": "release without erase",
    "rescue": "rescue",
}
"""What runs are called whose verb says all, or needs other words. What an erase or a rescue boots is of no interest."""


def run_name(verb: str, bootenv: str) -> str:
    """Call a run as people do: "deploy debian-12", "boot from disk"."""
    return _BY_ITSELF.get(verb) or f"{verb} {bootenv}".strip()


def expand(text: str, most: int = MOST) -> list[str]:
    """List the names that `text` stands for, in order, each once; raise `ConfigError`.

    More than `most` are refused before they are made.
    """
    found: list[str] = []
    for part in filter(None, split(text)):
        found += _ranges(part, text, most - len(found))
    if not found:
        raise ConfigError(f"{text[:SHOWN]!r}: no machine is named")
    return list(dict.fromkeys(found))


def split(text: str) -> list[str]:
    """Split at commas that stand outside brackets: the next bracket behind them closes none."""
    parts: list[str] = []
    end, inside = len(text), False
    for mark in reversed(list(_MARK.finditer(text))):
        if mark[0] != ",":
            inside = mark[0] == "]"
        elif not inside:
            parts.append(text[mark.end() : end])
            end = mark.start()
    return [text[:end], *reversed(parts)]


def _ranges(part: str, whole: str, most: int) -> list[str]:
    """List the names of a part without commas, the last range first."""
    names, end = [""], len(part)
    found = list(_RANGE.finditer(part))
    if len(found) > RANGES:
        raise ConfigError(f"{part[:SHOWN]!r}: more than {RANGES} brackets in one name")
    for match in reversed(found):
        numbers = _numbers(match[1], whole, most // len(names))
        tail = _outside(part[match.end() : end], whole)
        names = [f"{number}{tail}{name}" for number in numbers for name in names]
        end = match.start()
    head = _outside(part[:end], whole)
    if len(names) > most:
        raise _too_many(whole)
    return [head + name for name in names]


def _outside(text: str, whole: str) -> str:
    """Return what stands outside of brackets, where there is none."""
    if "[" in text or "]" in text:
        raise ConfigError(f"{whole[:SHOWN]!r}: a bracket without its other half")
    return text


def _numbers(text: str, whole: str, most: int) -> list[str]:
    """Read `01-20,30`; as many digits as the first number has."""
    found: list[str] = []
    for piece in text.split(","):
        match = _PART.fullmatch(piece)
        if match is None:
            hint = "such as node[01-20,30]"
            raise ConfigError(f"{whole[:SHOWN]!r}: {piece[:SHOWN]!r} is not a number or a range", hint=hint)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= first + MOST:
            raise ConfigError(f"{whole[:SHOWN]!r}: {piece} is not a range of at most {MOST} numbers upwards")
        if len(found) + last - first >= most:
            raise _too_many(whole)
        found += [str(number).zfill(len(match[1])) for number in range(first, last + 1)]
    return found


def _too_many(whole: str) -> ConfigError:
    return ConfigError(f"{whole[:SHOWN]!r}: more than {MOST} names")
