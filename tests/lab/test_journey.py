"""From power-on to `active`, with the real daemon, command line and firmware; and the daemon is killed on the way.

Machines start together: what one waits for, another computes. The images are built once and kept, as by scripts/lab.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab import namespace, process
from provisioner.lab.daemon import log_of
from provisioner.lab.spec import GATEWAY, RackSpec
from tests.lab.driven import UP_S, Driven, driven
from tests.lab.racks import Screen, ipmitool, running

SYSTEM = "debian-12"
BUILT = {"discovery": ("--kernel", "virtual"), SYSTEM: ()}
"""What is built, and with which options: the same as by scripts/lab, so that it is built once."""
MACHINES = ("node17", "node18", "node19")
BY_NETWORK, BY_MEDIUM, LATER = MACHINES
"""The second is installed by a CD of its own in its BMC's virtual drive, with an address of its own."""
TOGETHER = (BY_NETWORK, BY_MEDIUM)
ARGUMENTS = "ro no_timer_check cryptomgr.notests norandmaps mitigations=off console=tty0 console=ttyS0,115200n8"
CHECK = f"""set -eu
grep -q ' {ARGUMENTS}$' /proc/cmdline
[ "$(readlink /etc/localtime)" = /usr/share/zoneinfo/Europe/Vienna ]
grep -q '^/swapfile ' /proc/swaps
grep -qx NTP=10.77.0.1 /etc/systemd/timesyncd.conf.d/provisioner.conf
grep -q '^PasswordAuthentication no' /etc/ssh/sshd_config.d/10-provisioner.conf
ip -4 -o addr show dev lan0 | grep -q ' 10.77.0.60/24 '
"""
"""Runs in the installed system before it reports: where it fails, the machine never becomes active."""
STATIC = {
    "bootenv": SYSTEM,
    "via": "media",
    "params": {
        "time.zone": "Europe/Vienna",
        "time.ntp": [GATEWAY],
        "disk.swap": "64MiB",
        "kernel.args": ["mitigations=off"],
        "hooks.first_boot": [CHECK],
        "net.interfaces": [
            {"name": "lan0", "match": {"boot": True}, "addresses": ["10.77.0.60/24"], "gateway": GATEWAY}
        ],
        "net.dns.servers": [GATEWAY],
    },
}
JOURNEY_S = 2400.0
pytestmark = [pytest.mark.lab, pytest.mark.timeout(2 * JOURNEY_S + 4 * UP_S, func_only=True)]


@pytest.fixture(scope="module")
def racked() -> Iterator[Driven]:
    """The rack with its daemon, which has the artefacts."""
    with driven("provlab-journey") as lab:
        for bootenv, options in BUILT.items():
            lab.store(bootenv, *options)
        yield lab


@contextlib.contextmanager
def no_dhcp(spec: RackSpec, mac: str, log: Path) -> Iterator[None]:
    """A machine neither asks for an address nor is answered while the context lasts."""
    what = f"ether host {mac} and (udp port 67 or udp port 547)"
    watch = ["tcpdump", "-Z", "root", "-i", namespace.BRIDGE, "-n", "-l", "--immediate-mode", what]
    with running(namespace.inside(spec.name, *watch), log, "listening on"):
        yield
    assert [line for line in log.read_text().splitlines() if line[:1].isdigit() and " IP" in line] == []


def test_machines_are_discovered_and_installed_though_the_daemon_dies_on_the_way(
    racked: Driven, tmp_path: Path
) -> None:
    racked.control("discover", ",".join(MACHINES), "--wait", limit_s=JOURNEY_S)
    found = {name: racked.machine(name) for name in MACHINES}
    assert {name: found[name]["state"] for name in MACHINES} == dict.fromkeys(MACHINES, "ready")
    assert [found[name]["facts"]["firmware"] for name in MACHINES] == ["bios", "uefi", "uefi"]
    assert all(found[name]["profile"]["name"] for name in MACHINES)
    assert found["node17"]["facts"]["serial"] == "LAB0017"
    assert found["node17"]["facts"]["bmc"]["address"] == "10.77.1.17", "the guest sees the BMC that we talk to"

    with no_dhcp(racked.spec, found[BY_MEDIUM]["macs"][0], tmp_path / "dhcp.log"):
        deaths = _install_and_kill(racked, {"fetch", "install", "local-boot"})

    found = {name: racked.machine(name) for name in TOGETHER}
    assert {name: found[name]["state"] for name in TOGETHER} == dict.fromkeys(TOGETHER, "active"), log_of(
        racked.spec
    ).read_text()
    assert {found[name]["bootenv"] for name in TOGETHER} == {SYSTEM}
    assert deaths, "no phase was seen in which to kill the daemon"


