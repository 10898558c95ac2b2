"""The layout of a rack, and its record."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import LabError
from provisioner.lab.accel import emulation
from provisioner.lab.hardware import Firmware
from provisioner.lab.spec import BMC_NETWORK, MOST, RackSpec, Shape, decode, encode, plan, state_of
from provisioner.model.bmc import Driver


def rack(count: int = 3) -> RackSpec:
    return plan("provlab", Path("/rack"), count, emulation("a test"), lambda: "secret")


def test_the_three_kinds_of_machines() -> None:
    found = [
        (one.identity.name, one.identity.firmware, one.driver, one.bmc_address, one.boot_via) for one in rack().machines
    ]
    assert found == [
        ("node17", Firmware.BIOS, Driver.IPMI, "10.77.1.17", "pxe"),
        ("node18", Firmware.UEFI_PXE, Driver.REDFISH, "10.77.1.18", "pxe"),
        ("node19", Firmware.UEFI_HTTP, Driver.REDFISH, "10.77.1.19", "http"),
    ]


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_a_rack_has_an_end(count: int) -> None:
    with pytest.raises(LabError, match=f"{count}"):
        rack(count)


def test_machines_are_as_large_as_they_are_asked_for() -> None:
    shape = Shape(disks=2, ports=3, cpus=4, memory_bytes=4 << 30, disk_bytes=12 << 30)
    found = plan("provlab", Path("/rack"), 1, emulation("a test"), lambda: "secret", shape)
    identity = decode(encode(found)).machines[0].identity
    assert (identity.disks, len(identity.macs), identity.cpus, identity.memory_bytes, identity.disk_bytes) == (
        2, 3, 4, 4 << 30, 12 << 30,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [Shape(memory_bytes=1 << 20), Shape(disk_bytes=0)], ids=["memory", "disk"])
def test_machines_that_are_too_small(shape: Shape) -> None:
    with pytest.raises(LabError, match="256 MiB at the least"):
        plan("provlab", Path("/rack"), 1, emulation("a test"), lambda: "secret", shape)


@pytest.mark.parametrize("cpus", [0, 9])
def test_machines_with_no_such_number_of_processors(cpus: int) -> None:
    with pytest.raises(LabError, match="1 to 8 processors"):
        plan("provlab", Path("/rack"), 1, emulation("a test"), lambda: "secret", Shape(cpus=cpus))


def test_nothing_is_there_twice() -> None:
    machines = rack(MOST).machines
    for of in (
        lambda one: one.identity.name, lambda one: one.identity.uuid, lambda one: one.identity.macs,
        lambda one: one.bmc_address, lambda one: one.bmc_mac, lambda one: one.tap,
    ):  # fmt: skip
        assert len({of(one) for one in machines}) == MOST
    assert all(len(one.tap) <= 15 for one in machines), "interface names have at most 15 characters"
    assert BMC_NETWORK.broadcast_address.compressed not in {one.bmc_address for one in machines}


@hypothesis.given(st.integers(1, 20))
def test_a_record_is_read_again(count: int) -> None:
    assert decode(encode(rack(count))) == rack(count)


DAMAGED = {"empty": "", "no JSON": "{", "another thing": "[]", "half": json.dumps({"name": "x", "machines": []})}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_named(text: str) -> None:
    with pytest.raises(LabError, match="damaged"):
        decode(text)


def test_a_machine_that_is_not_there() -> None:
    with pytest.raises(LabError, match=r"node99.*node17, node18, node19"):
        rack().machine("node99")


def test_each_rack_has_its_own_directory() -> None:
    assert state_of("provlab") == Path("/var/lib/provisioner-lab")
    assert state_of("other") == Path("/var/lib/provisioner-lab-other")
