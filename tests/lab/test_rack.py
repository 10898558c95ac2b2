"""The rack as a whole: real firmware, driven through its BMCs; nothing leaves it, nothing of it stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import LabError
from provisioner.lab import control, namespace, process, rack
from provisioner.lab.spec import GATEWAY, RackSpec, Shape
from tests.lab.racks import (
    BOOT_S,
    SOON_S,
    HostCapture,
    Screen,
    dhcp,
    ignore,
    inside,
    ipmitool,
    power_of,
    rack_of,
    redfish,
    web,
)

pytestmark = [pytest.mark.lab, pytest.mark.timeout(3 * BOOT_S + 20 * SOON_S, func_only=True)]

NAME = "provlab-test"
SECTOR = bytes.fromhex("31c08ed8b90000be0000ac88c484c0740fbafd03eca82074fbb2f888e0eeebeae2e5f4ebfd")
"""A boot sector that writes the text at its end to the serial port, so often, and stops; it waits for the port."""
TEXT = "DISKBOOT"
FROM_DISK = r"[.\s]*".join(TEXT)
"""SeaBIOS may still write the end of its own last line, "...", while the sector writes."""
TIMES_AT, TEXT_AT = slice(5, 7), slice(8, 10)
ORIGIN = 0x7C00
SIGNS = "<=>@^_{|}~!#$%&*"
"""No firmware prints these: SeaBIOS may still write the end of its last line while a boot sector writes."""
FULL = 200
"""Characters in a line to a reader that does not read; the kernel's usual limit is 277 of them, one by one."""
ESP_BYTES = 64 << 20


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RackSpec]:
    """A rack with three machines and no daemon."""
    with rack_of(NAME, tmp_path_factory.mktemp("rack")) as spec:
        yield spec


@pytest.fixture
def boots(racked: RackSpec, tmp_path: Path) -> Iterator[Path]:
    """DHCP and TFTP: whatever reaches iPXE restarts the machine, as an installer does at its end."""
    (tmp_path / "boot.ipxe").write_text("#!ipxe\nreboot\n")
    shutil.copy("/usr/lib/ipxe/snponly.efi", tmp_path)
    with dhcp(racked, tmp_path, tmp_path / "dhcp.log") as log:
        yield log


def test_up_twice_is_up_once(racked: RackSpec) -> None:
    said: list[str] = []
    again = rack.up(racked.name, racked.state, 3, said.append)
    assert again == racked
    assert said == [f"the rack {NAME} is up already"]
    assert rack.up(racked.name, racked.state, None, ignore) == racked, "what is not given asks for nothing"
    with pytest.raises(LabError, match=rf"--machines 3, not 4; --disks 1, not 2 .*lab down --name {NAME}"):
        rack.up(racked.name, racked.state, 4, ignore, Shape(disks=2))


def test_no_cable_leaves_the_namespace(racked: RackSpec) -> None:
    links = json.loads(inside(racked, "ip", "-j", "-d", "link", "show"))
    kinds = {link["ifname"]: link.get("linkinfo", {}).get("info_kind", "loopback") for link in links}
    assert kinds.pop("lo") == "loopback"
    assert set(kinds.values()) == {"bridge", "tun"}


def test_bios_boots_the_network_once_and_its_disk_after_its_own_restart(
    racked: RackSpec, boots: Path, tmp_path: Path
) -> None:
    _write_boot_sector(racked.root_of(racked.machine("node17")) / "disk.raw")
    screen, host = Screen(racked, "node17"), HostCapture(tmp_path / "host.log")
    with host.watching():
        ipmitool(racked, "node17", "chassis", "bootdev", "pxe")
        ipmitool(racked, "node17", "power", "on")
        screen.expect("iPXE")
        screen.expect(FROM_DISK)
    assert "PXEClient:Arch:00000" in boots.read_text()
    assert host.packets() == [], "DHCP of the rack was seen on the host"
    assert "No override" in ipmitool(racked, "node17", "chassis", "bootparam", "get", "5")
    ipmitool(racked, "node17", "power", "reset")
    screen.expect(FROM_DISK)
    ipmitool(racked, "node17", "power", "off")
    assert process.wait_until(lambda: power_of(racked, "node17") == "off", SOON_S)


