"""What a pool keeps for who it was offered to, for how long, and whose it is then."""

from __future__ import annotations

import pytest

from provisioner.dhcp.leases import Pool
from tests.dhcp.test_leases import NOW, A, B, C, D, bind, pool, take


def test_an_offer_is_kept_for_its_time() -> None:
    here = pool(1, offer_s=30)
    here.offer(A, 1, NOW)
    assert here.pick(B, 0, NOW + 29, known=True) is None
    assert here.held(A, NOW + 29) == 1
    assert here.pick(B, 0, NOW + 31, known=True) == 1


def test_a_second_offer_replaces_the_first() -> None:
    here = pool(2)
    here.offer(A, 1, NOW)
    here.offer(A, 2, NOW)
    assert here.holder(1, NOW) is None
    assert here.used(NOW) == 1
    assert take(here, B) == 1


def test_a_lease_for_another_address_than_the_one_offered_frees_the_offer() -> None:
    here = pool(2)
    here.offer(A, 1, NOW)
    bind(here, A, 2)
    assert take(here, B) == 1


def test_an_address_that_was_offered_when_its_lease_was_over_is_offered_to_nobody_else() -> None:
    """Also where the machine that had it comes back meanwhile, and gets another one."""
    here = pool(3)
    assert take(here, A) == 1
    here.offer(B, 1, NOW + 101)
    bind(here, A, 2, NOW + 300, NOW + 102)
    assert take(here, C, NOW + 102) == 3
    here.release(C, 3, NOW + 103)
    assert here.pick(D, 0, NOW + 103, known=True) == 3
    here.withdraw(B)
    assert here.pick(D, 0, NOW + 104, known=True) == 1


def test_offers_of_pools_that_became_one_end_in_their_order_and_a_machine_has_one() -> None:
    first, second, both = Pool("p", [(1, 2)]), Pool("q", [(3, 4)]), pool(4)
    first.offer(A, 1, NOW)
    second.offer(B, 3, NOW - 20)
    second.offer(A, 4, NOW - 10)
    both.keep_offers((first, second))
    assert [both.offered(key) for key in (A, B)] == [1, 3]
    assert [both.pick(C, 4, NOW, known=True), both.holder(3, NOW)] == [4, B]
    assert both.used(NOW + 11) == 1
    assert both.used(NOW + 31) == 0


SETTINGS = {"longer": (5, 300), "shorter": (300, 5), "the same": (30, 30)}


@pytest.mark.parametrize(("before", "after"), SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("same", [True, False], ids=["the same pool", "another pool of its addresses"])
def test_offers_end_in_their_order_though_they_are_kept_for_another_time(before: int, after: int, same: bool) -> None:
    """Each is kept as long as the settings say that hold now, and its address is one machine's at a time."""
    here = pool(4, offer_s=before)
    here.offer(A, 1, NOW)
    if same:
        here.go_by(after, 1)
        assert (here.offer_s, here.spare) == (after, 1)
    else:
        there = pool(4, offer_s=after)
        there.keep_offers((here,))
        here = there
    for number, key in enumerate((B, C, D, B, C), 1):
        now = NOW + number * (after + 1)
        assert here.used(now) == 0
        ip = here.pick(key, 0, now, known=True)
        assert ip is not None
        here.offer(key, ip, now)
        assert here.holder(ip, now + after - 1) == key
