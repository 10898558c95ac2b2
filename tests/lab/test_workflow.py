"""Two machines with real firmware and the real discovery system: a workflow with a barrier, logs as they are printed,
and a daemon that is killed while scripts run; then an image that one of them gives to the other.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.client import Client
from provisioner.lab import process, rack
from provisioner.lab.daemon import log_of
from provisioner.lab.spec import RackSpec, state_of
from tests.lab import disks

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
CONTROL = str(Path(sys.executable).with_name("provisionctl"))
NAME = "provlab-flow"
KEPT = ROOT / ".lab"
MACHINES = "node17,node18"
LIMIT_S = 600.0


def control(*arguments: str, limit_s: float = 60.0, said: str = "") -> str:
    """Run provisionctl against the rack's daemon; what it said on stdout, and on stderr where that has `said`."""
    environment = os.environ | {"XDG_CACHE_HOME": str(KEPT), "PROVISIONER_SOCKET": str(state_of(NAME) / "api.sock")}
    done = subprocess.run(
        [CONTROL, *arguments], env=environment, capture_output=True, text=True, timeout=limit_s, check=False, cwd=ROOT
    )
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert said in done.stderr
    return done.stdout + (done.stderr if said else "")


@pytest.fixture(scope="module")
def racked() -> Iterator[RackSpec]:
    """The rack with its daemon, which has the discovery system."""
    try:
        control("lab", "up", "--name", NAME)
        folder = KEPT / "provisioner" / "images" / "discovery"
        control("images", "build", "discovery", "--kernel", "virtual", limit_s=LIMIT_S)
        for item in json.loads((folder / "manifest.json").read_text())["artifacts"]:
            path = str(folder / item["path"])
            control("artifacts", "import", f"discovery/{item['name']}", path, "--sha256", item["sha256"])
        yield rack.find(state_of(NAME))
    finally:
        control("lab", "down", "--name", NAME)


def run_of(number: str) -> dict[str, Any]:
    found: dict[str, Any] = Client(str(state_of(NAME) / "api.sock")).get(f"/v1/workflow-runs/{number}")
    return found


def test_two_machines_are_burnt_in_though_the_daemon_is_killed(racked: RackSpec) -> None:
    control("discover", MACHINES, "--wait", limit_s=LIMIT_S)
    given = ("--set", "minutes=0.25", "--set", "megabytes=16", "--set", "memory=64", "-y", "-o", "json")
    number = json.loads(control("workflow", "run", "burn-in", MACHINES, *given))["id"]

    def under_load() -> bool:
        return {member["step"] for member in run_of(number)["members"]} == {"load"}

    assert process.wait_until(under_load, LIMIT_S, tick_s=1.0), run_of(number)
    daemon = process.recall(racked.state / "daemon.json")
    assert daemon is not None
    process.end(daemon, signal.SIGKILL)
    control("lab", "up", "--name", NAME)

    assert process.wait_until(lambda: run_of(number)["over"], LIMIT_S, tick_s=1.0), run_of(number)
    run = run_of(number)
    assert run["status"] == "done", run
    for member in run["members"]:
        story = [(line["step"], line["outcome"]) for line in member["journal"]]
        assert [step for step, outcome in story if outcome == "done"] == ["memory", "disks", "load", "health"], story
        assert "lost" not in {outcome for _, outcome in story}, "a script went on without the daemon"
    log = control("workflow", "logs", number, "node17", "--step", "load")
    assert "second 0 of 15 on" in log
    assert "reading /dev/" in control("workflow", "logs", number, "node18", "--step", "disks")
    assert "is ready" in control("why", "node17")


def install(name: str, late: list[str]) -> None:
    """Have the image written to a machine; nothing in it could start."""
    given = {"bootenv": "debian-12", "select": name, "params": {"hooks.late": late}}
    Client(str(state_of(NAME) / "api.sock")).post("/v1/rollouts", given, slow=True)


def shared(name: str) -> list[str]:
    """What a machine's trace says of the chunks that it took."""
    lines = json.loads(control("trace", name, "-o", "json"))
    return [line["text"] for line in lines if line["event"] == "share.done"]


def test_a_machine_takes_an_image_from_its_neighbour(racked: RackSpec, tmp_path: Path) -> None:
    """The image comes as qcow2, and is what both machines write."""
    control("artifacts", "import", "debian-12/disk.raw.zst", str(disks.qcow2(tmp_path)))
    # it has written all, and gives it while its job lasts, which writes on
    install("node17", ["while sleep 1; do date >/root/alive; sync; done"])
    assert process.wait_until(lambda: shared("node17"), LIMIT_S, tick_s=1.0), log_of(racked).read_text()[-4000:]
    install("node18", [])
    assert process.wait_until(lambda: shared("node18"), LIMIT_S, tick_s=1.0), log_of(racked).read_text()[-4000:]
    assert re.search(r" 0 chunks from neighbours, [1-9]\d* from here", shared("node17")[0])
    assert re.search(r" [1-9]\d* chunks from neighbours, 0 from here", shared("node18")[0])
    ask = ["curl", "-s", "--unix-socket", str(state_of(NAME) / "api.sock"), "http://localhost/metrics"]
    metrics = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert re.search(r'provisioner_image_chunks_total\{source="neighbour"\} [1-9]', metrics), metrics

    disk = racked.state / "machines" / "node17" / "disk.raw"
    shown = control("cancel", "node17", said="it is off, and ready again", limit_s=LIMIT_S)
    written = disk.stat().st_mtime_ns
    assert "may be writing to its disk: switching it off" in shown
    machine = Client(str(state_of(NAME) / "api.sock")).get("/v1/machines/node17")
    assert (machine["state"], machine["power"], machine["run"]["outcome"]) == ("ready", "off", "cancelled")
    story = [(line["step"], line["outcome"]) for line in machine["run"]["journal"][-2:]]
    assert story == [("wait.job", "cancelled"), ("cancel.off", "done")]
    assert "cancelled by the operator" in control("why", "node17")
    assert disk.stat().st_mtime_ns == written, "it is written to no more"
