"""Which machine a BMC belongs to: by UUID and serial number, never by an address. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from provisioner.errors import ConflictError
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver
from provisioner.model.machine import Machine
from provisioner.model.uuids import are_two, spellings

_PLACEHOLDERS = re.compile(
    r"(?i)(to be filled.*|default string|none|n/?a|not (specified|available|applicable)|unknown|system serial number"
    r"|chassis serial number|0*123456789.*|[0x.\- ]*|filled by oem|empty)"
)
"""What boards carry that nobody wrote a serial number into."""

VENDOR_CLASSES = (
    (re.compile(r"iDRAC\b"), "iDRAC"),
    (re.compile(r"CPQRIB3\b"), "iLO"),
    (re.compile(r"DCMI36465:"), "DCMI"),
)
"""What BMCs call themselves in DHCP option 60: two makers' own words, and the one that DCMI 1.5 section 6.6.1 gives."""


@dataclass(frozen=True, slots=True)
class Match:
    """Why a BMC and a machine are one."""

    by: str
    value: str


def match(board: BmcIdentity, machine_uuid: str, machine_serial: str) -> Match | None:
    """Say by what a BMC's machine and a machine that was seen from inside are the same; None where nothing says so.

    A UUID that differs speaks against it, whatever the serials say: blades share the serial of their chassis.
    """
    theirs, ours = spellings(board.uuid), spellings(machine_uuid)
    if theirs and ours:
        return Match("uuid", machine_uuid) if theirs & ours else None
    serial = board.serial.strip()
    if is_serial(serial) and serial.lower() == machine_serial.strip().lower():
        return Match("serial", serial)
    return None


def twin_of(board: BmcIdentity, machines: Iterable[Machine]) -> Machine | None:
    """Find the machine that a BMC is of, by UUID in either byte order, or by serial number; never by an address."""
    return next(iter(_alike(board, machines)), None)


def sole_twin(board: BmcIdentity, machines: Iterable[Machine]) -> Machine | None:
    """The same, of a board whose machine nobody names. Raises `ConflictError` where several have its serial number:
    machines of one chassis give that of the chassis.
    """
    found = _alike(board, machines)
    if len(found) > 1:
        names = ", ".join(sorted(machine.name for machine in found)[:5])
        raise ConflictError(
            f"the serial number that the BMC says, {board.serial}, is that of {names}: whose it is, it does not say",
            hint="`provisionctl bmc add MACHINE URL` says whose it is; nothing was put on record",
        )
    return next(iter(found), None)


def _alike(board: BmcIdentity, machines: Iterable[Machine]) -> list[Machine]:
    """The one that has its UUID, else all that have its serial number."""
    by_serial: list[Machine] = []
    for machine in machines:
        why = match(board, machine.uuid, machine.serial)
        said = {spelling for each in machine.boards.values() for spelling in spellings(each.uuid)}
        if (why is not None and why.by == "uuid") or spellings(board.uuid) & said:
            return [machine]
        if why is not None:
            by_serial.append(machine)
    return by_serial


def stranger(board: BmcIdentity, machine: Machine, driver: Driver, known: Iterable[Machine]) -> str:
    """Say whose a board is that says by `driver` that it is not this machine's: one of those that are `known`, or
    nobody's.

    Empty where it may be this machine's: one that says nothing is believed, one that says what it said when this way
    was put on record, and one that was not asked then: there are boards whose BMC has a UUID and a serial number of its
    own.
    """
    said = machine.boards.get(driver, BmcIdentity())
    if spellings(board.uuid) & spellings(said.uuid) or (
        not board.uuid and board.serial and board.serial == said.serial
    ):
        return ""
    whose = twin_of(board, [machine, *(each for each in known if each.id != machine.id)])
    if whose is machine:
        return ""
    if whose is not None:
        # a serial number alone may be that of a chassis which both are in
        return f"the board of {whose.name}" if spellings(board.uuid) or said.serial or machine.facts is None else ""
    return "a board that is on no record" if are_two(board.uuid, said.uuid) else ""


def said_by(board: BmcIdentity, machine: Machine, address: BmcAddress | None) -> Machine:
    """Give a machine what its board says of it while a way to it is put on record."""
    if address is None:
        return machine
    boards = {driver: said for driver, said in machine.boards.items() if driver != address.driver}
    if board.uuid or board.serial:
        boards[address.driver] = BmcIdentity(uuid=board.uuid, serial=board.serial)
    uuid, serial = machine.uuid or board.uuid, machine.serial or board.serial
    return replace(machine, uuid=uuid, serial=serial, boards=boards)


def is_serial(text: str) -> bool:
    """Say whether a serial number is one, and not what stands there when nobody wrote one."""
    return len(text) >= 3 and not _PLACEHOLDERS.fullmatch(text)


def without_bmc(machine: Machine) -> ConflictError:
    """Say that a machine has no BMC on record, and how one is put there."""
    hint = f"`provisionctl bmc add {machine.name} redfish://USER@HOST` or ipmi://"
    return ConflictError(f"{machine.name} has no BMC on record", hint=hint)


def on_record(address: BmcAddress, owner: Machine) -> ConflictError:
    """Say that an address is on record as another machine's, and what to do where its BMC has another one now."""
    new = f"where it is that no more: `provisionctl bmc add {owner.name} URL` puts its new one on record"
    hint = f"{new}, `provisionctl forget {owner.name}` takes it off"
    return ConflictError(f"{address} is on record as the BMC of {owner.name}", hint=hint)


def at_host(address: BmcAddress, owner: Machine) -> ConflictError:
    """Say that an address is at the host of another machine's BMC, by another driver, and what tells boards apart."""
    way = next(one for one in owner.bmcs if address.same_host(one))
    hint = (
        "where they are two boards, both have to say so by UUID: leave --no-verify out;"
        f" `provisionctl bmc add {owner.name} {way}` asks that one"
    )
    return ConflictError(f"{address} is at the host of {way}, which is the BMC of {owner.name}", hint=hint)


def bmc_kind(vendor_class: str) -> str:
    """Say what kind of BMC asks DHCP with this vendor class; empty where it does not look like one."""
    return next((kind for pattern, kind in VENDOR_CLASSES if pattern.match(vendor_class)), "")
