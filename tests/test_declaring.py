"""Directories of declarations: machines and catalogue together, all of it or nothing, with the daemon's own parts."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from provisioner.errors import BmcAuthError, ConfigError, ConflictError
from provisioner.lifecycle.declared import Declared, Wanted
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.runner import SLICE
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.shelves import shelf_of
from tests.declarations import Declared as Rig
from tests.declarations import declared

A, B = Mac("52:54:00:00:00:0a"), Mac("52:54:00:00:00:0b")
BMC = BmcAddress(Driver.IPMI, "10.0.0.9", 623, "admin")
NODE = Declared(
    "node17", (A,), BMC, "env:NODE17", params={"disk.layout": "lvm"}, tags=("role:web", "profile:storage"),
    address="10.77.0.17", source="machines/rack.yaml",
)  # fmt: skip
BOOTENV = """\
name: site-os
title: An operating system of the site
kind: live
family: site
arch:
  amd64:
    kernel: vmlinuz
    args: quiet
    artifacts:
      vmlinuz: {url: "http://mirror.example/vmlinuz"}
"""
FILES = {"bootenvs/site-os.yaml": BOOTENV}


async def test_machines_and_catalogue_come_together(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        planned = await rig.site.apply(Wanted("abc123", (NODE,), FILES))
        assert planned.catalogue == ("bootenv site-os: added", "template bootenvs/site-os.amd64.args.j2: added")
        machine = rig.conductor.machines.get("node17")
        assert (machine.macs, machine.bmc, machine.params) == ((A,), BMC, {"disk.layout": "lvm"})
        assert (machine.profile, machine.profile_reason, machine.state) == ("storage", "declared", State.ENROLLED)
        assert await rig.secrets.get(secret_of(machine.id)) == "secret of env:NODE17"
        assert rig.reserved() == {A: "10.77.0.17"}
        assert "site-os" in rig.shelf.catalog.names()
        assert "bootenvs/site-os.amd64.args.j2" in rig.loaded
        assert (rig.site.applied.revision, rig.site.applied.seq) == ("abc123", 1)
        last = (await rig.conductor.events(0, 100))[-1]
        assert (last.type, last.data["revision"]) == ("site.applied", "abc123")


@pytest.mark.slow
async def test_it_outlives_the_daemon(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("abc123", (NODE,), FILES))
    async with declared(tmp_path) as rig:
        assert rig.site.applied.revision == "abc123"
        assert rig.conductor.machines.get("node17").bmc == BMC
        shelf, _ = await shelf_of(rig.config, rig.db)
        assert "site-os" in shelf.catalog.names()
        planned = await rig.site.plan(Wanted("abc123", (NODE,), FILES))
        assert (planned.catalogue, planned.deeds, planned.faults) == ((), (), ())


@pytest.mark.slow
async def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        planned = await rig.site.plan(Wanted("", (NODE,), FILES))
        assert [deed.what for deed in planned.deeds] == ["create"]
        assert not rig.conductor.machines.all()
        assert "site-os" not in rig.shelf.catalog.names()
        assert await asyncio.to_thread(lambda: list((tmp_path / "state/catalogue").iterdir())) == []


REFUSED: dict[str, tuple[Wanted, str]] = {
    "a template that cannot be read": (
        Wanted("", (NODE,), {**FILES, "templates/site/x.sh.j2": "{% if %}"}), "templates/site/x.sh.j2:1: Expected"),
    "a bootenv that is not one": (Wanted("", (NODE,), {"bootenvs/x.yaml": "name: 7\n"}), "bootenvs/x.yaml:"),
    "a file that leads elsewhere": (Wanted("", (), {"templates/../../x.j2": ""}), "not a file of a catalogue"),
    "a parameter that does not fit": (
        Wanted("", (replace(NODE, params={"disk.layout": "cubic"}),), FILES), "machines/rack.yaml: "),
    "a secret of a parameter that cannot be had": (
        Wanted("", (replace(NODE, params={"users.root.password": "file:nope"}),)), "file:nope"),
    "a secret of an account that cannot be had": (
        Wanted("", (replace(NODE, params={"users.accounts": [{"name": "me", "password": "file:none"}]}),)),
        "file:none"),
    "a secret that cannot be had": (Wanted("", (replace(NODE, password="file:missing"),)), "file:missing"),
    "an address that is in no subnet": (Wanted("", (replace(NODE, address="192.0.2.9"),)), "192.0.2.9"),
    "a port of two machines": (
        Wanted("", (NODE, replace(NODE, name="node18", address=""))), f"{A} is declared in machines/rack.yaml, too"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("wanted", "fault"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_wrong_anywhere_stops_all_of_it(tmp_path: Path, wanted: Wanted, fault: str) -> None:
    async with declared(tmp_path) as rig:
        before = rig.shelf.catalog.content
        assert any(fault in each for each in (await rig.site.plan(wanted)).faults)
        with pytest.raises(ConfigError) as caught:
            await rig.site.apply(wanted)
        assert any(fault in each for each in caught.value.faults), caught.value.faults
        await untouched(rig, before)


async def untouched(rig: Rig, before: object) -> None:
    assert not rig.conductor.machines.all()
    assert rig.shelf.catalog.content is before
    assert (rig.site.applied.seq, rig.reserved()) == (0, {})
    assert await rig.conductor.events(0, 100) == []


@pytest.mark.slow
async def test_a_bmc_that_does_not_let_us_in_stops_all_of_it(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        rig.board.fault = BmcAuthError("user or password refused")
        before = rig.shelf.catalog.content
        with pytest.raises(ConfigError) as caught:
            await rig.site.apply(Wanted("", (NODE,), FILES))
        assert list(caught.value.faults) == ["node17: user or password refused"]
        assert rig.board.let_go == [BMC]
        await untouched(rig, before)
        await rig.site.apply(Wanted("", (NODE,), FILES, verify=False))
        assert rig.conductor.machines.get("node17").bmc == BMC


@pytest.mark.slow
async def test_a_session_is_kept_with_the_bmc_that_is_on_record_alone(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)))
        assert rig.board.let_go == []
        await rig.site.apply(Wanted("", (replace(NODE, bmc=replace(BMC, host="10.0.0.10")),)))
        assert rig.board.let_go == [BMC]


@pytest.mark.slow
async def test_the_board_of_another_machine_stops_all_of_it(tmp_path: Path) -> None:
    uuid = "00000000-0000-4000-8000-000000000017"
    other = Declared("n2", (B,), replace(BMC, host="node17-bmc"), "env:N2")
    async with declared(tmp_path) as rig:
        rig.board.says = dict.fromkeys((BMC.host, "node17-bmc"), BmcIdentity(uuid=uuid))
        fault = f"n2: the BMC at {other.bmc} says that it is node17 (UUID {uuid}, serial number ?) (nothing was put on"
        with pytest.raises(ConfigError) as together:
            await rig.site.apply(Wanted("", (NODE, other)))
        await rig.site.apply(Wanted("", (NODE,)))
        with pytest.raises(ConfigError) as later:
            await rig.site.apply(Wanted("", (NODE, other)))
        for caught in (together, later):
            assert [each.startswith(fault) for each in caught.value.faults] == [True]
        assert [machine.name for machine in rig.conductor.machines.all()] == ["node17"]
        await rig.site.apply(Wanted("", (other,), prune=True))
        assert [machine.name for machine in rig.conductor.machines.all()] == ["n2"]


MEANWHILE: dict[str, Wanted] = {
    "of one that gets another BMC": Wanted("", (replace(NODE, bmc=replace(BMC, host="10.0.0.77")),)),
    "of one that is to be forgotten": Wanted("", (Declared("n2", (B,), BMC, "env:N2"),), prune=True),
    "of a bootenv that is to go": Wanted("", (NODE, Declared("n2", (B,), replace(BMC, host="10.0.0.78"), "env:N2"))),
}


@pytest.mark.slow
@pytest.mark.parametrize("wanted", MEANWHILE.values(), ids=MEANWHILE.keys())
async def test_a_run_that_begins_while_bmcs_are_asked_stops_all_of_it(tmp_path: Path, wanted: Wanted) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,), FILES))

        def begin() -> None:
            busy, _ = advance(rig.conductor.machines.get("node17"), Begin("r1", Verb.LIVE, "site-os"), 0.0)
            rig.conductor.machines.put(busy)

        rig.board.meanwhile = begin
        with pytest.raises(ConflictError, match="nothing was applied: node17 "):
            await rig.site.apply(wanted)
        machine = rig.conductor.machines.get("node17")
        assert (machine.bmc, machine.run is not None, len(rig.conductor.machines.all())) == (BMC, True, 1)
        assert (rig.site.applied.seq, "site-os" in rig.shelf.catalog.names()) == (1, True)


@pytest.mark.parametrize("same", [True, False], ids=["by its address", "by what it says"])
async def test_a_board_that_is_enrolled_meanwhile_is_put_on_record_once(tmp_path: Path, same: bool) -> None:
    other = BMC if same else replace(BMC, host="10.0.0.10")
    request = EnrolRequest("node18", other, "password", verify=not same)
    async with declared(tmp_path) as rig, asyncio.TaskGroup() as group:
        rig.board.says = dict.fromkeys((BMC.host, other.host), BmcIdentity(uuid=str(uuid4())))
        enrolled: list[asyncio.Task[BaseException | Machine]] = []

        async def enrol() -> BaseException | Machine:
            return (await asyncio.gather(rig.conductor.enrol(request), return_exceptions=True))[0]

        def meanwhile() -> None:
            rig.board.meanwhile = lambda: None
            enrolled.append(group.create_task(enrol()))

        rig.board.meanwhile = meanwhile
        (applied,) = await asyncio.gather(rig.site.apply(Wanted("", (NODE,))), return_exceptions=True)
        found = [applied, await enrolled[0]]
        assert sum(isinstance(each, ConflictError) for each in found) == 1
        assert [machine.bmc for machine in rig.conductor.machines.all()] in ([BMC], [other])


async def test_the_host_of_another_machines_board_is_refused_unless_both_say_that_they_are_two(tmp_path: Path) -> None:
    way = BmcAddress(Driver.REDFISH, BMC.host, 443, "admin", "ab" * 32)
    both = Wanted("", (NODE, Declared("n2", (B,), way, "env:N2")))
    async with declared(tmp_path) as rig:
        blind = replace(both, verify=False)
        assert any("is at the host of" in fault for fault in (await rig.site.plan(blind)).faults)
        for wanted in (blind, both):
            with pytest.raises(ConfigError) as caught:
                await rig.site.apply(wanted)
            assert f"n2: {way} is at the host of the BMC that is declared for node17" in caught.value.faults[0]
        await rig.site.apply(Wanted("", (NODE,)))
        with pytest.raises(ConfigError) as later:
            await rig.site.apply(both)
        assert f"n2: {way} is at the host of {BMC}, which is the BMC of node17" in later.value.faults[0]


@pytest.mark.slow
async def test_a_store_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.fill_disk()
        before = rig.shelf.catalog.content
        with pytest.raises(Exception, match="full"):
            await rig.site.apply(Wanted("", (NODE,), FILES))
        await untouched(rig, before)


@pytest.mark.slow
async def test_who_planned_on_something_older_is_refused(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)), after=0)
        with pytest.raises(ConflictError, match="something else was applied"):
            await rig.site.apply(Wanted("", (NODE,)), after=0)


@pytest.mark.slow
async def test_what_is_no_longer_declared_stays_until_it_is_pruned(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,), FILES))
        planned = await rig.site.apply(Wanted("", (), {}))
        assert [(deed.what, deed.name) for deed in planned.deeds] == [("left", "node17")]
        assert "site-os" not in rig.shelf.catalog.names()
        await rig.site.apply(Wanted("", (NODE,)))
        planned = await rig.site.apply(Wanted("", (), prune=True))
        assert [(deed.what, deed.name) for deed in planned.deeds] == [("forget", "node17")]
        assert not rig.conductor.machines.all()
        assert rig.reserved() == {}


@pytest.mark.slow
async def test_who_was_left_is_pruned_later_and_its_address_given_to_another(tmp_path: Path) -> None:
    other = Declared("other", (B,), address="10.77.0.17", source="b.yaml")
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)))
        await rig.site.apply(Wanted("", ()))
        await rig.site.apply(Wanted("", ()))
        assert (rig.site.applied.left, rig.reserved()) == ((NODE,), {A: "10.77.0.17"})
        assert [f"10.77.0.17 is reserved for {A}"] == list((await rig.site.plan(Wanted("", (other,)))).faults)
    async with declared(tmp_path) as rig:
        planned = await rig.site.apply(Wanted("", (other,), prune=True))
        assert [(deed.what, deed.name) for deed in planned.deeds] == [("create", "other"), ("forget", "node17")]
        assert rig.reserved() == {B: "10.77.0.17"}
        assert rig.site.applied.left == ()


@pytest.mark.slow
async def test_a_fixed_address_goes_with_the_first_port_and_is_taken_back_from_it(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)))
        await rig.site.apply(Wanted("", (replace(NODE, macs=(B,)),)))
        assert rig.reserved() == {B: "10.77.0.17"}
        await rig.site.apply(Wanted("", (replace(NODE, macs=(B,), address=""),)))
        assert rig.reserved() == {}


@pytest.mark.slow
async def test_a_machine_that_gets_another_name_is_not_pruned_by_the_old_one(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)))
        before = rig.conductor.machines.get("node17")
        await rig.site.apply(Wanted("", (replace(NODE, name="web1"),), prune=True))
        assert [(each.name, each.id) for each in rig.conductor.machines.all()] == [("web1", before.id)]
        assert (rig.reserved(), await rig.secrets.get(secret_of(before.id))) == (
            {A: "10.77.0.17"},
            "secret of env:NODE17",
        )


@pytest.mark.slow
async def test_a_password_that_was_rotated_is_not_set_back(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("", (NODE,)))
        secret = secret_of(rig.conductor.machines.get("node17").id)
        await rig.secrets.put(secret, "rotated")
        await rig.site.apply(Wanted("", (replace(NODE, params={"disk.layout": "plain"}),)))
        assert await rig.secrets.get(secret) == "rotated"
        await rig.site.apply(Wanted("", (replace(NODE, password="env:OTHER"),)))
        assert await rig.secrets.get(secret) == "secret of env:OTHER"


async def test_who_goes_away_meanwhile_does_not_cut_it_in_two(tmp_path: Path) -> None:
    many = tuple(replace(NODE, name=f"n{at}", macs=(Mac(f"52:54:00:00:01:{at:02x}"),), bmc=None, password="",
                         address=f"10.77.0.{at}") for at in range(2, 2 + 2 * SLICE))  # fmt: skip
    async with declared(tmp_path) as rig, asyncio.TaskGroup() as group:
        asked = group.create_task(rig.site.apply(Wanted("", many)))
        followed = []

        def follow(_before: Machine | None, after: Machine | None) -> None:
            followed.append(after)
            asked.cancel()

        rig.conductor.follow(follow)
        with pytest.raises(asyncio.CancelledError):
            await asked
        await rig.site.plan(Wanted("", many))  # comes after it
        assert (len(followed), len(rig.reserved())) == (len(many), len(many))
        assert "site.applied" in [event.type for event in await rig.conductor.events(0, 1000)]


@pytest.mark.slow
async def test_many_machines_leave_the_loop_to_others(tmp_path: Path) -> None:
    """What is judged and encoded is in threads; what has to be on the loop is there for some machines in each turn."""
    many = [
        Declared(f"n{at}", (Mac(f"52:54:00:00:01:{at:02x}"),), params={"disk.layout": "lvm"}, address=f"10.77.0.{at}")
        for at in range(2, 62)
    ]
    turns, seen, on_loop = 0, [], []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(seen) < len(many):
            asyncio.get_running_loop().call_soon(turn)

    def follow(_before: Machine | None, _after: Machine | None) -> None:
        seen.append(turns)
        if len(seen) == 1:
            turn()

    class Told(dict[str, object]):
        """Parameters that say where somebody looks at them."""

        def items(self) -> Any:
            on_loop.append(threading.current_thread() is threading.main_thread())
            return super().items()

    many[0] = replace(many[0], params=Told({"disk.layout": "lvm"}))
    async with declared(tmp_path) as rig:
        rig.conductor.follow(follow)
        await rig.site.apply(Wanted("", tuple(many)))
        assert len(seen) == len(many)
        assert len(set(seen)) >= len(many) / SLICE
        assert on_loop
        assert not any(on_loop)
        assert len(rig.reserved()) == len(many)
        await rig.site.apply(Wanted("", (many[0],), prune=True))
        assert [machine.name for machine in rig.conductor.machines.all()] == ["n2"]
