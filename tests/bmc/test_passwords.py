"""No password of a BMC is found where others look: logs, errors, command lines, environments, files of the store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.rotation import Rotation
from provisioner.errors import BmcError, ProvisionerError
from provisioner.model.bmc import BmcAddress, BootTarget, Power
from provisioner.model.board import Role
from provisioner.model.machine import Machine, State
from provisioner.store.db import Database
from provisioner.store.secrets import Secrets, load_key
from tests.bmc.simulated import PASSWORD, ipmi_address, redfish_address, simulated

pytestmark = pytest.mark.peer

NUMBER = 170
WRONG = "Wrong-password-17"
SECOND = "Second-password-17"


def spellings(password: str, user: str) -> list[bytes]:
    """How a password may look where it has no place."""
    plain = password.encode()
    basic = base64.b64encode(f"{user}:{password}".encode())
    return [plain, plain.hex().encode(), base64.b64encode(plain), basic]


def programs() -> bytes:
    """Command lines and environments of this process and of all that it started."""
    found, todo = b"", [os.getpid()]
    while todo:
        root = Path(f"/proc/{todo.pop()}")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            found += (root / "cmdline").read_bytes() + (root / "environ").read_bytes()
            for task in (root / "task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return found


async def use(bmcs: Bmcs, address: BmcAddress, errors: list[str]) -> None:
    """Log in rightly and wrongly, do what passwords go into, and ask for what fails."""
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (PASSWORD, "identify", {}),
        (PASSWORD, "power.on", {}),
        (PASSWORD, "accounts.create", {"name": "second", "password": SECOND, "role": Role.OPERATOR}),
        (PASSWORD, "accounts.create", {"name": "second", "password": SECOND, "role": Role.OPERATOR}),
        (PASSWORD, "accounts.password", {"name": "nobody", "password": SECOND}),
        (PASSWORD, "accounts.password", {"name": "second", "password": SECOND + "x" * 200}),
        (PASSWORD, "accounts.delete", {"name": "second"}),
        (PASSWORD, "power.off", {}),
        (WRONG, "power.status", {}),
    )
    for password, verb, given in calls:
        try:
            await bmcs.do(address, password, verb, **given)
        except BmcError as error:
            errors += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]


@pytest.mark.slow
async def test_no_password_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen, errors = b"", []
    db = Database(tmp_path / "state" / "state.db")
    await db.open()
    async with simulated(1, tmp_path, first=NUMBER), Bmcs() as bmcs:
        secrets = Secrets(db, await asyncio.to_thread(load_key, tmp_path / "key"))
        await secrets.put("bmc/m1", PASSWORD)
        ipmi, redfish = ipmi_address(NUMBER), await redfish_address(NUMBER)
        for address in (ipmi, redfish):
            await use(bmcs, address, errors)
            seen += programs()
            with pytest.raises(ProvisionerError) as caught:
                await bmcs.reset(dataclasses.replace(address, port=9), PASSWORD)  # asked once: nothing is waited for
            errors.append(str(caught.value))
            await bmcs.boot_once(address, PASSWORD, BootTarget.PXE)
            assert await bmcs.power(address, PASSWORD) is Power.OFF
        await secrets.put("bmc/m1/ipmi", PASSWORD)
        await Rotation(bmcs, secrets).rotate(Machine("m1", "node1", State.READY, bmc=redfish, more_bmcs=(ipmi,)))
        made = await secrets.get("bmc/m1")
        assert made == await secrets.get("bmc/m1/ipmi") != PASSWORD, "one account, whoever asks"
        for address in (ipmi, redfish):
            assert await bmcs.prove(address, made)
        seen += programs() + repr(vars(bmcs)).encode()
    await db.close()
    assert len(errors) > 10
    seen += caplog.text.encode() + "\n".join(errors).encode()
    for file in (tmp_path / "state").iterdir():
        seen += file.read_bytes()
    for password in (PASSWORD, SECOND, WRONG, made):
        for spelling in spellings(password, "admin"):
            assert spelling not in seen, spelling
