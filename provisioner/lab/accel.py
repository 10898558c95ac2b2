"""Which accelerator really runs firmware here: KVM where a short probe guest boots with it, plain emulation elsewhere.

On some hosts /dev/kvm opens, but there is no hardware virtualisation behind it: firmware dies in KVM's instruction
emulator ("emulation failure"), or takes twenty seconds to its first line. So the probe boots SeaBIOS and iPXE.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from provisioner.lab.process import bound

QEMU = "qemu-system-x86_64"
PROBE_S = 4.0
"""With hardware virtualisation iPXE prints its banner within a second."""
BANNER = b"iPXE"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What QEMU is told, and why."""

    name: str
    cpu: str
    reason: str


def emulation(reason: str) -> Accelerator:
    """Plain emulation (TCG).

    Without ERMS: Linux would copy with `rep movsb`, which TCG emulates byte by byte; writing a disk image takes two
    to three times the processor time with it (88.9 s against 40.7 s, 481 MB, Debian 12 guest, QEMU 7.2). And then
    without FSRM, which newer QEMU has: no processor has it alone, and Linux 6.1 hangs on one that does (QEMU 10.0).
    Without page tables of five levels, which are walked in software, and without SMAP and protection keys, for which
    each copy from or to a program ends a block of translated code: a tenth of a boot (10.4 s against 9.1 s, discovery).
    Without SVM: nobody runs machines in a machine that is emulated, and Debian loads KVM at each start where it is.
    """
    return Accelerator("tcg", "max,-erms,-fsrm,-la57,-smap,-pku,-svm", reason)


KVM = Path("/dev/kvm")


async def choose() -> Accelerator:
    """Probe once and say which accelerator the rack's machines use."""
    if not await asyncio.to_thread(KVM.exists):
        return emulation(f"{KVM} does not exist")
    arguments = (
        "-machine",
        "q35,accel=kvm,graphics=off",
        "-cpu",
        "host",
        "-m",
        "128",
        "-nodefaults",
        "-display",
        "none",
    )
    network = (
        "-netdev",
        "hubport,id=n0,hubid=0",
        "-device",
        "virtio-net-pci,netdev=n0,bootindex=0",
        "-serial",
        "stdio",
    )
    process = await asyncio.create_subprocess_exec(
        *bound(QEMU, *arguments, *network),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = await _read_until_banner(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.communicate()  # to the end of its output: a pipe that is left open outlives the loop
    if BANNER in said:
        return Accelerator("kvm", "host", "a probe guest booted its firmware with KVM")
    return emulation(f"with KVM a probe guest did not reach iPXE in {PROBE_S:.0f} s{_last_line(said)}")


async def _read_until_banner(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    said = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROBE_S):
            while BANNER not in said and (data := await process.stdout.read(4096)):
                said += data
    return said


def _last_line(said: bytes) -> str:
    words = [line for line in said.decode("ascii", "replace").splitlines() if "error" in line.lower()]
    return f": {words[0].strip()}" if words else ""
