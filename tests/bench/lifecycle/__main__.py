"""A thousand machines at once: enrolled, discovered, installed, released. Against Ironic with drivers that do nothing.

    scripts/bench lifecycle [--json FILE] [--rounds N]

The daemon is the one that is shipped, with its configuration, SQLite store, DHCP, HTTP boot, catalogue and drivers. All
machines and their BMCs are another process behind a cable: Redfish over TLS, one board an address; each machine gets
its leases through a relay, loads its loader, script, kernel and initrd over HTTP, reports facts, takes its job once,
reports progress, ends it, boots its disk and phones home. Firmware, kernels and disks take no time, so what is measured
is us. A third process looks at machines through the API, twenty times a second: that is the API's delay.

Ironic goes through the same states in the same run, on the same cores, in turns with us (`ironic.py`).
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.harness import OURS, Bench, main
from tests.bench.lifecycle import ironic
from tests.bench.lifecycle.names import PASSWORD, USER, bmc_of, mac_of, name_of
from tests.bench.lifecycle.site import prepare
from tests.bench.lifecycle.wire import Wire, wire

MACHINES = 1000
RECORDS = 10_000
NODES = 60
"""Of Ironic: a life takes it half a second of processor time."""
ASK_AT_ONCE = 50
LIMIT_S = 400.0
START_S = 60.0
LOOK_EVERY_S = 0.25
PEER = Path(__file__).parents[3] / "build" / "ironic"

Figures = dict[str, list[float]]


async def start(*command: str) -> asyncio.subprocess.Process:
    """Start a program that ends with its standard input."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 24)


async def end(process: asyncio.subprocess.Process) -> bytes:
    """Close a program's input; its last words."""
    said, _ = await process.communicate(b"")
    return said


async def line_of(process: asyncio.subprocess.Process) -> list[str]:
    """Read one line of what a program says, in words."""
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        words = (await process.stdout.readline()).decode().split()
    if not words:
        raise RuntimeError("a process of the benchmark ended before it was ready")
    return words


@asynccontextmanager
async def daemon(it: Wire, folder: Path, records: int = 0) -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    """Start the daemon; its API and its process id."""
    config = await prepare(folder, records)
    command = it.inside(it.daemon, sys.executable, "-m", "provisioner.entry", "--config", str(config))
    process = await asyncio.create_subprocess_exec(*command)
    connector = aiohttp.UnixConnector(str(folder / "api.sock"), limit=ASK_AT_ONCE + 4)
    try:
        async with aiohttp.ClientSession("http://localhost", connector=connector) as api:
            await answers(api, process)
            yield api, process.pid
    finally:
        process.terminate()
        await process.wait()


