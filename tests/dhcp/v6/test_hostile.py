"""What strangers may do to the DHCPv6 server: known attacks, starvation, fuzz."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Silence
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Reply6
from provisioner.dhcp.v6.message import Type
from provisioner.dhcp.v6.options import Opt
from provisioner.dhcp.v6.site import CLAIMS_LIMIT
from provisioner.dhcp.v6.subnets import Reservation6
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    MAC,
    OS,
    SERVER_DUID,
    Says,
    acquire,
    ask,
    direct,
    duid_ll,
    given,
    ia,
    outcome,
    said,
    site,
    subnet,
    us,
)
from tests.dhcp.v6.fuzz import Fuzz

ODD = {
    "a DUID of 130 bytes": (Says(b"\0\2" + bytes(128)), "ADVERTISE fd00::100"),
    "a DUID of three bytes": (Says(b"\0\2x"), "ADVERTISE fd00::100"),
    "an identifier that is our own": (Says(SERVER_DUID), "ADVERTISE fd00::100"),
    "a host name that is none": (Says(duid_ll(), ((Opt.FQDN, b"\0\x40" + b"a" * 64),)), "ADVERTISE fd00::100"),
    "an empty vendor class and user class": (
        Says(duid_ll(), ((Opt.VENDOR_CLASS, b"\0\0\0\0"), (Opt.USER_CLASS, b""))),
        "ADVERTISE fd00::100",
    ),
    "options of no length": (Says(duid_ll(), ((Opt.REQUEST_LIST, b""), (Opt.CLIENT_ARCH, b""))), "ADVERTISE fd00::100"),
}


@pytest.mark.parametrize(("client", "found"), ODD.values(), ids=ODD.keys())
def test_odd_clients_are_served(client: Says, found: str) -> None:
    assert outcome(ask(site(), client.message(Type.SOLICIT, ia()), direct()._replace(mac=b""))) == found


def test_a_reply_is_not_much_longer_than_its_question() -> None:
    """Else we would be of use to those who flood others."""
    question = OS.message(Type.SOLICIT, *(ia(number) for number in range(100)))
    found = ask(site(), question)
    assert isinstance(found, Reply6)
    assert len(found.data) < 100 * 60


def stranger(number: int) -> tuple[Says, str]:
    mac = f"06:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return Says(duid_ll(mac)), mac


@pytest.mark.slow
def test_starvation_takes_nothing_from_known_machines() -> None:
    """30,000 made-up machines in three seconds: offers taken up or not, known machines get their addresses."""
    fixed = Reservation6(address="fd00::207", mac=MAC)
    pooled = [f"52:54:00:00:10:{number:02x}" for number in range(90)]
    wide = subnet(pools=("fd00::100-fd00::4ff",), known_spare=10)
    here = site(wide, fixed=(fixed,), known=tuple(Reservation(mac=mac) for mac in pooled))
    for number in range(30_000):
        now = NOW + number / 10_000
        client, mac = stranger(number)
        found = ask(here, client.message(Type.SOLICIT, ia()), direct(mac), now)
        if isinstance(found, Reply6) and number % 2 and given(found)[0]:
            ask(here, us(client, Type.REQUEST, ia(1, given(found)[0][0])), direct(mac), now)
    later = NOW + 3
    assert acquire(here, now=later) == "fd00::207"
    assert len({acquire(here, Says(duid_ll(mac)), mac, now=later) for mac in pooled}) == 90
    net = next(iter(here.topology))
    assert len(net.pool.by_ip) + len(net.pool._offers) <= 1024
    assert len(here._claims) <= CLAIMS_LIMIT
    assert len(here.limiter._buckets) <= 4096


def test_strangers_that_come_back_leave_what_is_kept_for_known_machines() -> None:
    """What they had is everybody's since: they are new ones, who get it again while there is room for such."""
    here = site(subnet(pools=("fd00::100-fd00::113",), known_spare=10), known=(Reservation(mac=MAC),))
    held = {number: acquire(here, *stranger(number)) for number in range(18)}
    later = NOW + 4000
    assert acquire(here, *stranger(0), now=later) == held[0]
    for number in (*range(18, 21), *range(18)):
        client, mac = stranger(number)
        found = ask(here, client.message(Type.SOLICIT, ia()), direct(mac), later)
        if given(found)[0]:
            ask(here, us(client, Type.REQUEST, ia(1, given(found)[0][0])), direct(mac), later)
    assert next(iter(here.topology)).pool.used(later) == 18
    assert acquire(here, now=later)


def test_one_frame_with_many_identities_has_a_bounded_number_of_addresses() -> None:
    """A stranger that makes up DUIDs and associations, but no hardware addresses."""
    here = site(subnet(pools=("fd00::100-fd00::1ff",)))
    for number in range(100):
        client = Says(b"\0\2" + number.to_bytes(4, "big"))
        found = ask(here, us(client, Type.REQUEST, ia(number)), direct())
        assert isinstance(found, Reply6)
    assert len(next(iter(here.topology)).pool.by_ip) <= 8


def test_a_client_cannot_decline_the_pool_away() -> None:
    here = site()
    for turn in range(10):
        client, mac = stranger(turn)
        address = acquire(here, client, mac)
        found = ask(here, us(client, Type.DECLINE, ia(1, address)), direct(mac))
        assert isinstance(found, Reply6)
        assert found.store
    assert outcome(ask(here, OS.message(Type.SOLICIT, ia()))) == "ADVERTISE status 2"
    assert acquire(here, now=NOW + 61)


def test_offers_that_nobody_takes_hold_the_pool_only_for_their_time() -> None:
    here = site(subnet(new_per_s=0, port_per_s=0, offer_s=60))
    for number in range(20):
        client, mac = stranger(number)
        ask(here, client.message(Type.SOLICIT, ia()), direct(mac))
    assert outcome(ask(here, OS.message(Type.SOLICIT, ia()), now=NOW + 59)) == "ADVERTISE status 2"
    assert acquire(here, now=NOW + 61)


def test_fuzz() -> None:
    """`python -m tests.dhcp.v6.fuzz` does a million."""
    it = Fuzz(seed=1)
    it.run(5_000)
    wanted = {"malformed", "dhcp6.silence", "dhcp6.advertise", "dhcp6.reply", "dhcp6.refused"}
    assert wanted <= it.seen.keys()
    assert not isinstance(ask(it.site, OS.message(Type.SOLICIT, ia()), direct(MAC), it.now), Silence)
    assert said(ask(it.site, OS.message(Type.INFORMATION_REQUEST), now=it.now)).type == Type.REPLY
