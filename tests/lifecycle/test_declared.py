"""What declarations change of machines on record."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from provisioner.bmc.join import on_record
from provisioner.lifecycle import rest
from provisioner.lifecycle.declared import (
    Applied,
    Declared,
    Deed,
    Terms,
    become,
    difference,
    hosts_of_others,
    left_of,
    overtaken,
)
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from tests.shipped import catalogue

A, B = Mac("52:54:00:00:00:0a"), Mac("52:54:00:00:00:0b")
BMC = BmcAddress(Driver.REDFISH, "10.0.0.9", 443, "admin", "ab" * 32)
TERMS = Terms(
    catalogue().content.declarations.shown, lambda facts: (facts.serial, "by its facts"),
    frozenset({"storage", "compute"}), frozenset({"web"}), rest.check_erased,
)  # fmt: skip
NODE = Machine("m1", "node17", State.READY, macs=(A,), bmc=BMC, params={"disk.layout": "plain"}, tags=("rack=r1",))
FOUND = Machine("m2", "new-00000b", State.DISCOVERED, macs=(B,), facts=Facts())
BUSY, _ = advance(NODE, Begin("r1", Verb.DEPLOY, "debian-12"), 0.0)
STORAGE = replace(NODE, tags=("profile:storage",), profile="storage", profile_reason="declared")
SAYS = Declared("node17", (A,), source="machines/rack.yaml")
NOTHING = Applied()

CASES: dict[str, tuple[Declared, Machine | None, Applied, list[str]]] = {
    "nothing that differs": (SAYS, NODE, NOTHING, []),
    "a machine that is not there yet": (
        replace(SAYS, bmc=BMC, password="env:X"), None, NOTHING,
        ["create", f"macs: + {A}", f"bmc: none -> {BMC}", "bmc.password: from env:X"]),
    "one that was discovered gets its name": (
        replace(SAYS, macs=(B,)), FOUND, NOTHING, ["change", "name: new-00000b -> node17"]),
    "another port": (replace(SAYS, macs=(A, B)), NODE, NOTHING, ["change", f"macs: + {B}"]),
    "parameters and tags, whole": (
        replace(SAYS, params={"time.zone": "UTC"}, tags=("role:web",)), NODE, NOTHING,
        ["change", "tags: - rack=r1", "tags: + role:web", 'params.disk.layout: "plain" -> not set',
         'params.time.zone: not set -> "UTC"']),
    "secrets, or passwords in their place": (
        replace(SAYS, params={
            "users.root.password": "hunter2", "users.accounts": [{"name": "me", "password": "hunter2"}],
            "disk": {"passphrase": "store:disk", "layout": "lvm"}, "users.root.pasword": "hunter2"}), NODE, NOTHING,
        ["change", 'params.disk: not set -> {"passphrase": "(hidden)", "layout": "lvm"}',
         'params.disk.layout: "plain" -> not set',
         'params.users.accounts: not set -> [{"name": "me", "password": "(hidden)"}]',
         'params.users.root.password: not set -> "(hidden)"', 'params.users.root.pasword: not set -> "(hidden)"']),
    "a profile": (
        replace(SAYS, tags=("rack=r1", "profile:storage")), NODE, NOTHING,
        ["change", "tags: + profile:storage", "profile: none -> storage"]),
    "a profile that is no longer declared": (
        replace(SAYS, tags=()), replace(STORAGE, facts=Facts(serial="compute")), NOTHING,
        ["change", "tags: - profile:storage", "profile: storage -> compute"]),
    "one of a machine without facts": (
        replace(SAYS, tags=()), STORAGE, NOTHING, ["change", "tags: - profile:storage", "profile: storage -> none"]),
    "a role that has no values": (
        replace(SAYS, tags=("rack=r1", "role:wbe")), NODE, NOTHING,
        ["change", "tags: + role:wbe (there is no bootenvs/values/roles/wbe.yaml)"]),
    "by HTTP": (replace(SAYS, boot_via="http"), NODE, NOTHING, ["change", "boot_via: pxe -> http"]),
    "a fixed address": (replace(SAYS, address="10.0.0.17"), NODE, NOTHING, ["change", "address: none -> 10.0.0.17"]),
    "one that is fixed no more": (
        SAYS, NODE, Applied(machines=(replace(SAYS, address="10.0.0.17"),)), ["change", "address: 10.0.0.17 -> none"]),
    "the same one for another port": (
        replace(SAYS, macs=(B,), address="10.0.0.17"), NODE, Applied(machines=(replace(SAYS, address="10.0.0.17"),)),
        ["change", f"macs: + {B}", f"address: 10.0.0.17 of {A} -> 10.0.0.17 of {B}"]),
    "another name, with the address and the password that it has": (
        replace(SAYS, name="web1", bmc=BMC, password="env:X", address="10.0.0.17"), NODE,
        Applied(machines=(replace(SAYS, password="env:X", address="10.0.0.17"),)), ["change", "name: node17 -> web1"]),
    "one that was left, declared again": (
        replace(SAYS, address="10.0.0.17"), NODE, Applied(left=(replace(SAYS, address="10.0.0.17"),)), []),
    "the same BMC, whose certificate was pinned since": (
        replace(SAYS, bmc=replace(BMC, fingerprint=""), password="env:X"), NODE,
        Applied(machines=(replace(SAYS, password="env:X"),)), []),
    "another secret for it": (
        replace(SAYS, bmc=BMC, password="env:Y"), NODE, Applied(machines=(replace(SAYS, password="env:X"),)),
        ["change", "bmc.password: from env:Y"]),
}  # fmt: skip


@pytest.mark.parametrize(("said", "machine", "last", "lines"), CASES.values(), ids=CASES.keys())
def test_what_would_change(said: Declared, machine: Machine | None, last: Applied, lines: list[str]) -> None:
    found = difference([said], Machines([machine] if machine else []), last, prune=False, terms=TERMS)
    assert [line for deed in found.deeds for line in (deed.what, *deed.lines)] == lines
    assert found.faults == []


OTHER = replace(NODE, id="m3", name="node18", macs=(B,))
FAULTS: dict[str, tuple[list[Declared], list[Machine], Applied, str]] = {
    "a port of another machine": (
        [replace(SAYS, macs=(B,))], [NODE, OTHER], NOTHING,
        f"machines/rack.yaml: node17: {B} belongs to node18"),
    "an address twice": (
        [replace(SAYS, address="10.0.0.1"), Declared("node18", (B,), address="10.0.0.1", source="b.yaml")],
        [NODE, OTHER], NOTHING, "b.yaml: 10.0.0.1 is declared in machines/rack.yaml, too"),
    "one machine that is declared as two": (
        [Declared("x1", (A,), source="a.yaml"), Declared("x2", (B,), source="b.yaml")],
        [replace(NODE, macs=(A, B))], NOTHING, "b.yaml: x2 and x1 (in a.yaml) are both node17"),
    "one machine by its name and by its port": (
        [Declared("node17", source="a.yaml"), Declared("x2", (A,), source="b.yaml")],
        [NODE], NOTHING, "b.yaml: x2 and node17 (in a.yaml) are both node17"),
    "a profile that there is not": (
        [replace(SAYS, tags=("profile:storaeg",))], [NODE], NOTHING,
        "machines/rack.yaml: node17: profile: no such hardware profile 'storaeg', did you mean 'storage'?"),
    "another BMC while a run is under way": (
        [replace(SAYS, bmc=replace(BMC, host="10.0.0.8"), password="env:X")], [BUSY], NOTHING,
        "node17 is deploying, bmc cannot change now"),
    "the BMC of another machine": (
        [Declared("x1", bmc=BMC, source="a.yaml")], [NODE], NOTHING,
        f"a.yaml: x1: {BMC} is on record as the BMC of node17 (where it is that no more: `provisionctl bmc add node17"
        " URL` puts its new one on record, `provisionctl forget node17` takes it off)"),
    "a BMC twice": (
        [replace(SAYS, bmc=BMC), Declared("x1", bmc=replace(BMC, username="root", system="1"), source="b.yaml")],
        [NODE], NOTHING, "b.yaml: redfish://root@10.0.0.9:443/1 is declared in machines/rack.yaml, too"),
    "a machine in use that is to be forgotten": (
        [], [replace(NODE, state=State.ACTIVE)], Applied(machines=(SAYS,)),
        "no longer declared, and cannot be forgotten: node17 is active: its disks were not erased since it was in use"
        " (`provisionctl release node17` first)"),
    "one that is held while it is in use": (
        [], [rest.hold(replace(NODE, state=State.ACTIVE), State.MAINTENANCE, "memory", 0.0)], Applied(machines=(SAYS,)),
        "no longer declared, and cannot be forgotten: node17 is maintenance: its disks were not erased since it was in"
        " use (`provisionctl let-go node17` first, then `provisionctl release node17`)"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "known", "last", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be(said: list[Declared], known: list[Machine], last: Applied, fault: str) -> None:
    assert fault in difference(said, Machines(known), last, prune=True, terms=TERMS).faults


AT8 = replace(BMC, host="10.0.0.8")
BOARDS: dict[str, tuple[list[Declared], list[Machine], Applied, int]] = {
    "two machines exchange theirs": (
        [replace(SAYS, bmc=AT8), Declared("node18", bmc=BMC)], [NODE, replace(OTHER, bmc=AT8)], NOTHING, 0),
    "one goes to a new machine, its own gets another": (
        [replace(SAYS, bmc=AT8), Declared("x1", bmc=BMC)], [NODE], NOTHING, 0),
    "its own, which it has beside the one that is declared": (
        [replace(SAYS, bmc=AT8), Declared("x1", bmc=BMC)], [replace(NODE, more_bmcs=(BMC,))], NOTHING, 1),
    "one of a machine that is forgotten with it": ([Declared("x1", bmc=BMC)], [NODE], Applied(machines=(SAYS,)), 0),
    "one that both have since before": (
        [replace(SAYS, bmc=BMC, password="env:Y")], [NODE, OTHER], NOTHING, 0),
    "one that is declared twice is told once": (
        [replace(SAYS, bmc=BMC), Declared("x1", bmc=BMC)], [NODE], NOTHING, 1),
}  # fmt: skip


@pytest.mark.parametrize(("said", "known", "last", "faults"), BOARDS.values(), ids=BOARDS.keys())
def test_whose_bmc_it_is_once_all_is_applied(
    said: list[Declared], known: list[Machine], last: Applied, faults: int
) -> None:
    assert len(difference(said, Machines(known), last, prune=True, terms=TERMS).faults) == faults


U17, U18 = (BmcIdentity(uuid=f"00000000-0000-4000-8000-0000000000{at}") for at in (17, 18))
IPMI = BmcAddress(Driver.IPMI, BMC.host, 623, "admin")
KNOWN = replace(NODE, uuid=U17.uuid)
HOSTS: dict[str, tuple[list[Declared], list[Machine], dict[str, BmcIdentity], list[str]]] = {
    "the host of another's, with no word of the board": ([Declared("x1", bmc=IPMI)], [KNOWN], {}, ["node17"]),
    "and with a word, but none of the other's": ([Declared("x1", bmc=IPMI)], [NODE], {"x1": U18}, ["node17"]),
    "another board": ([Declared("x1", bmc=IPMI)], [KNOWN], {"x1": U18}, []),
    "its own board": ([replace(SAYS, name="node18", macs=(B,), bmc=IPMI)], [
        NODE, replace(NODE, id="m3", name="node18", macs=(B,), bmc=None, uuid=U18.uuid)], {"node18": U18}, []),
    "its own, by another driver than before": ([replace(SAYS, bmc=IPMI)], [NODE], {}, []),
    "one that goes to a new machine, its own gets another": (
        [replace(SAYS, bmc=AT8), Declared("x1", bmc=IPMI)], [NODE], {}, []),
    "one that its own keeps beside": (
        [replace(SAYS, bmc=AT8), Declared("x1", bmc=IPMI)], [replace(NODE, more_bmcs=(BMC,))], {}, ["node17"]),
    "one of a machine that is forgotten with it": ([Declared("x1", bmc=IPMI)], [replace(NODE, name="gone")], {}, []),
    "one of a machine of which something else changes": (
        [replace(SAYS, bmc=BMC, tags=()), Declared("x1", bmc=IPMI)], [NODE], {}, ["node17"]),
    "two that are new": ([replace(SAYS, bmc=BMC), Declared("x1", bmc=IPMI)], [], {"x1": U18}, ["node17"]),
    "two that are new, and two boards": (
        [replace(SAYS, bmc=BMC), Declared("x1", bmc=IPMI)], [], {"node17": U17, "x1": U18}, []),
}  # fmt: skip


@pytest.mark.parametrize(("said", "known", "says", "of"), HOSTS.values(), ids=HOSTS.keys())
def test_a_host_is_one_board_whatever_the_driver(
    said: list[Declared], known: list[Machine], says: dict[str, BmcIdentity], of: list[str]
) -> None:
    machines, last = Machines(known), Applied(machines=(Declared("gone"),))
    found = difference(said, machines, last, prune=True, terms=TERMS)
    assert found.faults == []
    faults = list(hosts_of_others(found.deeds, machines, says))
    assert [re.findall(r"is at the host of .* for (\w+)$|is the BMC of (\w+) ", fault) for fault in faults] == [
        [("", name)] if known else [(name, "")] for name in of
    ]


def test_parameters_of_a_machine_may_change_while_it_is_installed() -> None:
    assert difference([replace(SAYS, params={})], Machines([BUSY]), NOTHING, prune=False, terms=TERMS).faults == []


def test_who_is_no_longer_declared() -> None:
    last = Applied(machines=(SAYS, Declared("gone")))
    assert [deed.what for deed in difference([], Machines([NODE]), last, prune=False, terms=TERMS).deeds] == ["left"]
    assert [deed.what for deed in difference([], Machines([NODE]), last, prune=True, terms=TERMS).deeds] == ["forget"]


def test_who_was_left_before_is_left_until_it_is_pruned() -> None:
    last = Applied(left=(replace(SAYS, address="10.0.0.17"),))
    found = difference([], Machines([NODE]), last, prune=False, terms=TERMS)
    assert [deed.lines for deed in found.deeds] == [
        ("no longer declared; it stays on record with its address 10.0.0.17 (--prune forgets it)",)
    ]
    assert left_of(found.deeds) == last.left
    assert [deed.what for deed in difference([], Machines([NODE]), last, prune=True, terms=TERMS).deeds] == ["forget"]


def test_who_has_another_name_now_is_not_forgotten_by_the_old_one() -> None:
    found = difference(
        [replace(SAYS, name="web1")], Machines([NODE]), Applied(machines=(SAYS,)), prune=True, terms=TERMS
    )
    assert [(deed.what, deed.name) for deed in found.deeds] == [("change", "web1")]
    left = difference([replace(SAYS, name="web1")], Machines([NODE]), Applied(left=(SAYS,)), prune=True, terms=TERMS)
    assert [(deed.what, deed.name) for deed in left.deeds] == [("change", "web1")]


CHANGE = Deed("change", "web1", declared=replace(SAYS, name="web1"), machine=NODE)
CREATE = Deed("create", "node17", declared=SAYS)
OVERTAKEN: dict[str, tuple[Deed, list[Machine], list[str]]] = {
    "nothing that matters": (CHANGE, [replace(NODE, seen=7.0, macs=(A, B)), OTHER], []),
    "a machine that is still not there": (CREATE, [], []),
    "a run that began": (CHANGE, [BUSY], ["node17 has changed meanwhile: it is deploying"]),
    "a run that began on one to be forgotten": (
        Deed("forget", "node17", machine=NODE), [BUSY], ["node17 has changed meanwhile: it is deploying"]),
    "somebody who gave it another name": (
        CHANGE, [replace(NODE, name="node18")], ["node17 has changed meanwhile: it is ready"]),
    "somebody who forgot it": (CHANGE, [], ["node17 has changed meanwhile"]),
    "somebody who enrolled one of that name": (
        CHANGE, [NODE, replace(OTHER, name="web1")], ["web1 is on record meanwhile, of web1"]),
    "somebody who enrolled one with that BMC": (
        Deed("create", "x1", declared=Declared("x1", bmc=BMC, source="a.yaml")), [NODE],
        [f"a.yaml: x1: {on_record(BMC, NODE)}"]),
    "somebody who added a way to it": (
        CHANGE, [replace(NODE, more_bmcs=(replace(BMC, driver=Driver.IPMI),))],
        ["node17 has changed meanwhile: it is ready"]),
    "discovery of one with that port": (
        CREATE, [replace(FOUND, macs=(A,))], [f"{A} is on record meanwhile, of new-00000b"]),
}  # fmt: skip


@pytest.mark.parametrize(("deed", "known", "lines"), OVERTAKEN.values(), ids=OVERTAKEN.keys())
def test_what_changed_since_it_was_judged(deed: Deed, known: list[Machine], lines: list[str]) -> None:
    assert list(overtaken([deed], Machines(known))) == lines


def test_a_machine_becomes_what_is_declared() -> None:
    after = become(replace(SAYS, macs=(B,), bmc=BMC, tags=("profile:storage",)), FOUND, 7.0, TERMS.classify)
    assert (after.name, after.state, after.generation, after.changed) == ("node17", State.READY, 2, 7.0)
    assert (after.profile, after.profile_reason, after.bmc) == ("storage", "declared", BMC)
    again = become(replace(SAYS, tags=()), replace(after, facts=Facts(serial="compute")), 8.0, TERMS.classify)
    assert (again.profile, again.profile_reason) == ("compute", "by its facts")
