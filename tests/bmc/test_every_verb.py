"""Every verb that both drivers offer, done on a simulated board that DMTF's programs found in order (tests/lab)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioner.bmc.pool import Bmcs, offered_by
from provisioner.bmc.redfish.way import fingerprint
from provisioner.bmc.table import VERBS
from provisioner.errors import BmcError, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from provisioner.model.board import BmcNetwork, Led, Role, TimeSync
from tests.bmc.simulated import PASSWORD, Simulated, ipmi_address, redfish_address, simulated

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NUMBER = 160
URI = "http://192.0.2.1/node17.iso"
Do = Callable[..., Awaitable[Any]]
Group = Callable[[Do, Simulated], Awaitable[None]]


def sign(request: str) -> str:
    """A certificate for a signing request, from a CA of our own (PEM)."""
    asked = x509.load_pem_x509_csr(request.encode())
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(asked.subject).issuer_name(asked.subject)
    made = made.public_key(asked.public_key()).serial_number(7)
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def power(do: Do, board: Simulated) -> None:
    assert await do("power.status") is Power.OFF
    await do("power.on")
    await do("power.cycle")
    await do("power.reset")
    await do("power.nmi")
    await board.board.chassis.idle()
    assert board.machine.interrupts == 1
    await do("power.soft-off")
    await board.board.chassis.idle()
    assert await do("power.status") is Power.OFF
    await do("power.on")
    await do("power.off")


async def boot(do: Do, board: Simulated) -> None:
    for verb in [name for name in VERBS if name.startswith(("boot.once.", "boot.always."))]:
        try:
            await do(verb)
        except BmcUnsupported:
            assert verb.endswith(".http"), verb
        else:
            assert (await do("boot.read")).target == verb.rsplit(".", 1)[1], verb
    await do("boot.always.none")
    assert (await do("boot.read")).target is BootTarget.NONE


async def targets(do: Do, board: Simulated) -> None:
    assert BootTarget.PXE in await do("boot.targets")


async def watch(do: Do, board: Simulated) -> None:
    assert {"Inlet Temp", "Fan 1"} <= {sensor.name for sensor in await do("sensors.read")}
    assert (await do("health.read")).value in ("ok", "unknown")
    board.board.chassis.note("chassis opened")
    assert await do("log.read")
    await do("log.clear")
    assert len(await do("log.read")) <= 1
    assert await do("inventory.read")


async def accounts(do: Do, board: Simulated) -> None:
    await do("accounts.create", name="second", password="Second-pass-17", role=Role.OPERATOR)
    await do("accounts.password", name="second", password="Third-pass-18")
    await do("accounts.enable", name="second", enabled=False)
    assert {one.name: one.enabled for one in await do("accounts.read")}["second"] is False
    await do("accounts.delete", name="second")
    assert "second" not in {one.name for one in await do("accounts.read")}


async def light(do: Do, board: Simulated) -> None:
    await do("led.set", wanted=Led.BLINKING)
    assert board.board.locating
    assert await do("led.status") is Led.BLINKING
    await do("led.set", wanted=Led.OFF)
    assert not board.board.locating


async def media(do: Do, board: Simulated) -> None:
    await do("vmedia.insert", uri=URI)
    assert [slot.image for slot in await do("vmedia.status")] == [URI]
    assert board.board.medium.uri == URI
    await do("vmedia.eject")
    assert not board.board.medium.uri


async def manager(do: Do, board: Simulated) -> None:
    await do("ntp.set", wanted=TimeSync(True, ("192.0.2.123",)))
    assert await do("ntp.read") == TimeSync(True, ("192.0.2.123",))
    await do("network.set", wanted=BmcNetwork(hostname="bmc17", dns=("192.0.2.53",), vlan=7))
    found = await do("network.read")
    assert (found.hostname, found.dns, found.vlan) == ("bmc17", ("192.0.2.53",), 7)


async def lan(do: Do, board: Simulated) -> None:
    await do("network.set", wanted=BmcNetwork(vlan=7))
    assert (await do("network.read")).vlan == 7


async def bios(do: Do, board: Simulated) -> None:
    plan = await do("bios.plan", wanted={"BootMode": "Bios", "PxeRetries": 3})
    assert (plan.changes, plan.faults) == ({"BootMode": "Bios"}, ())
    with pytest.raises(BmcUnsupported, match="Turbo"):
        await do("bios.apply", wanted={"Turbo": "On"})
    await do("bios.apply", wanted={"BootMode": "Bios"})
    found = await do("bios.read")
    assert (found.current["BootMode"], found.pending) == ("Uefi", {"BootMode": "Bios"})
    await do("power.on")
    assert (await do("bios.read")).current["BootMode"] == "Bios"
    await do("power.off")


async def secure_boot(do: Do, board: Simulated) -> None:
    await do("secureboot.set", enabled=True)
    assert (await do("secureboot.read")).enabled
    made = sign(_request())
    await do("secureboot.add-key", database="db", pem=made)
    keys = await do("secureboot.keys")
    ours = [key for key in keys if key.database == "db" and key.pem.strip() == made.strip()]
    assert len(ours) == 1
    await do("secureboot.add-key", database="db", pem=made)  # there already is success
    assert len(await do("secureboot.keys")) == len(keys)
    await do("secureboot.delete-key", database="db", key=ours[0].id)
    assert len(await do("secureboot.keys")) == len(keys) - 1
    await do("secureboot.delete-keys")
    assert await do("secureboot.keys") == ()
    assert (await do("secureboot.read")).mode == "setup"
    await do("secureboot.reset-keys")
    assert {key.database for key in await do("secureboot.keys")} == {"PK", "KEK", "db"}


async def update(do: Do, board: Simulated) -> None:
    await do("firmware.update", uri="http://192.0.2.1/NIC-15.0.bin")
    assert board.board.settings.firmware["NIC"] == "15.0"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "BIOS-2.2.bin"
        await asyncio.to_thread(file.write_bytes, b"x" * 70_000)
        await do("firmware.push", file=file)
    assert board.board.settings.firmware["BIOS"] == "2.2"
    with pytest.raises(BmcError, match="for no component of this machine"):
        await do("firmware.update", uri="http://192.0.2.1/GPU-1.0.bin")


async def volumes(do: Do, board: Simulated) -> None:
    await do("volumes.create", raid="RAID0", drives=("1",), name="data")
    (made,) = await do("volumes.read")
    assert (made.name, made.raid, made.drives) == ("data", "RAID0", ("1",))
    with pytest.raises(BmcWrongState, match="part of volume"):
        await do("drive.erase", drive="1")
    await do("volumes.delete", volume=made.id)
    await do("drive.erase", drive="1")
    assert board.board.settings.erased == ["1"]


async def certificate(do: Do, board: Simulated) -> None:
    held = await do("certificate.read")
    assert "BEGIN CERTIFICATE" in held
    made = sign(await do("certificate.request", names=("bmc17.example.net",)))
    await do("certificate.replace", pem=made)
    assert board.board.settings.certificate == made


def _request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


BOTH = (power, boot, watch, accounts, light)
REDFISH = (*BOTH, targets, media, manager, bios, secure_boot, update, volumes, certificate)
"""The certificate last: from then on the pin does not fit."""


async def done(
    address: BmcAddress, board: Simulated, groups: tuple[Callable[[Do, Simulated], Awaitable[None]], ...]
) -> set[str]:
    """Do groups of verbs; the names of all that were done."""
    names: set[str] = set()
    async with Bmcs() as bmcs:

        async def do(name: str, /, **given: Any) -> Any:
            found = await bmcs.do(address, PASSWORD, name, **given)
            names.add(name)
            return found

        await do("identify")
        for group in groups:
            await group(do, board)
    return names


APART = {"console.open"}
"""A stream: it has tests of its own."""


async def test_redfish_does_every_verb_that_it_offers(tmp_path: Path) -> None:
    async with simulated(1, tmp_path, first=NUMBER) as boards:
        address = await redfish_address(NUMBER)
        names = await done(address, boards[0], REDFISH)
        assert await fingerprint(address) != address.fingerprint, "the new certificate is shown"
    assert names == offered_by(Driver.REDFISH) - APART


async def test_the_certificate_that_we_have_a_board_install_is_told(tmp_path: Path) -> None:
    told: list[tuple[BmcAddress, str]] = []

    async def installed(address: BmcAddress, fingerprint: str) -> None:
        told.append((address, fingerprint))

    async with simulated(1, tmp_path, first=NUMBER), Bmcs() as bmcs:
        bmcs.installed = installed
        address = await redfish_address(NUMBER)
        made = sign(await bmcs.do(address, PASSWORD, "certificate.request", names=("bmc17.example.net",)))
        await bmcs.do(address, PASSWORD, "certificate.replace", pem=made)
        shown = await fingerprint(address)
        assert told == [(address, shown)]
        assert await bmcs.power(replace(address, fingerprint=shown), PASSWORD) is Power.OFF


async def test_ipmi_does_every_verb_that_it_offers(tmp_path: Path) -> None:
    async with simulated(1, tmp_path, first=NUMBER) as boards:
        names = await done(ipmi_address(NUMBER), boards[0], (*BOTH, lan))
    assert names == offered_by(Driver.IPMI) - APART
