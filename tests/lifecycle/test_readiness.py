"""What a boot would do, with the real rules of DHCP, boot plan and catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.catalog.fleet import SITE, machine
from provisioner.errors import BmcAuthError, ConflictError
from provisioner.lifecycle.registry import Machines
from provisioner.model.bmc import BmcAddress, BootTarget, Driver
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine
from tests.lifecycle.previews import SUBNET, Empty, Obedient, dhcp_of, network, readiness

NODE = replace(
    machine("uefi-storage"), name="node17", params={**SITE, "disk.select": {"serial": "S2"}},
    bmc=BmcAddress(Driver.IPMI, "10.0.0.9", 623, "admin"),
)  # fmt: skip


async def test_answers_of_dhcp_by_firmware_and_loader() -> None:
    found = await readiness(Machines([NODE]), network(dhcp=dhcp_of(NODE))).forecast("node17", "rocky-9")
    firmware, ipxe = found.said
    assert (firmware.asker, firmware.told.link, firmware.told.boot_file) == (
        "UEFI by PXE",
        SUBNET.network,
        "snponly.efi",
    )
    assert (firmware.told.address, firmware.told.next_server) == ("10.77.0.100", "10.77.0.1")
    assert ipxe.told.boot_file == f"http://10.77.0.1:8080/boot/{NODE.macs[0]}/script.ipxe"
    assert found.chain == (
        "UEFI by PXE -> load snponly.efi -> ipxe: run the machine's boot script",
        "UEFI by PXE, once it is installed -> its disk: node17 is deploying, in install: its disk is next",
    )
    assert found.ok, [check for check in found.checks if not check.ok]


async def test_the_loader_is_the_one_that_dhcp_would_send_it_to() -> None:
    """The subnet names another one; that of the rule is not there, and nobody is sent to it."""
    dhcp = dhcp_of(NODE, replace(SUBNET, loader={"efi-x64": "ipxe.efi"}))
    found = await readiness(Machines([NODE]), network(dhcp=dhcp, loaders=["ipxe.efi"])).forecast("node17", "rocky-9")
    assert found.chain[0] == "UEFI by PXE -> load ipxe.efi -> ipxe: run the machine's boot script"
    assert [file.name for file in found.files if file.kind == "loader"] == ["ipxe.efi"]
    assert found.ok, [check for check in found.checks if not check.ok]
    checks = await readiness(Machines([NODE]), network(dhcp=dhcp)).preflight("node17", "rocky-9")
    assert [check.text for check in checks if not check.ok] == ["there is no ipxe.efi to give it"]


SECURED = replace(NODE, boot_via="http", facts=replace(NODE.facts or Facts(), secure_boot=True))
"""A machine that discovery found with Secure Boot on, and that boots by HTTP."""


async def test_secure_boot_by_http_is_a_cd_with_signed_loaders() -> None:
    on = network(dhcp=dhcp_of(SECURED), loaders=["shimx64.efi", "gcdx64.efi"])
    found = await readiness(Machines([SECURED]), on).forecast("node17", "rocky-9")
    assert found.chain[0] == "UEFI by HTTP -> load cdx64.iso -> grub: run the machine's boot script"
    assert found.said[0].told.boot_file == "http://10.77.0.1:8080/boot/cdx64.iso"
    assert [file.name for file in found.files if file.kind == "loader"] == ["shimx64.efi", "gcdx64.efi"]
    assert found.ok, [check for check in found.checks if not check.ok]


LACKING = ("ubuntu-22.04", "fedora-coreos", "rocky-9", "opensuse-leap-16.0")


@pytest.mark.parametrize("bootenv", LACKING)
async def test_what_is_missing_is_said_once_and_not_by_what_would_name_it(bootenv: str) -> None:
    found = await readiness(Machines([NODE]), network(dhcp=dhcp_of(NODE)), stock=Empty()).preflight("node17", bootenv)
    wrong = [check for check in found if not check.ok]
    assert wrong
    assert {check.name for check in wrong} == {"artifacts"}


async def test_nothing_of_it_stays() -> None:
    dhcp = dhcp_of(NODE)
    await readiness(Machines([NODE]), network(dhcp=dhcp)).forecast("node17", "rocky-9")
    assert [pool.used(0.0) for pool in dhcp.pools()] == [0, 0]
    assert not dhcp.topology.leases()


async def test_script_files_and_disks() -> None:
    found = await readiness(Machines([NODE])).forecast("node17", "rocky-9")
    assert "kernel http://10.77.0.117:8080/artifacts/rocky-9/amd64/" in found.script
    assert "/answers/TICKET/" in found.script
    kinds = {file.name: (file.kind, file.sha256[:4]) for file in found.files}
    assert kinds["snponly.efi"] == ("loader", "cdcd")
    assert kinds["kickstart"] == ("rendered", "")
    assert {kind for kind, _ in kinds.values()} == {"loader", "artefact", "rendered"}
    assert [target.disk.name for target in found.targets if target.loses] == ["sdb"]


async def test_urls_are_those_of_the_address_that_it_would_be_given() -> None:
    on = network("", dhcp=dhcp_of(NODE))
    found = await readiness(Machines([NODE]), on).forecast("node17", "rocky-9")
    assert "kernel http://10.77.0.100:8080/artifacts/rocky-9/amd64/" in found.script


async def test_answers_that_the_loader_hands_over_are_fetched_by_it_last() -> None:
    found = await readiness(Machines([NODE])).forecast("node17", "windows-server-2025")
    fetched = [line.split()[2] for line in found.script.splitlines() if line.startswith("initrd --name")]
    assert fetched == ["bcd", "boot.sdi", "boot.wim", "winpeshl.ini", "provisioner.cmd", "autounattend.xml"]
    assert "initrd --name autounattend.xml http://10.77.0.117:8080/answers/TICKET/autounattend.xml ||" in found.script


async def test_what_boots_in_memory_leaves_every_disk_alone() -> None:
    found = await readiness(Machines([NODE])).forecast("node17", "discovery")
    assert {target.loses for target in found.targets} == {False}


async def test_hardware_that_nobody_knows_asks_by_either_firmware() -> None:
    stranger = replace(NODE, facts=None)
    found = await readiness(Machines([stranger]), network(dhcp=dhcp_of(stranger))).forecast("node17", "discovery")
    assert [said.told.boot_file for said in found.said if "iPXE" not in said.asker] == ["snponly.efi", "undionly.kpxe"]


async def test_without_a_hardware_address_there_is_nobody_to_speak_of() -> None:
    with pytest.raises(ConflictError, match="no hardware address"):
        await readiness(Machines([replace(NODE, macs=())])).forecast("node17", "discovery")


LOST = replace(SUBNET, pools=())
REFUSED = {
    "a password that the BMC refuses": (
        NODE, network(), Obedient(fault=BmcAuthError("user or password refused")), "bmc: user or password refused"),
    "a verb that no driver has": (
        NODE, network(), Obedient(["boot.once.pxe"]), "capability: none of its drivers can boot.once.pxe"),
    "what its board does not list": (
        NODE, network(), Obedient(targets=[BootTarget.HTTP, BootTarget.DISK]),
        "capability: boot.once.pxe: its board boots only from http, disk"),
    "a verb that failed, and is not listed": (
        NODE, network(), Obedient(["boot.once.pxe"], targets=[BootTarget.HTTP, BootTarget.DISK]),
        "capability: boot.once.pxe: its board boots only from http, disk"),
    "no address left": (
        NODE, network(dhcp=dhcp_of(NODE, LOST)), Obedient(),
        "subnet: 10.77.0.0/24: no answer: no address left in 10.77.0.0/24"),
    "no loader for its firmware": (
        NODE, network(loaders=["undionly.kpxe"]), Obedient(), "loader: there is no snponly.efi to give it"),
    "one of two loaders of its CD": (
        SECURED, network(loaders=["shimx64.efi"]), Obedient(), "loader: there is no cdx64.iso to give it"),
    "a layout that its installer cannot make": (
        replace(NODE, params={**SITE, "disk.layout": "zfs"}), network(), Obedient(),
        "parameters: rocky-9 cannot do disk.layout: zfs; it can do plain, lvm, raid1, raid1-lvm"),
}  # fmt: skip


@pytest.mark.parametrize(("node", "on", "board", "fault"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused_before_power(node: Machine, on: object, board: Obedient, fault: str) -> None:
    ready = readiness(Machines([node]), on, board)  # type: ignore[arg-type]
    found = await ready.forecast("node17", "rocky-9")
    assert [f"{check.name}: {check.text}" for check in found.checks if not check.ok] == [fault]
    assert not found.ok
    refused = [check for check in await ready.preflight("node17", "rocky-9") if not check.ok]
    assert [f"{check.name}: {check.text}" for check in refused] == [fault]


LUKS = {"disk.layout": "lvm", "disk.encryption": "passphrase", "disk.passphrase": "store:disk"}
WINDOWS = {
    "users.root.password": "store:root",
    **{name: value for name, value in SITE.items() if name.startswith("windows.")},
}
UNFIT_SECRETS: dict[str, tuple[str, dict[str, object], str, str]] = {
    "a hash where a password is wanted": (
        "windows-server-2022", WINDOWS, "$6$abcd$efghijkl", "Windows takes no crypt hash"),
    "a passphrase that debconf cannot be told": ("debian-12-installer", LUKS, "qwxz\\", "(hidden) cannot stand in a"),
    "a passphrase of two lines": ("rocky-9", LUKS, "qwxz\nbnmv", "(hidden) cannot stand in a kickstart command"),
}  # fmt: skip


@pytest.mark.parametrize(("bootenv", "params", "secret", "says"), UNFIT_SECRETS.values(), ids=UNFIT_SECRETS.keys())
async def test_what_a_secret_holds_is_tried_before_power_and_not_told(
    bootenv: str, params: dict[str, object], secret: str, says: str
) -> None:
    node = replace(NODE, params={"disk.select": {"serial": "S2"}, **params})
    found = await readiness(Machines([node]), network(dhcp=dhcp_of(node)), secret=secret).preflight("node17", bootenv)
    (wrong,) = [check.text for check in found if not check.ok]
    assert says in wrong
    assert wrong.startswith("templates/")
    assert not any(secret[at : at + 4] in wrong for at in range(len(secret) - 3))


@pytest.mark.parametrize(("bootenv", "params"), [(each[0], each[1]) for each in UNFIT_SECRETS.values()])
async def test_what_a_secret_holds_that_fits_is_taken(bootenv: str, params: dict[str, object]) -> None:
    node = replace(NODE, params={"disk.select": {"serial": "S2"}, **params})
    found = await readiness(Machines([node]), network(dhcp=dhcp_of(node)), secret="fits").preflight("node17", bootenv)
    assert [check for check in found if not check.ok] == []


async def test_a_bmc_is_not_asked_while_something_else_is_wrong() -> None:
    board = Obedient(fault=BmcAuthError("refused"))
    ready = readiness(Machines([replace(NODE, facts=Facts())]), board=board)
    found = {check.name: check.ok for check in await ready.preflight("node17", "rocky-9")}
    assert found["bmc"]
    assert not found["disk"]


async def test_a_disk_is_started_without_any_medium() -> None:
    alone = replace(NODE, boot_via="media", bmc=BmcAddress(Driver.IPMI, "10.0.0.9", 623, "admin"))
    found = await readiness(Machines([alone])).preflight("node17", "local")
    assert [check.text for check in found if not check.ok] == []
