"""Ironic standalone: one process, SQLite, no authentication, drivers that do nothing.

A life is as ours: enrol, verify the BMC (manage), make available, deploy, take back, remove. Nothing is inspected,
cleaned, booted or written: its fake drivers return at once, so what is measured is its conductor, store and API.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.lifecycle.wire import REAL_TIME

WANTED = "ironic>=39,<40"
PORT = 16385
AT_ONCE = 20
START_TRIES = 600
LIMIT_S = 120.0
LOOK_EVERY_S = 0.1
HEADERS = {"X-OpenStack-Ironic-API-Version": "1.80"}
SETTINGS = """
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = bench
state_path = {folder}
log_file = {folder}/ironic.log
enabled_hardware_types = fake-hardware
enabled_boot_interfaces = fake
enabled_bios_interfaces = no-bios
enabled_console_interfaces = no-console
enabled_deploy_interfaces = fake
enabled_firmware_interfaces = no-firmware
enabled_inspect_interfaces = fake
enabled_management_interfaces = fake
enabled_power_interfaces = fake
enabled_raid_interfaces = fake
enabled_rescue_interfaces = no-rescue
enabled_vendor_interfaces = fake
enabled_network_interfaces = noop
enabled_storage_interfaces = noop
default_network_interface = noop
[api]
host_ip = 127.0.0.1
port = {port}
[database]
connection = sqlite:///{folder}/ironic.db
[dhcp]
dhcp_provider = none
[conductor]
automated_clean = false
[service_catalog]
endpoint_override = http://127.0.0.1:{port}
[oslo_concurrency]
lock_path = {folder}
[oslo_messaging_notifications]
driver = log
"""


async def installed(folder: Path) -> Path:
    """Find Ironic's programs, or install them from PyPI into an environment of their own (minutes)."""
    programs = folder / "bin"
    if not (programs / "ironic").exists():
        print("  installing Ironic from PyPI", file=sys.stderr, flush=True)
        await run(sys.executable, "-m", "venv", str(folder))
        await run(str(programs / "pip"), "install", "-q", WANTED)
    return programs


async def run(*command: str) -> None:
    """Run a program; its last words are the exception's."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said.decode()[-2000:]}")


@asynccontextmanager
async def running(programs: Path, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Start Ironic on a new database; its API."""
    settings = folder / "ironic.conf"
    settings.write_text(SETTINGS.format(folder=folder, port=PORT))
    await run(str(programs / "ironic-dbsync"), "--config-file", str(settings), "create_schema")
    said = (folder / "ironic.out").open("wb")
    command = [*REAL_TIME, str(programs / "ironic"), "--config-file", str(settings)]
    process = await asyncio.create_subprocess_exec(*command, stdout=said, stderr=said)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{PORT}", headers=HEADERS) as api:
            await ready(api)
            yield api
    finally:
        process.terminate()
        await process.wait()
        said.close()


async def ready(api: aiohttp.ClientSession) -> None:
    """Wait until the conductor takes nodes."""
    for _ in range(START_TRIES):
        try:
            async with api.get("/v1/drivers") as response:
                if response.status == 200 and (await response.json())["drivers"]:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError("Ironic did not start")


async def lives(api: aiohttp.ClientSession, count: int) -> float:
    """Take that many nodes through their lives, some at a time; lives a second."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(at: int) -> None:
        async with places, asyncio.timeout(LIMIT_S):
            await life(api, f"node{at}")

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for at in range(count):
            group.create_task(one(at))
    return count / (time.perf_counter() - started)


async def life(api: aiohttp.ClientSession, name: str) -> None:
    """One node from the dock to its removal."""
    info = {"image_source": "http://127.0.0.1:9/image", "image_checksum": "0" * 32, "root_gb": 10}
    node = {"driver": "fake-hardware", "name": name, "instance_info": info, "resource_class": "compute"}
    await ask(api, "POST", "/v1/nodes", node)
    for target, state in (("manage", "manageable"), ("provide", "available"), ("active", "active")):
        await move(api, name, target, state)
    await move(api, name, "deleted", "available")
    await ask(api, "DELETE", f"/v1/nodes/{name}")


async def move(api: aiohttp.ClientSession, name: str, target: str, state: str) -> None:
    """Ask for a change, and look until it is there."""
    await ask(api, "PUT", f"/v1/nodes/{name}/states/provision", {"target": target})
    while True:
        node = await ask(api, "GET", f"/v1/nodes/{name}?fields=provision_state,target_provision_state,last_error")
        if node["provision_state"] == state and not node["target_provision_state"]:
            return
        if node["provision_state"].endswith("failed") or node["last_error"]:
            raise RuntimeError(f"{name}: {node['provision_state']}: {node['last_error']}")
        await asyncio.sleep(LOOK_EVERY_S)


async def ask(api: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    """One request; a node that is locked by its last step is asked again (409)."""
    while True:
        async with api.request(method, path, json=body) as response:
            text = await response.text()
            if response.status == 409:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {text[:400]}")
            return await response.json() if text else None
