"""Hardware profiles: which one, why, and which sets of them are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner import yamlfile
from provisioner.discovery.classify import Profiles, decode_profiles
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import CatalogError
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.net import parse_mac

GIB = 1 << 30
NIC = Nic("eth0", parse_mac("52:54:00:77:00:01"), speed_mbps=25000)
VM = Facts(firmware="bios", virtual=True, memory_bytes=GIB, disks=(Disk("vda", 8 * GIB),), nics=(NIC,))
METAL = Facts(
    firmware="uefi", virtual=False, memory_bytes=256 * GIB, cpu=Cpu("X", "x86_64", 2, 32, 64), nics=(NIC,), tpm="2.0"
)


def profiles(text: str) -> Profiles:
    return decode_profiles([yamlfile.load(text, "p.yaml")])


SHIPPED = {
    "a virtual machine by BIOS": (VM, "vm-bios"),
    "a virtual machine by UEFI": (replace(VM, firmware="uefi"), "vm-uefi"),
    "an edge box": (replace(METAL, memory_bytes=8 * GIB, disks=(Disk("sda", GIB),)), "small"),
    "a box of disks": (
        replace(METAL, disks=tuple(Disk(f"sd{c}", GIB, rotational=True) for c in "abcdefgh")),
        "storage",
    ),
    "something between": (replace(METAL, disks=(Disk("sda", GIB),)), "generic"),
    "nothing is known": (Facts(), "generic"),
}


@pytest.mark.parametrize(("facts", "name"), SHIPPED.values(), ids=SHIPPED.keys())
def test_shipped_profiles(facts: Facts, name: str) -> None:
    assert load_profiles().classify(facts)[0] == name


def test_the_reason_names_the_facts_that_decided() -> None:
    assert load_profiles().classify(VM) == ("vm-bios", "firmware is bios, virtual is yes")
    assert load_profiles().classify(Facts()) == ("generic", "no more special profile fits")


PORT = replace(NIC, relay="10.0.0.254", circuit_id="ge-0/0/1", remote_id="leaf1")
PLUGGED = {
    "the switch": ("a: {when: {remote_id: leaf1}}", "a"),
    "the switch's port": ("a: {when: {remote_id: leaf1, circuit_id: [ge-0/0/1, ge-0/0/2]}}", "a"),
    "another relay": ("a: {when: {relay: 10.0.1.254}}", ""),
}


@pytest.mark.parametrize(("text", "name"), PLUGGED.values(), ids=PLUGGED.keys())
def test_where_a_machine_is_plugged_in(text: str, name: str) -> None:
    assert profiles(text).classify(replace(METAL, nics=(NIC, PORT)))[0] == name
    assert profiles(text).classify(METAL)[0] == ""


WINS = {
    "more conditions beat fewer": (
        "a: {when: {virtual: true}}\nb: {when: {virtual: true, memory: {max: 2GiB}}}",
        VM,
        "b",
    ),
    "the narrower of two ranges": (
        "a: {when: {memory: {min: 1GiB}}}\nb: {when: {memory: {min: 64GiB}}}\nc: {when: {memory: {min: 16GiB}}}",
        METAL,
        "b",
    ),
    "one word of several": ("a: {when: {firmware: [bios, uefi]}}\nb: {when: {firmware: uefi}}", METAL, "b"),
    "what was not read holds nowhere": ("a: {when: {secure_boot: false}}", VM, ""),
    "no disk is zero disks": ("a: {when: {disks: {max: 0}}}", METAL, "a"),
    "the fastest port": ("a: {when: {nic_speed_mbps: {min: 25000}}}", METAL, "a"),
    "no TPM": ("a: {when: {tpm: none}}\nb: {when: {tpm: '2.0'}}", VM, "a"),
    "both ends of a range are inside": ("a: {when: {threads: {min: 64, max: 64}}}", METAL, "a"),
}


@pytest.mark.parametrize(("text", "facts", "name"), WINS.values(), ids=WINS.keys())
def test_most_specific_wins(text: str, facts: Facts, name: str) -> None:
    assert profiles(text).classify(facts)[0] == name


FAULTS = {
    "two that could fit one machine": (
        "a: {when: {firmware: uefi}}\nb: {when: {virtual: true}}",
        r"p.yaml:1: a and b \(p.yaml:2\) can fit the same machine equally well",
    ),
    "ranges that overlap without one inside the other": (
        "a: {when: {disks: {max: 4}}}\nb: {when: {disks: {min: 2}}}",
        "equally well",
    ),
    "the same twice": ("a: {when: {disks: {min: 2}}}\nb: {when: {disks: {min: 2}}}", "equally well"),
    "two without conditions": ("a: {}\nb: {}", "equally well"),
    "an unknown condition": ("a: {when: {memroy: {min: 1}}}", "memroy: unknown key, did you mean 'memory'?"),
    "an unknown key": ("a: {whenever: {}}", "whenever: unknown key"),
    "a maker's name": ("a: {when: {vendor: Dell}}", "vendor: unknown key"),
    "a range of nothing": ("a: {when: {disks: {min: 3, max: 2}}}", "min 3 is above max 2"),
    "a range without ends": ("a: {when: {disks: {}}}", "min or max is wanted"),
    "a name with blanks": ("'a b': {}", "is not a profile's name"),
    "no size": ("a: {when: {memory: {min: much}}}", "'much' is not a size"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_at_load(text: str, fault: str) -> None:
    with pytest.raises(CatalogError, match=fault):
        profiles(text)


def test_ranges_that_cannot_meet_are_no_tie() -> None:
    assert profiles("a: {when: {disks: {max: 1}}}\nb: {when: {disks: {min: 2}}}").classify(VM)[0] == "a"


def test_a_site_replaces_a_profile_of_ours() -> None:
    ours, site = "a: {when: {disks: {min: 1}}}", "a: {when: {disks: {min: 3}}}"
    both = decode_profiles([yamlfile.load(ours, "ours.yaml"), yamlfile.load(site, "site.yaml")])
    assert both.classify(VM) == ("", "no profile fits")