def _install_and_kill(lab: Driven, phases: set[str]) -> set[str]:
    """Install both machines; kill the daemon once in each of these phases of the first machine that is seen in it."""
    deaths: set[str] = set()
    lab.api.post(f"/v1/machines/{BY_MEDIUM}/boot", STATIC, slow=True)

    def step() -> bool:
        if not all(begun(name) for name in TOGETHER):
            return bool(child.poll())
        for name in TOGETHER:
            run = lab.machine(name)["run"] or {}
            phase = run.get("phase", "")
            if run.get("outcome") == "running" and phase in phases - deaths:
                deaths.add(phase)
                lab.kill_daemon()
        return child.poll() is not None and (lab.machine(BY_MEDIUM)["run"] or {}).get("outcome") != "running"

    def begun(name: str) -> bool:
        """Its run is asked for, and where it is by a medium, its BMC has it: both would be lost with the daemon."""
        run = lab.machine(name)["run"] or {}
        return run.get("verb") == "deploy" and not (name == BY_MEDIUM and run.get("phase") == "power")

    with lab.beside("boot", BY_NETWORK, SYSTEM, "--yes") as child:
        assert process.wait_until(step, JOURNEY_S, tick_s=1.0), "the journey did not end"
        assert child.stdout is not None
        assert child.returncode == 0, child.stdout.read().decode()
    return deaths


@pytest.mark.long
def test_a_machine_that_boots_by_uefi_http_is_installed(racked: Driven) -> None:
    racked.control("boot", LATER, SYSTEM, "--yes", "--wait", limit_s=JOURNEY_S)
    machine = racked.machine(LATER)
    assert (machine["state"], machine["bootenv"]) == ("active", SYSTEM), log_of(racked.spec).read_text()
    assert not any(line["channel"] == "tftp" for line in racked.trace(LATER))


def test_the_trace_tells_the_journey(racked: Driven) -> None:
    for name, channels in {
        "node17": {"dhcp", "http", "bmc", "agent", "life"},
        "node18": {"dhcp", "tftp", "http", "bmc", "agent", "life"},
        "node19": {"dhcp", "http", "bmc", "agent", "life"},
    }.items():
        seen = {line["channel"] for line in racked.trace(name)}
        assert seen >= channels, name


def test_the_medium_of_a_machine_is_out_and_gone(racked: Driven) -> None:
    slots = json.loads(racked.control("bmc", "do", BY_MEDIUM, "vmedia.status", "-o", "json"))
    assert [slot["inserted"] for slot in slots] == [False]
    assert list((racked.spec.state / "daemon" / "media").iterdir()) == []
    told = [line["event"] for line in racked.trace(BY_MEDIUM, "--run", racked.machine(BY_MEDIUM)["run"]["id"])]
    # that it was taken out may be a line that died with the daemon; that it is out was seen above
    assert [event for event in told if event.startswith("bmc.")][:4] == [
        "bmc.power.off", "bmc.media.insert", "bmc.boot.media", "bmc.power.on",
    ]  # fmt: skip
    assert not [event for event in told if event.startswith(("dhcp", "tftp"))]
    assert "console.line" in told, "its console came by SSH"
    why = racked.control("bmc", "why", BY_MEDIUM, "console.open")
    assert "redfish: proven" in why


def test_an_active_machine_that_asks_the_network_boots_its_disk(racked: Driven) -> None:
    """It was reset soon after its first start: what that made has to be on the disk."""
    screen = Screen(racked.spec, "node17")
    ipmitool(racked.spec, "node17", "chassis", "bootdev", "pxe")
    screen.skip()
    ipmitool(racked.spec, "node17", "power", "reset")
    screen.expect("iPXE")
    screen.expect("login:", JOURNEY_S)
    assert racked.machine("node17")["state"] == "active"
    mac = racked.machine("node17")["macs"][0]
    [lease] = racked.api.get("/v1/dhcp/leases", {"state": "active", "mac": mac})["leases"]
    scan = namespace.inside(racked.name, "ssh-keyscan", "-t", "ecdsa,ed25519", lease["address"])
    keys = ""

    def answers() -> bool:
        nonlocal keys
        keys = subprocess.run(scan, capture_output=True, text=True, timeout=60, check=False).stdout
        return "ssh-ed25519" in keys and "ecdsa-sha2" in keys

    assert process.wait_until(answers, 60.0, tick_s=1.0), keys


def test_the_api_shows_the_same_machine(racked: Driven) -> None:
    said = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(racked.spec.api), "http://lab/v1/machines/node18"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    shown = json.loads(said)
    assert (shown["name"], shown["state"], shown["bootenv"]) == ("node18", "active", SYSTEM)


def test_a_machine_is_given_back(racked: Driven) -> None:
    racked.control("release", "node17", "--yes", "--wait", limit_s=JOURNEY_S)
    assert (racked.machine("node17")["state"], racked.machine("node17")["bootenv"]) == ("ready", "")


REFUSED = {
    "an unknown machine": (("boot", "node99", SYSTEM, "--yes"), 3, "node99"),
    "an unknown bootenv": (("boot", "node17", "plan-9", "--yes"), 3, "plan-9"),
    "a missing artefact": (("boot", "node17", "ubuntu-22.04", "--yes"), 1, "artifacts fetch"),
}


@pytest.mark.parametrize(("arguments", "status", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_is_touched(racked: Driven, arguments: tuple[str, ...], status: int, word: str) -> None:
    before = racked.machine("node17")
    assert word in racked.run(*arguments, status=status).stderr
    after = racked.machine("node17")
    assert (after["state"], after["generation"], after["power"]) == (
        before["state"], before["generation"], before["power"],
    )  # fmt: skip
