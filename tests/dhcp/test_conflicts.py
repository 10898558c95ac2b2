"""Who answers on addresses that were to be offered."""

from __future__ import annotations

import pytest

from provisioner.dhcp.conflicts import PAUSE_S, Conflicts
from provisioner.dhcp.leases import DOUBTED_S
from tests.dhcp.clients import NOW, US, ip, site, subnet

ROUTER, PRINTER = "de:ad:be:ef:00:01", "de:ad:be:ef:00:02"
ANSWERS: dict[str, tuple[list[tuple[str, float]], list[bool]]] = {
    "a host with one address": ([(PRINTER, 0)], [False]),
    "one that answers for all": ([(ROUTER, 0)] * 4, [False, False, True, True]),
    "hosts beside each other": ([(ROUTER, 0), (PRINTER, 0)] * 2, [False] * 4),
    "all of these at once": ([(ROUTER, 0), (PRINTER, 0)] * 3, [False] * 4 + [True] * 2),
    "a host whose address is looked for again and again": ([(PRINTER, n * PAUSE_S) for n in range(4)], [False] * 4),
    "with pauses that are shorter": ([(ROUTER, n * (PAUSE_S - 1)) for n in range(4)], [False, False, True, True]),
}


@pytest.mark.parametrize(("found", "several"), ANSWERS.values(), ids=ANSWERS.keys())
def test_who_answers_for_several_addresses(found: list[tuple[str, float]], several: list[bool]) -> None:
    conflicts = Conflicts()
    assert [conflicts.answers_for_several(user, NOW + after) for user, after in found] == several


def test_made_up_hosts_push_out_the_oldest() -> None:
    conflicts = Conflicts(limit=2)
    for number in range(50):
        assert not conflicts.answers_for_several(f"host {number}", NOW)
        assert not conflicts.answers_for_several(f"host {number}", NOW)
    assert not conflicts.answers_for_several("host 0", NOW)
    assert conflicts.answers_for_several("host 49", NOW)


def test_what_is_answered_for_by_one_that_answers_for_all_is_out_of_use_for_a_minute_only() -> None:
    here = site(subnet(decline_s=3600, pools=("10.0.0.100-10.0.0.199",)))
    found = [here.found_in_use(ip(f"10.0.0.{number}"), ROUTER, NOW) for number in range(100, 104)]
    assert [lease.until - NOW for _, leases in found for lease in leases] == [3600, 3600, DOUBTED_S, DOUBTED_S]
    assert found[1][0] == f"{ROUTER} uses 10.0.0.101 already"
    assert found[2][0] == f"{ROUTER} answers for 10.0.0.102 and others: a proxy ARP, or a port that is looped back?"
    assert "answers for it and others: a proxy ARP" in found[3][1][0].reason


def test_addresses_of_our_own_stay_out_of_use() -> None:
    here = site(subnet(decline_s=3600, pools=("10.0.0.1-10.0.0.199",)))
    said = [here.found_in_use(ip(US), "this server", NOW)[1][0].until - NOW for _ in range(4)]
    assert said == [3600] * 4
