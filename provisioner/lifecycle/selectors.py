"""Which machines an operator means: `rack=r1`, `node[01-40]`, `profile=gpu,!state=active`. No I/O.

Terms are separated by commas. Names and ranges of names add up, everything else narrows: `node[01-20],node33,!tag=old`
means those of the 21 machines that have no such tag. `!` turns a term round, `|` separates values, `*` and `?` stand
for any characters. A key that is none of a machine's fields is that of a tag: `rack=r1` is the tag "rack=r1".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate

from provisioner.errors import ConfigError, SelectorError
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, State
from provisioner.model.names import MOST, expand, split

FIELDS: dict[str, Callable[[Machine], Iterable[str]]] = {
    "name": lambda m: (m.name,),
    "state": lambda m: (m.state,),
    "profile": lambda m: (m.profile,),
    "bootenv": lambda m: (m.bootenv,),
    "power": lambda m: (m.power or "",),
    "tag": lambda m: m.tags,
    "vendor": lambda m: (m.facts.vendor if m.facts else "",),
    "product": lambda m: (m.facts.product if m.facts else "",),
    "failed": lambda m: ("yes" if m.failure else "no",),
}
"""What a term can ask for, and what a machine has of it; docs/api.md lists them."""

_WILD = frozenset("*?[")
ONE_OF: dict[str, frozenset[str]] = {
    "state": frozenset(State),
    "power": frozenset({"", *Power}),
    "failed": frozenset({"yes", "no"}),
}
"""What a field may be: another word selects nothing, or with `!` everything."""
_NAME = re.compile(r"[A-Za-z0-9._*?-]+")
_KEY = re.compile(r"[A-Za-z0-9_.-]+")
TERMS = 100
"""Most terms of a selector: it is looked at for every machine."""
PATTERNS = 100
"""Most values with `*`, `?` or `[` of a selector: each is tried on every machine. Others are looked up, all at once."""
FAULTS = 20
"""Faults that are told: behind these the text is not read on."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a field may be: one of those that are written out, in their order, or what a pattern says."""

    plain: dict[str, None]
    patterns: re.Pattern[str] | None

    def have(self, value: str) -> bool:
        """Say whether a value is among them."""
        return value in self.plain or (self.patterns is not None and self.patterns.match(value) is not None)


def _is_pattern(value: str) -> bool:
    return not _WILD.isdisjoint(value)


def _values(written: Iterable[str]) -> Values:
    plain: dict[str, None] = {}
    patterns: dict[str, None] = {}
    for value in written:
        (patterns if _is_pattern(value) else plain)[value] = None
    return Values(plain, re.compile("|".join(map(translate, patterns))) if patterns else None)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the field (or the key of a tag) has one of the values; `other` where it must have none."""

    key: str
    values: Values
    other: bool = False

    def holds(self, machine: Machine) -> bool:
        """Say whether a machine fulfils it."""
        field = FIELDS.get(self.key)
        has = field(machine) if field else (tag.partition("=")[2] for tag in machine.tags if _is_of(tag, self.key))
        return any(map(self.values.have, has)) != self.other


def _is_of(tag: str, key: str) -> bool:
    return tag.partition("=")[0] == key and "=" in tag


@dataclass(frozen=True, slots=True)
class Selector:
    """What was asked for. With `names`, a machine has to be one of them; it has to fulfil every term."""

    text: str
    names: Values | None
    terms: tuple[Term, ...]

    def selects(self, machine: Machine) -> bool:
        """Say whether this machine is meant."""
        named = self.names is None or self.names.have(machine.name)
        return named and all(term.holds(machine) for term in self.terms)

    def unknown(self, machines: Iterable[Machine]) -> list[str]:
        """List the names that were written out and that no machine has."""
        there = {machine.name for machine in machines}
        return [name for name in (self.names.plain if self.names else ()) if name not in there]


def parse(text: str) -> Selector:
    """Read a selector; raise `SelectorError` with everything that is wrong with it."""
    written: list[tuple[str, list[str], bool]] = []
    faults: list[str] = []
    most = MOST
    for part in filter(None, map(str.strip, split(text))):
        try:
            written.append(_term(part, most))
        except ConfigError as error:
            faults.append(error.message)
        else:
            most -= len(written[-1][1])
        if len(faults) == FAULTS:
            break
    names = [name for key, values, _ in written if not key for name in values]
    terms = [each for each in written if each[0]]
    if not written and not faults:
        faults.append("it selects nothing; `name=*` means all machines")
    if len(terms) > TERMS:
        faults.append(f"more than {TERMS} terms")
    if sum(_is_pattern(value) for _, values, _ in written for value in values) > PATTERNS:
        faults.append(f"more than {PATTERNS} patterns")
    if faults:
        raise SelectorError("not a selector", faults=faults, hint="such as rack=r1,!state=active")
    conditions = tuple(Term(key, _values(values), other) for key, values, other in terms)
    return Selector(text, _values(names) if names else None, conditions)


def _term(part: str, most: int) -> tuple[str, list[str], bool]:
    """Read one term: its key, empty for names that add up, its values, and whether it is turned round.

    It has at most `most` values.
    """
    body = part.removeprefix("!")
    other = body != part
    key, equals, value = body.partition("=")
    if not equals:
        return "name" if other else "", _names(part, body, most), other
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{part[:80]!r}: {key[:40]!r} is neither a field nor the key of a tag")
    values: list[str] = []
    for each in value.split("|"):
        values += _names(part, each, most - len(values)) if key == "name" and each else [each]
    if len(values) > most:
        raise ConfigError(f"{part[:80]!r}: more than {MOST} names and values")
    known = ONE_OF.get(key)
    if known and (odd := [each for each in values if not _is_pattern(each) and each not in known]):
        raise ConfigError(f"{part[:80]!r}: {odd[0][:40]!r} is none of {', '.join(filter(None, sorted(known)))}")
    return key, values, other


def _names(part: str, text: str, most: int) -> list[str]:
    names = expand(text, most)
    if odd := [name for name in names if not _NAME.fullmatch(name)]:
        raise ConfigError(f"{part[:80]!r}: {odd[0][:40]!r} is no name of a machine")
    return names
