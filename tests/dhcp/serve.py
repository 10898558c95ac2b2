"""The DHCP server as a program of its own, for tests in namespaces: `python -m tests.dhcp.serve FILE FOLDER`.

FILE holds the `dhcp` part of a configuration. FOLDER gets the database and `trace`, one line of JSON for each event.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from provisioner import yamlfile
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.validate import faults_of
from provisioner.fields import Faults
from provisioner.model.boot import Asker, BootClient, LoadFile, LocalDisk, Plan, RunScript
from provisioner.model.trace import TraceLine
from provisioner.settings import decode
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from provisioner.store.leases6 import LeaseStore6


def decide(client: BootClient) -> Plan:
    """The usual plan."""
    if client.asker is Asker.OS:
        return LocalDisk("an operating system asks")
    return RunScript("discovery") if client.asker is Asker.IPXE else LoadFile("snponly.efi", "chain to iPXE")


def read(file: Path) -> Dhcp:
    """Read the configuration as the daemon does."""
    faults = Faults()
    config = decode(Dhcp, yamlfile.load(file.read_text(), str(file)), faults)
    faults.found.extend(faults_of(config))
    faults.check(str(file))
    return config


async def main(file: Path, folder: Path) -> None:
    """Serve until SIGTERM."""
    database = Database(folder / "state.db")
    await database.open()
    with (folder / "trace").open("a", buffering=1) as trace:

        def observe(line: TraceLine) -> None:
            trace.write(json.dumps([line.event, line.mac, line.text]) + "\n")

        config = read(file)
        both: Any = {"decide": decide, "observe": observe, "advertising": (advertising := Advertising())}
        server = DhcpServer(config, leases=LeaseStore(database), **both)
        server6 = Dhcp6Server(config, leases=LeaseStore6(database), **both)
        await server.start()
        await server6.start()
        advertising.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print("ready", flush=True)
        await stop.wait()
        advertising.stop()
        await server6.stop()
        await server.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
