"""Machines as a directory declares them, and what that changes of those on record. No I/O.

What is not declared of a machine stays as it is. A declared machine is the one of its name, or the one that has one of
its hardware addresses: a machine that was discovered first gets its name so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from provisioner.bmc.join import at_host, match, on_record
from provisioner.errors import ConflictError
from provisioner.fields import nearest
from provisioner.lifecycle import rest
from provisioner.lifecycle.registry import Addresses, Machines
from provisioner.model.bmc import BmcAddress, BmcIdentity
from provisioner.model.facts import Facts
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.model.uuids import are_two

PROFILE = "profile:"
"""A tag that says which hardware profile a machine has, whatever the rules make of its facts."""
ROLE = "role:"
BY_WORD = "declared"
"""The reason of a profile that a machine is declared to have."""


Classify = Callable[[Facts], tuple[str, str]]
"""Names the hardware profile of facts, and says why (`discovery.classify.Profiles.classify`)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the catalogue says about machines that are declared, and the conductor about those that are no more.

    `shown` gives parameters as they may be shown; `profiles` are those of rules and of values, `roles` those of values.
    `check_may_go` raises `ConflictError` where a machine is not to be forgotten.
    """

    shown: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    classify: Classify
    profiles: frozenset[str]
    roles: frozenset[str]
    check_may_go: Callable[[Machine], None]


@dataclass(frozen=True, slots=True)
class Declared:
    """One machine as a file says it; None and empty text: it says nothing of that.

    `password` refers to a secret, never is one. `address` is the IPv4 address that DHCP keeps for its first port.
    """

    name: str
    macs: tuple[Mac, ...] = ()
    bmc: BmcAddress | None = None
    password: str = ""
    boot_via: str = ""
    params: dict[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    address: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied: the revision, the folder of the catalogue's files, and the machines. `seq` numbers it.

    `left` is what was said once of machines that are no longer declared and are still on record.
    """

    revision: str = ""
    folder: str = ""
    machines: tuple[Declared, ...] = ()
    seq: int = 0
    at: float = 0.0
    left: tuple[Declared, ...] = ()

    def holds(self) -> tuple[Declared, ...]:
        """Give all that was said of machines and still holds."""
        return (*self.left, *self.machines)


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to one machine: `what` is create, change, forget, or left (no longer declared, and kept).

    `declared` is what is said of it, of one that is left what was said last. `login` says that its BMC or the password
    of it is new, `fixed` that DHCP keeps another address for it, or the same one for another port.
    """

    what: str
    name: str
    lines: tuple[str, ...] = ()
    declared: Declared | None = None
    machine: Machine | None = None
    login: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A directory as it was sent. `files` are those of its catalogue, by path; `prune` and `verify` as they say."""

    revision: str = ""
    machines: tuple[Declared, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    prune: bool = False
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Planned:
    """What an apply would do, or did. `base` is what was applied before."""

    base: Applied
    revision: str
    catalogue: tuple[str, ...]
    deeds: tuple[Deed, ...]
    faults: tuple[str, ...]


@dataclass(slots=True)
class Difference:
    """What an apply would do to machines, and why it cannot."""

    deeds: list[Deed] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def difference(
    wanted: Sequence[Declared], machines: Machines, last: Applied, *, prune: bool, terms: Terms
) -> Difference:
    """Compare declarations with the record. `prune` forgets machines that were declared before and are no more."""
    found, before = Difference(), {each.name: each for each in last.holds()}
    found.faults += _twice(wanted)
    taken: dict[str, Declared] = {}
    for each in wanted:
        machine = _machine_of(each, machines, found.faults)
        found.faults += _unknown_profile(each, terms)
        said = before.get(each.name)
        if machine is not None:
            said = before.get(machine.name, said)
            found.faults += _both(each, taken.setdefault(machine.id, each), machine)
        deed = _deed(each, machine, said, terms)
        if deed is not None:
            found.deeds.append(deed)
            found.faults += _under_way(deed)
    names = {each.name for each in wanted}
    for gone in last.holds():
        machine = machines.find(gone.name)
        if gone.name in names or machine is None or machine.id in taken:
            continue
        if not prune:
            stays = f"stays on record{f' with its address {gone.address}' if gone.address else ''}"
            lines = (f"no longer declared; it {stays} (--prune forgets it)",)
            found.deeds.append(Deed("left", gone.name, lines, gone))
        else:
            found.deeds.append(Deed("forget", gone.name, machine=machine))
    found.faults += bound(found.deeds, terms.check_may_go)
    found.faults += _bmcs_of_others(found.deeds, machines, taken)
    return found


def bound(deeds: Sequence[Deed], check_may_go: Callable[[Machine], None]) -> Iterator[str]:
    """Say which machines that are to be forgotten are not to be, and why."""
    for deed in deeds:
        if deed.what == "forget" and deed.machine is not None:
            try:
                check_may_go(deed.machine)
            except ConflictError as error:
                yield f"no longer declared, and cannot be forgotten: {error}"


def overtaken(deeds: Sequence[Deed], machines: Machines) -> Iterator[str]:
    """Say which deeds were judged on what is no longer so: a run began, somebody renamed, enrolled or discovered."""
    for deed in deeds:
        was, said = deed.machine, deed.declared
        now = machines.find(was.id) if was is not None else None
        if was is not None and (now is None or _ground(now) != _ground(was)):
            yield f"{was.name} has changed meanwhile" + (f": it is {now.state}" if now is not None else "")
        for word, other in _owners(said, machines) if said is not None else ():
            if other.id != (was.id if was is not None else ""):
                yield f"{word} is on record meanwhile, of {other.name}"
    said_of = {deed.machine.id: deed.declared for deed in deeds if deed.machine is not None}
    yield from _bmcs_of_others(deeds, machines, said_of)


def _ground(machine: Machine) -> tuple[object, ...]:
    run = machine.run.id if machine.run is not None and machine.run.step is not None else ""
    return run, machine.generation, machine.name, machine.bmcs, machine.boot_via, machine.params, machine.tags


def _owners(said: Declared, machines: Machines) -> Iterator[tuple[str, Machine]]:
    found = [(said.name, machines.find(said.name)), *((mac, machines.by_mac(mac)) for mac in said.macs)]
    yield from ((word, owner) for word, owner in found if owner is not None)


def left_of(deeds: Iterable[Deed]) -> tuple[Declared, ...]:
    """Give what was said of machines that are no longer declared and stay on record."""
    return tuple(deed.declared for deed in deeds if deed.what == "left" and deed.declared is not None)


def kept_for(declared: Declared | None) -> tuple[str, str]:
    """Say which fixed address is kept, and for which port; two empty texts where none is."""
    return (declared.address, declared.macs[0]) if declared is not None and declared.address else ("", "")


def become(declared: Declared, machine: Machine, now: float, classify: Classify) -> Machine:
    """Give a machine what is declared of it; its generation grows.

    One whose profile is no longer declared has that of its facts again.
    """
    request = EnrolRequest(
        declared.name,
        boot_via=declared.boot_via or machine.boot_via,
        params=machine.params if declared.params is None else declared.params,
        tags=machine.tags if declared.tags is None else declared.tags,
    )
    macs = (*machine.macs, *(mac for mac in declared.macs if mac not in machine.macs))
    bmc = _same_or_new(declared.bmc, machine.bmc)
    after = rest.enrolled(replace(machine, macs=macs), request, bmc, now)
    profile = profile_of(after.tags)
    if profile:
        after = replace(after, profile=profile, profile_reason=BY_WORD)
    elif machine.profile_reason == BY_WORD:
        found, reason = classify(after.facts) if after.facts is not None else ("", "")
        after = replace(after, profile=found, profile_reason=reason)
    return replace(after, generation=machine.generation + 1)


def profile_of(tags: Iterable[str]) -> str:
    """Name the hardware profile that a machine is declared to have; empty where its facts decide."""
    return next((tag.removeprefix(PROFILE) for tag in tags if tag.startswith(PROFILE)), "")


def _unknown_profile(declared: Declared, terms: Terms) -> Iterator[str]:
    name = profile_of(declared.tags or ())
    if name and name not in terms.profiles:
        known = nearest(name, terms.profiles)
        yield f"{declared.source}: {declared.name}: profile: no such hardware profile {name[:80]!r}{known}"


def _same_or_new(wanted: BmcAddress | None, held: BmcAddress | None) -> BmcAddress | None:
    """Take the declared way; a certificate that was pinned stays where it is the same way."""
    if wanted is None or held is None or wanted.fingerprint:
        return wanted or held
    pinned = replace(wanted, fingerprint=held.fingerprint)
    return held if pinned == held else wanted


def _machine_of(declared: Declared, known: Machines, faults: list[str]) -> Machine | None:
    named = known.find(declared.name)
    for mac in declared.macs:
        owner = known.by_mac(mac)
        if owner is not None and named is not None and owner.id != named.id:
            faults.append(f"{declared.source}: {declared.name}: {mac} belongs to {owner.name}")
        named = named or owner
    return named


def _both(one: Declared, other: Declared, machine: Machine) -> Iterator[str]:
    if one is not other:
        yield f"{one.source}: {one.name} and {other.name} (in {other.source}) are both {machine.name}"


def _twice(wanted: Sequence[Declared]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for each in wanted:
        for word in (each.name, *each.macs, *([each.address] if each.address else [])):
            if word in seen:
                yield f"{each.source}: {word} is declared in {seen[word]}, too"
            seen[word] = each.source
    boards = Addresses()
    for each in wanted:
        if each.bmc is not None:
            yield from (f"{each.source}: {each.bmc} is declared in {other}, too" for other in boards.owners(each.bmc))
            boards.add(each.bmc, each.source)


def _bmcs_of_others(deeds: Sequence[Deed], machines: Machines, said: Mapping[str, Declared | None]) -> Iterator[str]:
    """Say which new BMCs are on record as those of machines that keep them: not of one of which another is `said`."""
    gone = {deed.machine.id for deed in deeds if deed.what == "forget" and deed.machine is not None}
    for deed in deeds:
        if (each := deed.declared) is None or (bmc := _new_bmc(deed)) is None:
            continue
        for other in machines.by_bmc(bmc):
            word = said.get(other.id)
            keeps = other.bmcs if word is None or word.bmc is None else other.more_bmcs
            if other.id not in gone and any(map(bmc.same_board, keeps)):
                yield f"{each.source}: {each.name}: {on_record(bmc, other)}"


def hosts_of_others(deeds: Sequence[Deed], machines: Machines, says: Mapping[str, BmcIdentity]) -> Iterator[str]:
    """Say which new BMCs are, by another driver, at the host of another machine's, and by no UUID another board.

    `says` has what boards said, by machine's name.
    """
    moves = {
        deed.machine.id: deed
        for deed in deeds
        if deed.machine is not None and (_new_bmc(deed) or deed.what == "forget")
    }
    among, nothing = Addresses(), BmcIdentity()
    for deed in deeds:
        if (each := deed.declared) is None or (bmc := _new_bmc(deed)) is None:
            continue
        where, has, board = f"{each.source}: {each.name}", deed.machine, says.get(each.name, nothing)
        if has is not None and (why := match(board, has.uuid, has.serial)) is not None and why.by == "uuid":
            continue
        for other in machines.by_bmc_host(bmc):
            move = moves.get(other.id)
            keeps = other.bmcs if move is None else () if move.what == "forget" else other.more_bmcs
            mine = has is not None and has.id == other.id
            if not mine and any(map(bmc.same_host, keeps)) and not are_two(board.uuid, other.uuid):
                yield f"{where}: {at_host(bmc, other)}"
        for name in among.neighbours(bmc):
            if not are_two(board.uuid, says.get(name, nothing).uuid):
                yield f"{where}: {bmc} is at the host of the BMC that is declared for {name}"
        among.add(bmc, each.name)


def _new_bmc(deed: Deed) -> BmcAddress | None:
    """Give the BMC that a machine is to have, where it is none of its own by now."""
    bmc = deed.declared.bmc if deed.declared is not None and deed.what != "left" else None
    has = deed.machine.bmcs if deed.machine is not None else ()
    return None if bmc is None or any(map(bmc.same_board, has)) else bmc


def _deed(declared: Declared, machine: Machine | None, before: Declared | None, terms: Terms) -> Deed | None:
    blank = Machine("", declared.name, State.ENROLLED)
    held = machine or blank
    after = become(declared, held, held.changed, terms.classify)
    lines = [*_lines(held, after, terms), *_params(held.params, after.params, terms)]
    login = declared.bmc is not None and (
        after.bmc != held.bmc or before is None or before.password != declared.password
    )
    if login and declared.password:
        lines.append(f"bmc.password: from {declared.password}")
    was, says = kept_for(before), kept_for(declared)
    new = machine is None or (before is not None and before.name != declared.name)
    if was != says or (machine is None and says[0]):
        lines.append(_address(was, says))
    fixed = was != says or (new and bool(says[0]))
    if machine is not None and not lines:
        return None
    what = "create" if machine is None else "change"
    return Deed(what, declared.name, tuple(lines), declared, machine, login, fixed)


def _address(was: tuple[str, str], says: tuple[str, str]) -> str:
    moved = was[1] and says[1] and was[1] != says[1]
    before, after = (f"{ip or 'none'}{f' of {mac}' if moved else ''}" for ip, mac in (was, says))
    return f"address: {before} -> {after}"


def _lines(before: Machine, after: Machine, terms: Terms) -> Iterator[str]:
    if before.name != after.name:
        yield f"name: {before.name} -> {after.name}"
    yield from (f"macs: + {mac}" for mac in after.macs if mac not in before.macs)
    if before.bmc != after.bmc:
        yield f"bmc: {before.bmc or 'none'} -> {after.bmc or 'none'}"
    if before.boot_via != after.boot_via:
        yield f"boot_via: {before.boot_via} -> {after.boot_via}"
    yield from (f"tags: - {tag}" for tag in before.tags if tag not in after.tags)
    yield from (f"tags: + {tag}{_without_values(tag, terms)}" for tag in after.tags if tag not in before.tags)
    if before.profile != after.profile:
        yield f"profile: {before.profile or 'none'} -> {after.profile or 'none'}"


def _without_values(tag: str, terms: Terms) -> str:
    """Say of a role that the catalogue has no values for it: it may be a slip of the pen, or a word of the site's."""
    role = tag.removeprefix(ROLE)
    return f" (there is no bootenvs/values/roles/{role}.yaml)" if role != tag and role not in terms.roles else ""


def _params(old: Mapping[str, Any], new: Mapping[str, Any], terms: Terms) -> Iterator[str]:
    was, becomes = terms.shown(old), terms.shown(new)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) or (name in old) is not (name in new):
            yield f"params.{name}: {_short(was, name)} -> {_short(becomes, name)}"


def _short(params: Mapping[str, Any], name: str) -> str:
    return json.dumps(params[name], ensure_ascii=False)[:80] if name in params else "not set"


def _under_way(deed: Deed) -> Iterator[str]:
    """A run holds on to the name, the ports and the BMC that its machine had when it began."""
    machine = deed.machine
    if machine is not None and machine.run is not None and machine.run.step is not None:
        for line in deed.lines:
            if not line.startswith(("params.", "tags")):
                yield f"{machine.name} is {machine.state}, {line.partition(':')[0]} cannot change now"
