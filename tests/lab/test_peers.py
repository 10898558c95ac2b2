"""Programs that others wrote drive the simulated BMCs: ipmitool, FreeIPMI, pyghmi, sushy, DMTF's client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.lab.board import Role
from provisioner.lab.chassis import Lifetime, Mode
from provisioner.lab.ipmi.server import IpmiServer
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.tls import server_context, shown
from provisioner.model.bmc import BootTarget, Power
from tests.lab.boards import PASSWORD, USER, Rig, running

pytestmark = pytest.mark.peer

LIMIT_S = 60.0


async def run(*command: str, status: int = 0) -> str:
    """Run a program; what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(LIMIT_S):
        said, _ = await process.communicate()
    assert process.returncode == status, said.decode()
    return said.decode()


@contextlib.asynccontextmanager
async def ipmi(rig: Rig) -> AsyncIterator[str]:
    """The rig's board on a port of the loopback interface."""
    server = IpmiServer(rig.board)
    await server.start("127.0.0.1", 0)
    try:
        async with running(rig):
            yield str(server.port)
    finally:
        server.close()


@contextlib.asynccontextmanager
async def redfish(rig: Rig, certificate: Path) -> AsyncIterator[str]:
    """The rig's board behind TLS."""
    server = RedfishServer(rig.board)
    context = await asyncio.to_thread(server_context, certificate, "node17", "127.0.0.1")
    await server.start("127.0.0.1", 0, context, await asyncio.to_thread(shown, certificate))
    try:
        async with running(rig):
            yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.close()


def ipmitool(port: str, *suite: str) -> list[str]:
    """It asks again after 15 s, not after one: a login that is asked for twice is refused."""
    return ["ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-p", port, "-N", "15", "-U", USER, "-P", PASSWORD, *suite]


@pytest.mark.parametrize("suite", [(), ("-C", "3"), ("-C", "17")], ids=["its own choice", "suite 3", "suite 17"])
async def test_ipmitool_powers_and_chooses_the_boot_device(suite: tuple[str, ...]) -> None:
    rig = Rig()
    async with ipmi(rig) as port:
        tool = ipmitool(port, *suite)
        assert "is off" in await run(*tool, "power", "status")
        await run(*tool, "chassis", "bootdev", "pxe", "options=efiboot")
        override = rig.chassis.override
        assert (override.choice.target, override.lifetime, override.mode) == (
            BootTarget.PXE, Lifetime.ONCE, Mode.UEFI,
        )  # fmt: skip
        assert "Force PXE" in await run(*tool, "chassis", "bootparam", "get", "5")
        await run(*tool, "power", "on")
        await rig.settle()
        assert rig.boots[0].target is BootTarget.PXE
        assert "No override" in await run(*tool, "chassis", "bootparam", "get", "5")
        await run(*tool, "power", "cycle")
        await rig.settle()
        assert [boot.target for boot in rig.boots] == [BootTarget.PXE, BootTarget.NONE]
        assert "is on" in await run(*tool, "power", "status")


READS = {
    "mc info": "Firmware Revision         : 1.04",
    "mc guid": "System GUID   : 00000077-0000-4000-8000-000000000017",
    "lan print 1": "MAC Address             : 52:54:00:78:00:17",
    "user list 1": "ADMINISTRATOR",
    "sdr list": "Inlet Temp       | 22 degrees C      | ok",
    "sensor": "Fan 1            | 0.000",
    "sel list": "SEL has no entries",
    "fru": "Product Serial        : LAB0017",
    "sol info": "Enabled                         : true",
    "channel info 1": "802.3 LAN",
    "mc selftest": "passed",
}


async def test_ipmitool_reads() -> None:
    async with ipmi(Rig()) as port:
        for command, wanted in READS.items():
            assert wanted in await run(*ipmitool(port, "-C", "17"), *command.split())


async def test_ipmitool_is_refused() -> None:
    async with ipmi(Rig()) as port:
        tool = ["ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-p", port]
        assert "Unable to establish" in await run(*tool, "-U", USER, "-P", "no", "power", "status", status=1)
        assert "no matching cipher suite" in await run(
            *tool, "-U", USER, "-P", "no", "-C", "0", "power", "status", status=1
        )


async def test_ipmitool_manages_users() -> None:
    rig = Rig()
    async with ipmi(rig) as port:
        tool = ipmitool(port, "-C", "17")
        await run(*tool, "user", "set", "name", "3", "second")
        await run(*tool, "user", "set", "password", "3", "second-password-1", "20")
        await run(*tool, "channel", "setaccess", "1", "3", "privilege=3")
        await run(*tool, "user", "enable", "3")
        account = rig.board.accounts.named("second")
        assert account is not None
        assert (account.password, account.role) == ("second-password-1", Role.OPERATOR)


@pytest.mark.parametrize("suite", ["3", "17"])
async def test_ipmipower_waits_for_the_state(suite: str) -> None:
    rig = Rig()
    async with ipmi(rig) as port:
        tool = ["ipmipower", "-h", f"127.0.0.1:{port}", "-u", USER, "-p", PASSWORD, "-D", "LAN_2_0", "-I", suite]
        assert ": ok" in await run(*tool, "--on", "--wait-until-on")
        assert ": on" in await run(*tool, "--stat")
        assert rig.chassis.power is Power.ON


