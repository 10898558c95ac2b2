"""Who comes back after its lease is over: its address is everybody's since, and its own again if it asks first."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from provisioner.dhcp.case import Reply
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Reservation
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, US, acquire, ask, discover, ip, packet, request, said, site, subnet
from tests.dhcp.test_hostile import stranger
from tests.dhcp.test_leases import A, B, C, pool, take


def test_what_is_offered_to_who_had_it_is_nobody_elses() -> None:
    here = pool(2, offer_s=30)
    assert [take(here, A), take(here, B)] == [1, 2]
    here.offer(A, 1, NOW + 100)  # both leases are over, and nobody has looked since
    assert here.used(NOW + 101) == 1
    assert here.pick(C, 0, NOW + 101, known=True) == 2
    assert here.used(NOW + 131) == 0
    assert here.pick(C, 0, NOW + 131, known=True) == 1


OVER: dict[str, tuple[Packet | None, float]] = {
    "its lease has ended": (None, NOW + 3601),
    "it gave its lease back": (packet(Type.RELEASE, ciaddr="10.0.0.100"), NOW + 2),
}


@pytest.mark.parametrize(("question", "later"), OVER.values(), ids=OVER.keys())
def test_who_comes_back_has_its_address_kept_and_looked_at(question: Packet | None, later: float) -> None:
    """Others are offered another one meanwhile, though nobody's lease keeps it."""
    here = site(subnet(pools=("10.0.0.100-10.0.0.101",)))
    acquire(here)
    acquire(here, OTHER_MAC)
    if question is not None:
        ask(here, question, now=NOW + 1)
        ask(here, question._replace(chaddr=bytes.fromhex("525400000002"), ciaddr=ip("10.0.0.101")), now=NOW + 1)
    back, other = (ask(here, discover(mac), now=later) for mac in (MAC, "52:54:00:00:00:03"))
    assert [said(found).yiaddr for found in (back, other)] == [ip("10.0.0.100"), ip("10.0.0.101")]
    assert back.fresh
    assert said(ask(here, request("10.0.0.100", server=US), now=later)).type == Type.ACK


def released(here: Site, held: dict[str, str]) -> float:
    for mac, address in held.items():
        ask(here, packet(Type.RELEASE, mac, ciaddr=address), now=NOW + 1)
    return NOW + 2


def ended(_here: Site, _held: dict[str, str]) -> float:
    return NOW + 3601


def by_discover(here: Site, mac: str, _: str, now: float) -> None:
    found = ask(here, discover(mac), now=now)
    if isinstance(found, Reply):
        ask(here, request(str(IPv4Address(found.ip)), mac, server=US), now=now)


def by_request(here: Site, mac: str, had: str, now: float) -> None:
    ask(here, request(had, mac), now=now)


@pytest.mark.parametrize("give_up", [released, ended])
@pytest.mark.parametrize("come_back", [by_discover, by_request])
def test_strangers_that_come_back_leave_what_is_kept_for_known_machines(
    give_up: Callable[[Site, dict[str, str]], float], come_back: Callable[[Site, str, str, float], None]
) -> None:
    """What they had is everybody's since: they are new ones, who get it again while there is room for such."""
    here = site(subnet(pools=("10.0.0.100-10.0.0.119",), known_spare=10), known=(Reservation(mac=MAC),))
    held = {mac: acquire(here, mac) for mac in map(stranger, range(18))}
    later = give_up(here, held)
    back = acquire(here, stranger(0), now=later)
    assert back == held[stranger(0)]
    for number in range(18, 21):
        by_discover(here, stranger(number), "", later)
    for mac, had in held.items():
        come_back(here, mac, had, later)
    assert here.topology.at(ip("10.0.0.100"))[0].pool.used(later) == 18
    assert acquire(here, stranger(0), now=later) == back
    assert acquire(here, now=later)


def test_strangers_that_come_back_are_as_many_a_second_as_new_ones() -> None:
    here = site(subnet(new_per_s=1, new_burst=3))
    macs = [stranger(number) for number in range(6)]
    for number, mac in enumerate(macs):
        acquire(here, mac, now=NOW + number)
    later = NOW + 4000
    assert [isinstance(ask(here, discover(mac), now=later), Reply) for mac in macs] == [True] * 3 + [False] * 3
    assert [isinstance(ask(here, discover(mac), now=later + 1), Reply) for mac in macs[:3]] == [True] * 3
