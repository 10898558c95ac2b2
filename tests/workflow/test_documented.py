"""What docs/workflows.md shows and lists is what there is, and the shell code of every script that is shipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner import yamlfile
from provisioner.errors import CatalogError
from provisioner.fields import Faults
from provisioner.model.facts import Disk, Facts
from provisioner.model.workflow import FlowStatus, Where
from provisioner.workflow.actions import ACTIONS
from provisioner.workflow.decode import Workflow, decode_workflow
from provisioner.workflow.load import load_workflows
from provisioner.workflow.milestones import GIVEN
from provisioner.workflow.plan import Ground, plan
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, ready, reasons

TEXT = (Path(__file__).parents[2] / "docs/workflows.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(name: .*?)```", TEXT, re.DOTALL)


def read(text: str) -> Workflow:
    faults = Faults(CatalogError)
    found = decode_workflow(yamlfile.load(text, "docs/workflows.md"), faults)
    faults.check("docs/workflows.md")
    return found


def test_every_key_place_action_and_milestone_is_explained() -> None:
    words = set(re.findall(r"`([a-z_.-]+)`", TEXT))
    keys = {"name", "title", "goal", "also", "params", "max_failures", "limit_s", "steps"}
    step = {"where", "script", "requires", "provides", "when", "can", "retries", "pause_s", "limit_s", "on_error"}
    marks = {"destructive", "barrier", "leader", "action", "verb", "with", "again", "go-on", "fail"}
    assert keys | step | marks | set(ACTIONS) | set(Where) | set(GIVEN) <= words


def test_the_examples_are_planned() -> None:
    scrub, cluster = map(read, EXAMPLES)
    known = Ground(frozenset({"bmc.known", "hardware.known"}), Facts(firmware="uefi", disks=(Disk("sda", 1),)))
    assert plan(scrub, known).steps == ("start-discovery", "wipe", "health")
    assert plan(cluster, known).steps == ("install", "make", "join")
    assert "-  tell: nothing that is wanted needs never.needed" in plan(cluster, known).lines()


async def test_the_first_example_runs(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), *EXAMPLES)
    async with rack.alive(), rack.daemon():
        await ready(rack)
        run = await over(rack, await rack.begin("scrub"))
        assert (run.status, reasons(run)) == (FlowStatus.DONE, {"node17": ""})
        assert "PARAM_megabytes=64\n" in rack.scripts[0]


async def test_the_example_of_a_cluster_runs(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17", "node18"), *EXAMPLES)
    async with rack.alive(), rack.daemon():
        await ready(rack)
        run = await over(rack, await rack.begin("cluster"))
        assert (run.status, set(reasons(run).values())) == (FlowStatus.DONE, {""})
        assert [[step for step in metal.log if step in ("make", "join")] for metal in rack.metal] == [
            ["make", "join"],
            ["join"],
        ]


SCRIPTS = {
    f"{flow.name}/{offer.step.name}": offer.step.script
    for flow in (*load_workflows().all(), *map(read, EXAMPLES))
    for offer in flow.offers
    if offer.step.script
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_scripts_are_sound(script: str) -> None:
    assert shutil.which("shellcheck")
    known = "GROUP='' MACHINE='' PARAM_minutes=1 PARAM_megabytes=1 PARAM_memory=1 PARAM_user=u BMC_PASSWORD=p"
    head = f"#!/bin/sh\nwork=/tmp\n{known}\n"
    command = ["shellcheck", "--shell=dash", "--severity=warning", "--exclude=SC2034", "-"]
    done = subprocess.run(command, input=(head + script).encode(), capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout.decode()
