"""Every request is taken once under its key, and from the generation that it was decided on; another one is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, State
from tests.lifecycle.rack import PASSWORD, Rack
from tests.lifecycle.test_conductor import settled, waits
from tests.lifecycle.test_faults import until

Ask = Callable[..., Awaitable[Any]]


def node(method: str, *args: Any, **more: Any) -> Callable[[Conductor], Ask]:
    """Ask a conductor for something of node17, under a key or of a generation."""
    return lambda conductor: lambda **given: getattr(conductor, method)("node17", *args, **more, **given)


BOOT = node("boot", "discovery")
OTHERS: dict[str, tuple[Callable[[Conductor], Ask], str]] = {
    "another system": (node("boot", "debian-12"), "another boot"),
    "other parameters": (node("boot", "discovery", params={"system.timezone": "UTC"}), "another boot"),
    "another way": (node("boot", "discovery", via="media"), "another boot"),
    "another verb": (node("release"), "boot"),
    "without erasing": (node("release", erase=False), "boot"),
    "rescue": (node("rescue"), "boot"),
    "cancel": (node("cancel"), "boot"),
    "forget": (node("forget"), "boot"),
}
"""Requests under the key of a boot of the discovery system, and what that is told to have been used for."""


async def test_a_key_that_was_used_for_another_request_is_refused(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await rack.enrol()
        await BOOT(conductor)(key="k1")
        await settled(conductor)
        await conductor.boot("node17", "local", key="k2")
        await settled(conductor)
        generation = conductor.machines.get("node17").generation
        for what, (ask, was) in OTHERS.items():
            with pytest.raises(ConflictError, match=f"key 'k1' was used for {was}"):
                await ask(conductor)(key="k1")
            assert conductor.machines.get("node17").generation == generation, what
        again: Machine = await BOOT(conductor)(key="k1")
        assert again.generation == generation, "the same request, some runs ago"
    async with rack.daemon() as conductor:
        with pytest.raises(ConflictError, match="key 'k1' was used for another boot"):
            await conductor.boot("node17", "debian-12", key="k1")


async def held(conductor: Conductor) -> None:
    await conductor.hold("node17", "first")


async def retired(conductor: Conductor) -> None:
    await conductor.retire("node17")


async def moving(conductor: Conductor) -> None:
    await conductor.boot("node17", "discovery")


async def stopped(conductor: Conductor) -> None:
    await moving(conductor)
    await conductor.cancel("node17")


async def nothing(_conductor: Conductor) -> None:
    return


ONCE: dict[
    str, tuple[Callable[[Conductor], Awaitable[None]], Callable[[Conductor], Ask], Callable[[Conductor], Ask]]
] = {
    # what is asked before, the request, and what undoes it where the second time would else be refused or seen
    "hold": (nothing, node("hold", "new DIMM"), node("let_go")),
    "let-go": (held, node("let_go"), node("hold", "again")),
    "adopt": (nothing, node("adopt", "theirs"), node("release", erase=False)),
    "boot-via": (nothing, node("boot_by", "http"), node("boot_by", "pxe")),
    "retire": (nothing, node("retire"), node("unretire")),
    "unretire": (retired, node("unretire"), node("retire")),
    "cancel": (moving, node("cancel"), node("resume")),
    "resume": (stopped, node("resume"), node("cancel")),
    "power": (nothing, node("power", "cycle"), node("power", "off")),
}


@pytest.mark.parametrize("verb", ONCE)
async def test_what_is_asked_again_under_its_key_is_done_once(tmp_path: Path, verb: str) -> None:
    before, ask, undo = ONCE[verb]
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:  # its machines are off the network: runs stay where they are
        await rack.enrol()
        await before(conductor)
        generation = conductor.machines.get("node17").generation
        with pytest.raises(ConflictError, match="its generation is"):
            await ask(conductor)(generation=generation + 1)
        await asyncio.gather(*(ask(conductor)(key="k", generation=generation) for _ in range(3)))
        await undo(conductor)()
        await until(conductor, lambda node: node.run is None or node.run.step is None or waits(node.run))
        now, log = conductor.machines.get("node17"), list(rack.one().log)
        again: Machine = await ask(conductor)(key="k")
        assert (again.state, again.generation, rack.one().log) == (now.state, now.generation, log)
        with pytest.raises(ConflictError, match="was used for"):
            await conductor.boot("node17", "discovery", key="k")


async def test_a_machine_is_forgotten_and_enrolled_once(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        request = EnrolRequest("node17", rack.one().address, PASSWORD)
        machine = await conductor.enrol(request, key="k1")
        assert await conductor.enrol(request, key="k1") == machine
        with pytest.raises(ConflictError, match="was used for another enrol"):
            await conductor.enrol(EnrolRequest("node18"), key="k1")
        with pytest.raises(ConflictError, match="its generation is"):
            await conductor.forget("node17", key="k2", generation=machine.generation + 1)
        for _ in range(2):
            await conductor.forget("node17", key="k2", generation=machine.generation)
        assert conductor.machines.find("node17") is None
        assert (await conductor.enrol(request, key="k3")).state is State.ENROLLED
        await conductor.forget("node17", key="k2")
        assert conductor.machines.find("node17") is not None, "that was another node17"
