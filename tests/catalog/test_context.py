"""What templates see is plain, whole, and what docs/templates.md says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.catalog.compile import NAMES
from provisioner.catalog.context import Boot, Occasion, Stored, answer_context, subject_of
from provisioner.catalog.params import Layer
from provisioner.catalog.render import plain
from provisioner.catalog.system import Secrets, references
from provisioner.errors import RenderError
from provisioner.model.catalog import AnswerFile, Bootenv, Files, Kind, Supports
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.machine import Machine, State
from provisioner.model.net import parse_mac
from tests.shipped import catalogue

MAC = parse_mac("52:54:00:77:00:01")
BOOTENV = Bootenv("x-1", "X", Kind.INSTALLER, "x", {"amd64": Files()}, answers=(AnswerFile("user-data", "x.yaml.j2"),))
DECLARED = catalogue().content.declarations
RESOLVED = DECLARED.resolve([])
BOOT = Boot("http://h:8080", MAC, "amd64", token="T", ticket="S", artifacts={"linux": Stored("ab", 5)})
FACTS = Facts(
    firmware="uefi",
    cpu=Cpu(threads=8),
    disks=(Disk("sda", 10**12, path="/dev/disk/by-id/x"), Disk("sdb", 2 * 10**12)),
    nics=(Nic("eth0", MAC, link=True, speed_mbps=10_000),),
)


def occasion(machine: Machine | None, bootenv: Bootenv = BOOTENV, secrets: Secrets | None = None) -> Occasion:
    return Occasion(bootenv, subject_of(machine), BOOT, {}, secrets)


def test_a_machine_with_facts() -> None:
    machine = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS, profile="big", profile_reason="8 threads")
    seen = answer_context(occasion(machine), RESOLVED)
    plain(seen)
    assert seen["machine"]["name"] == "node17"
    assert [disk["path"] for disk in seen["facts"]["disks"]] == ["/dev/disk/by-id/x", "/dev/sdb"]
    assert seen["facts"]["nics"][0]["speed_mbps"] == 10_000
    assert seen["profile"] == {"name": "big", "reason": "8 threads"}
    assert seen["boot"]["bootif"] == "01-52-54-00-77-00-01"
    assert seen["boot"]["firmware"] == "uefi"
    assert seen["urls"]["answers"]["user-data"] == "http://h:8080/answers/S/user-data"
    assert seen["artifacts"]["linux"]["url"] == "http://h:8080/artifacts/x-1/amd64/linux"


HOSTS = {
    "an address of IPv4": ("http://10.77.0.1:8080", "10.77.0.1"),
    "an address of IPv6": ("http://[fd00::1]:8080", "fd00::1"),
    "a name without a port": ("https://boot.example.org", "boot.example.org"),
}


@pytest.mark.parametrize(("base", "host"), HOSTS.values(), ids=HOSTS.keys())
def test_our_own_address_without_its_port(base: str, host: str) -> None:
    seen = answer_context(Occasion(BOOTENV, None, replace(BOOT, base=base), {}), RESOLVED)
    assert seen["urls"]["host"] == host


def test_a_machine_that_nobody_knows() -> None:
    seen = answer_context(occasion(None), RESOLVED)
    plain(seen)
    assert seen["machine"]["macs"] == [MAC]
    assert seen["facts"]["disks"] == []


def test_every_name_that_templates_may_use_is_there() -> None:
    machine = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS)
    assert set(answer_context(occasion(machine, secrets=Secrets("seed")), RESOLVED)) == set(NAMES)


@pytest.mark.parametrize("kind", [Kind.INSTALLER, Kind.LIVE, Kind.RESCUE])
def test_what_only_the_site_can_say_is_wanted_whatever_the_kind(kind: Kind) -> None:
    files = Files(sources={"os": "{mirror.rhel}/9"})
    bootenv = replace(BOOTENV, kind=kind, arch={"amd64": files}, requires=("mirror.rhel",))
    machine = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS)
    with pytest.raises(RenderError) as caught:
        answer_context(occasion(machine, bootenv), RESOLVED)
    assert caught.value.faults == ("x-1 needs mirror.rhel",)
    given = DECLARED.resolve([DECLARED.checked(Layer("machine", "machine node17", {"mirror.rhel": "http://m/rhel"}))])
    assert answer_context(occasion(machine, bootenv), given)["urls"]["sources"] == {"os": "http://m/rhel/9"}


def test_nothing_secret_is_there_without_a_ticket() -> None:
    given = {"users.root.password": "store:root", "disk.encryption": "passphrase", "disk.passphrase": "store:disk"}
    resolved = DECLARED.resolve([DECLARED.checked(Layer("machine", "machine node17", given))])
    bootenv = replace(BOOTENV, supports=Supports(encryption=("passphrase",)))
    machine = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS)
    secrets = Secrets("seed", {"store:root": "canary-1", "store:disk": "canary-2"})
    assert references(resolved) == ["store:disk", "store:root"]
    behind_a_ticket = answer_context(occasion(machine, bootenv, secrets), resolved)
    assert behind_a_ticket["system"]["disk"]["passphrase"] == "canary-2"
    assert behind_a_ticket["secrets"]["disk"]["passphrase"] == "canary-2"
    assert behind_a_ticket["system"]["root"]["hash"].password == "canary-1"
    in_the_open = answer_context(occasion(machine, bootenv), resolved)
    assert "canary" not in repr(in_the_open)
    assert "hash" not in in_the_open["system"]["root"], "asking for it is a fault, not an empty password"
