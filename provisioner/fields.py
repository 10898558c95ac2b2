"""Take typed fields out of a document that people wrote: all faults at once, each with its line. No I/O.

fields = Fields(document)
name = fields.text("name")
arch = {key: part.text("kernel") for key, part in fields.parts("arch")}
fields.done()           # what was never asked for is unknown: a fault, with the nearest known key as a hint
fields.faults.check()   # raises them all
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any, TypeVar

from provisioner.errors import ConfigError
from provisioner.yamlfile import Document, Path

E = TypeVar("E", bound=StrEnum)

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGTP]i?)?B?")
_FACTOR = {"": 1} | {
    unit + i: (1024 if i else 1000) ** power for power, unit in enumerate("KMGTP", 1) for i in ("", "i")
}


class Faults:
    """What was found wrong in one or more files."""

    def __init__(self, error: type[ConfigError] = ConfigError) -> None:
        self.error = error
        self.found: list[str] = []

    def add(self, where: str, text: str) -> None:
        self.found.append(f"{where}: {text}")

    def check(self, what: str) -> None:
        """Raise all faults as one error, if there are any."""
        if self.found:
            raise self.error(f"{what}: not in order", faults=self.found)


def parse_size(text: str) -> int | None:
    """Read `512MiB`, `10G` or `1.5 TiB` as bytes; None where it is not a size."""
    match = _SIZE.fullmatch(text.strip())
    return round(float(match[1]) * _FACTOR[match[2] or ""]) if match else None


def nearest(word: str, known: Collection[str]) -> str:
    """Say `, did you mean X?` where one of `known` is close to `word`; else name what is known."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if 0 < len(known) <= 30 else ""


class Fields:
    """One mapping of a document, under decoding."""

    def __init__(self, document: Document, faults: Faults, path: Path = (), value: Any = ...) -> None:
        self.document = document
        self.faults = faults
        self.path = path
        found = document.value if value is ... else value
        self._asked: set[str] = set()
        self._values: dict[str, Any] = {}
        self.usable = isinstance(found, dict)
        """It is a mapping; the fault is noted where it is none."""
        if isinstance(found, dict):
            self._values = found
        else:
            self.fault(None, f"a mapping is wanted, not {_kind(found)}")

    def fault(self, key: str | None, text: str, *deeper: str | int) -> None:
        """Note a fault at `key` of this mapping (None: at the mapping itself), or at what is `deeper` in it."""
        path = self.path if key is None else (*self.path, key, *deeper)
        name = ".".join(str(step) for step in path)
        self.faults.add(self.document.where(path), f"{name}: {text}" if name else text)

    def has(self, key: str) -> bool:
        """Say whether the key is given, with any value but null."""
        return self.any(key) is not None

    def any(self, key: str) -> Any:
        """Take a value as it is; None where it is not given."""
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str, default: str | None = "") -> str:
        """Take a string; with `default=None` it has to be given."""
        value = self._take(key, str, "text", missing=default is None)
        return (default or "") if value is None else str(value)

    def name(self, key: str, pattern: str, default: str | None = None) -> str:
        """Take a string that matches `pattern` from end to end."""
        value = self.text(key, default)
        if value and value != default and not re.fullmatch(pattern, value):
            self.fault(key, f"{value!r} does not match {pattern}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Take true or false."""
        value = self._take(key, bool, "true or false")
        return default if value is None else bool(value)

    def whole(self, key: str, default: int = 0, low: int = 0, high: int = 2**63) -> int:
        """Take a whole number within bounds."""
        value = self._take(key, int, "a whole number")
        if value is None:
            return default
        if not low <= value <= high:
            self.fault(key, f"{value} is not between {low} and {high}" if high < 2**63 else f"{value}: {low} or more")
        return int(value)

    def seconds(self, key: str, default: float, low: float = 0.0, high: float = 1e9) -> float:
        """Take a number of seconds within bounds."""
        value = self._take(key, (int, float), "a number of seconds")
        if value is None:
            return default
        if not low <= value <= high:
            self.fault(key, f"{value} is not between {low} and {high}")
        return float(value)

    def size(self, key: str, default: int = 0) -> int:
        """Take a size: bytes, or text such as `10GiB`."""
        value = self._take(key, (int, str), "a size such as 10GiB")
        if value is None:
            return default
        size = value if isinstance(value, int) else parse_size(value)
        if size is None or size < 0:
            self.fault(key, f"{value!r} is not a size such as 10GiB")
            return default
        return int(size)

    def choice(self, key: str, kind: type[E], default: E | None = None) -> E:
        """Take one of an enumeration's words."""
        text = self.text(key, None if default is None else str(default))
        if text not in set(kind):
            if text:
                self.fault(key, f"{text!r} is not known{nearest(text, [str(word) for word in kind])}")
            return default if default is not None else next(iter(kind))
        return kind(text)

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings; a single string counts as a list of one."""
        value = self._take(key, (list, str), "a list of texts")
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        for index, item in enumerate(items):
            if not isinstance(item, str):
                self.faults.add(
                    self.document.where((*self.path, key, index)),
                    f"{key}[{index}]: text is wanted, not {_kind(item)}: quote it",
                )
        return tuple(item for item in items if isinstance(item, str))

    def mapping(self, key: str) -> dict[str, Any]:
        """Take a mapping as it is."""
        value = self._take(key, dict, "a mapping")
        return value or {}

    def part(self, key: str) -> Fields:
        """Go down into a mapping; an empty one where it is not given."""
        value = self.any(key)
        return Fields(self.document, self.faults, (*self.path, key), {} if value is None else value)

    def parts(self, key: str) -> Iterator[tuple[str, Fields]]:
        """Go down into a mapping of mappings, or a list of mappings (keys are then the indexes)."""
        value = self.any(key)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield str(index), Fields(self.document, self.faults, (*self.path, key, index), item)
        elif isinstance(value, dict):
            for name, item in value.items():
                yield name, Fields(self.document, self.faults, (*self.path, key, name), item)
        elif value is not None:
            self.fault(key, f"a mapping or list is wanted, not {_kind(value)}")

    def done(self) -> None:
        """Refuse every key that was never asked for."""
        for key in self._values:
            if key not in self._asked:
                self.fault(key, f"unknown key{nearest(key, self._asked)}")

    def _take(self, key: str, kinds: type | tuple[type, ...], wanted: str, missing: bool = False) -> Any:
        value = self.any(key)
        if value is None:
            if missing:
                self.fault(None, f"{key}: missing")
            return None
        wants_bool = kinds is bool
        if not isinstance(value, kinds) or (isinstance(value, bool) and not wants_bool):
            quote = ": quote it" if wanted.endswith(("text", "texts")) and isinstance(value, int | float) else ""
            self.fault(key, f"{wanted} is wanted, not {_kind(value)}{quote}")
            return None
        if isinstance(value, str) and "\0" in value:
            self.fault(key, f"{value!r}: a text has no NUL in it")
            return None
        return value


def _kind(value: Any) -> str:
    """Name what a value is, shortly, with the value where it is small."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"the truth value {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case _:
            return repr(str(value)[:40])
