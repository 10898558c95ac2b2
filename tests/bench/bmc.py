"""BMCs: a thousand power readings by IPMI and Redfish against ipmitool, ipmipower and sushy, and what dead ones cost.

The boards are the lab's own, in a process of their own on this machine: both sides share its cores. "Cold" is with a
login for each board, "warm" with sessions that are open. A dead board takes what is sent to it and never answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence

from provisioner.bmc.pool import Bmcs
from provisioner.errors import BmcError
from provisioner.model.bmc import BmcAddress, Driver
from tests.bench.harness import Bench, main
from tests.bmc.simulated import (
    IPMI_PORT,
    PASSWORD,
    REDFISH_PORT,
    USER,
    hole,
    host,
    ipmi_address,
    redfish_address,
)

BOARDS = 1000
PEERS_AT_ONCE = 100
DEAD_EVERY = 10

Credentials = Sequence[BmcAddress]


@contextlib.asynccontextmanager
async def boards(count: int) -> AsyncIterator[None]:
    """Run that many boards in another process."""
    with tempfile.TemporaryDirectory() as root:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bmc.simulated", str(count), root,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        await process.stdout.readline()
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


@contextlib.contextmanager
def black_holes(count: int) -> Iterator[list[str]]:
    """Open sockets that take everything and say nothing, on addresses beside the boards'."""
    opened: list[socket.socket] = []
    hosts = [hole(number) for number in range(count)]
    for name in hosts:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((name, IPMI_PORT))
        tcp = socket.create_server((name, REDFISH_PORT), backlog=64)  # the kernel connects, nobody speaks
        opened += [udp, tcp]
    try:
        yield hosts
    finally:
        for one in opened:
            one.close()


async def addresses(driver: Driver, count: int) -> list[BmcAddress]:
    """Return the boards' addresses. They share one certificate, so one pin does for all."""
    if driver is Driver.IPMI:
        return [ipmi_address(number) for number in range(count)]
    first = await redfish_address(0)
    return [dataclasses.replace(first, host=host(number)) for number in range(count)]


async def read_all(bmcs: Bmcs, alive: Credentials, dead: Credentials = ()) -> float:
    """Read the power of all at once; return when the last of those alive had answered, in seconds."""
    began = time.perf_counter()
    ended = began

    async def read(address: BmcAddress) -> None:
        nonlocal ended
        await bmcs.power(address, PASSWORD)
        ended = max(ended, time.perf_counter())

    async def read_dead(address: BmcAddress) -> None:
        with contextlib.suppress(BmcError):
            await bmcs.power(address, PASSWORD)

    calls = [read(address) for address in alive]
    for index, address in enumerate(dead):  # one dead board after each ten that live
        calls.insert(index * (DEAD_EVERY + 1), read_dead(address))
    lost = []
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(call) for call in calls]
        lost = [task for task, call in zip(started, calls, strict=True) if call.__name__ == "read_dead"]
        for task in started:
            if task not in lost:
                await asyncio.wait([task])
        for task in lost:
            task.cancel()
    return ended - began


async def forget(bmcs: Bmcs, known: Credentials) -> None:
    """Close every session, so that the next reading is cold."""
    async with asyncio.TaskGroup() as tasks:
        for address in known:
            tasks.create_task(bmcs.forget(address))


async def program(*command: str) -> float:
    """Run a shell command line; return how long it took."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return time.perf_counter() - began


async def ipmitool() -> float:
    """Read a hundred boards with a hundred processes of ipmitool at once."""
    hosts = " ".join(host(number) for number in range(PEERS_AT_ONCE))
    one = f"ipmitool -I lanplus -C 17 -H {{}} -p {IPMI_PORT} -U {USER} -P '{PASSWORD}' power status"
    return await program("sh", "-c", f"printf '%s\\n' {hosts} | xargs -P{PEERS_AT_ONCE} -I{{}} {one}")


async def ipmipower() -> float:
    """Read a hundred boards with one process of FreeIPMI's ipmipower."""
    hosts = ",".join(f"{host(number)}:{IPMI_PORT}" for number in range(PEERS_AT_ONCE))
    return await program(
        "ipmipower", "-D", "LAN_2_0", "-I", "17", "-h", hosts, "-u", USER, "-p", PASSWORD, "-l", "ADMIN", "--stat"
    )