def test_the_console_has_each_character_once_though_nobody_read_for_a_while(racked: RackSpec) -> None:
    # QEMU's own log has a character twice for which there was no room
    line, times = SIGNS * 27, 9999  # it prints for longer than any of this takes
    _write_boot_sector(racked.root_of(racked.machine("node17")) / "disk.raw", line, times)
    supervisor, screen = rack.supervisor_of(racked.state), Screen(racked, "node17")
    assert supervisor is not None
    screen.skip()
    ipmitool(racked, "node17", "chassis", "bootdev", "disk")
    control.ask(racked.control, "power", machine="node17", verb="on")
    try:
        screen.expect("SeaBIOS")
        os.kill(supervisor.pid, signal.SIGSTOP)
        try:
            full = process.wait_until(lambda: FULL < _unread(racked) == _unread(racked), 60)
        finally:
            os.kill(supervisor.pid, signal.SIGCONT)
        assert full, "the guest waits for nobody"
        before = len(screen.text())
        assert process.wait_until(lambda: len(screen.text()) > before + 3 * len(line), 60), "it prints no more"
        printed = "".join(each for each in screen.text() if each in SIGNS)
        assert printed == (line * times)[: len(printed)]
    finally:
        control.ask(racked.control, "power", machine="node17", verb="off")


def test_uefi_boots_the_network_once_and_its_disk_after_its_own_restart(racked: RackSpec, boots: Path) -> None:
    _write_esp(racked.root_of(racked.machine("node18")) / "disk.raw")
    screen = Screen(racked, "node18")
    once = "system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_PXE, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)"
    redfish(racked, "node18", f"{once}; system.reset_system(sushy.RESET_ON)")
    screen.expect(r'starting Boot\d+ "UEFI PXEv4')
    screen.expect(r'starting Boot\d+ "UEFI [^"]*" from PciRoot\(0x0\)/Pci\(0x3,0x0\)')
    assert "PXEClient:Arch:00007" in boots.read_text()
    assert redfish(racked, "node18", "print(system.boot.enabled.value)").strip() == "Disabled"
    redfish(racked, "node18", "system.reset_system(sushy.RESET_FORCE_OFF)")
    assert process.wait_until(lambda: power_of(racked, "node18") == "off", SOON_S)


def test_uefi_http_asks_for_a_url(racked: RackSpec, boots: Path) -> None:
    screen = Screen(racked, "node19")
    once = "system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_UEFI_HTTP, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)"
    redfish(racked, "node19", f"{once}; system.reset_system(sushy.RESET_ON)")
    screen.expect("Start HTTP Boot over IPv4")
    assert process.wait_until(lambda: "HTTPClient:Arch:00016" in boots.read_text(), 30)
    assert "PXE over" not in screen.text()
    redfish(racked, "node19", "system.reset_system(sushy.RESET_FORCE_OFF)")


def test_uefi_boots_the_uri_that_its_bmc_was_given_once(racked: RackSpec, boots: Path, tmp_path: Path) -> None:
    screen, uri = Screen(racked, "node19"), f"http://{GATEWAY}:8000/snponly.efi"
    once = f"""system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_UEFI_HTTP,
enabled=sushy.BOOT_SOURCE_ENABLED_ONCE, http_boot_uri={uri!r}); system.reset_system(sushy.RESET_ON)"""
    with web(racked, tmp_path, tmp_path / "web.log") as log:
        screen.skip()
        redfish(racked, "node19", once)
        screen.expect("iPXE initialising devices")
        assert "GET /snponly.efi" in log.read_text()
        asked, before = log.read_text().count("HEAD /snponly.efi"), boots.read_text().count("HTTPClient:Arch")
        screen.expect("Start HTTP Boot over IPv4")
        assert process.wait_until(lambda: boots.read_text().count("HTTPClient:Arch") > before, 60)
        assert log.read_text().count("HEAD /snponly.efi") == asked, "the next boot asks DHCP for its URL"
    redfish(racked, "node19", "system.reset_system(sushy.RESET_FORCE_OFF)")
    assert process.wait_until(lambda: power_of(racked, "node19") == "off", SOON_S)


def test_uefi_stops_in_its_setup_when_told_to(racked: RackSpec) -> None:
    screen = Screen(racked, "node18")
    once = "system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_BIOS_SETUP, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)"
    screen.skip()
    redfish(racked, "node18", f"{once}; system.reset_system(sushy.RESET_ON)")
    screen.expect("Boot Manager|Device Manager")
    redfish(racked, "node18", "system.reset_system(sushy.RESET_FORCE_OFF)")
    assert process.wait_until(lambda: power_of(racked, "node18") == "off", SOON_S)


