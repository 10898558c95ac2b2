"""`doctor`: what it says of a daemon that answers, of one that does not, and of a real one on a real wire."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.doctor import _names, offers_of
from provisioner.cli.doctor_probes import Offer, ProbeError, fetch_http, holder_of
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.errors import BmcUnreachable, StoreError
from provisioner.lifecycle.declared import Applied
from provisioner.model.boot import Unknown
from provisioner.model.machine import State
from provisioner.model.mirror import CacheStanding
from provisioner.netwatch.rogues import How, Rogue
from provisioner.services import Standing
from provisioner.web.ports import Site
from tests.cli.conftest import Ctl, Daemon
from tests.web import fakes

ROOT = Path(__file__).parent.parent.parent
Found = list[tuple[str, str]]


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from provisioner import config

    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.yaml")


@pytest.mark.usefixtures("unconfigured")
def test_a_site_that_is_in_order(ctl: Ctl) -> None:
    ran = ctl("doctor")
    lines = ran.out.splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert lines[0].startswith("ok    daemon    provisioner ")
    assert "ok    listens   boot: http://192.0.2.1:8080" in lines
    assert "ok    bootenvs  ready to boot: debian-12, discovery" in lines
    assert "ok    bmc       node17: ipmi://admin@192.0.2.17:623 lets us in; the machine is on" in lines


@pytest.mark.usefixtures("unconfigured")
def test_a_daemon_that_cannot_serve(ctl: Ctl, daemon: Daemon) -> None:
    def lame(conductor: fakes.FakeConductor) -> Site:
        return replace(fakes.site(conductor, ["the disk is full"]), bootenvs=lambda: fakes.BOOTENVS[2:])

    daemon.site = lame
    daemon.stop()
    daemon.start()
    ran = ctl("doctor", "--no-bmcs")
    assert ran.status == 1
    assert "FAIL  ready     it cannot serve machines: the disk is full" in ran.out
    assert "FAIL  bootenvs  the discovery system is not here" in ran.out
    assert "bmc" not in ran.out
    assert ran.err == "provisionctl: 2 of 7 checks failed\n"


@pytest.mark.usefixtures("unconfigured")
def test_services_that_ended_by_a_fault(ctl: Ctl, daemon: Daemon) -> None:
    standings = (Standing("names", 3, "EOFError: EOF", runs=False), Standing("mirror", 1, "KeyError: 'a'"))
    daemon.site = lambda conductor: replace(fakes.site(conductor), services=lambda: standings)
    daemon.stop()
    daemon.start()
    ran = ctl("doctor", "--no-bmcs")
    found = [line for line in ran.out.splitlines() if line.split()[1] == "services"]
    hint = "(`journalctl -u provisioner` has the traceback (daemon.service-ended): report it)"
    names = "names ended by a fault (3 in all), the last time by EOFError: EOF: it is begun again within minutes"
    mirror = "mirror ended by a fault (1 in all), the last time by KeyError: 'a': it runs again"
    assert found == [f"FAIL  services  {names} {hint}", f"warn  services  {mirror} {hint}"]


@pytest.mark.usefixtures("unconfigured")
def test_a_cache_of_mirrors_that_has_no_room(ctl: Ctl, daemon: Daemon) -> None:
    standing = CacheStanding(5, 9, "debian/a.deb: 12 bytes are more than mirror.max_gib keeps")
    daemon.site = lambda conductor: replace(fakes.site(conductor), mirror=lambda: standing)
    daemon.stop()
    daemon.start()
    (line,) = [line for line in ctl("doctor", "--no-bmcs").out.splitlines() if line.split()[1] == "mirror"]
    told = f"files of package mirrors are passed on and not kept: {standing.unkept}"
    assert line == f"warn  mirror    {told} (free space in store.state_dir, or raise mirror.max_gib)"


@pytest.mark.usefixtures("unconfigured")
def test_what_was_applied(ctl: Ctl, daemon: Daemon) -> None:
    daemon.declared.applied = Applied(seq=2, at=1_800_000_000.0)
    ran = ctl("doctor", "--no-bmcs")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("ok    site")]
    assert line.startswith("ok    site      what was applied at 2027-01-15T08:00:00")
    daemon.declared.lacking = ["bootenvs/x.yaml:1: title: missing"]
    ran = ctl("doctor", "--no-bmcs")
    assert ran.status == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("FAIL")]
    assert "is not in use, and nothing is booted without it: bootenvs/x.yaml:1: title: missing (`prov" in line


@pytest.mark.usefixtures("unconfigured")
def test_what_the_daemon_sees_on_its_wires(ctl: Ctl, daemon: Daemon) -> None:
    at = 1_800_000_000.0
    daemon.watch.seen = [
        Rogue("eth0", "10.0.0.66", How.CHOSEN, at, at),
        Rogue("eth0", "fe80::66", How.ROUTER, at, at),
    ]
    daemon.watch.proxies = {"rack1": "10.0.0.66"}
    daemon.watch.fault, daemon.watch.deaf = "it cannot be started", {"eth1": "No such device", "eth2": "No such device"}
    ran = ctl("doctor", "--no-bmcs")
    assert ran.status == 1
    lines = [line for line in ran.out.splitlines() if line.split()[1] in ("rogue", "netwatch")]
    assert [line.partition(" (")[0] for line in lines] == [
        "FAIL  rogue     eth0: rogue DHCP server 10.0.0.66 was chosen by a machine, last at 2027-01-15T08:00:00.000Z",
        "FAIL  rogue     eth0: rogue router fe80::66 advertises itself as a router, last at 2027-01-15T08:00:00.000Z",
        "warn  rogue     rack1: only boot information is served, as a proxy of the rogue server 10.0.0.66",
        "warn  netwatch  nobody looks for rogue servers and for addresses in use: it cannot be started",
        "warn  netwatch  eth1, eth2: not watched, or not all of it: No such device",
    ]


SHOULD = ", as the configuration says that it should"
OURS, THEIRS = Offer("10.0.0.1", "0.0.0.0", "10.0.0.1", ""), Offer("10.0.0.66", "10.0.0.200", "10.0.0.66", "")
BESIDE: dict[str, tuple[Mode, list[Offer], list[tuple[str, str]]]] = {
    "a proxy beside a server": (
        Mode.PROXY,
        [OURS, THEIRS],
        [("ok", "10.0.0.66 offers 10.0.0.200"), ("ok", "10.0.0.1 offers boot information beside it")],
    ),
    "a proxy beside nobody": (
        Mode.PROXY,
        [OURS],
        [
            ("FAIL", "no other DHCP server offers an address, and in mode proxy we give none"),
            ("ok", "10.0.0.1 offers boot information beside it"),
        ],
    ),
    "two proxies": (
        Mode.PROXY,
        [THEIRS, replace(OURS, server="10.0.0.77")],
        [
            ("ok", "10.0.0.66 offers 10.0.0.200"),
            ("FAIL", "10.0.0.77 offers boot information, as we do"),
            ("FAIL", f"an unknown machine gets no boot information from us{SHOULD}"),
        ],
    ),
    "a server that may be there": (
        Mode.AUTHORITATIVE,
        [replace(OURS, ip="10.0.0.100"), replace(THEIRS, server="10.0.0.7")],
        [
            ("ok", "another DHCP server, 10.0.0.7, offers 10.0.0.200, as it may"),
            ("FAIL", "10.0.0.1 offers 10.0.0.100, to load nothing"),
        ],
    ),
}

IGNORED, SILENT = "an unknown machine gets no offer from us, as the configuration has it", Mode.RESERVATIONS_ONLY
ALONE = replace(OURS, ip="10.0.0.100")
UNKNOWN: dict[str, tuple[Subnet | None, list[Offer], tuple[str, str]]] = {
    "to be found": (Subnet(), [], ("FAIL", f"an unknown machine gets no offer from us{SHOULD}")),
    "quarantine": (
        Subnet(unknown=Unknown.QUARANTINE),
        [],
        ("FAIL", f"an unknown machine gets no offer from us{SHOULD}"),
    ),
    "ignored": (Subnet(unknown=Unknown.IGNORE), [], ("ok", IGNORED)),
    "no reservation": (Subnet(mode=SILENT), [], ("ok", IGNORED)),
    "ignored by a proxy": (
        Subnet(mode=Mode.PROXY, unknown=Unknown.IGNORE),
        [THEIRS],
        ("ok", "an unknown machine gets no boot information from us, as the configuration has it"),
    ),
    "an interface of nobody's": (None, [], ("warn", "an unknown machine gets no offer from us")),
    "to be found, and nothing to load": (Subnet(), [ALONE], ("FAIL", "10.0.0.1 offers 10.0.0.100, to load nothing")),
    "quarantine, and nothing to load": (
        Subnet(unknown=Unknown.QUARANTINE),
        [ALONE],
        ("ok", "10.0.0.1 offers 10.0.0.100, to load nothing"),
    ),
}


@pytest.mark.parametrize(("subnet", "offers", "said"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_machines_that_nobody_knows(subnet: Subnet | None, offers: list[Offer], said: tuple[str, str]) -> None:
    found = list(offers_of("eth0", offers, {"10.0.0.1"}, Dhcp(), subnet))
    assert (str(found[-1].level), found[-1].text) == (said[0], f"eth0: {said[1]}")


@pytest.mark.usefixtures("unconfigured")
def test_a_port_that_cannot_be_asked_from_is_no_success(ctl: Ctl) -> None:
    ran = ctl("doctor", "--no-bmcs", "--interface", "nosuch0")
    assert ran.status == 1
    assert "FAIL  dhcp      nosuch0: not tested: nosuch0: cannot ask from port 68: No such device" in ran.out


@pytest.mark.usefixtures("unconfigured")
def test_bmcs_are_asked_in_whatever_state_their_machines_are(ctl: Ctl, daemon: Daemon) -> None:
    """A boot would be refused for other reasons before a BMC is asked; that it lets nobody in is told all the same."""
    for name, state in (("node31", State.INSPECTING), ("node32", State.MAINTENANCE), ("node33", State.RETIRED)):
        daemon.conductor.machines.by_name[name] = replace(fakes.NODE17, id=name, name=name, state=state)
        daemon.boards.dead[name] = BmcUnreachable("ipmi://admin@192.0.2.17:623: no answer in 10 s")
    daemon.boards.dead["node17"] = StoreError("database is locked")
    daemon.conductor.machines.by_name["node99"] = replace(fakes.NODE17, id="m99", name="node99")
    ran = ctl("doctor")
    assert ran.status == 1
    told = [line.split(None, 2)[::2] for line in ran.out.splitlines() if " bmc " in line]
    assert [(level, text.partition(":")[0]) for level, text in told] == [
        ("FAIL", "node17"), ("ok", "node18"), ("FAIL", "node31"), ("FAIL", "node32"), ("ok", "node99"),
    ]  # fmt: skip
    assert "FAIL  bmc       node17: database is locked" in ran.out
    assert "FAIL  bmc       node31: ipmi://admin@192.0.2.17:623: no answer in 10 s" in ran.out


@pytest.mark.usefixtures("unconfigured")
def test_a_check_that_is_answered_an_error_is_told(ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise StoreError("database is locked")

    monkeypatch.setattr(daemon.watch, "rogues", broken)
    ran = ctl("doctor")
    assert ran.status == 1
    assert "FAIL  daemon    it does not say how it stands: database is locked" in ran.out
    assert "ok    bmc       node17: ipmi://admin@192.0.2.17:623 lets us in; the machine is on" in ran.out


@pytest.mark.parametrize(("mode", "offers", "said"), BESIDE.values(), ids=BESIDE.keys())
def test_servers_beside_each_other(mode: Mode, offers: list[Offer], said: list[tuple[str, str]]) -> None:
    dhcp = Dhcp(allowed_servers=("10.0.0.7",))
    found = offers_of("eth0", offers, {"10.0.0.1"}, dhcp, Subnet(network="10.0.0.0/24", mode=mode))
    assert [(str(finding.level), finding.text) for finding in found] == [
        (level, f"eth0: {text}") for level, text in said
    ]


@pytest.mark.usefixtures("unconfigured")
def test_nobody_there(ctl: Ctl, daemon: Daemon) -> None:
    daemon.stop()
    ran = ctl("doctor", "-o", "json")
    assert ran.status == 1
    found = json.loads(ran.out)
    assert (found[0]["level"], found[0]["about"]) == ("FAIL", "daemon")
    assert "clock" in {finding["about"] for finding in found}


class Answers:
    """A daemon that says this of names in the DNS."""

    def __init__(self, **said: Any) -> None:
        self.said = {"enabled": True, "there": 3, "pending": 1, "taken": [], "error": "", "since": None, **said}

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/v1/dhcp/names"
        return self.said


NAMES: dict[str, tuple[Answers, Found]] = {
    "none are kept": (Answers(enabled=False), []),
    "all is well": (Answers(), [("ok", "3 addresses have names, 1 wait")]),
    "the server does not answer": (
        Answers(error="it does not answer", since="2026-11-26T05:00:00Z"),
        [("FAIL", "it does not answer; 3 addresses have names, 1 wait")],
    ),
    "a name is somebody else's": (
        Answers(taken=[{"address": "10.0.0.5", "name": "www.rack.example."}]),
        [
            ("ok", "3 addresses have names, 1 wait"),
            ("warn", "www.rack.example. is somebody else's, so 10.0.0.5 has no name"),
        ],
    ),
}


@pytest.mark.parametrize(("answers", "found"), NAMES.values(), ids=NAMES.keys())
def test_names_in_the_dns(answers: Answers, found: Found) -> None:
    assert [(each.level, each.text) for each in _names(answers)] == found  # type: ignore[arg-type]


def test_a_ca_that_is_none_is_told() -> None:
    with pytest.raises(ProbeError, match="the daemon's CA cannot be read"):
        fetch_http("https://127.0.0.1:1/files/x", trusted="no certificate")


def test_who_holds_a_port_is_found() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        us = f"(pid {os.getpid()})"
        assert holder_of(udp.getsockname()[1], "udp").endswith(us)
        assert holder_of(tcp.getsockname()[1], "tcp").endswith(us)
        free = tcp.getsockname()[1]
    assert holder_of(free, "tcp") == ""
