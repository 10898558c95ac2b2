"""A thousand machines at once: discovered, installed and released, by the real conductor on a real SQLite store.

    scripts/bench lifecycle [--json FILE] [--rounds N]

Two processes. The daemon has simulated BMCs in it; the machines are this process, and speak HTTP to the daemon as real
ones do: each fetches its boot script, reports facts, takes its job once, reports progress, ends it, boots its disk and
phones home, each from an address of its own. Firmware, kernels and disks take no time, so what is measured is us. What
is rendered is a stub (the benchmark `render` has templates), and DHCP asks inside the daemon (`dhcp` has packets).
Meanwhile an operator looks at machines through the API, twenty times a second.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.harness import Bench, main
from tests.bench.lifecycle.names import address_of, mac_of, name_of

MACHINES = 1000
RECORDS = 10_000
ASK_AT_ONCE = 50
LIMIT_S = 400.0


class Machine:
    """One machine: what it does from one power-on to the next power-off."""

    def __init__(self, at: int, base: str) -> None:
        self._at = at
        self._base = base
        self._home = ""

    async def boot(self, target: str) -> None:
        connector = aiohttp.TCPConnector(local_addr=(address_of(self._at), 0), limit=2)
        async with aiohttp.ClientSession(self._base, connector=connector) as session:
            if target == "net":
                await self._discovery(session)
            elif self._home:
                await self._ask(session, "POST", "phone-home", self._home, {"hostname": name_of(self._at), "os": "x"})

    async def _discovery(self, session: aiohttp.ClientSession) -> None:
        async with session.get(f"/boot/{mac_of(self._at)}/script.ipxe") as response:
            script = await response.text()
        token = script.partition("provisioner.token=")[2].split()[0]
        command = await self._ask(session, "POST", "facts", token, self._at)
        while True:
            verb, _, job = command.strip().partition(" ")
            if verb == "run":
                content = json.loads(await self._ask(session, "GET", f"job/{job}", token))
                self._home = content["home"]
                for percent in (10, 50, 90):
                    await self._ask(session, "POST", "progress", token, {"phase": "write", "percent": percent})
                command = await self._ask(session, "POST", "done", token, {"job": job, "status": 0})
            else:
                command = await self._ask(session, "GET", "next", token)

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, token: str, body: Any = None) -> str:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        async with session.request(method, f"/agent/v1/{path}", data=data, headers=headers) as response:
            text = await response.text()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {text}")
            return text


class Rack:
    """The daemon and its machines."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, port: int) -> None:
        self._process = process
        self._group = asyncio.TaskGroup()
        self._lives: dict[int, asyncio.Task[None]] = {}
        self._machines = [Machine(at, f"http://127.0.0.1:{port}") for at in range(MACHINES)]
        connector = aiohttp.UnixConnector(str(folder / "api.sock"), limit=ASK_AT_ONCE + 4)
        self.api = aiohttp.ClientSession("http://localhost", connector=connector)

    async def power(self) -> None:
        """Switch machines as their BMCs say."""
        assert self._process.stdout
        async with self._group:
            while line := (await self._process.stdout.readline()).decode().split():
                at = int(line[1])
                if before := self._lives.pop(at, None):
                    before.cancel()
                if line[0] == "on":
                    self._lives[at] = self._group.create_task(self._live(at, line[2]))

    async def _live(self, at: int, target: str) -> None:
        try:
            await self._machines[at].boot(target)
        except (aiohttp.ClientError, RuntimeError, IndexError) as error:
            print(f"  {name_of(at)}: {type(error).__name__}: {error}", file=sys.stderr)

    async def ask(self, path: str, bodies: list[Any]) -> None:
        """Ask for the same of every machine, some at a time."""
        places = asyncio.Semaphore(ASK_AT_ONCE)

        async def one(at: int, body: Any) -> None:
            async with places, self.api.post(path.format(name=name_of(at)), json=body) as response:
                if response.status >= 300:
                    raise RuntimeError(await response.text())

        async with asyncio.TaskGroup() as group:
            for at, body in enumerate(bodies):
                group.create_task(one(at, body))

    async def until(self, state: str) -> None:
        """Wait until every machine rests in `state`, looking ten times a second."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                async with self.api.get("/v1/machines", params={"select": f"!state={state}", "limit": "1"}) as response:
                    if not (await response.json())["machines"]:
                        return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def rack(*options: str, machines: int = MACHINES) -> AsyncIterator[tuple[Rack, float]]:
    """Start a daemon; give the rack and its memory at the start."""
    with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as name:
        command = [sys.executable, "-m", "tests.bench.lifecycle.serve", name, str(machines), *options]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
        assert process.stdout
        assert process.stdin
        _, port, resident = (await process.stdout.readline()).decode().split()
        made = Rack(process, Path(name), int(port))
        async with asyncio.TaskGroup() as group:
            powered = group.create_task(made.power())
            try:
                yield made, float(resident)
            finally:
                powered.cancel()
                await made.api.close()
                process.stdin.close()
                await process.wait()


async def watch(made: Rack, waits_s: list[float]) -> None:
    """Be an operator: look at one machine after another."""
    at = 0
    while True:
        started = time.perf_counter()
        async with made.api.get(f"/v1/machines/{name_of(at % MACHINES)}") as response:
            await response.read()
        waits_s.append(time.perf_counter() - started)
        at += 37
        await asyncio.sleep(0.05)


async def one_round(bench: Bench, figures: dict[str, list[float]]) -> None:
    bmc = {"driver": "ipmi", "username": "admin", "password": "x"}
    enrol = [{"name": name_of(at), "bmc": {**bmc, "host": f"bmc-{at}"}} for at in range(MACHINES)]
    phases = {
        "enrol": ("/v1/machines", enrol, "enrolled"),
        "discover": ("/v1/machines/{name}/boot", [{"bootenv": "discovery"}] * MACHINES, "ready"),
        "deploy": ("/v1/machines/{name}/boot", [{"bootenv": "debian-12"}] * MACHINES, "active"),
        "release": ("/v1/machines/{name}/release", [{}] * MACHINES, "ready"),
    }
    waits_s: list[float] = []
    async with rack() as (made, _), asyncio.TaskGroup() as group:
        watching = group.create_task(watch(made, waits_s))
        whole = time.perf_counter()
        for name, (path, bodies, state) in phases.items():
            started = time.perf_counter()
            await made.ask(path, bodies)
            await made.until(state)
            took = time.perf_counter() - started
            figures[f"{name}_per_s"].append(MACHINES / took)
            print(f"  {name}: {took:.1f} s", file=sys.stderr, flush=True)
        figures["lifecycles_per_s"].append(MACHINES / (time.perf_counter() - whole))
        watching.cancel()
    figures["api_p50_ms"].append(statistics.median(waits_s) * 1000)
    figures["api_p99_ms"].append(statistics.quantiles(waits_s, n=100)[98] * 1000)


async def lifecycle(bench: Bench) -> None:
    names = ("enrol", "discover", "deploy", "release", "lifecycles")
    figures: dict[str, list[float]] = {**{f"{name}_per_s": [] for name in names}, "api_p50_ms": [], "api_p99_ms": []}
    for number in range(bench.rounds):
        print(f"round {number + 1} of {bench.rounds}, {MACHINES} machines", file=sys.stderr, flush=True)
        await one_round(bench, figures)
    for name, values in figures.items():
        bench.note(name, statistics.median(values), "1/s" if name.endswith("per_s") else "ms")
    async with rack("--records", machines=RECORDS) as (_, resident):
        bench.note("memory_at_10000_mib", resident, "MiB")


if __name__ == "__main__":
    main("lifecycle", lifecycle, rounds=1)