async def answers(api: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
    """Wait until the daemon answers."""
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                async with api.get("/v1/machines", params={"limit": "1"}) as response:
                    await response.read()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise RuntimeError("the daemon did not start")


async def ask(api: aiohttp.ClientSession, path: str, bodies: list[Any]) -> None:
    """Ask for something of every machine, some at a time."""
    places = asyncio.Semaphore(ASK_AT_ONCE)

    async def one(at: int, body: Any) -> None:
        async with places, api.post(path.format(name=name_of(at)), json=body) as response:
            if response.status >= 300:
                raise RuntimeError(await response.text())

    async with asyncio.TaskGroup() as group:
        for at, body in enumerate(bodies):
            group.create_task(one(at, body))


async def until(api: aiohttp.ClientSession, state: str) -> None:
    """Wait until every machine rests in `state`."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            async with api.get("/v1/machines", params={"select": f"!state={state}", "limit": "1"}) as response:
                if not (await response.json())["machines"]:
                    return
            await asyncio.sleep(LOOK_EVERY_S)


def phases() -> dict[str, tuple[str, list[Any], str]]:
    """What is asked of every machine, and the state that it leads to."""
    bmc = {"driver": "redfish", "username": USER, "password": PASSWORD}
    enrol = [
        {"name": name_of(at), "bmc": {**bmc, "host": bmc_of(at)}, "macs": [mac_of(at)], "boot_via": "http"}
        for at in range(MACHINES)
    ]
    return {
        "enrol": ("/v1/machines", enrol, "enrolled"),
        "discover": ("/v1/machines/{name}/boot", [{"bootenv": "discovery"}] * MACHINES, "ready"),
        "deploy": ("/v1/machines/{name}/boot", [{"bootenv": "debian-12"}] * MACHINES, "active"),
        "release": ("/v1/machines/{name}/release", [{}] * MACHINES, "ready"),
    }


async def our_round(it: Wire, figures: Figures) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as name:
        folder = Path(name)
        racks = await start(
            *it.inside(it.racks, sys.executable, "-m", "tests.bench.lifecycle.racks", str(MACHINES), name)
        )
        await line_of(racks)
        async with AsyncExitStack() as stack:
            api, pid = await stack.enter_async_context(daemon(it, folder))
            stack.push_async_callback(end, racks)
            socket = str(folder / "api.sock")
            watch = await start(
                *it.inside(it.daemon, sys.executable, "-m", "tests.bench.lifecycle.watch", socket, str(MACHINES))
            )
            whole = time.perf_counter()
            for phase, (path, bodies, state) in phases().items():
                started = time.perf_counter()
                await ask(api, path, bodies)
                await until(api, state)
                took = time.perf_counter() - started
                figures[f"{phase}_per_s"].append(MACHINES / took)
                print(f"  {phase}: {took:.1f} s", file=sys.stderr, flush=True)
            figures[OURS].append(MACHINES / (time.perf_counter() - whole))
            waits_ms = json.loads(await end(watch))
            figures["memory_at_1000_mib"].append(resident_mib(pid))
    figures["api_p50_ms"].append(statistics.median(waits_ms))
    figures["api_p99_ms"].append(statistics.quantiles(waits_ms, n=100)[98])


async def peer_round(programs: Path, figures: Figures) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-ironic-") as name:
        async with ironic.running(programs, Path(name)) as api:
            figures["ironic"].append(await ironic.lives(api, NODES))


def resident_mib(pid: int) -> float:
    """The memory of a process and its children, as the kernel counts it: what is shared among them once."""
    pids, found = [pid], 0
    while pids:
        at = pids.pop()
        rollup = Path(f"/proc/{at}/smaps_rollup").read_text()
        found += int(rollup.partition("\nPss:")[2].split()[0])
        pids += [int(child) for child in Path(f"/proc/{at}/task/{at}/children").read_text().split()]
    return found / 1024


UNITS = {"per_s": "1/s", "ms": "ms", "mib": "MiB"}


async def lifecycle(bench: Bench) -> None:
    programs = await ironic.installed(PEER)
    names = ("enrol_per_s", "discover_per_s", "deploy_per_s", "release_per_s", "api_p50_ms", "api_p99_ms")
    figures: Figures = {name: [] for name in (*names, "memory_at_1000_mib", OURS, "ironic")}
    with wire() as it:
        for number in range(bench.rounds):
            print(f"round {number + 1} of {bench.rounds}", file=sys.stderr, flush=True)
            await our_round(it, figures)
            print(f"  ours: {figures[OURS][-1]:.2f}/s, API p99 {figures['api_p99_ms'][-1]:.0f} ms", file=sys.stderr)
            await peer_round(programs, figures)
            print(f"  ironic: {figures['ironic'][-1]:.2f}/s", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as folder:
            async with daemon(it, Path(folder), RECORDS) as (_, pid):
                memory = resident_mib(pid)
    bench.add("vs_ironic", {OURS: figures.pop(OURS), "ironic": figures.pop("ironic")}, unit="lives/s")
    for name, values in figures.items():
        bench.note(name, statistics.median(values), UNITS[name.rpartition("_")[2] if name[-2:] != "_s" else "per_s"])
    bench.note("memory_at_10000_mib", memory, "MiB")


if __name__ == "__main__":
    main("lifecycle", lifecycle, rounds=1)