def test_bios_boots_an_image_in_its_virtual_drive(racked: RackSpec, tmp_path: Path) -> None:
    shutil.copy("/usr/lib/ipxe/ipxe.iso", tmp_path)
    _write_boot_sector(racked.root_of(racked.machine("node17")) / "disk.raw")
    screen = Screen(racked, "node17")
    insert = f"""media = system.managers[0].virtual_media.get_members()[0]
media.insert_media("http://{GATEWAY}:8000/ipxe.iso", write_protected=True); media.refresh(); print(media.inserted)
system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_CD, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
system.reset_system(sushy.RESET_ON)"""
    with web(racked, tmp_path, tmp_path / "web.log"):
        screen.skip()
        assert redfish(racked, "node17", insert).strip() == "True"
        screen.expect("Booting from DVD/CD")
        screen.expect("iPXE initialising devices")
    eject = "media = system.managers[0].virtual_media.get_members()[0]; media.eject_media(); media.refresh(force=True)"
    assert redfish(racked, "node17", f"{eject}; print(media.inserted)").strip() == "False"
    screen.skip()
    redfish(racked, "node17", "system.reset_system(sushy.RESET_FORCE_RESTART)")
    screen.expect(FROM_DISK)
    redfish(racked, "node17", "system.reset_system(sushy.RESET_FORCE_OFF)")
    assert process.wait_until(lambda: power_of(racked, "node17") == "off", SOON_S)


def test_a_button_of_a_machine_that_is_off_is_refused(racked: RackSpec) -> None:
    with pytest.raises(LabError, match="node19 is off"):
        control.ask(racked.control, "power", machine="node19", verb="reset")
    with pytest.raises(LabError, match="node99: no such machine"):
        control.ask(racked.control, "power", machine="node99", verb="on")


def test_what_was_killed_is_brought_up_again_and_down_leaves_no_trace(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("rack")  # not the test's own: a socket's path has 107 octets at most
    name, state = "provlab-test2", root / "provlab-test2"
    with rack_of(name, root, machines=1) as spec:
        control.ask(spec.control, "power", machine="node17", verb="on")
        assert process.wait_until(lambda: _pid(spec) is not None, SOON_S)
        assert power_of(spec, "node17") == "on"
        guest = process.Recorded(_pid(spec) or 0, process.start_time(_pid(spec) or 0) or 0)
        supervisor = rack.supervisor_of(state)
        assert supervisor is not None
        process.end(supervisor, signal.SIGKILL)
        assert process.wait_until(lambda: not guest.is_alive, SOON_S), "QEMU outlived its supervisor"
        again = rack.up(name, state, 1, ignore)
        assert again.machines == spec.machines, "the passwords of the BMCs changed"
        assert power_of(again, "node17") == "off"
    assert not state.exists()
    assert not namespace.exists(name)
    assert rack.down(name, state, ignore) is False


def test_a_namespace_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    name = "provlab-test3"
    namespace.run("ip", "netns", "add", name)
    try:
        with pytest.raises(LabError, match="not a rack of ours"):
            rack.up(name, tmp_path / name, 1, ignore)
        assert namespace.exists(name)
    finally:
        namespace.remove(name)


def _pid(spec: RackSpec) -> int | None:
    """QEMU's, which is there a moment after the power is on."""
    number: int | None = control.ask(spec.control, "status")[0]["pid"]
    return number


def _unread(spec: RackSpec) -> int:
    """The most characters that wait in a local socket."""
    return max(int(row.split()[2]) for row in inside(spec, "ss", "-xH").splitlines())


def _write_boot_sector(disk: Path, text: str = TEXT, times: int = 1) -> None:
    with disk.open("r+b") as file:
        code = bytearray(SECTOR)
        code[TIMES_AT] = times.to_bytes(2, "little")
        code[TEXT_AT] = (ORIGIN + len(code)).to_bytes(2, "little")
        file.write((bytes(code) + text.encode() + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa")


def _write_esp(disk: Path) -> None:
    """A disk that is one FAT file system with a loader in the place for removable media."""
    with disk.open("wb") as file:
        file.truncate(ESP_BYTES)
    for command in (
        ["mformat", "-F", "-i", str(disk), "::"],
        ["mmd", "-i", str(disk), "::/EFI", "::/EFI/BOOT"],
        ["mcopy", "-i", str(disk), "/usr/lib/ipxe/snponly.efi", "::/EFI/BOOT/BOOTX64.EFI"],
    ):
        subprocess.run(command, check=True)
