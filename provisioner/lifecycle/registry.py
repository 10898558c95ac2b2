"""All machines in memory, by id, name, MAC, UUID, serial number and BMC address. No I/O."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from provisioner.bmc.join import is_serial
from provisioner.errors import NotFoundError
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, spelled
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.model.uuids import real_uuid, spellings

_LETTERS = string.ascii_lowercase + string.digits + "-."
MAX_NAME = 63


def slips(word: str) -> Iterator[str]:
    """Spell a name as it may have been meant: two letters swapped, one wrong, one too many, one missing; lower case.

    Looking these up takes the same time among ten machines and ten thousand, which a comparison with each does not:
    who asks for a machine that does not exist must not hold up the others.
    """
    word = word[:MAX_NAME].lower()
    yield word
    for at in range(len(word) - 1):
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield from (word[:at] + letter + word[at + 1 :] for letter in _LETTERS)
    for at in range(len(word) + 1):
        yield from (word[:at] + letter + word[at:] for letter in _LETTERS)


class Addresses:
    """Who has an address of a board: found at once, though a controller may look after thousands of systems."""

    def __init__(self) -> None:
        self._owners: dict[_Key, dict[str, set[str]]] = {}
        """By place, and by driver and host; then by system."""

    def add(self, address: BmcAddress, owner: str) -> None:
        """Let an address be of somebody, besides those that it is of. Nobody has two of one driver at one host."""
        for key in _keys(address):
            self._owners.setdefault(key, {}).setdefault(address.system, set()).add(owner)

    def discard(self, address: BmcAddress, owner: str) -> None:
        """Let an address be of somebody no more."""
        for key in _keys(address):
            systems = self._owners.get(key, {})
            left = systems.get(address.system, set())
            left.discard(owner)
            if not left:
                systems.pop(address.system, None)
            if not systems:
                self._owners.pop(key, None)

    def owners(self, address: BmcAddress) -> list[str]:
        """List who has an address of the same board (`BmcAddress.same_board`)."""
        systems = self._owners.get(address.place, {})
        meant = (address.system, "") if address.system else tuple(systems)
        return [owner for system in meant for owner in tuple(systems.get(system, ()))]

    def neighbours(self, address: BmcAddress) -> list[str]:
        """List who has an address of another driver at the same host (`BmcAddress.same_host`)."""
        found: list[str] = []
        for driver in Driver:
            if driver is not address.driver:
                systems = self._owners.get((driver, spelled(address.host)), {})
                meant = ("",) if address.system else tuple(systems)
                found += [owner for system in meant for owner in tuple(systems.get(system, ()))]
        return found


_Key = tuple[Driver, str, int] | tuple[Driver, str]


def _keys(address: BmcAddress) -> tuple[_Key, _Key]:
    return address.place, address.place[:2]


class Machines:
    """What the store holds, ready for the hot paths. The conductor puts a machine here after it was committed."""

    def __init__(self, machines: Iterable[Machine] = ()) -> None:
        self._by_id: dict[str, Machine] = {}
        self._by_name: dict[str, str] = {}
        self._by_mac: dict[Mac, tuple[str, ...]] = {}
        """Ids of those that have a port on record, whose it is first."""
        self._by_board: defaultdict[str, set[str]] = defaultdict(set)
        """Ids by UUID in either byte order and by serial number: blades share one."""
        self._by_bmc = Addresses()
        self._moving: dict[str, Machine] = {}
        self.without_ports: set[str] = set()
        """Ids of machines of which nobody knows a port yet: those alone are found by UUID when they boot."""
        for machine in machines:
            self.put(machine)

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Machine]:
        """List every machine, by name."""
        return [self._by_id[self._by_name[name]] for name in sorted(self._by_name)]

    def moving(self) -> list[Machine]:
        """List the machines with a run under way."""
        return list(self._moving.values())

    def get(self, ref: str) -> Machine:
        """Find a machine by name or id; raise `NotFoundError` with names that are one slip away."""
        machine = self.find(ref)
        if machine is None:
            near = list(islice(dict.fromkeys(name for name in slips(ref) if name in self._by_name), 3))
            hint = f"did you mean {' or '.join(near)}?" if near else "`provisionctl machines` lists them"
            raise NotFoundError(f"there is no machine {ref[:80]!r}", hint=hint)
        return machine

    def find(self, ref: str) -> Machine | None:
        """Find a machine by name or id."""
        return self._by_id.get(self._by_name.get(ref, ref))

    def by_mac(self, mac: Mac) -> Machine | None:
        """Find the machine that has this port: it stays with who had it first."""
        owners = self._by_mac.get(mac)
        return self._by_id.get(owners[0]) if owners is not None else None

    def by_uuid(self, uuid: str) -> Machine | None:
        """Find the machine with this SMBIOS UUID; none where several have it."""
        found = self.like_board(BmcIdentity(uuid=real_uuid(uuid)))
        return found[0] if len(found) == 1 else None

    def alike(self, facts: Facts) -> list[Machine]:
        """List the machines that have a UUID, a serial number or a port in common with what was reported.

        A report is about none of the others, and comparing it with ten thousand takes too long.
        """
        keys = {*spellings(facts.uuid), facts.serial.strip().lower()}
        ids = {ref for key in keys for ref in self._by_board.get(key, ())}
        ids.update(ref for nic in facts.nics for ref in self._by_mac.get(nic.mac, ()))
        return sorted((self._by_id[ref] for ref in ids), key=lambda machine: machine.name)

    def like_board(self, board: BmcIdentity) -> list[Machine]:
        """List the machines that have the UUID of a BMC's machine, in either byte order, or its serial number."""
        serial = board.serial.strip().lower()
        keys = {*spellings(board.uuid), *([serial] if is_serial(serial) else ())}
        ids = {ref for key in keys for ref in self._by_board.get(key, ())}
        return sorted((self._by_id[ref] for ref in ids), key=lambda machine: machine.name)

    def by_bmc(self, address: BmcAddress) -> list[Machine]:
        """List the machines that have an address on record as one of their board, by any user."""
        return self._those(self._by_bmc.owners(address))

    def by_bmc_host(self, address: BmcAddress) -> list[Machine]:
        """List the machines that have an address of another driver at the same host on record as one of their board."""
        return self._those(self._by_bmc.neighbours(address))

    def _those(self, ids: Iterable[str]) -> list[Machine]:
        found = [self._by_id.get(ref) for ref in ids]
        return sorted((machine for machine in found if machine is not None), key=lambda machine: machine.name)

    def put(self, machine: Machine) -> None:
        """Add or replace a machine."""
        before = self._by_id.get(machine.id)
        if before is not None and _named(before) != _named(machine):
            self._unindex(before, machine)
        if before is None or _named(before) != _named(machine):
            for key in _said_of(machine):
                self._by_board[key].add(machine.id)
            for way in machine.bmcs:
                self._by_bmc.add(way, machine.id)
        self._by_id[machine.id] = machine
        self._by_name[machine.name] = machine.id
        for mac in machine.macs:
            owners = self._by_mac.get(mac, ())
            if machine.id not in owners:
                self._by_mac[mac] = (*owners, machine.id)
        if machine.run is not None and machine.run.step is not None:
            self._moving[machine.id] = machine
        else:
            self._moving.pop(machine.id, None)
        if machine.macs:
            self.without_ports.discard(machine.id)
        else:
            self.without_ports.add(machine.id)

    def remove(self, machine: Machine) -> None:
        """Forget a machine, whatever it was called when somebody decided so."""
        self._unindex(self._by_id.pop(machine.id, machine))
        self._moving.pop(machine.id, None)
        self.without_ports.discard(machine.id)

    def _unindex(self, machine: Machine, after: Machine | None = None) -> None:
        """Take out what finds a machine, but for what finds it `after` too: another thread may be looking."""
        if after is None or after.name != machine.name:
            self._by_name.pop(machine.name, None)
        for mac in machine.macs:
            if after is None or mac not in after.macs:
                left = tuple(owner for owner in self._by_mac.get(mac, ()) if owner != machine.id)
                if left:
                    self._by_mac[mac] = left
                else:
                    self._by_mac.pop(mac, None)
        for key in _said_of(machine):
            self._by_board[key].discard(machine.id)
            if not self._by_board[key]:
                del self._by_board[key]
        for way in machine.bmcs:
            self._by_bmc.discard(way, machine.id)


def _named(machine: Machine) -> tuple[object, ...]:
    said = machine.uuid, machine.serial, machine.boards
    return machine.name, machine.macs, *said, machine.bmc, machine.more_bmcs


def _said_of(machine: Machine) -> set[str]:
    serial = machine.serial.strip().lower()
    uuids = machine.uuid, *(said.uuid for said in machine.boards.values())
    return {*(spelling for uuid in uuids for spelling in spellings(uuid)), *([serial] if serial else ())}
