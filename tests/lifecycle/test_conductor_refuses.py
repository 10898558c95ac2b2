"""What the conductor refuses, and that nothing was touched then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog.params import Resolved
from provisioner.errors import BmcAuthError, BmcUnreachable, ConflictError, LackingError, NotFoundError, PreflightError
from provisioner.model.boot import Arch, Asker, BootClient
from provisioner.model.catalog import Bootenv
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, Phase, Run, State, Step
from tests.lifecycle.rack import Rack
from tests.lifecycle.shelf import FakeArtifacts, FakeCatalogue
from tests.lifecycle.test_conductor import ready, settled


class Lacking(FakeCatalogue):
    """A catalogue of which a part is missing, with the system of a run under way."""

    def bootenv(self, name: str) -> Bootenv:
        if name == "debian-12":
            raise LackingError("what was applied last is not in use")
        return super().bootenv(name)

    def params(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Resolved:
        raise LackingError("what was applied last is not in use")


async def test_nothing_is_begun_that_cannot_be_made_out(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
    rack.catalogue, log = Lacking, list(metal.log)
    async with rack.alive(), rack.daemon() as conductor:
        with pytest.raises(PreflightError, match="parameters: what was applied last is not in use"):
            await conductor.boot("node17", "discovery")
        with pytest.raises(PreflightError, match="parameters: what was applied last is not in use"):
            await conductor.rescue("node17")
        assert (conductor.machines.get("node17").state, metal.log) == (State.READY, log)
        run = Run("r-1", "deploy", "debian-12", (Step("wait.dhcp", Phase.DHCP, 60),))
        conductor.machines.put(replace(conductor.machines.get("node17"), run=run))
        client = BootClient(metal.mac, Asker.HTTP, Arch.EFI_X64_HTTP, metal.uuid)
        assert conductor.decide(client) is not None  # who asks by DHCP has an answer


class Bare(FakeArtifacts):
    """Nothing is in store."""

    def missing(self, bootenv: Bootenv, arch: str) -> Sequence[str]:
        return [f"{bootenv.name}: vmlinuz is missing: run `provisionctl images build {bootenv.name}`"]


async def test_no_machine_is_switched_off_for_a_system_that_is_not_there(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.boot("node17", "debian-12")
        assert (await settled(conductor)).state is State.ACTIVE
    rack.artifacts, log = Bare, list(metal.log)
    async with rack.alive(), rack.daemon() as conductor:
        for verb in (conductor.release, conductor.rescue):
            with pytest.raises(PreflightError, match="artifacts: discovery: vmlinuz is missing: run `provisionctl"):
                await verb("node17")
        assert (conductor.machines.get("node17").state, metal.log) == (State.ACTIVE, log)
        await conductor.release("node17", erase=False)
        assert (await settled(conductor)).state is State.READY, "to switch it off takes no system"


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        with pytest.raises(NotFoundError, match="no machine 'node17'"):
            await conductor.boot("node17", "debian-12")
        metal.broken = BmcAuthError("ipmi://admin@bmc-node17:623: refused the password")
        with pytest.raises(BmcAuthError):
            await rack.enrol()
        assert conductor.machines.all() == []
        metal.broken = None
        machine = await rack.enrol()
        with pytest.raises(NotFoundError, match="did you mean node17"):
            await conductor.boot("node71", "debian-12")
        with pytest.raises(NotFoundError, match="no bootenv"):
            await conductor.boot("node17", "debain-12")
        with pytest.raises(PreflightError, match="artifacts fetch ubuntu"):
            await conductor.boot("node17", "ubuntu-22.04")
        with pytest.raises(PreflightError, match="provisionctl boot node17 discovery"):
            await conductor.boot("node17", "debian-12")
        with pytest.raises(ConflictError, match="there is a machine 'node17' already"):
            await rack.enrol()
        with pytest.raises(ConflictError, match="says that it is node17"):
            await conductor.enrol(EnrolRequest("other", metal.address, "correct horse"))
        with pytest.raises(ConflictError, match="its generation is 1, not 9"):
            await conductor.boot("node17", "discovery", generation=9)
        metal.broken = BmcUnreachable("ipmi://admin@bmc-node17:623: no answer")
        with pytest.raises(PreflightError, match="no answer"):
            await conductor.boot("node17", "discovery")
        assert conductor.machines.get("node17") == machine
        assert metal.log == []


async def test_what_an_operator_asks_of_a_dead_bmc_stands_in_the_trace(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        await rack.enrol()
        rack.one().broken = BmcUnreachable("no answer")
        with pytest.raises(BmcUnreachable):
            await conductor.power("node17", "on")
        told = [(line.event, line.text, line.ok) for _, line in await conductor.trace("node17")]
        assert ("bmc.power.on", "power on asked for, it failed: no answer", False) in told
