"""Decide which known machine a report is about: by UUID, serial number and MAC addresses, never by address. No I/O.

Boards come with made-up UUIDs, cards move, mainboards are swapped. So evidence is weighed, for and against, and a
report that fits two machines, or fits one badly, is refused with the reason: a wrong guess installs over a server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.errors import ConflictError
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine
from provisioner.model.uuids import are_two, real_uuid, spellings

UUID_MATCH, UUID_DIFFERS = 4, -4
SERIAL_MATCH, SERIAL_DIFFERS = 3, -2
MAC_MATCH, MAC_DIFFERS = 3, -3
ACCEPTED = 2
"""The least score of a match: one kind of evidence that nothing speaks against, or two kinds against one."""
MARGIN = 2
"""By how much the best machine has to lead."""

_JUNK_WORDS = frozenset(
    {"0", "empty", "n/a", "na", "none", "null", "oem", "unknown", "undefined", "invalid", "default", "x", "sernum"}
)
_JUNK_PHRASES = re.compile(
    r"to be filled|filled by o\.?e\.?m|default string|not (specified|available|applicable|provided|present|settable)"
    r"|system (serial|product|manufacturer|version|sku|uuid)|serial ?(number|no)|(chassis|board|base board) serial"
    r"|o\.e\.m|^\W*$|^(?P<one>\w)(?P=one){3,}$|^0?1234567(8(90?)?)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Match:
    """How well a report fits one machine, and why."""

    machine: Machine
    score: int
    reasons: tuple[str, ...]


def meaningful(text: str) -> str:
    """Return an identifying text without blanks at its ends; empty where it is a placeholder of a board maker."""
    word = text.strip()
    return "" if word.lower() in _JUNK_WORDS or _JUNK_PHRASES.search(word) else word


def match(facts: Facts, machine: Machine, booted: str = "") -> Match | None:
    """Weigh a report against one machine; None where nothing connects them. `booted` is the port that it booted by."""
    found = _evidence(facts, machine, booted)
    if not any(score > 0 for score, _ in found):
        return None
    return Match(machine, sum(score for score, _ in found), tuple(reason for _, reason in found))


def doubt(facts: Facts, machine: Machine, machines: Sequence[Machine], booted: str = "") -> str:
    """Say why a report is not about `machine`, as which its sender was booted; empty where nothing speaks against it.

    `machines` are all that it may be about.
    """
    found = _evidence(facts, machine, booted)
    if machine.facts is None:  # only its BMC has said anything yet: its own UUID may be, or the serial number of a part
        port, by_bmc = _by_mac(facts, machine, booted), machine.bmc is not None and _is_said(machine)
        of_the_bmc = {SERIAL_DIFFERS, *([UUID_DIFFERS] if by_bmc and port is not None and port[0] == MAC_MATCH else [])}
        found = [each for each in found if each[0] not in of_the_bmc]
    score = sum(each for each, _ in found)
    if found and score < ACCEPTED:
        return "; ".join(reason for _, reason in found)
    for other in _matches(facts, machines, booted):
        if other.machine.id != machine.id and other.score >= max(score + MARGIN, ACCEPTED):
            return f"it is {other.machine.name}: {'; '.join(other.reasons)}"
    return ""


def _is_said(machine: Machine) -> bool:
    """Say whether a machine's UUID may be its BMC's own: it said it, or was put on record before that was kept."""
    boards = machine.boards.values()
    return not boards or any(spellings(machine.uuid) & spellings(said.uuid) for said in boards)


def identify(facts: Facts, machines: Sequence[Machine], booted: str = "") -> Machine | None:
    """Find the machine that a report is about, None for a new one; raise `ConflictError` where it is not clear."""
    matches = _matches(facts, machines, booted)
    if not matches:
        return None
    best = matches[0]
    if best.score < ACCEPTED:
        raise ConflictError(
            f"the report does not fit {best.machine.name} well enough: {'; '.join(best.reasons)}",
            hint=f"correct the identity of {best.machine.name}, or delete it if it is gone",
        )
    rivals = [other for other in matches[1:] if best.score - other.score < MARGIN]
    if rivals:
        told = " / ".join(f"{found.machine.name}: {'; '.join(found.reasons)}" for found in (best, *rivals))
        raise ConflictError(f"the report fits several machines: {told}", hint="delete the one that is gone")
    return best.machine


def _matches(facts: Facts, machines: Sequence[Machine], booted: str) -> list[Match]:
    """Weigh a report against machines, the best first."""
    found = [found for machine in machines if (found := match(facts, machine, booted))]
    return sorted(found, key=lambda each: -each.score)


def _evidence(facts: Facts, machine: Machine, booted: str) -> list[tuple[int, str]]:
    found = _by_uuid(facts, machine), _by_serial(facts, machine), _by_mac(facts, machine, booted)
    return [each for each in found if each is not None]


def _by_uuid(facts: Facts, machine: Machine) -> tuple[int, str] | None:
    ours, theirs = real_uuid(machine.uuid), real_uuid(facts.uuid)
    if not ours or not theirs:
        return None
    if are_two(ours, theirs):
        return UUID_DIFFERS, f"UUID is {theirs}, not {ours}"
    return UUID_MATCH, "same UUID"


def _by_serial(facts: Facts, machine: Machine) -> tuple[int, str] | None:
    ours, theirs = meaningful(machine.serial).lower(), meaningful(facts.serial).lower()
    if not ours or not theirs:
        return None
    if ours == theirs:
        return SERIAL_MATCH, "same serial number"
    return SERIAL_DIFFERS, f"serial number is {facts.serial}, not {machine.serial}"


def _by_mac(facts: Facts, machine: Machine, booted: str) -> tuple[int, str] | None:
    ours, theirs = set(machine.macs), set(facts.ports(booted))
    if not ours or not theirs:
        return None
    if both := sorted(ours & theirs):
        return MAC_MATCH, f"same MAC {both[0]}"
    return MAC_DIFFERS, "no MAC in common"
