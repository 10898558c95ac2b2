"""Workflow files in catalogue directories: ours, a site's, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import CatalogError, NotFoundError
from provisioner.workflow.load import load_workflows

GOOD = "name: mine\ntitle: x\ngoal: [a.b]\nsteps:\n  one: {where: discovery, provides: [a.b], script: x}\n"


def site(folder: Path, **files: str) -> Path:
    (folder / "bootenvs/workflows").mkdir(parents=True)
    for name, text in files.items():
        (folder / "bootenvs/workflows" / f"{name}.yaml").write_text(text)
    return folder


def test_ours_are_in_order_and_a_sites_take_their_place(tmp_path: Path) -> None:
    ours = {flow.name for flow in load_workflows().all()}
    assert {"burn-in", "firmware-inventory"} <= ours
    own = GOOD.replace("name: mine", "name: burn-in")
    found = load_workflows([site(tmp_path, **{"mine": GOOD, "burn-in": own})])
    assert (found.get("mine").title, found.get("burn-in").title) == ("x", "x")
    assert {flow.name for flow in found.all()} == ours | {"mine"}
    with pytest.raises(NotFoundError, match="did you mean burn-in"):
        found.get("burnin")


BMC = "name: bad\ntitle: x\ngoal: [a.b]\nsteps:\n  one: {{where: bmc, verb: {}, provides: [a.b]}}\n"
FAULTS: dict[str, tuple[str, str]] = {
    "not YAML": ("a: [", "not YAML"),
    "another name than its file": (GOOD, "name: 'mine' in a file that is called bad.yaml"),
    "an argument that a verb does not take": (
        BMC.format("sensors.read, with: {fast: true}"),
        "one: with: sensors.read: fast: unknown",
    ),
    "an argument that is missing": (BMC.format("led.set"), "one: with: led.set: wanted: missing"),
    "a verb that streams": (BMC.format("console.open"), "console.open gives or takes a stream"),
    "a capability that is none": (BMC.format("sensors.read, can: [power.cycel]"), "one: can: no verb 'power.cycel'"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(CatalogError) as raised:
        load_workflows([site(tmp_path, bad=text)], ours=False)
    assert any(fault in each for each in raised.value.faults), raised.value.faults
