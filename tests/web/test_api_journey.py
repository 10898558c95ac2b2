"""The real conductor on a store of its own, the real API on its socket, the real command line; machines that behave."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from provisioner.cli import progress
from provisioner.cli.root import run
from provisioner.errors import BmcUnreachable
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.web.api import Api
from provisioner.web.app import machine_app, operator_app
from provisioner.web.machines import MachineSide
from provisioner.web.ports import BootenvStatus, Site
from provisioner.web.server import Server
from tests.lifecycle.rack import PASSWORD, Rack
from tests.lifecycle.shelf import DEBIAN, DISCOVERY, UBUNTU

BOOTENVS = (BootenvStatus(DEBIAN), BootenvStatus(DISCOVERY), BootenvStatus(UBUNTU, ("vmlinuz is missing",)))


class Ran(NamedTuple):
    status: int
    out: str
    err: str


async def ctl(rack: Rack, *args: str, password: str = PASSWORD) -> Ran:
    """Run `provisionctl` in a thread: what it prints is all that is looked at."""
    out, err = io.StringIO(), io.StringIO()
    env = {"PROVISIONER_SOCKET": str(rack.folder / "api.sock"), "PROVISIONER_BMC_PASSWORD": password}

    def call() -> int:
        with redirect_stdout(out), redirect_stderr(err):
            return run(args)

    os.environ.update(env)
    async with asyncio.timeout(30):
        status = await asyncio.to_thread(call)
    return Ran(status, out.getvalue(), err.getvalue())


async def begun(rack: Rack, *args: str) -> asyncio.subprocess.Process:
    """Begin a `provisionctl` in a process of its own."""
    env = {**os.environ, "PROVISIONER_SOCKET": str(rack.folder / "api.sock")}
    line = (sys.executable, "-m", "provisioner.cli", *args)
    return await asyncio.create_subprocess_exec(*line, env=env, stdout=asyncio.subprocess.PIPE)


@asynccontextmanager
async def served(rack: Rack) -> AsyncIterator[int]:
    """Run a daemon with both its applications; gives the port of the machines' side."""
    async with rack.daemon() as conductor:
        api = Server(operator_app(Api(Site(conductor, lambda: BOOTENVS)).routes()), drain_s=0.05)
        boot = Server(machine_app(MachineSide(conductor.booter).routes()), drain_s=0.05)
        await api.listen_unix(rack.folder / "api.sock")
        try:
            yield await boot.listen_tcp("127.0.0.1", 0)
        finally:
            await api.close()
            await boot.close()


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    monkeypatch.setattr(progress, "POLL_S", 0.02)
    monkeypatch.setenv("PROVISIONER_SOCKET", "")
    monkeypatch.setenv("PROVISIONER_BMC_PASSWORD", "")
    return Rack(tmp_path, ("node17", "node18"))


async def until_begun(rack: Rack, verb: str) -> None:
    """Wait for the event that tells of a run."""
    assert rack.conductor is not None
    after = 0
    async with asyncio.timeout(30):
        while True:
            for event in await rack.conductor.events(after, 100):
                after = event.seq
                if event.type == "run.started" and event.data["verb"] == verb:
                    return
            await rack.conductor.wait_event(after, 30)


def enrol(name: str) -> tuple[str, ...]:
    return ("enrol", name, "--bmc", f"ipmi://admin@bmc-{name}")


async def test_two_commands_take_a_machine_from_the_dock_to_active(rack: Rack) -> None:
    async with rack.alive(), served(rack):
        assert await ctl(rack, *enrol("node17")) == (
            0,
            "node17 is enrolled with its BMC ipmi://admin@bmc-node17:623\n",
            "",
        )
        found = await ctl(rack, "discover", "node17", "--wait")
        assert (found.status, found.out.partition(":")[0]) == (0, "node17 is ready")
        done = await ctl(rack, "boot", "node17", "debian-12", "--wait")
        assert (done.status, done.out.partition(" in ")[0]) == (0, "node17 is active: deploy debian-12 done")
        listed = (await ctl(rack, "machines")).out.splitlines()[1].split()
        assert listed[:5] == ["node17", "active", "vm-bios", "debian-12", "on"]
        trace = (await ctl(rack, "trace", "node17")).out
        assert [line.split()[2] for line in trace.splitlines() if line.startswith("   +0.0")][:1] == ["life"]
        assert "deploy debian-12 done" in trace
        shown = json.loads((await ctl(rack, "show", "node17", "-o", "json")).out)
        assert (shown["state"], shown["run"]["outcome"]) == ("active", "done")
        assert PASSWORD not in json.dumps(shown)


