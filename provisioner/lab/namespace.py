"""The rack's network: a namespace of its own that no cable leaves, so that no DHCP packet of the lab can either.

Bridge, taps and the network of the BMCs live and die in it; there is no veth pair and no uplink.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from provisioner.errors import LabError
from provisioner.lab.qemu import more_tap
from provisioner.lab.spec import BMC_NETWORK, GATEWAY, GATEWAY6, NETWORK, RackSpec

NETNS = Path("/run/netns")
BRIDGE = "br0"
BMC_PORT = "bmc0"


def exists(name: str) -> bool:
    return (NETNS / name).exists()


def commands(rack: RackSpec) -> Iterator[list[str]]:
    """The `ip` commands that make the namespace, in order."""
    inside = ["ip", "-n", rack.name]
    yield ["ip", "netns", "add", rack.name]
    yield [*inside, "link", "set", "lo", "up"]
    yield [*inside, "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"]
    yield [*inside, "address", "add", f"{GATEWAY}/{NETWORK.prefixlen}", "dev", BRIDGE]
    yield [*inside, "-6", "address", "add", f"{GATEWAY6}/64", "dev", BRIDGE, "nodad"]
    yield [*inside, "link", "set", BRIDGE, "up"]
    yield [*inside, "link", "add", BMC_PORT, "type", "bridge"]
    for machine in rack.machines:
        yield [*inside, "address", "add", f"{machine.bmc_address}/{BMC_NETWORK.prefixlen}", "dev", BMC_PORT]
    yield [*inside, "link", "set", BMC_PORT, "up"]
    for machine in rack.machines:
        for number in range(len(machine.identity.macs)):
            tap = machine.tap if number == 0 else more_tap(machine.tap, number)
            yield [*inside, "tuntap", "add", "dev", tap, "mode", "tap"]
            yield [*inside, "link", "set", tap, "master", BRIDGE, "up"]


def build(rack: RackSpec) -> None:
    """Make the namespace; what was made is taken back where a step fails. Raise `LabError`."""
    try:
        for command in commands(rack):
            run(*command)
    except LabError:
        remove(rack.name)
        raise


def remove(name: str) -> None:
    """Take the namespace away, with everything in it that no process holds."""
    if exists(name):
        run("ip", "netns", "delete", name)


def processes(name: str) -> list[int]:
    """Who is inside."""
    return [int(pid) for pid in run("ip", "netns", "pids", name).split()] if exists(name) else []


def inside(name: str, *command: str) -> list[str]:
    """A command as it has to be run to be in the namespace."""
    return ["ip", "netns", "exec", name, *command]


def run(*command: str) -> str:
    """Run a program; raise `LabError` with what it said."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed", hint="apt-get install iproute2") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
