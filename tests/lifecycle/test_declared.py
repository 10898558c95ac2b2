"""What declarations change of machines on record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.lifecycle.declared import Applied, Declared, become, difference
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from tests.shipped import catalogue

A, B = Mac("52:54:00:00:00:0a"), Mac("52:54:00:00:00:0b")
BMC = BmcAddress(Driver.REDFISH, "10.0.0.9", 443, "admin", "ab" * 32)
SHOWN = catalogue().content.declarations.shown
NODE = Machine("m1", "node17", State.READY, macs=(A,), bmc=BMC, params={"disk.layout": "plain"}, tags=("rack=r1",))
FOUND = Machine("m2", "new-00000b", State.DISCOVERED, macs=(B,), facts=Facts())
BUSY, _ = advance(NODE, Begin("r1", Verb.DEPLOY, "debian-12"), 0.0)
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
    "by HTTP": (replace(SAYS, boot_via="http"), NODE, NOTHING, ["change", "boot_via: pxe -> http"]),
    "a fixed address": (replace(SAYS, address="10.0.0.17"), NODE, NOTHING, ["change", "address: none -> 10.0.0.17"]),
    "one that is fixed no more": (
        SAYS, NODE, Applied(machines=(replace(SAYS, address="10.0.0.17"),)), ["change", "address: 10.0.0.17 -> none"]),
    "the same BMC, whose certificate was pinned since": (
        replace(SAYS, bmc=replace(BMC, fingerprint=""), password="env:X"), NODE,
        Applied(machines=(replace(SAYS, password="env:X"),)), []),
    "another secret for it": (
        replace(SAYS, bmc=BMC, password="env:Y"), NODE, Applied(machines=(replace(SAYS, password="env:X"),)),
        ["change", "bmc.password: from env:Y"]),
}  # fmt: skip


@pytest.mark.parametrize(("said", "machine", "last", "lines"), CASES.values(), ids=CASES.keys())
def test_what_would_change(said: Declared, machine: Machine | None, last: Applied, lines: list[str]) -> None:
    found = difference([said], Machines([machine] if machine else []), last, prune=False, shown=SHOWN)
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
    "another BMC while a run is under way": (
        [replace(SAYS, bmc=replace(BMC, host="10.0.0.8"), password="env:X")], [BUSY], NOTHING,
        "node17 is deploying, bmc cannot change now"),
    "a machine in use that is to be forgotten": (
        [], [replace(NODE, state=State.ACTIVE)], Applied(machines=(SAYS,)),
        "node17 is active: it cannot be forgotten; release it first"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "known", "last", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be(said: list[Declared], known: list[Machine], last: Applied, fault: str) -> None:
    assert fault in difference(said, Machines(known), last, prune=True, shown=SHOWN).faults


def test_parameters_of_a_machine_may_change_while_it_is_installed() -> None:
    assert difference([replace(SAYS, params={})], Machines([BUSY]), NOTHING, prune=False, shown=SHOWN).faults == []


def test_who_is_no_longer_declared() -> None:
    last = Applied(machines=(SAYS, Declared("gone")))
    assert [deed.what for deed in difference([], Machines([NODE]), last, prune=False, shown=SHOWN).deeds] == ["left"]
    assert [deed.what for deed in difference([], Machines([NODE]), last, prune=True, shown=SHOWN).deeds] == ["forget"]


def test_a_machine_becomes_what_is_declared() -> None:
    after = become(replace(SAYS, macs=(B,), bmc=BMC, tags=("profile:storage",)), FOUND, 7.0)
    assert (after.name, after.state, after.generation, after.changed) == ("node17", State.READY, 2, 7.0)
    assert (after.profile, after.profile_reason, after.bmc) == ("storage", "declared", BMC)