async def test_wrong_input_changes_nothing(rack: Rack) -> None:
    cases: list[tuple[tuple[str, ...], int, str]] = [
        (("boot", "node71", "debian-12"), 3, "there is no machine 'node71' (did you mean node17?)"),
        (("boot", "node17", "debian-99"), 3, "no bootenv 'debian-99'"),
        (("boot", "node17", "ubuntu-22.04"), 1, "node17 cannot boot ubuntu-22.04; nothing was touched"),
        (("boot", "node17", "debian-12"), 1, "the hardware of node17 is not known yet (provisionctl boot node17 disc"),
        (enrol("node17"), 4, "there is a machine 'node17' already (`provisionctl bmc add node17 URL` gives it its BMC"),
        (("cancel", "node17"), 4, "node17 is enrolled: there is nothing to cancel"),
    ]
    async with served(rack):
        await ctl(rack, *enrol("node17"))
        before = await ctl(rack, "machines", "-o", "json")
        for args, status, says in cases:
            ran = await ctl(rack, *args)
            assert (ran.status, ran.out, says in ran.err) == (status, "", True), ran
            assert "Traceback" not in ran.err
        assert await ctl(rack, "machines", "-o", "json") == before
    assert rack.one().log == []


BY_STATE = {
    "a machine that is retired": (
        ("boot", "node17", "discovery"), "node17 cannot boot discovery; nothing was touched: state: node17 is retired"),
    "whatever else stands against it": (
        ("boot", "node17", "ubuntu-22.04"), "  state: node17 is retired: it cannot be installed in that state"),
    "what looks at nothing but the state": (("hold", "node17", "x"), "node17 is retired"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "says"), BY_STATE.values(), ids=BY_STATE.keys())
async def test_what_the_state_of_a_machine_refuses_is_a_conflict(rack: Rack, args: Sequence[str], says: str) -> None:
    async with served(rack):
        await ctl(rack, *enrol("node17"))
        await ctl(rack, "retire", "node17")
        ran = await ctl(rack, *args)
        assert (ran.status, ran.out, says in ran.err) == (4, "", True), ran
    assert rack.one().log == []


async def test_a_bmc_that_refuses_or_is_silent_is_told_and_nothing_is_written(rack: Rack) -> None:
    async with served(rack):
        refused = await ctl(rack, *enrol("node17"), password="wrong")
        assert (refused.status, "wrong password" in refused.err) == (1, True)
        rack.one("node18").broken = BmcUnreachable("bmc-node18: no answer", hint="check the cable")
        silent = await ctl(rack, *enrol("node18"))
        assert (silent.status, silent.err) == (1, "provisionctl: bmc-node18: no answer (check the cable)\n")
        assert (await ctl(rack, "machines", "-o", "name")).out == ""


@pytest.mark.slow
async def test_wait_goes_on_through_a_restart(rack: Rack) -> None:
    """The conductor is killed in mid-journey, the store is opened anew, and the command ends as if nothing had been."""
    async with rack.alive():
        async with served(rack):
            await ctl(rack, *enrol("node17"))
            await ctl(rack, "discover", "node17", "--wait")
            waiting = await begun(rack, "boot", "node17", "debian-12", "--wait")
            await until_begun(rack, "deploy")
        async with served(rack), asyncio.timeout(30):
            out, _ = await waiting.communicate()
    assert (waiting.returncode, out.decode().partition(" in ")[0]) == (0, "node17 is active: deploy debian-12 done")


async def test_the_machines_side_over_tcp(rack: Rack) -> None:
    rack.metal[0].ip = "127.0.0.1"
    async with served(rack) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def call(method: str, path: str, **given: Any) -> tuple[int, bytes]:
            async with session.request(method, path, **given) as response:
                return response.status, await response.read()

        status, script = await call("GET", f"/boot/{rack.one().mac}/script.ipxe")
        assert (status, script[:6]) == (200, b"#!ipxe")
        token = script.decode().partition("provisioner.token=")[2].partition(" ")[0]
        good = {"Authorization": f"Bearer {token}"}
        assert await call("GET", f"/boot/{rack.one('node18').mac}/script.ipxe") == (404, b"there is no such thing\n")
        assert await call("POST", "/agent/v1/facts", data=b'{"name": "node17"}') == (401, b"unauthorized\n")
        status, command = await call("POST", "/agent/v1/facts", data=b'{"name": "node17"}', headers=good)
        assert (status, command.split()[0]) == (200, b"wait")
        assert (await call("GET", "/agent/v1/job/none", headers=good))[0] == 401
        machines = json.loads((await ctl(rack, "machines", "-o", "json")).out)
        assert [(m["state"], m["profile"]["name"]) for m in machines] == [("discovered", "vm-bios")]


async def test_events_can_be_read_again_from_any_point(rack: Rack) -> None:
    async with rack.alive(), served(rack):
        await ctl(rack, *enrol("node17"))
        await ctl(rack, "discover", "node17", "--wait")
        lines = [json.loads(line) for line in (await ctl(rack, "events", "-o", "json")).out.splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        assert {line["name"] for line in lines} == {"node17"}
        middle = lines[len(lines) // 2]["seq"]
        again = (await ctl(rack, "events", "-o", "json", "--after", str(middle), "--machine", "node17")).out
        assert [json.loads(line)["seq"] for line in again.splitlines()] == list(range(middle + 1, len(lines) + 1))


async def test_power_by_hand(rack: Rack) -> None:
    async with served(rack):
        await ctl(rack, *enrol("node17"))
        assert await ctl(rack, "power", "node17", "on") == (0, "node17 is on\n", "")
        assert rack.one().address == BmcAddress(Driver.IPMI, "bmc-node17", 623, "admin")
        assert rack.one().log == ["power on"]
