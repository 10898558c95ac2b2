"""Faults, one for each machine: what is wrong with its board or its way, and the diagnosis that has to be told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from provisioner.lab.board import Board, Role
from provisioner.lab.faults import Fault as BoardFault
from provisioner.model.bmc import BootTarget, Driver
from tests.bench.lifecycle.metal import IPXE, SYSTEM
from tests.lifecycle.wired.guest import FIRMWARE, STRANGE, Guest

Life = Callable[[Guest], Awaitable[None]]
"""What a machine does after a power-on."""


async def nothing(_guest: Guest) -> None:
    """It is switched on, and no packet of it comes."""


def healthy(_board: Board) -> None:
    """Nothing is wrong."""


@dataclass(frozen=True)
class Fault:
    """`board` is done to the board before its run, `off` once the run has switched the machine off.

    The verdict is asked for when `after_s` went by; `late` is what the machine does at the end of that time.
    """

    named: str
    life: Life = nothing
    after_s: float = 60.0
    bootenv: str = "discovery"
    board: Callable[[Board], None] = healthy
    off: Callable[[Board], None] = healthy
    driver: Driver = Driver.REDFISH
    late: Life | None = None
    secure_boot: bool | None = None
    """What the machine reported of it when it was inspected before; None: it was not, and its facts are unknown."""
    boots: int = 1
    """Power-ons of the run until it has done what it does; 0 where it never is done, or never switched on."""


def start(fault: BoardFault) -> Callable[[Board], None]:
    return lambda board: board.faults.start(fault)


def other_password(board: Board) -> None:
    board.accounts.change(2, password="changed by somebody")
    board.faults.start(BoardFault.LOST_SESSION, 1)


def lesser_role(board: Board) -> None:
    board.accounts.change(2, role=Role.USER)


def boots_disk_only(board: Board) -> None:
    board.chassis.hardware.targets = frozenset({BootTarget.NONE, BootTarget.DISK})


# what machines do


async def takes_no_offer(guest: Guest) -> None:
    for _ in range(3):
        await guest.asks(FIRMWARE, take=False)


async def finds_no_room(guest: Guest) -> None:
    await guest.asks_in_vain(FIRMWARE, "full")


async def is_on_no_network_of_ours(guest: Guest) -> None:
    await guest.asks_in_vain(FIRMWARE, "elsewhere")


async def is_on_a_network_of_others(guest: Guest) -> None:
    await guest.asks_in_vain(FIRMWARE, "reserved")


async def is_of_no_known_kind(guest: Guest) -> None:
    await guest.asks(STRANGE)


async def starts_its_disk(guest: Guest) -> None:
    await guest.asks(SYSTEM)


async def asks(guest: Guest) -> None:
    await guest.asks(FIRMWARE)


async def asks_once(guest: Guest) -> None:
    await guest.asks(FIRMWARE, take=False)


async def wants_another_loader(guest: Guest) -> None:
    await guest.asks(FIRMWARE)
    await guest.tftp("no-such.efi")


async def loses_blocks(guest: Guest) -> None:
    await guest.tftp(await guest.asks(FIRMWARE), blocks=3)


async def loads_again_and_again(guest: Guest) -> None:
    for _ in range(3):
        await guest.loads()


async def has_no_way_to_http(guest: Guest) -> None:
    await guest.loads()
    await guest.asks(IPXE)


async def asks_from_elsewhere(guest: Guest) -> None:
    await guest.loads()
    script = await guest.asks(IPXE)
    try:
        await guest.gets("/" + script.split("/", 3)[3], "10.97.200.9")
    except RuntimeError:
        return  # 404, as it has to be


async def cannot_reach(guest: Guest) -> None:
    await guest.starts_kernel()
    await guest.asks(SYSTEM)


def ends(*said: str) -> Life:
    async def life(guest: Guest) -> None:
        await guest.fails(*said)

    return life


async def vanishes(guest: Guest) -> None:
    await guest.takes_job()


async def hangs_at_partitioning(guest: Guest) -> None:
    await guest.works_on("partition")


KERNEL_LINES = 300
"""What a kernel says before anything goes wrong, and far more than the trace takes of it."""


def prints(*lines: str, from_disk: bool = False) -> Life:
    """Print a whole boot to the serial console, of the discovery system or from the disk, and what ends it."""

    async def life(guest: Guest) -> None:
        if from_disk and guest.boots == 1:
            await guest.installs()
            return
        if not from_disk:
            await guest.starts_kernel()
        for line in (*(f"[    0.{at:06}] pci 0000:00:{at:02x}.0: BAR 0" for at in range(KERNEL_LINES)), *lines):
            guest.print(line)

    return life


def from_disk(then: Life) -> Life:
    """Install well, and then boot the disk so."""

    async def life(guest: Guest) -> None:
        await (guest.installs() if guest.boots == 1 else then(guest))

    return life


IPMI = Driver.IPMI


def install(named: str, life: Life, after_s: float = 60.0, *, boots: int = 1, driver: Driver = Driver.REDFISH) -> Fault:
    """Make a fault of an install, which is refused for a machine that was not inspected before."""
    return Fault(named, life, after_s, bootenv="debian-12", secure_boot=False, boots=boots, driver=driver)


FAULTS: dict[str, Fault] = {
    "its BMC's password was changed": Fault("bmc-password", off=other_password, after_s=950, boots=0),
    "its BMC's account lost its rights": Fault("bmc-privilege", off=lesser_role, after_s=950, boots=0),
    "its BMC cannot boot from the network, and does not say so before": Fault(
        "bmc-unsupported", board=boots_disk_only, after_s=950, boots=0, driver=IPMI),
    "its BMC is unavailable": Fault("bmc-busy", off=start(BoardFault.UNAVAILABLE), after_s=950, boots=0),
    "its BMC died": Fault("bmc-unreachable", off=start(BoardFault.DEAD), after_s=950, boots=0),
    "its BMC obeys in words only": Fault("power-stuck", board=start(BoardFault.DEAF), after_s=950, boots=0),
    "another DHCP server's offer is taken": Fault("two-dhcp-servers", Guest.takes_another_offer),
    "the pool has no address": Fault("pool-empty", finds_no_room),
    "its address is used by another host": Fault("declined", Guest.declines),
    "it is in the wrong VLAN": Fault("wrong-network", is_on_no_network_of_ours),
    "its subnet serves only reservations": Fault("not-served", is_on_a_network_of_others),
    "its architecture has no loader": Fault("no-architecture", is_of_no_known_kind),
    "its BMC forgets the boot override": Fault("boot-override-ignored", starts_its_disk),
    "its switch port forwards late": Fault("slow-port", nothing, 260, late=asks_once),
    "our answers do not reach it": Fault("offers-not-taken", takes_no_offer),
    "its cable is not plugged": Fault("no-dhcp", nothing, 320),
    "it asks for a loader that is not there": Fault("loader-missing", wants_another_loader),
    "blocks of its loader are lost": Fault("tftp-stalled", loses_blocks),
    "UDP port 69 is filtered": Fault("no-tftp", asks),
    "its firmware trusts another CA": Fault("ca-not-trusted", Guest.refuses_our_certificate),
    "its loader crashes": Fault("loader-loop", loads_again_and_again),
    "its firmware refuses unsigned loaders": Fault("secure-boot", Guest.loads, secure_boot=True),
    "it asks from an address that is not its own": Fault("script-refused", asks_from_elsewhere),
    "the HTTP port is filtered": Fault("no-http", has_no_way_to_http),
    "its loader is of another architecture": Fault("loader-dead", Guest.loads),
    "it stops in the middle of its ramdisk": Fault("fetch-broken", Guest.breaks_off),
    "its kernel panics": Fault("kernel-panic", prints("[    1.2] Kernel panic - not syncing: VFS"), driver=IPMI),
    "its memory is too small": Fault("out-of-memory", prints("Initramfs unpacking failed: write error"), driver=IPMI),
    "its loader cannot load kernels": Fault("kernel-not-fetched", Guest.reads_script),
    "its network card has no driver": Fault("no-driver", Guest.starts_kernel, 200),
    "its agent cannot reach us": Fault("agent-unreachable", cannot_reach),
    "its image is damaged": install("image-damaged", ends("failed: image has the wrong hash, the disk was wiped")),
    "its disk is too small": install("disk-too-small", ends("failed: /dev/vda is too small: 1 GB, the image has 2 GB")),
    "it has no such disk": install("no-disk", ends("failed: disk 'wwn-7' is not in this machine", "status 1")),
    "its disk fails": install("disk-error", ends("failed: /dev/vda: dd: Input/output error", "status 1")),
    "its packages' index has expired": install("expired", ends("E: Release file is not valid yet", "status 100")),
    "its mirror is away": install("mirror", ends("E: Failed to fetch http://mirror/Packages", "status 100")),
    "its installer hangs": install("partitioning-stuck", hangs_at_partitioning, 700, boots=0),
    "its agent vanishes": install("agent-gone", vanishes, 400),
    "its disk lacks its boot files": install(
        "grub-rescue", prints("error: no such device: 1234.", "grub rescue>", from_disk=True), driver=IPMI, boots=2),
    "its firmware finds no system": install(
        "no-bootable-disk", prints("Boot failed: not a bootable disk", from_disk=True), driver=IPMI, boots=2),
    "its kernel does not find its disk": install("root-not-found", prints(
        "ALERT!  UUID=7700 does not exist.  Dropping to a shell!", from_disk=True), driver=IPMI, boots=2),
    "it boots from the network again": install("netboots-again", from_disk(asks), boots=2),
    "its new system cannot reach us": install("system-silent", from_disk(starts_its_disk), 120, boots=2),
    "its new system has no network": install("nothing-from-disk", from_disk(nothing), 200, boots=2),
}  # fmt: skip
