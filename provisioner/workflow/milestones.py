"""Milestones: what holds of a machine already, and the steps that every workflow has. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.model.machine import Machine, State
from provisioner.model.workflow import FlowStep, Where

DISCOVERY_RUNS = "discovery.running"
INSTALLER_RUNS = "installer.running"
SYSTEM_RUNS = "system.running"
BMC_KNOWN = "bmc.known"
HARDWARE_KNOWN = "hardware.known"

GIVEN: Mapping[str, Callable[[Machine], bool]] = {
    BMC_KNOWN: lambda machine: machine.bmc is not None,
    HARDWARE_KNOWN: lambda machine: machine.facts is not None,
    "os.installed": lambda machine: machine.state is State.ACTIVE,
}
"""What a machine's record tells."""

IMPLIED: Mapping[Where, tuple[str, ...]] = {
    Where.DISCOVERY: (DISCOVERY_RUNS,),
    Where.INSTALLER: (INSTALLER_RUNS,),
    Where.SYSTEM: (SYSTEM_RUNS,),
    Where.BMC: (BMC_KNOWN,),
}
"""What a step requires because of where it is carried out."""

START_DISCOVERY = "start-discovery"
BUILT_IN = (
    FlowStep(
        START_DISCOVERY,
        Where.DAEMON,
        about="boot the discovery system",
        requires=(BMC_KNOWN,),
        provides=(DISCOVERY_RUNS, HARDWARE_KNOWN),
        action="boot",
        given={"bootenv": "discovery"},
        limit_s=2400,
        retries=1,
    ),
)


def given_to(machine: Machine, discovery_runs: bool) -> frozenset[str]:
    """List the milestones that a machine has reached. `discovery_runs`: its agent was heard a moment ago."""
    found = {name for name, holds in GIVEN.items() if holds(machine)}
    return frozenset(found | {DISCOVERY_RUNS}) if discovery_runs else frozenset(found)
