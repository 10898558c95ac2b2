"""What `why` says of faults that are injected on real wires: packets, boards and agents in, a sentence out.

Every machine has one fault. The daemon is the one that is shipped, with its sockets, store and drivers; boards are the
lab's, over TLS and IPMI; machines speak DHCP, TFTP and HTTP through relays. Only time is shortened: whenever the
daemon, boards and machines have done all that there is to do, and wait for nothing but time, their clock is moved on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.lifecycle.diagnoses import DIAGNOSES
from provisioner.model.bmc import Driver
from tests.bench.lifecycle.names import PASSWORD, USER, bmc_of, mac_of, name_of
from tests.lifecycle.wired.faults import FAULTS, Fault
from tests.lifecycle.wired.site import Site, site

WANTED = 27
"""Of thirty; what is not named has to be said to be unknown."""
GUARD_S = 900.0
"""No part of the verdicts: only that a test which does not end says so."""
STEP_S = 15.0
"""The clock is moved on in steps, so that whatever comes due in between is done about when it is due."""


SPOILS = "bmc-unsupported"
"""What a board cannot is remembered of its model, and all boards are of one: from then on no other machine begins."""


async def begin(it: Site, at: int, fault: Fault) -> None:
    """Enrol a machine, and ask for its boot."""
    bmc = {"driver": fault.driver, "host": bmc_of(at), "username": USER, "password": PASSWORD}
    if fault.driver is Driver.IPMI:
        bmc["port"] = 623
    await it.ask("POST", "/v1/machines", {"name": name_of(at), "bmc": bmc, "macs": [mac_of(at)]})
    if fault.secure_boot is not None:
        await it.ask("POST", f"/v1/machines/{name_of(at)}/boot", {"bootenv": "discovery"})
        await rested(it, at)
    await it.ask("POST", f"/v1/machines/{name_of(at)}/boot", {"bootenv": fault.bootenv})


async def rested(it: Site, at: int) -> None:
    """Wait until a machine is ready."""
    async with asyncio.timeout(30):
        while (await it.ask("GET", f"/v1/machines/{name_of(at)}"))["state"] != "ready":
            await asyncio.sleep(0.05)


async def all_done(it: Site) -> None:
    """Wait until every machine has done what it does of itself."""
    left = {str(at): fault.boots for at, fault in enumerate(FAULTS.values()) if fault.boots}
    while left:
        _, at, boots = await it.hear()
        if left.get(at) == int(boots):
            del left[at]
    for at, fault in enumerate(FAULTS.values()):
        while fault.boots and (await it.ask("GET", f"/v1/machines/{name_of(at)}"))["run"]["step"].endswith(
            (".on", ".off")
        ):
            await asyncio.sleep(0.05)  # its BMC has not told yet that it is on


async def pass_until(it: Site, now_s: float, then_s: float) -> float:
    """Let time pass, and all be done that follows."""
    while now_s < then_s:
        await it.pass_time(STEP_S)
        now_s += STEP_S
    await it.quiet()
    return now_s


async def verdicts(it: Site) -> dict[str, tuple[str, str]]:
    """Ask for each machine's verdict when its time has come: what was named, and in which words."""
    told, now_s = {}, 0.0
    for at, (what, fault) in sorted(enumerate(FAULTS.items()), key=lambda item: item[1][1].after_s):
        now_s = await pass_until(it, now_s, fault.after_s)
        if fault.late is not None:
            it.late(at)
            await it.hear()
        said = await it.ask("GET", f"/v1/machines/{name_of(at)}/why")
        told[what] = said["diagnosis"], said["text"]
    return told


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.timeout(930)
async def test_faults_on_real_wires_are_named(tmp_path: Path) -> None:
    assert {fault.named for fault in FAULTS.values()} <= {diagnosis.id for diagnosis in DIAGNOSES}
    assert len({fault.named for fault in FAULTS.values()}) >= 30
    async with site(tmp_path) as it, asyncio.timeout(GUARD_S):
        for last in (False, True):
            faults = [(at, each) for at, each in enumerate(FAULTS.values()) if (each.named == SPOILS) is last]
            await asyncio.gather(*(begin(it, at, fault) for at, fault in faults))
        await all_done(it)
        told = await verdicts(it)
    wrong = {what: (FAULTS[what].named, *said) for what, said in told.items() if said[0] != FAULTS[what].named}
    said = "\n".join(f"{what}: {wanted}, but {name}: {text}" for what, (wanted, name, text) in wrong.items())
    assert len(told) - len(wrong) >= len(told) * WANTED / 30, said
    assert {name for _, name, _ in wrong.values()} <= {"unknown"}, said
