"""The libvirt driver against a real libvirtd and QEMU."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.bmc.libvirt.driver import Libvirt, connect
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcUnreachable, BmcUnsupported
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bmc.contract import check_contract
from tests.bmc.libvirt.hypervisor import DOMAIN, libvirtd, virsh

ADDRESS = BmcAddress(Driver.LIBVIRT, "default", 0, "", system="node17")


@pytest.fixture
async def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with libvirtd(tmp_path) as found:
        monkeypatch.setenv("LIBVIRT_DEFAULT_URI", found)
        yield found


@pytest.fixture
def bmc(uri: str) -> Libvirt:
    return Libvirt(ADDRESS, gate=asyncio.Semaphore(4))


async def orders(uri: str) -> dict[str, int]:
    """What the running QEMU boots in which order, by device."""
    found = {}
    for alias in ("virtio-disk0", "sata0-0-0", "net0"):
        asked = {"path": f"/machine/peripheral/{alias}", "property": "bootindex"}
        command = json.dumps({"execute": "qom-get", "arguments": asked})
        found[alias] = json.loads(await virsh(uri, "qemu-monitor-command", "node17", command))["return"]
    return found


@pytest.mark.lab
@pytest.mark.peer
async def test_contract(bmc: Libvirt) -> None:
    await check_contract(bmc)


@pytest.mark.lab
@pytest.mark.peer
async def test_once_is_once_also_when_the_guest_restarts_by_itself(uri: str, bmc: Libvirt) -> None:
    before = await virsh(uri, "dumpxml", "node17", "--inactive")
    await bmc.boot_once(BootTarget.PXE)
    started = await virsh(uri, "dumpxml", "node17", "--inactive")
    assert "<boot order='1'/>" in started.split("<interface", 1)[1]
    await bmc.set_power(Power.ON)
    assert await orders(uri) == {"virtio-disk0": 1, "sata0-0-0": -1, "net0": -1}, "from the next restart on: its own"
    assert (await bmc.boot_override()).target is BootTarget.NONE
    await bmc.boot_once(BootTarget.PXE)
    await bmc.reset()
    assert await orders(uri) == {"virtio-disk0": 1, "sata0-0-0": -1, "net0": -1}
    await bmc.press(Press.NMI)
    await bmc.set_power(Power.OFF)
    after = await virsh(uri, "dumpxml", "node17", "--inactive")
    assert "provisioner" not in after
    assert before.count("<interface") == after.count("<interface")


@pytest.mark.lab
@pytest.mark.peer
async def test_what_it_is_made_of(bmc: Libvirt) -> None:
    found = (await bmc.inventory()).facts
    assert (found.uuid, found.memory_bytes) == ("4c4c4544-0042-4310-8052-b7c04f4d3132", 64 << 20)
    assert [nic.mac for nic in found.nics] == ["52:54:00:00:00:17"]
    assert [disk.name for disk in found.disks] == ["vda"]
    with pytest.raises(BmcUnsupported, match="no such request"):
        await bmc.press(Press.CYCLE)
    with pytest.raises(BmcUnsupported, match="failed to get domain"):
        await Libvirt(dataclasses.replace(ADDRESS, system="nobody"), gate=asyncio.Semaphore(1)).power()


@pytest.mark.lab
@pytest.mark.peer
async def test_no_hypervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", f"qemu+unix:///system?socket={tmp_path}/none")
    with pytest.raises(BmcUnreachable, match="failed to connect"):
        await Libvirt(ADDRESS, gate=asyncio.Semaphore(1)).power()


class Crash(Exception):
    """The daemon dies here."""


class InMemory(Libvirt):
    """The driver on a hypervisor in memory; the daemon dies after a command."""

    def __init__(self, dies_after: str = "") -> None:
        super().__init__(ADDRESS, gate=asyncio.Semaphore(1))
        self.defined, self.live = DOMAIN.format(root="/"), ""
        self.dies_after = dies_after

    async def _virsh(self, verb: str, *arguments: str, given: bytes = b"") -> str:
        said = self._done(given.decode(), *arguments)
        if arguments[0] == self.dies_after:
            raise Crash
        return said

    def _done(self, given: str, command: str, *arguments: str) -> str:
        match command:
            case "dumpxml":
                return self.defined if "--inactive" in arguments else self.live or self.defined
            case "domstate":
                return "running" if self.live else "shut off"
            case "define":
                self.defined = given
            case "start":
                self.live = self.defined.replace("<domain ", "<domain id='1' ", 1)
            case "destroy":
                self.live = ""
        return ""


@pytest.mark.looptime
@pytest.mark.parametrize("looks", [False, True])
async def test_a_start_that_was_cut_short_is_one_boot_all_the_same(looks: bool) -> None:
    bmc = InMemory(dies_after="start")
    await bmc.boot_once(BootTarget.PXE)
    with pytest.raises(Crash):
        await bmc.set_power(Power.ON)
    bmc.dies_after = ""
    if looks:
        assert (await bmc.boot_override()).target is BootTarget.NONE
    else:
        await bmc.set_power(Power.ON)
    assert "provisioner" not in bmc.defined
    await bmc.boot_once(BootTarget.PXE)
    await bmc.set_power(Power.ON)
    assert (await bmc.boot_override()).target is BootTarget.PXE, "it is for the next start: on it was before"


@pytest.mark.looptime
async def test_what_is_asked_for_while_it_is_off_is_not_spent() -> None:
    bmc = InMemory()
    await bmc.boot_once(BootTarget.PXE)
    await bmc.set_power(Power.OFF)
    assert (await bmc.boot_override()).target is BootTarget.PXE
    await bmc.set_power(Power.ON)
    assert "provisioner" in bmc.live
    assert "provisioner" not in bmc.defined


CONNECTIONS = {
    "this host": (BmcAddress(Driver.LIBVIRT, "localhost", 0, "", system="x"), ("-c", "qemu:///system")),
    "as the environment says": (ADDRESS, ()),
    "by ssh": (
        BmcAddress(Driver.LIBVIRT, "host9", 2222, "root", system="x"),
        ("-c", "qemu+ssh://root@host9:2222/system?no_tty=1"),
    ),
    "by ssh to an address of IPv6": (
        BmcAddress(Driver.LIBVIRT, "2001:db8::9", 0, "", system="x"),
        ("-c", "qemu+ssh://[2001:db8::9]/system?no_tty=1"),
    ),
    "a user name that would be a query": (
        BmcAddress(Driver.LIBVIRT, "host9", 0, "x@h/system?command=/tmp/it&y=", system="x"),
        ("-c", "qemu+ssh://x%40h%2Fsystem%3Fcommand%3D%2Ftmp%2Fit%26y%3D@host9/system?no_tty=1"),
    ),
}


@pytest.mark.parametrize(("address", "arguments"), CONNECTIONS.values(), ids=CONNECTIONS.keys())
def test_connect(address: BmcAddress, arguments: tuple[str, ...]) -> None:
    assert connect(address) == arguments
