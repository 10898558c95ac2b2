"""What is looked at before a machine is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.dhcp.foretell import Foretold
from provisioner.errors import ConflictError
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.preflight import Found, bmc_verbs, checks, verb_for
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, BootTarget, Driver
from provisioner.model.catalog import Bootenv, Files, Kind
from provisioner.model.facts import Disk, Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac

GIB = 1 << 30
BMC = BmcAddress(Driver.IPMI, "10.0.0.1", 623, "admin")
FACTS = Facts(memory_bytes=GIB, disks=(Disk("vda", 8 * GIB), Disk("vdb", GIB)))
READY = Machine("m1", "node17", State.READY, bmc=BMC, facts=FACTS, profile="small", profile_reason="one disk")
DEBIAN = Bootenv("debian-12", "Debian 12", Kind.IMAGE, "debian", {}, min_disk_bytes=2 * GIB, min_memory_bytes=GIB // 2)
DISCOVERY = Bootenv("discovery", "Discovery", Kind.DISCOVERY, "discovery", {})
ISO = Bootenv("iso", "An ISO", Kind.LIVE, "iso", {"amd64": Files(http="image.iso")})
WINDOWS = Bootenv("windows", "Windows", Kind.LIVE, "windows", {"amd64": Files(kernel="wimboot", injects=("answers",))})
SECURED = replace(READY, boot_via="http", facts=replace(FACTS, secure_boot=True))
BUSY, _ = advance(READY, Begin("r1", Verb.DEPLOY, "debian-12"), 0.0)

CASES: dict[str, tuple[Machine, Bootenv, list[str], str | None, list[str]]] = {
    "all in order": (READY, DEBIAN, [], None, []),
    "a run is under way": (BUSY, DEBIAN, [], None, ["node17 is deploying: deploy debian-12 is under way"]),
    "a state that it cannot start from": (
        replace(READY, state=State.RETIRED), DEBIAN, [], None,
        ["node17 is retired: it cannot be installed in that state"]),
    "no BMC on record": (replace(READY, bmc=None), DEBIAN, [], None, ["node17 has no BMC on record"]),
    "an ISO on a machine that cannot start it": (
        READY, ISO, [], None, ["iso starts by UEFI HTTP boot alone, and node17 boots by pxe"]),
    "and on one that can": (replace(READY, boot_via="http"), ISO, [], None, []),
    "what only a loader hands over, with Secure Boot": (
        SECURED, WINDOWS, [], None,
        ["with Secure Boot on node17 boots from a CD, and windows takes files that only a loader hands over"]),
    "without it": (replace(SECURED, facts=FACTS), WINDOWS, [], None, []),
    "and by PXE, which needs no CD": (replace(SECURED, boot_via="pxe"), WINDOWS, [], None, []),
    "a system whose loader nobody signed, with Secure Boot": (
        SECURED, replace(DEBIAN, secure_boot=False), [], None,
        ["node17 has Secure Boot on, and debian-12 has a boot loader that is not signed"]),
    "one that is signed": (SECURED, replace(DEBIAN, secure_boot=True), [], None, []),
    "one that does not say": (SECURED, DEBIAN, [], None, []),
    "and what installs nothing": (SECURED, DISCOVERY, [], None, []),
    "a BMC that refuses": (READY, DEBIAN, [], "password refused", ["password refused"]),
    "artefacts that are missing": (READY, DEBIAN, ["image is missing", "kernel is missing"], None,
        ["image is missing", "kernel is missing"]),
    "hardware that nobody knows": (
        replace(READY, facts=None), DEBIAN, [], None, ["the hardware of node17 is not known yet"]),
    "which does not matter for a discovery": (replace(READY, facts=None), DISCOVERY, [], None, []),
    "no disk that is large enough": (
        replace(READY, facts=Facts(disks=(Disk("vdb", GIB),))), DEBIAN, [], None,
        ["the largest disk has 1.0 GiB, debian-12 needs 2.0"]),
    "firmware that it does not start by": (
        replace(READY, facts=replace(FACTS, firmware="uefi")),
        Bootenv("freebsd-14", "FreeBSD", Kind.LIVE, "freebsd", {"amd64": Files(kernel="memdisk", firmware=("bios",))}),
        [], None, ["freebsd-14 does not start by uefi, only by bios"]),
    "no disk at all": (
        replace(READY, facts=Facts()), replace(DEBIAN, min_disk_bytes=0), [], None,
        ["the largest disk has 0.0 GiB, debian-12 needs 0.0"]),
    "too little memory": (
        READY, replace(DEBIAN, min_memory_bytes=4 * GIB), [], None,
        ["node17 has 1.0 GiB of memory, debian-12 needs 4.0"]),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "bootenv", "missing", "fault", "failed"), CASES.values(), ids=CASES.keys())
def test_checks(machine: Machine, bootenv: Bootenv, missing: list[str], fault: str | None, failed: list[str]) -> None:
    found = Found(missing=missing, bmc_fault=fault)
    assert [check.text for check in checks(machine, bootenv, found, verb_for(bootenv)) if not check.ok] == failed


def test_no_disks_are_erased_of_what_only_a_uuid_tells_from_others() -> None:
    failed = [check for check in checks(READY, DISCOVERY, Found(), Verb.RELEASE) if not check.ok]
    assert [(one.text, one.hint) for one in failed] == [
        ("the ports of node17 are not known yet", "provisionctl boot node17 discovery")
    ]
    known = replace(READY, macs=(Mac("52:54:00:00:00:17"),))
    assert all(check.ok for check in checks(known, DISCOVERY, Found(), Verb.RELEASE))


def test_what_does_not_say_whether_it_is_signed_is_told() -> None:
    told = [check.text for check in checks(SECURED, DEBIAN, Found(), Verb.DEPLOY) if check.name == "secure-boot"]
    assert told == [
        "node17 has Secure Boot on, and debian-12 does not say whether its boot loader is signed "
        "(`secure_boot` of its bootenv)"
    ]


WAYS_OUT: dict[str, tuple[State, str]] = {
    "the rescue system": (State.RESCUE, "`provisionctl unrescue node17` first"),
    "maintenance": (State.MAINTENANCE, "`provisionctl let-go node17` first"),
    "quarantine": (State.QUARANTINED, "`provisionctl let-go node17` first"),
    "retirement": (State.RETIRED, "`provisionctl unretire node17` first"),
    "another's management": (State.EXTERNAL, ""),
}


@pytest.mark.parametrize(("state", "hint"), WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_the_way_out_of_a_state_is_told(state: State, hint: str) -> None:
    machine = replace(READY, state=state)
    for verb in (Verb.DEPLOY, Verb.RELEASE, Verb.POWER_OFF_RELEASE, Verb.LOCAL):
        assert [one.hint for one in checks(machine, DEBIAN, Found(), verb) if one.name == "state"] == [hint]
        with pytest.raises(ConflictError) as refused:
            advance(machine, Begin("r1", verb, "debian-12"), 0.0)
        assert refused.value.hint == hint


def test_what_is_not_rescued_has_no_way_out_of_it() -> None:
    with pytest.raises(ConflictError) as refused:
        advance(replace(READY, state=State.MAINTENANCE), Begin("r1", Verb.UNRESCUE, ""), 0.0)
    assert refused.value.hint == ""


TOLD = Foretold("lan", "10.0.0.17", "10.0.0.1", "undionly.kpxe")
SILENT = Foretold("lan", reason="no address left in lan", silent=True)

NO_PXE = "none of its drivers can boot.once.pxe (`provisionctl bmc why node17 boot.once.pxe`)"
FOUND: dict[str, tuple[Found, list[str]]] = {
    "an address": (Found(told=[TOLD]), ["subnet: lan: 10.0.0.17 is its address"]),
    "an address of another server": (
        Found(told=[replace(TOLD, address="")]), ["subnet: lan: another server gives it an address"]),
    "no answer on any link": (Found(told=[SILENT]), ["! subnet: lan: no answer: no address left in lan"]),
    "an answer on one of two links": (Found(told=[SILENT, TOLD]), ["subnet: lan: 10.0.0.17 is its address"]),
    "no subnet of ours at all": (Found(told=[]), []),
    "a loader that is not there": (
        Found(unserved=["snponly.efi"]), ["! loader: there is no snponly.efi to give it"]),
    "parameters that fit": (
        Found(rendered=["kernel-args", "preseed"]), ["parameters: they fit; kernel-args, preseed can be rendered"]),
    "parameters that do not": (Found(unfit=["disk.layout: zfs"]), ["! parameters: disk.layout: zfs"]),
    "a verb that no driver has": (
        Found(cannot=["boot.once.pxe"]), [f"! capability: {NO_PXE}"]),
    "what its board does not list": (
        Found(cannot=["boot.once.pxe"], targets=[BootTarget.HTTP]),
        ["! capability: boot.once.pxe: its board boots only from http (`provisionctl boot-via node17 http`)"]),
    "what its board lists, and no driver can": (
        Found(cannot=["boot.once.pxe"], targets=[BootTarget.PXE]),
        [f"! capability: {NO_PXE}"]),
    "a board that boots from no network": (
        Found(cannot=["boot.once.pxe"], targets=[BootTarget.DISK]),
        ["! capability: boot.once.pxe: its board boots only from disk"
         " (look at its firmware's settings: its boot mode decides what it lists)"]),
    "a BMC that was not asked cannot be judged": (Found(asked=False, cannot=["power.on"]), []),
}  # fmt: skip


@pytest.mark.parametrize(("found", "said"), FOUND.values(), ids=FOUND.keys())
def test_what_was_found_is_judged(found: Found, said: list[str]) -> None:
    judged = [
        f"{'' if check.ok else '! '}{check.name}: {check.text}"
        + (f" ({check.hint})" if check.name == "capability" and check.hint else "")
        for check in checks(READY, DEBIAN, found, Verb.DEPLOY)
        if check.name in {"subnet", "loader", "parameters", "capability"} and "it can power.off" not in check.text
    ]
    assert judged == said


def test_a_boot_of_the_disk_needs_no_subnet() -> None:
    local = Bootenv("local", "Its disk", Kind.DISK, "local", {})
    assert [check.name for check in checks(READY, local, Found(told=[SILENT]), Verb.LOCAL)] == [
        "state", "bmc", "capability", "artifacts"]  # fmt: skip


VERBS_OF = {
    "an installation": (READY, Verb.DEPLOY, ["power.off", "boot.once.pxe", "power.on", "boot.always.disk"]),
    "over HTTP": (
        replace(READY, boot_via="http"), Verb.RESCUE, ["power.off", "boot.once.http", "power.on"]),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "verb", "names"), VERBS_OF.values(), ids=VERBS_OF.keys())
def test_what_a_bmc_is_asked_for(machine: Machine, verb: Verb, names: list[str]) -> None:
    assert bmc_verbs(machine, verb) == names


def test_a_discovery_leaves_the_disk_alone() -> None:
    assert (verb_for(DISCOVERY), verb_for(DEBIAN)) == (Verb.INSPECT, Verb.DEPLOY)
