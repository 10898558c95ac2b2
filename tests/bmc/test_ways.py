"""Which way to a board a verb is asked of, and when the next one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from provisioner.bmc.ways import Login, Ways
from provisioner.errors import BmcAuthError, BmcError, BmcTimeout, BmcUnreachable, BmcUnsupported, ConflictError
from provisioner.model.bmc import BmcAddress, Driver, secret_of
from provisioner.model.machine import Machine, State

REDFISH = BmcAddress(Driver.REDFISH, "192.0.2.1", 443, "admin")
IPMI = BmcAddress(Driver.IPMI, "192.0.2.1", 623, "root")
BOTH = Machine("m1", "node17", State.READY, bmc=REDFISH, more_bmcs=(IPMI,))


@dataclass
class Site:
    """Passwords, and an order that can be turned round."""

    turned: bool = False
    none: bool = False
    asked: list[str] = field(default_factory=list)

    async def order(self, verb: str, logins: Sequence[Login]) -> Sequence[Login]:
        self.asked.append(verb)
        return [] if self.none else logins[::-1] if self.turned else logins

    async def get(self, name: str) -> str:
        return f"password of {name}"


CASES: dict[str, tuple[str, Site, dict[Driver, BmcError], list[Driver], type[BmcError] | None]] = {
    "the first can": ("power.on", Site(), {}, [Driver.REDFISH], None),
    "evidence turns them round": ("power.on", Site(turned=True), {}, [Driver.IPMI], None),
    "all failed it: the first says why": (
        "power.on", Site(none=True), {Driver.REDFISH: BmcUnsupported("no")}, [Driver.REDFISH], BmcUnsupported,
    ),
    "one that cannot is followed by the next": (
        "power.cycle", Site(), {Driver.REDFISH: BmcUnsupported("no")}, [Driver.REDFISH, Driver.IPMI], None,
    ),
    "one that is silent, too, where twice is once": (
        "power.on", Site(), {Driver.REDFISH: BmcUnreachable("no")}, [Driver.REDFISH, Driver.IPMI], None,
    ),
    "but a reset is never sent twice": (
        "power.reset", Site(), {Driver.REDFISH: BmcUnreachable("no")}, [Driver.REDFISH], BmcUnreachable,
    ),
    "a time-out is the answer": (
        "power.on", Site(), {Driver.REDFISH: BmcTimeout("no")}, [Driver.REDFISH], BmcTimeout,
    ),
    "a refused password is the answer": (
        "power.on", Site(), {Driver.REDFISH: BmcAuthError("no")}, [Driver.REDFISH], BmcAuthError,
    ),
    "nobody can": (
        "power.on", Site(), {Driver.REDFISH: BmcUnreachable("1"), Driver.IPMI: BmcUnsupported("2")},
        [Driver.REDFISH, Driver.IPMI], BmcUnsupported,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("verb", "site", "errors", "asked", "raises"), CASES.values(), ids=CASES.keys())
async def test_ask(
    verb: str, site: Site, errors: dict[Driver, BmcError], asked: list[Driver], raises: type[BmcError] | None
) -> None:
    seen: list[tuple[Driver, str]] = []

    async def call(address: BmcAddress, password: str) -> str:
        seen.append((address.driver, password))
        if address.driver in errors:
            raise errors[address.driver]
        return "done"

    ways = Ways(site, site)
    if raises is None:
        assert await ways.ask(BOTH, verb, call) == "done"
    else:
        with pytest.raises(raises):
            await ways.ask(BOTH, verb, call)
    assert [driver for driver, _ in seen] == asked
    passwords = {Driver.REDFISH: "password of bmc/m1", Driver.IPMI: "password of bmc/m1/ipmi"}
    assert all(password == passwords[driver] for driver, password in seen)
    assert site.asked == [verb]


async def test_one_way_needs_no_order_and_none_is_said() -> None:
    site = Site()
    ways = Ways(site, site)

    async def call(address: BmcAddress, password: str) -> str:
        return password

    one = Machine("m2", "node18", State.READY, bmc=IPMI)
    assert await ways.ask(one, "power.on", call) == "password of bmc/m2"
    assert site.asked == []
    with pytest.raises(ConflictError, match=r"node19 has no BMC on record \(`provisionctl bmc add node19 redfish://"):
        await ways.ask(Machine("m3", "node19", State.READY), "power.on", call)
    assert secret_of("m1", IPMI) == "bmc/m1/ipmi"
