"""Two machines with real firmware and the real discovery system: a workflow with a barrier, logs as they are printed,
and a daemon that is killed while scripts run; then an image that one of them gives to the other.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import process
from provisioner.lab.daemon import log_of
from tests.lab import disks
from tests.lab.driven import UP_S, Driven, driven

MACHINES = "node17,node18"
LIMIT_S = 2000.0
pytestmark = [pytest.mark.lab, pytest.mark.timeout(3 * LIMIT_S + 2 * UP_S, func_only=True)]


@pytest.fixture(scope="module")
def racked() -> Iterator[Driven]:
    """The rack with its daemon, which has the discovery system."""
    with driven("provlab-flow") as lab:
        lab.discovery()
        yield lab


def run_of(lab: Driven, number: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.api.get(f"/v1/workflow-runs/{number}", slow=True)
    return found


def test_two_machines_are_burnt_in_though_the_daemon_is_killed(racked: Driven) -> None:
    racked.control("discover", MACHINES, "--wait", limit_s=LIMIT_S)
    given = ("--set", "minutes=0.5", "--set", "megabytes=16", "--set", "memory=64", "-y", "-o", "json")
    number = json.loads(racked.control("workflow", "run", "burn-in", MACHINES, *given))["id"]

    def under_load() -> bool:
        return {member["step"] for member in run_of(racked, number)["members"]} == {"load"}

    assert process.wait_until(under_load, LIMIT_S, tick_s=1.0), run_of(racked, number)
    racked.kill_daemon()

    assert process.wait_until(lambda: run_of(racked, number)["over"], LIMIT_S, tick_s=1.0), run_of(racked, number)
    run = run_of(racked, number)
    assert run["status"] == "done", run
    for member in run["members"]:
        story = [(line["step"], line["outcome"]) for line in member["journal"]]
        assert [step for step, outcome in story if outcome == "done"] == ["memory", "disks", "load", "health"], story
        assert "lost" not in {outcome for _, outcome in story}, "a script went on without the daemon"
    log = racked.control("workflow", "logs", number, "node17", "--step", "load")
    assert "second 0 of 30 on" in log
    assert "reading /dev/" in racked.control("workflow", "logs", number, "node18", "--step", "disks")
    assert "is ready" in racked.control("why", "node17")


def install(lab: Driven, name: str, late: list[str]) -> None:
    """Have the image written to a machine; nothing in it could start."""
    given = {"bootenv": "debian-12", "select": name, "params": {"hooks.late": late}}
    lab.api.post("/v1/rollouts", given, slow=True)


def shared(lab: Driven, name: str) -> list[str]:
    """What a machine's trace says of the chunks that it took."""
    return [line["text"] for line in lab.trace(name) if line["event"] == "share.done"]


def taken(line: str) -> list[int]:
    """Read how many chunks came from neighbours, and how many from here."""
    said = re.search(r" (\d+) chunks from neighbours, (\d+) from here", line)
    assert said is not None, line
    return [int(count) for count in said.groups()]


def wait_for_share(lab: Driven, name: str) -> None:
    assert process.wait_until(lambda: shared(lab, name), LIMIT_S, tick_s=1.0), log_of(lab.spec).read_text()[-4000:]


@pytest.mark.long
def test_a_machine_takes_an_image_from_its_neighbour(racked: Driven, tmp_path: Path) -> None:
    """The image comes as qcow2, and is what both machines write."""
    racked.control("artifacts", "import", "debian-12/disk.raw.zst", str(disks.qcow2(tmp_path)))
    # it has written all, and gives it while its job lasts, which writes on
    install(racked, "node17", ["while sleep 1; do date >/root/alive; sync; done"])
    wait_for_share(racked, "node17")
    install(racked, "node18", [])
    wait_for_share(racked, "node18")
    # of what its neighbour gives too slowly, as a machine that works may, the rest comes from here
    first, second = (taken(shared(racked, name)[0]) for name in ("node17", "node18"))
    assert (first[0], sum(first)) == (0, sum(second))
    assert second[0] > 0
    ask = ["curl", "-s", "--unix-socket", str(racked.spec.api), "http://localhost/metrics"]
    metrics = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert re.search(r'provisioner_image_chunks_total\{source="neighbour"\} [1-9]', metrics), metrics

    disk = racked.spec.state / "machines" / "node17" / "disk.raw"
    cancelled = racked.run("cancel", "node17", limit_s=LIMIT_S)
    written = disk.stat().st_mtime_ns
    assert "may be writing to its disk: switching it off" in cancelled.stdout + cancelled.stderr
    assert "it is off, and ready" in cancelled.stderr
    machine = racked.machine("node17")
    assert (machine["state"], machine["power"], machine["run"]["outcome"]) == ("ready", "off", "cancelled")
    story = [(line["step"], line["outcome"]) for line in machine["run"]["journal"][-2:]]
    assert story == [("wait.job", "cancelled"), ("cancel.off", "done")]
    assert "cancelled by the operator" in racked.control("why", "node17")
    assert disk.stat().st_mtime_ns == written, "it is written to no more"
