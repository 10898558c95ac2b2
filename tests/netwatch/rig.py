"""A real netwatch in a namespace of its own, with whatever hosts and servers a test puts on the same wire."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from provisioner.netwatch.supervisor import Netwatch
from tests.dhcp.wires import Wires

HELPER = (sys.executable, "-m", "provisioner.netwatch.helper")
LIMIT_S = 60.0
"""Until something that should take a moment is called stuck: machines that run tests are busy."""


async def until(holds: Callable[[], object], limit_s: float = LIMIT_S, *, tell: Callable[[], object] = str) -> None:
    """Wait until something holds; where it never does, `tell` says what there is instead."""
    try:
        async with asyncio.timeout(limit_s):
            while not holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(tell()) from None


@asynccontextmanager
async def watching(netwatch: Netwatch) -> AsyncIterator[Netwatch]:
    """Have it run, and end."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(netwatch.run())
        try:
            yield netwatch
        finally:
            task.cancel()


def inside(lan: Wires, name: str, *command: str) -> tuple[str, ...]:
    """The command of netwatch's process, in a namespace."""
    return tuple(lan.inside(name, *(command or HELPER)))


def mac_of(lan: Wires, name: str, port: str = "eth0") -> str:
    """The hardware address of a port."""
    return lan.run(name, "cat", f"/sys/class/net/{port}/address").strip()


DNSMASQ = (
    "-k", "-C", "/dev/null", "--port=0", "--bind-interfaces", "--except-interface=lo", "--user=root", "--no-ping",
    "--pid-file=", "--dhcp-leasefile=/dev/null", "--log-facility=-", "--log-dhcp",
)  # fmt: skip


def dnsmasq(lan: Wires, name: str, low: str, high: str, *more: str) -> None:
    """Start a real DHCP server on `eth0` of a namespace."""
    lan.start(name, "dnsmasq", *DNSMASQ, "--interface=eth0", f"--dhcp-range={low},{high},255.255.255.0", *more)


def script(folder: Path, text: str) -> tuple[str, ...]:
    """A program in Python that stands in for netwatch's process; the number of its socket is its argument."""
    file = folder / "helper.py"
    file.write_text(text)
    return (sys.executable, str(file))