class Sushy:
    """A hundred connections of sushy, logged in, read by as many threads as help it (sixteen)."""

    def __init__(self) -> None:
        import sushy
        from sushy import auth

        warnings.simplefilter("ignore")
        self.systems = []
        for number in range(PEERS_AT_ONCE):
            way = auth.SessionAuth(USER, PASSWORD)
            service = sushy.Sushy(f"https://{host(number)}:{REDFISH_PORT}/redfish/v1", auth=way, verify=False)
            self.systems.append(service.get_system_collection().get_members()[0])

    def read(self) -> float:
        """Return how many readings a second it makes."""
        from concurrent.futures import ThreadPoolExecutor

        began = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda system: system.refresh(force=True), self.systems))
        return PEERS_AT_ONCE / (time.perf_counter() - began)


async def against_ipmitool(bench: Bench, bmcs: Bmcs) -> None:
    """A hundred boards, cold: seconds."""
    known = await addresses(Driver.IPMI, PEERS_AT_ONCE)

    async def ours() -> float:
        await forget(bmcs, known)
        return await read_all(bmcs, known)

    await bench.compare("ipmi_vs_ipmitool", {"ours": ours, "ipmitool": ipmitool}, unit="s", more_is_better=False)
    bench.note("ipmipower_100_s", statistics.median([await ipmipower() for _ in range(3)]), "s (FreeIPMI)")


async def against_sushy(bench: Bench, bmcs: Bmcs) -> None:
    """A hundred boards, warm: readings a second."""
    known = await addresses(Driver.REDFISH, PEERS_AT_ONCE)
    sushy = await asyncio.to_thread(Sushy)

    async def ours() -> float:
        return PEERS_AT_ONCE / await read_all(bmcs, known)

    async def theirs() -> float:
        return await asyncio.to_thread(sushy.read)

    await bench.compare("redfish_vs_sushy", {"ours": ours, "sushy": theirs}, unit="readings/s")


async def a_thousand(bench: Bench, bmcs: Bmcs, driver: Driver) -> None:
    """A thousand boards, cold and warm, then with a dead one after each ten."""
    known = await addresses(driver, BOARDS)
    with black_holes(BOARDS // DEAD_EVERY) as hosts:
        dead = [dataclasses.replace(known[0], host=name) for name in hosts]
        cold, warm, hindered = [], [], []
        for _ in range(bench.rounds):
            await forget(bmcs, known)
            cold.append(await read_all(bmcs, known))
            warm.append(await read_all(bmcs, known))
            await forget(bmcs, [*known, *dead])
            hindered.append(await read_all(bmcs, known, dead))
    bench.note(f"{driver}_1000_cold_s", statistics.median(cold), "s")
    bench.note(f"{driver}_1000_warm_s", statistics.median(warm), "s")
    bench.note(f"{driver}_dead_slowdown", statistics.median(hindered) / statistics.median(cold), "of the time without")


async def run(bench: Bench) -> None:
    """Everything, against boards that are started and ended here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with boards(BOARDS), Bmcs() as bmcs:
        await against_ipmitool(bench, bmcs)
        await against_sushy(bench, bmcs)
        for driver in (Driver.IPMI, Driver.REDFISH):
            await a_thousand(bench, bmcs, driver)
        bench.note("threads", threading.active_count(), "in this process")
        bench.note("open_files", len(os.listdir("/proc/self/fd")), "in this process")  # noqa: PTH208


if __name__ == "__main__":
    main("bmc", run)
