"""Name the hardware profile that a machine belongs to, and say why. No I/O.

A profile is a set of conditions on facts. The most specific one that fits counts: more conditions beat fewer, and of
equally many the narrower ones beat the wider. Two profiles that could fit one machine with neither more specific are a
fault when they are loaded, never an accident of order. Conditions are on facts; no profile asks for a maker's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from provisioner.errors import CatalogError
from provisioner.fields import Faults, Fields
from provisioner.model.facts import Facts
from provisioner.yamlfile import Document

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `low` to `high`, both included; None has no end on that side."""

    low: int | None = None
    high: int | None = None

    def holds(self, value: object) -> bool:
        """Say whether `value` was read and lies inside."""
        if not isinstance(value, int):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def meets(self, other: Condition) -> bool:
        """Say whether some value satisfies both."""
        return isinstance(other, Range) and not (_above(self.low, other.high) or _above(other.low, self.high))

    def within(self, other: Condition) -> bool:
        """Say whether every value that satisfies this satisfies the other."""
        if not isinstance(other, Range):
            return False
        low = other.low is None or (self.low is not None and self.low >= other.low)
        return low and (other.high is None or (self.high is not None and self.high <= other.high))


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words, or a truth value."""

    values: frozenset[str | bool]

    def holds(self, value: object) -> bool:
        """Say whether `value` was read and is one of them."""
        return isinstance(value, str | bool) and value in self.values

    def meets(self, other: Condition) -> bool:
        """Say whether some value satisfies both."""
        return isinstance(other, OneOf) and bool(self.values & other.values)

    def within(self, other: Condition) -> bool:
        """Say whether every value that satisfies this satisfies the other."""
        return isinstance(other, OneOf) and self.values <= other.values


Condition = Range | OneOf


@dataclass(frozen=True, slots=True)
class Profile:
    """A class of machines. `where` is the line that defines it, for messages."""

    name: str
    about: str = ""
    when: Mapping[str, Condition] | None = None
    where: str = ""

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """The conditions by the name of the fact; all have to hold."""
        return self.when or {}


MEASURES: Mapping[str, Callable[[Facts], object]] = {
    "firmware": lambda facts: facts.firmware or None,
    "architecture": lambda facts: facts.cpu.architecture or None,
    "virtual": lambda facts: facts.virtual,
    "secure_boot": lambda facts: facts.secure_boot,
    "tpm": lambda facts: facts.tpm or "none",
    "memory": lambda facts: facts.memory_bytes or None,
    "sockets": lambda facts: facts.cpu.sockets or None,
    "cores": lambda facts: facts.cpu.cores or None,
    "threads": lambda facts: facts.cpu.threads or None,
    "disks": lambda facts: len(facts.disks),
    "flash_disks": lambda facts: sum(not disk.rotational for disk in facts.disks),
    "disk_bytes": lambda facts: sum(disk.size_bytes for disk in facts.disks),
    "largest_disk": lambda facts: max((disk.size_bytes for disk in facts.disks), default=0),
    "nics": lambda facts: len(facts.nics),
    "relay": lambda facts: next((nic.relay for nic in facts.nics if nic.relay), None),
    "circuit_id": lambda facts: next((nic.circuit_id for nic in facts.nics if nic.circuit_id), None),
    "remote_id": lambda facts: next((nic.remote_id for nic in facts.nics if nic.remote_id), None),
    "nic_speed_mbps": lambda facts: max((nic.speed_mbps or 0 for nic in facts.nics), default=0),
}
"""What a condition can be on: a function of facts, None where they do not tell, and then nothing holds."""

_WORDS = frozenset({"firmware", "architecture", "tpm", "relay", "circuit_id", "remote_id"})
_TRUTHS = frozenset({"virtual", "secure_boot"})
_SIZES = frozenset({"memory", "disk_bytes", "largest_disk"})


class Profiles:
    """Profiles that never tie, most specific first."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self.profiles = tuple(sorted(profiles, key=lambda profile: (-len(profile.conditions), profile.name)))

    def classify(self, facts: Facts) -> tuple[str, str]:
        """Return the profile's name and the reason; an empty name where none fits."""
        fitting = [p for p in self.profiles if all(c.holds(MEASURES[k](facts)) for k, c in p.conditions.items())]
        for profile in fitting:
            if not any(_beats(other, profile) for other in fitting):
                return profile.name, _reason(profile, facts)
        return "", "no profile fits"


