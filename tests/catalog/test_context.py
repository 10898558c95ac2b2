"""What templates see is plain, whole, and what docs/templates.md says."""

from __future__ import annotations

from provisioner.catalog.context import Boot, Stored, answer_context
from provisioner.catalog.render import NAMES, plain
from provisioner.model.catalog import AnswerFile, Bootenv, Kind
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.machine import Machine, State
from provisioner.model.net import parse_mac

MAC = parse_mac("52:54:00:77:00:01")
BOOTENV = Bootenv("x-1", "X", Kind.INSTALLER, "x", {}, answers=(AnswerFile("user-data", "x.yaml.j2"),))
BOOT = Boot("http://h:8080", MAC, "amd64", token="T", ticket="S", artifacts={"linux": Stored("ab", 5)})
FACTS = Facts(
    firmware="uefi",
    cpu=Cpu(threads=8),
    disks=(Disk("sda", 10**12, path="/dev/disk/by-path/x"), Disk("sdb", 5)),
    nics=(Nic("eth0", MAC, link=True, speed_mbps=10_000),),
)


def test_a_machine_with_facts() -> None:
    machine = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS, profile="big", profile_reason="8 threads")
    seen = answer_context(machine, BOOTENV, BOOT, {"disk": {"layout": "lvm"}})
    plain(seen)
    assert seen["machine"]["name"] == "node17"
    assert [disk["path"] for disk in seen["facts"]["disks"]] == ["/dev/disk/by-path/x", "/dev/sdb"]
    assert seen["facts"]["nics"][0]["speed_mbps"] == 10_000
    assert seen["profile"] == {"name": "big", "reason": "8 threads"}
    assert seen["boot"]["bootif"] == "01-52-54-00-77-00-01"
    assert seen["boot"]["firmware"] == "uefi"
    assert seen["urls"]["answers"]["user-data"] == "http://h:8080/answers/S/user-data"
    assert seen["artifacts"]["linux"]["url"] == "http://h:8080/artifacts/x-1/amd64/linux"


def test_a_machine_that_nobody_knows() -> None:
    seen = answer_context(None, BOOTENV, BOOT, {})
    plain(seen)
    assert seen["machine"]["macs"] == [MAC]
    assert seen["facts"]["disks"] == []


def test_every_name_that_templates_may_use_is_there() -> None:
    assert set(answer_context(None, BOOTENV, BOOT, {})) == set(NAMES) - {"system"}
