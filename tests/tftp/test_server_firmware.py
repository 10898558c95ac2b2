"""Real firmware fetches its loader by TFTP over a bad link, and starts it: what came is what was sent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.lab import process
from provisioner.lab.accel import QEMU, emulation
from provisioner.lab.builds import BUILDS
from provisioner.lab.hardware import Firmware
from tests.share import in_gate
from tests.tftp import links

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LOADERS = Path("/usr/lib/ipxe")
ROUTER, MACHINES = "10.96.0.1", "10.96.0.0/24"
STARTED = "iPXE initialising devices"
BOOT_S = 280.0
FAULTS: dict[str, links.Faults] = {"1 %": (0.01, 0.01, 0.01, 0), "5 %": (0.05, 0.05, 0.05, 0)}
WORST = "5 %"


@dataclass(frozen=True)
class Chain:
    """What firmware fetches, and how often iPXE has started once it runs what it fetched."""

    firmware: Firmware
    loader: str
    starts: int


CHAINS = {
    "iPXE in the card": Chain(Firmware.BIOS, "undionly.kpxe", 2),
    "OVMF": Chain(Firmware.UEFI_PXE, "snponly.efi", 1),
}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def program(*command: str) -> Iterator[None]:
    """A program that runs until the block ends."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


def attach(stack: ExitStack, server: str, client: str, loader: str) -> None:
    """Put machines behind the clients' end of a link: a port for one, and addresses from somebody else's DHCP."""
    run("ip", "-n", client, "tuntap", "add", "q0", "mode", "tap")
    run("ip", "-n", client, "addr", "add", f"{ROUTER}/24", "dev", "q0")
    run("ip", "-n", client, "link", "set", "q0", "up")
    run("ip", "netns", "exec", client, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run("ip", "-n", server, "route", "add", MACHINES, "via", links.CLIENT)
    given = (f"--dhcp-range={ROUTER[:-1]}10,{ROUTER[:-1]}20", f"--dhcp-boot={loader},,{links.SERVER}")
    dnsmasq = ("dnsmasq", "-k", "-C", "/dev/null", "--port=0", "--interface=q0", "--bind-interfaces", "--user=root",
               "--no-ping", "--pid-file=", "--dhcp-leasefile=/dev/null", "--log-facility=/dev/null")  # fmt: skip
    stack.enter_context(program("ip", "netns", "exec", client, *dnsmasq, *given))


def machine(firmware: Firmware, folder: Path) -> list[str]:
    """QEMU's arguments: firmware, one card, a console in a file."""
    accelerator, flash = emulation("tests"), BUILDS[firmware].flash
    words = [QEMU, "-machine", f"q35,graphics=off,accel={accelerator.name}", "-cpu", accelerator.cpu, "-m", "512",
             "-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{folder}/console",
             "-netdev", "tap,id=n,ifname=q0,script=no,downscript=no",
             "-device", "virtio-net-pci,netdev=n,bootindex=0" + (",romfile=" if flash else "")]  # fmt: skip
    if flash is not None:
        shutil.copyfile(flash.variables, folder / "nvram.fd")
        words += ["-drive", f"if=pflash,format=raw,readonly=on,file={flash.code}"]
        words += ["-drive", f"if=pflash,format=raw,file={folder}/nvram.fd"]
    return words


@pytest.mark.parametrize("link", in_gate(FAULTS, WORST))
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_firmware_starts_what_it_fetched(tmp_path: Path, chain: Chain, link: str) -> None:
    (tmp_path / "root").mkdir()
    shutil.copyfile(LOADERS / chain.loader, tmp_path / "root" / chain.loader)
    console = tmp_path / "console"
    with ExitStack() as stack:
        server, client, said = links.lay(stack, FAULTS[link], tmp_path / "root")
        with ExitStack() as behind:
            attach(behind, server, client, chain.loader)
            behind.enter_context(program("ip", "netns", "exec", client, *machine(chain.firmware, tmp_path)))

            def runs() -> bool:
                return console.exists() and console.read_bytes().count(STARTED.encode()) >= chain.starts

            assert process.wait_until(runs, BOOT_S), console.read_text(errors="replace")[-3000:]
    size = (LOADERS / chain.loader).stat().st_size
    assert any(chain.loader in line and str(size) in line for line in said), said
