"""A machine's BMC is put on record from inside: the shipped workflow, its script with the real ipmitool, real drivers.

The board is a simulated one in a process of its own. Where a machine has /dev/ipmi0, ipmitool goes by the network here:
what it is told, and what it tells, is the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.catalog.load import shipped
from provisioner.lifecycle.ports import Discovery
from provisioner.model.bmc import Driver, Power
from provisioner.model.facts import BmcSeen, Facts
from provisioner.model.machine import Machine
from provisioner.model.workflow import FlowStatus
from provisioner.store.db import Database
from tests.bmc.simulated import IPMI_PORT, PASSWORD, REDFISH_PORT, USER, Simulated, host
from tests.lifecycle.points import Points
from tests.lifecycle.rack import Metal
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, reasons

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
FLOW = (shipped() / "bootenvs/workflows/adopt-bmc.yaml").read_text()
LIBRARY = """
step() { echo "step $*"; }
fail() { echo "$*" >&2; exit 1; }
"""


@contextmanager
def board(root: Path) -> Iterator[None]:
    """Board 0, in another process."""
    command = [sys.executable, "-m", "tests.bmc.simulated", "1", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.stdin.close()


class AdoptRack(FlowRack):
    """A rack whose machine sees board 0 as its own."""

    def __init__(self, folder: Path, uuid: str) -> None:
        super().__init__(folder, ("node17",), FLOW)
        self.metal[0].uuid = uuid
        self.real = Bmcs()
        self.does = self.run_it
        self.db: Database
        self.said = ""
        self.seen = b""

    def bmcs(self, points: Points) -> Any:
        return self.real

    async def beside(self, conductor: Any, db: Database, points: Points) -> Any:
        self.db = db
        return await super().beside(conductor, db, points)

    def _discovery(self) -> Discovery:
        found = super()._discovery()

        def decode(raw: bytes, now: float) -> Facts:
            return replace(found.decode(raw, now), bmc=BmcSeen(host(0), "52:54:43:00:00:00"))

        return replace(found, decode=decode)

    def listens(self, machine: Machine) -> bool:
        return self.agents.discovery_runs(machine, 60.0)

    def run_it(self, metal: Metal, step: str) -> int:
        """Run the script as the discovery system does, with an ipmitool that reaches the board."""
        tools, log = self.folder / "bin", self.folder / "argv"
        tools.mkdir(exist_ok=True)
        way = f"-I lanplus -C 17 -H {host(0)} -p {IPMI_PORT} -U {USER} -E"
        tool = tools / "ipmitool"
        tool.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec /usr/bin/ipmitool {way} "$@"\n')
        tool.chmod(0o755)
        library = self.folder / "job.sh"
        library.write_text(LIBRARY)
        text = self.scripts[-1].replace("/usr/lib/provisioner/job.sh", str(library))
        (self.folder / "script").write_text(text)
        environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "IPMI_PASSWORD": PASSWORD}
        said = self.folder / "said"
        command = ["bash", "-euo", "pipefail", str(self.folder / "script")]
        with said.open("wb") as out:  # a group of its own, which ends with it: so does what ends it at its limit
            job = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
            status = job.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
        self.said = said.read_text()
        self.seen = log.read_bytes() + self.said.encode()
        return status


async def adopted(rack: AdoptRack, wish: Mapping[str, Any]) -> Sequence[str]:
    """Let the machine be discovered with no BMC on record, then adopt it; why it failed, or nothing."""
    async with rack.real, rack.alive(), rack.daemon() as conductor:
        metal = rack.one()
        metal.power = Power.ON
        rack.boots(metal)
        while not conductor.machines.all():
            await conductor.wait_event(0, 0.1)
        (machine,) = conductor.machines.all()
        assert machine.bmc is None
        while not rack.listens(
            conductor.machines.get(machine.id)
        ):  # its agent asks what to do a moment after its report
            await conductor.wait_change(machine.id, 0.1)
        run = await over(rack, await rack.begin("adopt-bmc", f"name={machine.name}", params=dict(wish)), limit_s=100)
        if run.status is not FlowStatus.DONE:
            return [f"{rack.said}{reason}" for reason in reasons(run).values()]
        machine = conductor.machines.get(machine.name)
        assert machine.bmc is not None
        assert (machine.bmc.driver, machine.bmc.host, machine.bmc.username) == (Driver.REDFISH, host(0), "provisioner")
        assert [one.driver for one in machine.more_bmcs] == [Driver.IPMI]
        logins = await conductor.ways.all(machine)
        for address, password in logins:
            assert await rack.real.power(address, password) is Power.OFF
        password = logins[0][1]
        assert len(password) == 20
        assert password.encode() not in rack.seen, "neither on a command line nor in what is said"
        return []


PORTS = {"redfish_port": REDFISH_PORT, "ipmi_port": IPMI_PORT}


async def test_an_account_is_made_from_inside_and_the_bmc_put_on_record(tmp_path: Path) -> None:
    rack = AdoptRack(tmp_path, Simulated(0).machine.identity.uuid)
    with board(tmp_path):
        assert await adopted(rack, PORTS) == []


async def test_a_board_that_is_anothers_is_not_taken(tmp_path: Path) -> None:
    rack = AdoptRack(tmp_path, "99999999-0000-4000-8000-000000000099")
    with board(tmp_path):
        (reason,) = await adopted(rack, PORTS)
    assert "is not that of" in reason
