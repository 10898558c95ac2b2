"""The planner: which path each machine takes, and why each step is in or out."""

from __future__ import annotations

import pytest

from provisioner.model.facts import Disk, Facts
from provisioner.workflow.plan import Ground, plan
from tests.workflow.flows import flow

FLOW = flow(
    """
also: [disk.tested, lamp.on]
steps:
  by-uefi: {where: discovery, provides: [test.done], requires: [hardware.known], script: x, when: {firmware: uefi}}
  generic: {where: discovery, provides: [test.done], requires: [hardware.known], script: x}
  disks: {where: discovery, provides: [disk.tested], script: x, when: {disks: {min: 1}}}
  lamp: {where: bmc, verb: led.set, with: {wanted: on}, provides: [lamp.on]}
  mend: {where: daemon, action: hold, with: {reason: x}}
  unused: {where: discovery, provides: [never.wanted], script: x, on_error: mend}
""".replace("wanted: on", "wanted: 'on'")
)
UEFI = Facts(firmware="uefi", disks=(Disk("sda", 1 << 40),))
BMC = frozenset({"bmc.known"})
RUNS = BMC | {"discovery.running", "hardware.known"}

PATHS: dict[str, tuple[Ground, list[str]]] = {
    "the most specific of those that fit": (
        Ground(RUNS, UEFI),
        ["by-uefi", "disks", "lamp"],
    ),
    "the other where it does not fit": (
        Ground(RUNS, Facts(firmware="bios")),
        ["generic", "lamp"],
    ),
    "the discovery system is started where it does not run": (
        Ground(BMC | {"hardware.known"}, UEFI),
        ["start-discovery", "by-uefi", "disks", "lamp"],
    ),
    "with facts unknown, only what has no condition": (Ground(BMC), ["start-discovery", "generic", "lamp"]),
    "a BMC that cannot": (
        Ground(RUNS, UEFI, {"led.set": "ipmi: the driver does not offer it"}),
        ["by-uefi", "disks"],
    ),
    "no BMC, but its discovery system runs": (Ground(RUNS - BMC, UEFI), ["by-uefi", "disks"]),
    "no BMC and nothing runs": (Ground(frozenset(), UEFI), []),
}


@pytest.mark.parametrize(("ground", "steps"), PATHS.values(), ids=PATHS.keys())
def test_paths(ground: Ground, steps: list[str]) -> None:
    found = plan(FLOW, ground)
    assert list(found.steps) == steps
    assert bool(found.faults) == (not steps)


def test_every_step_has_its_reason() -> None:
    found = plan(FLOW, Ground(RUNS, UEFI, {"led.set": "the driver does not offer it"}))
    assert found.lines() == [
        "1. by-uefi: leads to the goal test.done (firmware is uefi)",
        "2. disks: leads to disk.tested, which is wanted where it can be had (disks is 1)",
        "-  generic: by-uefi leads to test.done and is more specific",
        "-  lamp: led.set: the driver does not offer it",
        "-  unused: nothing that is wanted needs never.wanted",
        "-  start-discovery: discovery.running, hardware.known: holds already",
    ]


def test_what_is_in_the_way_is_told() -> None:
    assert plan(FLOW, Ground(frozenset(), UEFI)).lines()[0] == (
        "!  test.done cannot be reached: by-uefi: hardware.known cannot be reached: "
        "start-discovery: bmc.known cannot be reached: no step leads there; "
        "generic: hardware.known cannot be reached: start-discovery: bmc.known cannot be reached: no step leads there"
    )


GIVEN_UP = """also: [x.y]
steps:
  g: {where: daemon, action: hold, with: {reason: r}, provides: [test.done]}
  x: {where: daemon, action: hold, with: {reason: r}, provides: [x.y], requires: [p.q, n.n]}
  p1: {where: daemon, action: hold, with: {reason: r}, provides: [p.q], when: {virtual: true}}
  p2: {where: daemon, action: hold, with: {reason: r}, provides: [p.q]}
  n: {where: daemon, action: hold, with: {reason: r}, provides: [n.n], when: {firmware: bios}}
"""


@pytest.mark.parametrize("goal", ["also: [x.y]", "also: [y.y]"])
def test_what_was_given_up_is_no_reason(goal: str) -> None:
    text = GIVEN_UP.replace("also: [x.y]", goal)
    if "y.y" in goal:  # given up as one of two ways
        text += "  y: {where: daemon, action: hold, with: {reason: r}, provides: [y.y], requires: [x.y]}\n"
    found = plan(flow(text), Ground(facts=Facts(virtual=True, firmware="uefi")))
    assert found.steps == ("g",)
    out = {each.step: each.reason for each in found.left_out}
    assert out["p1"] == out["p2"] == "nothing that is wanted needs p.q"
    assert out["x"].startswith("n.n cannot be reached: n: ")


def test_a_goal_that_holds_needs_nothing() -> None:
    installed = flow(
        "steps:\n  one: {where: discovery, provides: [x.y], script: x}\n", "name: a\ntitle: b\ngoal: [os.installed]\n"
    )
    assert plan(installed, Ground(frozenset({"os.installed"}))).steps == ()


def test_all_machines_come_to_common_steps_in_the_same_order() -> None:
    """Otherwise two barriers could wait for each other for ever."""
    found = flow(
        """
also: [b.done, a.done]
steps:
  last: {where: discovery, provides: [test.done], script: x, requires: [c.done]}
  a: {where: discovery, provides: [a.done], script: x, barrier: true}
  b: {where: discovery, provides: [b.done], script: x, barrier: true}
  c-uefi: {where: discovery, provides: [c.done], script: x, requires: [b.done], when: {firmware: uefi}}
  c-bios: {where: discovery, provides: [c.done], script: x, requires: [a.done], when: {firmware: bios}}
"""
    )
    for firmware in ("uefi", "bios"):
        steps = plan(found, Ground(RUNS, Facts(firmware=firmware))).steps
        assert [step for step in steps if step in ("a", "b")] == ["b", "a"], steps


RESTARTS = """
steps:
  look: {where: discovery, provides: [look.done], script: x}
  back: {where: daemon, action: release, destructive: true, requires: [look.done], provides: [machine.free]}
  wipe: {where: discovery, requires: [machine.free], provides: [test.done], script: x}
"""


def test_the_discovery_system_that_runs_is_of_no_use_behind_a_restart() -> None:
    given = Ground(RUNS, UEFI)
    late = flow(RESTARTS.replace("requires: [look.done], ", ""))
    for ground in (given, Ground(RUNS - {"discovery.running"}, UEFI)):
        assert plan(late, ground).steps == ("back", "start-discovery", "wipe")
    before = flow(
        RESTARTS.replace("wipe: {where: discovery", "wipe: {where: daemon, action: hold, with: {reason: x}").replace(
            "[test.done], script: x", "[test.done]"
        )
    )
    assert plan(before, given).steps == ("look", "back", "wipe"), "what comes before the restart is served"


def test_a_discovery_system_that_is_ended_in_between_is_told() -> None:
    assert plan(flow(RESTARTS), Ground(RUNS, UEFI)).faults == (
        "wipe is for the discovery system, which back ends: boot it again in between "
        "(action: boot, with: {bootenv: discovery})",
    )