def decode_profiles(documents: Iterable[Document], faults: Faults | None = None) -> Profiles:
    """Read profiles; a later one replaces an earlier of the same name. Raise `CatalogError` with all faults.

    `faults` are those of documents that could not be read.
    """
    faults = faults if faults is not None else Faults(CatalogError)
    found: dict[str, Profile] = {}
    for document in documents:
        top = Fields(document, faults)
        for name in top.document.value if isinstance(document.value, dict) else ():
            found[str(name)] = _profile(str(name), top.part(name))
        top.done()
    for first, second in combinations(found.values(), 2):
        if _tie(first, second):
            faults.add(
                first.where,
                f"{first.name} and {second.name} ({second.where}) can fit the same machine equally well: "
                "give one of them a further condition",
            )
    faults.check("hardware profiles")
    return Profiles(found.values())


def _profile(name: str, fields: Fields) -> Profile:
    if not _NAME.fullmatch(name):
        fields.fault(None, f"{name!r} is not a profile's name: small letters, digits and hyphens")
    when = fields.part("when")
    about = fields.text("about")
    conditions = decode_conditions(when)
    fields.done()
    return Profile(name, about, conditions, fields.document.where(fields.path))


def decode_conditions(when: Fields) -> dict[str, Condition]:
    """Read conditions by the name of the fact that each is on."""
    conditions = {key: _condition(key, when) for key in MEASURES if when.has(key)}
    when.done()
    return conditions


def told(keys: Iterable[str], facts: Facts) -> list[str]:
    """Put into words what the facts are that conditions are on."""
    return [f"{key} is {_spell(key, MEASURES[key](facts))}" for key in keys]


def unfulfilled(conditions: Mapping[str, Condition], facts: Facts) -> list[str]:
    """Say which conditions do not hold, and what the facts are instead."""
    return [
        f"{key} is {'not known' if (value := MEASURES[key](facts)) is None else _spell(key, value)}"
        for key, condition in conditions.items()
        if not condition.holds(MEASURES[key](facts))
    ]


def _condition(key: str, when: Fields) -> Condition:
    if key in _TRUTHS:
        return OneOf(frozenset({when.flag(key)}))
    if key in _WORDS:
        return OneOf(frozenset(when.texts(key)))
    bounds = when.part(key)
    read = bounds.size if key in _SIZES else bounds.whole
    low, high = (read(end) if bounds.has(end) else None for end in ("min", "max"))
    bounds.done()
    if low is None and high is None:
        when.fault(key, "min or max is wanted")
    if _above(low, high):
        when.fault(key, f"min {low} is above max {high}: nothing fits")
    return Range(low, high)


def _beats(one: Profile, other: Profile) -> bool:
    """Say whether `one` is more specific than `other`."""
    if len(one.conditions) != len(other.conditions):
        return len(one.conditions) > len(other.conditions)
    return one.conditions != other.conditions and _narrower(one, other)


def _narrower(one: Profile, other: Profile) -> bool:
    return one.conditions.keys() == other.conditions.keys() and all(
        condition.within(other.conditions[key]) for key, condition in one.conditions.items()
    )


def _tie(one: Profile, other: Profile) -> bool:
    shared = one.conditions.keys() & other.conditions.keys()
    if not all(one.conditions[key].meets(other.conditions[key]) for key in shared):
        return False
    return not (_beats(one, other) or _beats(other, one))


def _reason(profile: Profile, facts: Facts) -> str:
    return ", ".join(told(profile.conditions, facts)) or "no more special profile fits"


def _spell(key: str, value: object) -> str:
    if key in _SIZES and isinstance(value, int):
        return f"{value / (1 << 30):.1f} GiB"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _above(low: int | None, high: int | None) -> bool:
    return low is not None and high is not None and low > high
