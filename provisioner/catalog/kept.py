"""Rendered texts, each kept with all that it was made from, and given again while none of that differs. No I/O.

Nobody has to say that a text is out of date: whoever asks brings what it would be made from now. So a change takes
effect with the next question, and touches no text that does not follow from it. A `Stamp` makes that look cheap: what
a text follows from is made of objects that are replaced and never changed, so the very same ones give the same text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from operator import attrgetter, is_
from typing import Any, Generic, NamedTuple, TypeVar

MAX_OCTETS = 128 << 20
"""Of all texts: 10,000 machines with three files of 2 kB each take 123 MiB. Those not asked for longest go first."""
ENTRY_OCTETS = 2048
"""What a text takes beside its own octets, as measured: the boot and the secrets that it was made for."""


T = TypeVar("T", bound=Sized)


class Stamp(NamedTuple):
    """Everything that a value follows from. Where none of it differs nothing else has to be looked at.

    `things` are replaced and never changed in place: each has to be the very same. `words` have to be equal.
    """

    things: tuple[object, ...]
    words: tuple[str, ...] = ()

    def is_still(self, now: Stamp) -> bool:
        """Say whether nothing differs; False may also be said of things that are equal."""
        if self.words != now.words or len(self.things) != len(now.things):
            return False
        return all(map(is_, self.things, now.things))


@dataclass(slots=True)
class _Entry(Generic[T]):
    made_from: tuple[object, ...]
    value: T
    stamp: Stamp | None


class Kept(Generic[T]):
    """Kept values (texts, lists of names) by name, one for each: a newer one takes the place of the one before."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        self._max_octets = max_octets
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self.octets = 0
        """What all of them take."""

    def at_once(self, name: Hashable, stamp: Stamp) -> T | None:
        """Give the value of this name if it was found or kept under this very stamp; None says nothing."""
        entry = self._entries.get(name)
        if entry is None or entry.stamp is None or not entry.stamp.is_still(stamp):
            return None
        self._entries.move_to_end(name)
        return entry.value

    def find(self, name: Hashable, made_from: tuple[object, ...], stamp: Stamp | None = None) -> T | None:
        """Give the value of this name if it was made from just this; None otherwise. `stamp` is what that follows from.

        All of it is compared: what differs in a stamp need not differ for any template.
        """
        entry = self._entries.get(name)
        if entry is None or not same(entry.made_from, made_from):
            return None
        entry.made_from, entry.stamp = made_from, stamp  # what is the very same is compared fastest
        self._entries.move_to_end(name)
        return entry.value

    def keep(self, name: Hashable, made_from: tuple[object, ...], value: T, stamp: Stamp | None = None) -> None:
        """Keep a value. What it was made from must not be changed in place from now on."""
        before = self._entries.pop(name, None)
        if before is not None:
            self.octets -= len(before.value) + ENTRY_OCTETS
        self._entries[name] = _Entry(made_from, value, stamp)
        self.octets += len(value) + ENTRY_OCTETS
        while self.octets > self._max_octets:
            _, oldest = self._entries.popitem(last=False)
            self.octets -= len(oldest.value) + ENTRY_OCTETS


def same(before: Any, after: Any) -> bool:
    """Say whether no template can tell two values apart: 1, 1.0 and true differ, and so do mappings of other order."""
    if before is after:
        return True
    kind = type(before)
    if kind is not type(after):
        return False
    parts = _parts_of(kind)  # type: ignore[arg-type]  # a class can be hashed
    if parts is None:  # 0.0 and -0.0 are the same number, and printed differently
        return bool(before == after) and (kind is not float or repr(before) == repr(after))
    ones, others = parts(before), parts(after)
    if len(ones) != len(others):
        return False
    for one, other in zip(ones, others, strict=True):  # noqa: SIM110  a generator costs more than the loop
        if one is not other and not same(one, other):
            return False
    return True


Parts = Callable[[Any], Sequence[Any]]


@lru_cache
def _parts_of(kind: type) -> Parts | None:
    """Say how the parts of a value of some kind are had; None for what has none."""
    if issubclass(kind, tuple | list):
        return _itself
    if issubclass(kind, dict):
        return _keys_and_values
    names = [each.name for each in fields(kind)] if is_dataclass(kind) else []
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda value: [getattr(value, name) for name in names]) if names else None


def _itself(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _keys_and_values(value: Mapping[Any, Any]) -> Sequence[Any]:
    return [*value, *value.values()]