PYGHMI = """
import json, sys
from pyghmi.ipmi.command import Command
bmc = Command("127.0.0.1", sys.argv[2], sys.argv[3], port=int(sys.argv[1]))
found = [bmc.get_power(), bmc.set_bootdev("network", uefiboot=True), bmc.get_bootdev()]
found += [bmc.set_power("on", wait=10), bmc.get_bootdev(), [one.name for one in bmc.get_sensor_data()]]
found += [bmc.get_net_configuration()["ipv4_address"], bmc.ipmi_session.currhashlib.__name__]
print(json.dumps(found))
"""


@pytest.mark.slow
async def test_pyghmi_drives_the_board_with_sha256() -> None:
    rig = Rig()
    async with ipmi(rig) as port:
        found = json.loads(await run(sys.executable, "-c", PYGHMI, port, USER, PASSWORD))
    assert found[0] == {"powerstate": "off"}
    assert found[2] == {"bootdev": "network", "persistent": False, "uefimode": True}
    assert found[3]["powerstate"] == "on"
    assert found[4]["bootdev"] == "default"
    assert found[5:] == [["Inlet Temp", "CPU Temp", "Fan 1", "Input Power"], "127.0.0.1/24", "openssl_sha256"]


SOL = """
import sys
from pyghmi.ipmi.console import Console
from pyghmi.ipmi.private.session import Session
seen = b""
def output(data):
    global seen
    if isinstance(data, bytes):
        seen += data
        if b"login:" in seen:
            console.send_data(b"root")
            console.send_data(b"\\r")
        if b"welcome" in seen:
            print("welcome")
            sys.exit(0)
console = Console("127.0.0.1", sys.argv[2], sys.argv[3], port=int(sys.argv[1]), iohandler=output, force=True)
for _ in range(200):
    Session.wait_for_rsp(0.1)
sys.exit(repr(seen))
"""


class Guest:
    """A guest that prints a prompt once somebody listens, and greets whoever types."""

    def __init__(self, rig: Rig) -> None:
        self.typed = b""
        self.console = rig.machine.console
        self.console.connect(self)

    def write(self, data: bytes) -> None:
        self.typed += data
        if self.typed.endswith(b"root\r"):
            self.console.feed(b"welcome\r\n")

    def is_closing(self) -> bool:
        return False


async def test_pyghmi_holds_the_console() -> None:
    rig = Rig()
    guest = Guest(rig)
    async with ipmi(rig) as port, asyncio.TaskGroup() as group:
        talk = group.create_task(run(sys.executable, "-c", SOL, port, USER, PASSWORD))
        while not talk.done() and not guest.typed:
            guest.console.feed(b"login: ")
            await asyncio.wait([talk], timeout=0.2)
        assert "welcome" in await talk


SUSHY = """
import json, sys, urllib3, sushy
urllib3.disable_warnings()
root = sushy.Sushy(sys.argv[1], sys.argv[2], sys.argv[3], verify=False)
system = root.get_system("/redfish/v1/Systems/1")
found = [system.power_state.value, system.uuid, system.serial_number, list(system.ethernet_interfaces.summary)]
system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_UEFI_HTTP, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE,
                               http_boot_uri="http://10.77.0.1/x.efi")
system.refresh()
found += [system.boot.enabled.value, system.boot.target.value, system.boot.http_boot_uri]
system.reset_system(sushy.RESET_ON)
while system.power_state.value != "On":
    system.refresh(force=True)
found += [system.boot.enabled.value, system.storage.get_members()[0].drives[0].capacity_bytes]
found += [len(root.get_manager_collection().get_members()), len(root.get_chassis_collection().get_members())]
print(json.dumps(found))
"""


@pytest.mark.slow
async def test_sushy_boots_a_machine_over_http(tmp_path: Path) -> None:
    rig = Rig()
    async with redfish(rig, tmp_path / "bmc.pem") as url:
        found = json.loads(await run(sys.executable, "-W", "ignore", "-c", SUSHY, url, USER, PASSWORD))
    assert found[:4] == ["Off", "00000077-0000-4000-8000-000000000017", "LAB0017", ["52:54:00:77:00:17"]]
    assert found[4:7] == ["Once", "UefiHttp", "http://10.77.0.1/x.efi"]
    assert found[7:] == ["Disabled", 8 << 30, 1, 1]
    assert [boot.uri for boot in rig.boots] == ["http://10.77.0.1/x.efi"]


DMTF = """
import json, sys, redfish
client = redfish.redfish_client(sys.argv[1], sys.argv[2], sys.argv[3])
client.login(auth="session")
reset = client.post("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", body={"ResetType": "On"}).status
while client.get("/redfish/v1/Systems/1").dict["PowerState"] != "On":
    pass
sessions = client.get("/redfish/v1/SessionService/Sessions").dict["Members@odata.count"]
client.logout()
print(json.dumps([reset, sessions]))
"""


async def test_the_client_of_the_dmtf_holds_a_session(tmp_path: Path) -> None:
    async with redfish(Rig(), tmp_path / "bmc.pem") as url:
        assert json.loads(await run(sys.executable, "-W", "ignore", "-c", DMTF, url, USER, PASSWORD)) == [204, 1]
