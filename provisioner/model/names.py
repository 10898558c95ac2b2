"""Names of several machines as people write them: `node17,node18` and `node[01-20,30]`. No I/O."""

from __future__ import annotations

import re

from provisioner.errors import ConfigError

MOST = 10_000
_RANGE = re.compile(r"\[([^\[\]]*)\]")
_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def expand(text: str) -> list[str]:
    """List the names that `text` stands for, in order, each once; raise `ConfigError`."""
    found = list(dict.fromkeys(name for part in _split(text) for name in _ranges(part, text)))
    if not found:
        raise ConfigError(f"{text!r}: no machine is named")
    return found


def _split(text: str) -> list[str]:
    """Split at commas that stand outside brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part]


def _ranges(part: str, whole: str) -> list[str]:
    match = _RANGE.search(part)
    if match is None:
        if "[" in part or "]" in part:
            raise ConfigError(f"{whole!r}: a bracket without its other half")
        return [part]
    numbers = _numbers(match[1], whole)
    tails = _ranges(part[match.end() :], whole) if match.end() < len(part) else [""]
    if len(numbers) * len(tails) > MOST:
        raise ConfigError(f"{whole!r}: more than {MOST} names")
    return [f"{part[: match.start()]}{number}{tail}" for number in numbers for tail in tails]


def _numbers(text: str, whole: str) -> list[str]:
    """Read `01-20,30`; as many digits as the first number has."""
    found: list[str] = []
    for piece in text.split(","):
        match = _PART.fullmatch(piece)
        if match is None:
            raise ConfigError(f"{whole!r}: {piece!r} is not a number or a range", hint="such as node[01-20,30]")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= first + MOST:
            raise ConfigError(f"{whole!r}: {piece} is not a range of at most {MOST} numbers upwards")
        found += [str(number).zfill(len(match[1])) for number in range(first, last + 1)]
    return found
