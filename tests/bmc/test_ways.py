"""Which way to a board a verb is asked of, and when the next one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from provisioner.bmc.ways import Login, Ways
from provisioner.errors import (
    BmcAuthError,
    BmcConsoleRefused,
    BmcError,
    BmcNotTrusted,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    ConflictError,
    NotFoundError,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.machine import Machine, State

REDFISH = BmcAddress(Driver.REDFISH, "192.0.2.1", 443, "admin")
IPMI = BmcAddress(Driver.IPMI, "192.0.2.1", 623, "root")
BOTH = Machine("m1", "node17", State.READY, bmc=REDFISH, more_bmcs=(IPMI,))
NAMES = ("bmc/m1", "bmc/m1/ipmi", "bmc/m2")


@dataclass
class Site:
    """Passwords, and an order that can be turned round."""

    turned: bool = False
    none: bool = False
    says: BmcIdentity | BmcError = field(default_factory=BmcIdentity)
    """What the board that answers says of itself."""
    like: Sequence[Machine] = ()
    asked: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=lambda: {name: f"password of {name}" for name in NAMES})
    met: list[Driver] = field(default_factory=list)

    async def whose(self, address: BmcAddress, password: str) -> BmcIdentity:
        if isinstance(self.says, BmcError):
            raise self.says
        return self.says

    async def meet(self, address: BmcAddress, password: str) -> BmcIdentity:
        self.met.append(address.driver)
        return await self.whose(address, password)

    async def order(self, verb: str, logins: Sequence[Login]) -> Sequence[Login]:
        self.asked.append(verb)
        return [] if self.none else logins[::-1] if self.turned else logins

    async def get(self, name: str) -> str:
        if name not in self.held:
            raise NotFoundError(name)
        return self.held[name]

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        self.held |= put
        for name in gone:
            self.held.pop(name, None)


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
    "but by a console that is a service of its own: the other way's may take it": (
        "console.open", Site(), {Driver.REDFISH: BmcConsoleRefused("no")}, [Driver.REDFISH, Driver.IPMI], None,
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

    ways = Ways(site, site, lambda _: site.like)
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
    ways = Ways(site, site, lambda _: site.like)

    async def call(address: BmcAddress, password: str) -> str:
        return password

    one = Machine("m2", "node18", State.READY, bmc=IPMI)
    assert await ways.ask(one, "power.on", call) == "password of bmc/m2"
    assert site.asked == []
    with pytest.raises(ConflictError, match=r"node19 has no BMC on record \(`provisionctl bmc add node19 redfish://"):
        await ways.ask(Machine("m3", "node19", State.READY), "power.on", call)
    assert secret_of("m1", IPMI) == "bmc/m1/ipmi"


ONE = Machine("m2", "node18", State.READY, bmc=IPMI)
OLD, NEW = "password of bmc/m2", "new"
LEFT = {"bmc/m2": OLD, "bmc/m2/next": NEW}
ROTATED: dict[str, tuple[dict[str, str], str, list[str], dict[str, str]]] = {
    # what is kept, what the board knows; what is tried, what is kept then
    "the board has the new one": (LEFT, NEW, [OLD, NEW], {"bmc/m2": NEW}),
    "the board has the old one: it may be about to get the new one": (LEFT, OLD, [OLD], LEFT),
    "the board has neither": (LEFT, "changed by hand", [OLD, NEW], LEFT),
    "none was rotated": ({"bmc/m2": OLD}, "changed by hand", [OLD], {"bmc/m2": OLD}),
}


@pytest.mark.parametrize(("held", "knows", "tried", "then"), ROTATED.values(), ids=ROTATED.keys())
async def test_a_rotation_that_was_cut_short_is_ended_by_who_is_refused(
    held: dict[str, str], knows: str, tried: list[str], then: dict[str, str]
) -> None:
    site, seen = Site(held=dict(held)), []

    async def call(address: BmcAddress, password: str) -> str:
        seen.append(password)
        if password != knows:
            raise BmcAuthError("refused")
        return "done"

    if knows in held.values():
        assert await Ways(site, site, lambda _: ()).ask(ONE, "power.on", call) == "done"
    else:
        with pytest.raises(BmcAuthError):
            await Ways(site, site, lambda _: ()).ask(ONE, "power.on", call)
    assert (seen, site.held) == (tried, then)


async def test_a_rotation_that_ends_while_its_board_is_asked() -> None:
    site = Site(held={"bmc/m2": OLD})

    async def call(address: BmcAddress, password: str) -> str:
        if password == OLD:
            site.held["bmc/m2"] = NEW
            raise BmcAuthError("refused")
        return password

    assert await Ways(site, site, lambda _: ()).ask(ONE, "power.on", call) == NEW


async def test_a_board_that_is_not_trusted_is_shown_no_other_password() -> None:
    site, seen = Site(held=dict(LEFT)), []

    async def call(address: BmcAddress, password: str) -> str:
        seen.append(password)
        raise BmcNotTrusted("its certificate is another one")

    with pytest.raises(BmcNotTrusted):
        await Ways(site, site, lambda _: ()).ask(ONE, "power.on", call)
    assert seen == [OLD]


async def done(address: BmcAddress, password: str) -> str:
    return "done"


OWN, OTHERS = "4c4c4544-0042-3510-8051-b7c04f4e3132", "4c4c4544-0043-3610-8052-b8c04f4e3133"
NODE17 = Machine("m1", "node17", State.ACTIVE, uuid=OWN, boards={"ipmi": BmcIdentity(OWN)}, serial="CZ31", bmc=IPMI)
NODE18 = Machine("m2", "node18", State.ACTIVE, uuid=OTHERS, serial="CZ32")

WHOSE: dict[str, tuple[Machine, Site, str]] = {
    "its own board": (NODE17, Site(says=BmcIdentity(OWN)), ""),
    "one that says nothing": (NODE17, Site(), ""),
    "one that cannot say": (NODE17, Site(says=BmcUnsupported("no")), ""),
    "its own by serial number": (NODE17, Site(says=BmcIdentity(serial="CZ31"), like=[NODE17]), ""),
    "the serial number of the chassis that both are in": (
        NODE17, Site(says=BmcIdentity(serial="CZ31"), like=[replace(NODE18, serial="CZ31"), NODE17]), "",
    ),
    "another machine's, by UUID": (NODE17, Site(says=BmcIdentity(OTHERS), like=[NODE18]), "the board of node18"),
    "another machine's, by serial number": (
        NODE17, Site(says=BmcIdentity(serial="CZ32"), like=[NODE18]), "the board of node18",
    ),
    "one that is on no record": (NODE17, Site(says=BmcIdentity(OTHERS)), "a board that is on no record"),
    "a BMC with a UUID of its own, as it was put on record": (
        replace(NODE17, boards={"ipmi": BmcIdentity(OTHERS)}), Site(says=BmcIdentity(OTHERS)), "",
    ),
    "a BMC with a UUID of its own, put on record unasked": (
        replace(NODE17, boards={}), Site(says=BmcIdentity(OTHERS)), "",
    ),
    "a BMC with a UUID of its own, beside a way that says the system's": (
        replace(NODE17, boards={"redfish": BmcIdentity(OWN)}), Site(says=BmcIdentity(OTHERS)), "",
    ),
    "the serial number of its chassis, as it was put on record, and as another's was": (
        replace(NODE17, boards={"ipmi": BmcIdentity(serial="CH77")}),
        Site(says=BmcIdentity(serial="CH77"), like=[replace(NODE18, serial="CH77")]), "",
    ),
    "put on record unasked, and another machine's": (
        replace(NODE17, boards={}), Site(says=BmcIdentity(OTHERS), like=[NODE18]), "the board of node18",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "site", "whose"), WHOSE.values(), ids=WHOSE.keys())
async def test_whose_board_it_is_is_asked_before_a_change_and_in_a_look(
    machine: Machine, site: Site, whose: str
) -> None:
    ways = Ways(site, site, lambda _: site.like)
    assert await ways.ask(machine, "power.status", done) == "done", "who only reads does no harm"
    assert site.met == []
    for asked in (lambda: ways.ask(machine, "power.off", done), lambda: ways.look(machine)):
        if whose:
            with pytest.raises(BmcNotTrusted, match=f"is not the board of node17 any more: it is {whose}"):
                await asked()
        else:
            await asked()
    assert await ways.ask(machine, "power.off", done, met=True) == "done"
    assert site.met == [Driver.IPMI]
