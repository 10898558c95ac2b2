"""What every driver promises, as one journey of checks: run against the fake and against every real one."""

from __future__ import annotations

import pytest

from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcUnsupported, BmcWrongState
from provisioner.model.bmc import BootOverride, BootTarget, Power


async def check_contract(
    bmc: Bmc, *, reads_boot: bool = True, reads_once: bool = True, http_boot: bool = False
) -> None:
    """Drive a machine that is off through every verb, and leave it off without an override.

    `reads_boot` is False for boards that cannot tell their boot override, `reads_once` for those that tell it wrongly;
    `http_boot` is True for boards that take a boot URI.
    """
    await _check_identity(bmc)
    await _check_power(bmc)
    await _check_boot(bmc, reads_boot=reads_boot, reads_once=reads_once)
    await _check_http(bmc, offered=http_boot)
    await bmc.set_power(Power.OFF)
    await bmc.close()
    assert await bmc.power() is Power.OFF, "a closed session opens again"
    await bmc.close()


async def _check_identity(bmc: Bmc) -> None:
    board = await bmc.identify()
    assert board.vendor
    assert board.firmware
    assert board.uuid == board.uuid.lower()


async def _check_power(bmc: Bmc) -> None:
    await bmc.set_power(Power.OFF)
    assert await bmc.power() is Power.OFF
    await bmc.set_power(Power.OFF)  # already there is success
    with pytest.raises(BmcWrongState):
        await bmc.reset()
    await bmc.set_power(Power.ON)
    assert await bmc.power() is Power.ON
    await bmc.reset()
    await bmc.set_power(Power.ON)
    assert await bmc.power() is Power.ON


async def _check_boot(bmc: Bmc, *, reads_boot: bool, reads_once: bool) -> None:
    for target in (BootTarget.PXE, BootTarget.DISK, BootTarget.CD):
        await bmc.boot_once(target)
        if reads_boot:
            got = await bmc.boot_override()
            assert got.target is target
            assert got.once or not reads_once
    await bmc.boot_always(BootTarget.DISK)
    if reads_boot:
        got = await bmc.boot_override()
        assert (got.target, got.once) == (BootTarget.DISK, False)
    await bmc.boot_once(BootTarget.NONE)
    assert await bmc.boot_override() == BootOverride(BootTarget.NONE, once=False)


async def _check_http(bmc: Bmc, *, offered: bool) -> None:
    uri = "http://192.0.2.1/x.efi"
    if not offered:
        before = await bmc.boot_override()
        with pytest.raises(BmcUnsupported):
            await bmc.boot_once(BootTarget.HTTP, uri)
        assert await bmc.boot_override() == before, "what is not supported changes nothing"
        return
    await bmc.boot_once(BootTarget.HTTP, uri)
    got = await bmc.boot_override()
    assert (got.target, got.uri) == (BootTarget.HTTP, uri)
    await bmc.boot_once(BootTarget.NONE)
