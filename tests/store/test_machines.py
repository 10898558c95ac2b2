"""Machines, runs and events: written together, read back as they were, names unique, keys used once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import ConflictError, StoreError
from provisioner.lifecycle.inputs import Begin, Cancel
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, Driver, Power
from provisioner.model.facts import Disk, Facts, Nic
from provisioner.model.intent import Asked
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.store.codec import Reader
from provisioner.store.db import Database
from provisioner.store.intents import IntentStore
from provisioner.store.machines import Change, MachineStore

MAC = Mac("52:54:00:77:00:11")
FACTS = Facts("QEMU", uuid="u", disks=(Disk("vda", 1 << 33),), nics=(Nic("eth0", MAC, link=True),), secure_boot=False)
MACHINE = Machine(
    "m1", "node17", State.READY, macs=(MAC,), facts=FACTS,
    bmc=BmcAddress(Driver.REDFISH, "10.0.0.1", 443, "admin", "ab"),
    power=Power.ON, params={"disk": {"layout": "lvm"}}, tags=("rack=r1",),
)  # fmt: skip


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


async def test_a_machine_comes_back_as_it_was_run_and_all(db: Database) -> None:
    store = MachineStore(db)
    deploying, _ = advance(MACHINE, Begin("r1", Verb.DEPLOY, "debian-12", "image"), 5.0)
    await store.save(Change(1.0, None, MACHINE))
    await store.save(Change(2.0, MACHINE, deploying))
    assert await store.load() == [deploying]


async def test_events_are_numbered_in_order_and_read_from_a_cursor(db: Database) -> None:
    store = MachineStore(db)
    first = await store.save(Change(1.0, None, MACHINE, [("machine.created", {"name": "node17"}), ("b", {})]))
    await store.save(Change(2.0, None, replace(MACHINE, id="m2", name="node18"), [("c", {})]))
    assert [(e.type, e.machine) for e in await store.events(0, 10)] == [
        ("machine.created", "m1"), ("b", "m1"), ("c", "m2")]  # fmt: skip
    assert [e.type for e in await store.events(first[0].seq, 10)] == ["b", "c"]
    assert [e.type for e in await store.events(0, 10, "m2")] == ["c"]
    assert await store.last_event() == 3
    assert first[0].data == {"name": "node17"}


async def test_an_ended_run_is_kept(db: Database) -> None:
    store = MachineStore(db)
    deploying, _ = advance(MACHINE, Begin("r1", Verb.DEPLOY, "debian-12", "image"), 5.0)
    cancelled, _ = advance(deploying, Cancel(), 6.0)
    await store.save(Change(1.0, None, MACHINE))
    await store.save(Change(5.0, MACHINE, deploying))
    assert await store.runs("m1") == []
    await store.save(Change(6.0, deploying, cancelled))
    assert await store.runs("m1") == [cancelled.run]


async def test_a_name_is_taken_once_and_nothing_else_of_the_change_stays(db: Database) -> None:
    store = MachineStore(db)
    await store.save(Change(1.0, None, MACHINE))
    with pytest.raises(ConflictError, match="node17"):
        await store.save(Change(2.0, None, replace(MACHINE, id="m2"), [("machine.created", {})]))
    assert await store.events(0, 10) == []
    await store.save(Change(3.0, MACHINE, None))
    with pytest.raises(ConflictError, match="forgotten meanwhile"):
        await store.save(Change(4.0, MACHINE, replace(MACHINE, power=None)))


async def test_an_idempotency_key_names_one_run(db: Database) -> None:
    store = MachineStore(db)
    deploying, _ = advance(MACHINE, Begin("r1", Verb.DEPLOY, "debian-12", "image"), 5.0)
    await store.save(Change(1.0, None, MACHINE))
    await store.save(Change(5.0, MACHINE, deploying, intent=Asked("k1", "boot x")))
    assert await IntentStore(db).find("k1") == ("m1", "r1", "boot x")
    assert await IntentStore(db).find("k2") is None
    with pytest.raises(ConflictError, match="idempotency key"):
        await store.save(Change(6.0, MACHINE, deploying, intent=Asked("k1")))


def test_a_document_of_another_shape_is_refused_with_the_field() -> None:
    with pytest.raises(StoreError, match=r"Machine in the store cannot be read.*state"):
        Reader(Machine)(b'{"id": "m1", "name": "x", "state": "no-such"}')
