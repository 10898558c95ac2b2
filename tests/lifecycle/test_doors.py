"""Ways to machines' boards: whose board it is, and what puts one on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import ConflictError, PreflightError
from provisioner.model.intent import EnrolRequest
from tests.lifecycle.rack import PASSWORD, Rack

WAY = r"`provisionctl bmc add node17 redfish://USER@HOST` or ipmi://"


async def test_who_has_no_bmc_on_record_is_told_what_puts_one_there(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    request = EnrolRequest("node17", macs=(metal.mac,))
    async with rack.daemon() as conductor:
        machine = await conductor.enrol(request)
        with pytest.raises(PreflightError, match=WAY):
            await conductor.boot("node17", "discovery")
        with pytest.raises(PreflightError, match=WAY):
            await conductor.release("node17")
        with pytest.raises(ConflictError, match=WAY):
            await conductor.power("node17", "on")
        with pytest.raises(ConflictError, match=r"already \(`provisionctl forget node17` removes it\)"):
            await conductor.enrol(request)
        with pytest.raises(ConflictError, match="`provisionctl bmc add node17 URL` gives it its BMC"):
            await conductor.enrol(EnrolRequest("node17", metal.address, PASSWORD))
        assert conductor.machines.get("node17") == machine
        added = await conductor.doors.add("node17", metal.address, PASSWORD)
        assert (added.bmc, added.uuid) == (metal.address, metal.uuid)
        assert (await conductor.boot("node17", "discovery")).run is not None
