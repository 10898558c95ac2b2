"""One simulated board in a network namespace, beside a program: `python -m tests.lab.alone DIR on|off COMMAND...`.

Run under `unshare --net`: loopback is brought up with multicast, so that programs which search for services find this
one and nobody else. The board's certificate is DIR/bmc.pem; the program's exit status is ours.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from provisioner.lab.redfish.announcer import Announcer
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.tls import server_context, shown
from tests.lab.boards import Rig, running

PORT = 443
SETUP = ("ip link set lo up", "ip link set lo multicast on", "ip route add 224.0.0.0/4 dev lo")


async def main(root: Path, power: str, command: list[str]) -> int:
    """Serve until the program ends."""
    for line in SETUP:
        subprocess.run(line.split(), check=True)
    rig = Rig()
    rig.board.network = dataclasses.replace(rig.board.network, gateway="127.0.0.254")
    context = server_context(root / "bmc.pem", "node17", "127.0.0.1")
    server, announcer = RedfishServer(rig.board), Announcer(rig.board, "127.0.0.1", PORT)
    await server.start("127.0.0.1", PORT, context, shown(root / "bmc.pem"))
    await announcer.start()
    # programs that use `requests` prefer these to what they were told
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_BUNDLE", "CERT_FILE"))}
    async with running(rig):
        if power == "on":
            await rig.machine.power_on()
        program = await asyncio.create_subprocess_exec(*command, cwd=root, env=environment)
        status = await program.wait()
    announcer.close()
    await server.close()
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])))
