"""Why a machine does not get its fixed address where it gets no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisioner.dhcp.case import Silence
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Reservation
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, acquire, ask, discover, ip, packet, site, subnet

ONLY = subnet(mode=Mode.RESERVATIONS_ONLY, pools=())
FIXED = Reservation(mac=MAC, address="10.0.0.50")


def declined() -> Site:
    here = site(ONLY, known=(FIXED,))
    acquire(here)
    ask(here, packet(Type.DECLINE, options={Opt.REQUESTED_ADDRESS: bytes((10, 0, 0, 50))}))
    return here


def in_use() -> Site:
    here = site(ONLY, known=(FIXED,))
    here.decline(ip("10.0.0.50"), NOW, f"{OTHER_MAC} uses it already")
    return here


def held() -> Site:
    here = site(ONLY, known=(Reservation(mac=OTHER_MAC, address="10.0.0.50"),))
    acquire(here, OTHER_MAC)
    here.set_reservation(Reservation(mac=OTHER_MAC, address="10.0.0.51"))
    here.set_reservation(FIXED)
    return here


def elsewhere() -> Site:
    here = site(ONLY, subnet(network="10.5.0.0/24", interface="eth1", pools=()))
    here.set_reservation(Reservation(mac=MAC, address="10.5.0.50"))
    return here


FREE = "find that host, then `provisionctl dhcp free 10.0.0.50`"
REASONS: dict[str, tuple[Callable[[], Site], str]] = {
    "it declined it": (
        declined,
        f"its fixed address 10.0.0.50 is out of use (declined by {MAC}: somebody else uses it): {FREE}",
    ),
    "somebody was found to use it": (
        in_use,
        f"its fixed address 10.0.0.50 is out of use ({OTHER_MAC} uses it already): {FREE}",
    ),
    "another machine holds it": (held, f"its fixed address 10.0.0.50 is held by {OTHER_MAC} until that lease ends"),
    "it lies on another network": (
        elsewhere,
        "it has no fixed address in 10.0.0.0/24: `provisionctl dhcp reserve`",
    ),
}


@pytest.mark.parametrize(("made", "reason"), REASONS.values(), ids=REASONS.keys())
def test_why_a_machine_does_not_get_its_fixed_address(made: Callable[[], Site], reason: str) -> None:
    assert ask(made(), discover()) == Silence(reason)
