"""Which machines an operator means: `rack=r1`, `node[01-40]`, `profile=gpu,!state=active`. No I/O.

Terms are separated by commas. Names and ranges of names add up, everything else narrows: `node[01-20],node33,!tag=old`
means those of the 21 machines that have no such tag. `!` turns a term round, `|` separates values, `*` and `?` stand
for any characters. A key that is none of a machine's fields is that of a tag: `rack=r1` is the tag "rack=r1".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from provisioner.errors import ConfigError
from provisioner.model.machine import Machine
from provisioner.model.names import expand

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
"""What a term can ask for, and what a machine has of it; docs/cli.md lists them."""

_COMMA = re.compile(r",(?![^\[]*\])")
_KEY = re.compile(r"[A-Za-z0-9_.-]+")
TERMS = 100
"""Most terms of a selector: it is looked at for every machine."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the field (or the key of a tag) has one of the values; `other` where it must have none."""

    key: str
    values: tuple[str, ...]
    other: bool = False

    def holds(self, machine: Machine) -> bool:
        """Say whether a machine fulfils it."""
        field = FIELDS.get(self.key)
        has = field(machine) if field else (tag.partition("=")[2] for tag in machine.tags if _is_of(tag, self.key))
        return any(fnmatchcase(one, value) for one in has for value in self.values) != self.other


def _is_of(tag: str, key: str) -> bool:
    return tag.partition("=")[0] == key and "=" in tag


@dataclass(frozen=True, slots=True)
class Selector:
    """What was asked for. With `names`, a machine has to be one of them; it has to fulfil every term."""

    text: str
    names: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()

    def selects(self, machine: Machine) -> bool:
        """Say whether this machine is meant."""
        named = not self.names or any(fnmatchcase(machine.name, name) for name in self.names)
        return named and all(term.holds(machine) for term in self.terms)

    def unknown(self, machines: Iterable[Machine]) -> list[str]:
        """List the names that were written out and that no machine has."""
        there = {machine.name for machine in machines}
        return [name for name in self.names if name not in there and not set(name) & set("*?")]


def parse(text: str) -> Selector:
    """Read a selector; raise `ConfigError` with everything that is wrong with it."""
    names: list[str] = []
    terms: list[Term] = []
    faults: list[str] = []
    for part in filter(None, (piece.strip() for piece in _COMMA.split(text))):
        try:
            found = _term(part)
        except ConfigError as error:
            faults.append(error.message)
            continue
        if isinstance(found, Term):
            terms.append(found)
        else:
            names += found
    if not names and not terms and not faults:
        faults.append("it selects nothing; `name=*` means all machines")
    if len(terms) > TERMS:
        faults.append(f"more than {TERMS} terms")
    if faults:
        raise ConfigError(f"not a selector: {text[:200]!r}", faults=faults, hint="such as rack=r1,!state=active")
    return Selector(text, tuple(dict.fromkeys(names)), tuple(terms))


def _term(part: str) -> Term | list[str]:
    body = part.removeprefix("!")
    other = body != part
    key, equals, value = body.partition("=")
    if not equals:
        names = expand(body)
        return Term("name", tuple(names), other) if other else names
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{part[:80]!r}: {key[:40]!r} is neither a field nor the key of a tag")
    values = [name for each in value.split("|") for name in (expand(each) if key == "name" and each else [each])]
    return Term(key, tuple(values), other)
