"""Plan a change of firmware settings: what differs from what is, and what the registry does not allow. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.model.board import BiosAttribute, BiosSettings, BiosValue


@dataclass(frozen=True, slots=True)
class BiosPlan:
    """What would be written. With faults nothing is written at all."""

    changes: dict[str, BiosValue] = field(hash=False)
    faults: tuple[str, ...] = ()


def plan_bios(settings: BiosSettings, wanted: Mapping[str, BiosValue]) -> BiosPlan:
    """Compare what is wanted with what is set, or waits to be; a second run plans nothing."""
    after = {**settings.current, **settings.pending}
    faults = [fault for name, value in wanted.items() if (fault := _fault(settings, name, value))]
    changes = {name: value for name, value in wanted.items() if after.get(name, _MISSING) != value}
    return BiosPlan({} if faults else changes, tuple(faults))


_MISSING = object()


def _fault(settings: BiosSettings, name: str, value: BiosValue) -> str:
    """Say what is wrong with one setting; empty when nothing is."""
    if name not in settings.current:
        return f"{name}: the board has no such setting"
    known = settings.registry.get(name)
    if known is None or settings.current[name] == value:
        return ""
    if known.read_only:
        return f"{name}: read-only"
    check = _CHECKS.get(known.kind)
    return check(known, name, value) if check else ""


def _enumeration(known: BiosAttribute, name: str, value: BiosValue) -> str:
    if not known.choices or value in known.choices:
        return ""
    return f"{name}: {value!r} is none of {', '.join(known.choices)}"


def _integer(known: BiosAttribute, name: str, value: BiosValue) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{name}: {value!r} is no whole number"
    if known.lowest is not None and value < known.lowest:
        return f"{name}: {value} is below {known.lowest}"
    if known.highest is not None and value > known.highest:
        return f"{name}: {value} is above {known.highest}"
    return ""


def _string(known: BiosAttribute, name: str, value: BiosValue) -> str:
    if not isinstance(value, str):
        return f"{name}: {value!r} is no text"
    if known.longest is not None and len(value) > known.longest:
        return f"{name}: longer than {known.longest} characters"
    return ""


def _boolean(known: BiosAttribute, name: str, value: BiosValue) -> str:
    return "" if isinstance(value, bool) else f"{name}: {value!r} is neither true nor false"


_CHECKS = {
    "enumeration": _enumeration,
    "integer": _integer,
    "string": _string,
    "password": _string,
    "boolean": _boolean,
}
