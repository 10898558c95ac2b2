"""What of a rack differs from what is asked for, and how a command about a rack is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.lab.accel import emulation
from provisioner.lab.hardware import GIB, Firmware
from provisioner.lab.spec import Shape, differences, line, name_of, plan, state_of

BIOS, PXE, HTTP = Firmware.BIOS, Firmware.UEFI_PXE, Firmware.UEFI_HTTP
ASKED: dict[str, tuple[int | None, Shape, list[str]]] = {
    "nothing": (None, Shape(), []),
    "what is there": (4, Shape(1, 1, 1, GIB, 8 * GIB, (BIOS, PXE, HTTP)), []),
    "more machines": (5, Shape(), ["--machines 4, not 5"]),
    "more disks": (None, Shape(disks=3), ["--disks 1, not 3"]),
    "more ports": (None, Shape(ports=2), ["--ports 1, not 2"]),
    "more processors": (None, Shape(cpus=4), ["--cpus 1, not 4"]),
    "more memory": (None, Shape(memory_bytes=3 * GIB // 2), ["--memory 1GiB, not 1.5GiB"]),
    "larger disks": (None, Shape(disk_bytes=20 * GIB), ["--disk-size 8GiB, not 20GiB"]),
    "other firmware": (None, Shape(kinds=(BIOS,)), ["--kinds bios,uefi-pxe,uefi-http, not bios"]),
    "all of it": (1, Shape(disks=2, cpus=2), ["--machines 4, not 1", "--disks 1, not 2", "--cpus 1, not 2"]),
}


@pytest.mark.parametrize(("count", "shape", "found"), ASKED.values(), ids=ASKED.keys())
def test_what_differs(count: int | None, shape: Shape, found: list[str]) -> None:
    rack = plan("provlab", Path("/rack"), 4, emulation("a test"), lambda: "secret")
    assert differences(rack, count, shape) == found


def test_a_rack_is_as_it_was_asked_for() -> None:
    shape = Shape(disks=2, ports=3, cpus=4, memory_bytes=4 * GIB, disk_bytes=12 * GIB, kinds=(HTTP,))
    rack = plan("provlab", Path("/rack"), 2, emulation("a test"), lambda: "secret", shape)
    assert differences(rack, 2, shape) == []
    assert differences(rack, None, Shape(kinds=(HTTP, HTTP))) == []
    assert differences(rack, None, Shape(kinds=(HTTP, BIOS))) == ["--kinds uefi-http, not uefi-http,bios"]


LINES = {"provlab": "provisionctl lab down", "other": "provisionctl lab down --name other"}


@pytest.mark.parametrize("name", LINES)
def test_a_command_is_about_the_rack_that_it_was_said_of(name: str) -> None:
    assert line("down", name_of(state_of(name))) == LINES[name]
    assert name_of(Path("/tmp") / name) == name
