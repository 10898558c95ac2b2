"""What a killed daemon leaves at BMCs: one session at most, which the BMC ends in time (1,000 operations, kill -9)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.model.bmc import Power
from tests.bmc.simulated import PASSWORD, ipmi_address, redfish_address, simulated

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

NUMBER = 140
READINGS = 500

SCRIPT = f"""
import asyncio
from provisioner.bmc.pool import Bmcs
from tests.bmc.simulated import PASSWORD, ipmi_address, redfish_address

async def main():
    async with Bmcs() as bmcs:
        addresses = ipmi_address({NUMBER}), await redfish_address({NUMBER})
        for _ in range({READINGS}):
            for address in addresses:
                await bmcs.power(address, PASSWORD)
        print("done", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_thousand_readings_and_a_kill_leave_one_session_each(tmp_path: Path) -> None:
    async with simulated(1, tmp_path, first=NUMBER) as boards:
        redfish, ipmi = boards[0].redfish.service, boards[0].ipmi.lan
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SCRIPT, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2], env=os.environ
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"done\n"
        process.send_signal(signal.SIGKILL)
        await process.communicate()  # to the end of its output: a pipe that is left open outlives the loop
        assert len(redfish.sessions.all(0.0)) == 1
        assert ipmi.sessions <= 1
        async with Bmcs() as bmcs:
            assert await bmcs.power(await redfish_address(NUMBER), PASSWORD) is Power.OFF
            assert len(redfish.sessions.all(0.0)) == 2, "the old one, which may be somebody's, and ours"
            assert await bmcs.power(ipmi_address(NUMBER), PASSWORD) is Power.OFF
        assert len(redfish.sessions.all(0.0)) == 1, "a daemon that stops leaves none; time-outs end the killed one's"
        assert ipmi.sessions <= 1
