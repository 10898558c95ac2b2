"""Who gets which address: the pool as a value machine, with time passed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.leases import FOR_EVER, MOST_S, Lease, LeaseState, Pool, sound

NOW = 1000.0
A, B, C, D = (bytes((0x52, 0x54, 0, 0, 0, n)) for n in range(1, 5))


def pool(size: int = 3, **settings: int) -> Pool:
    """Addresses 1 to `size`."""
    return Pool("p", [(1, size)], **settings)


def bind(where: Pool, key: bytes, ip: int, until: float = NOW + 100, since: float = NOW) -> tuple[Lease, ...]:
    return where.bind(Lease(ip, key, where.name, until, since=since))


def take(where: Pool, key: bytes, now: float = NOW, lease_s: float = 100, wanted: int = 0) -> int | None:
    """Go through an offer and a lease, as a client does."""
    ip = where.held(key, now)
    if ip is None:
        ip = where.pick(key, wanted, now, known=True)
    if ip is not None:
        assert where.free_for(key, ip, now)
        where.offer(key, ip, now)
        bind(where, key, ip, now + lease_s, now)
    return ip


def test_addresses_are_given_in_order_and_kept() -> None:
    here = pool()
    assert [take(here, key) for key in (A, B, A, C, D)] == [1, 2, 1, 3, None]


def test_a_wish_is_granted_where_the_address_is_free() -> None:
    here = pool()
    assert take(here, A, wanted=3) == 3
    assert take(here, B, wanted=3) == 1
    assert take(here, C, wanted=77) == 2


def test_the_same_machine_gets_the_same_address_back_after_its_lease_ran_out() -> None:
    here = pool()
    assert [take(here, A), take(here, B)] == [1, 2]
    assert take(here, A, NOW + 5000) == 1


def test_untouched_addresses_go_first_then_the_one_that_ran_out_first() -> None:
    here = pool()
    assert [take(here, A, NOW, 300), take(here, B, NOW, 100), take(here, C, NOW, 200)] == [1, 2, 3]
    assert [take(here, D, NOW + 50), take(here, D, NOW + 150)] == [None, 2]
    late = bytes(6)
    assert [take(here, late, NOW + 151), take(here, late, NOW + 201)] == [None, 3]


def test_a_renewal_moves_the_end() -> None:
    here = pool(1)
    assert take(here, A) == 1
    bind(here, A, 1, NOW + 500)
    assert take(here, B, NOW + 150) is None
    assert take(here, B, NOW + 501) == 1


def test_a_shorter_lease_ends_when_it_says() -> None:
    here = pool(1)
    bind(here, A, 1, NOW + 500)
    bind(here, A, 1, NOW + 50)
    assert take(here, B, NOW + 51) == 1


def test_who_loses_an_address_does_not_come_back_to_it() -> None:
    here = pool(1)
    take(here, A)
    assert take(here, B, NOW + 101) == 1
    assert here.of(A) is None
    assert here.held(A, NOW + 102) is None


def test_a_release_frees_and_remembers() -> None:
    here = pool(2)
    assert take(here, A) == 1
    released = here.release(A, 1, NOW + 1)
    assert released is not None
    assert (released.state, released.until) == (LeaseState.RELEASED, NOW + 1)
    assert take(here, B, NOW + 2) == 2
    assert take(here, C, NOW + 3) == 1
    assert here.of(A) is None


def test_a_release_of_somebody_elses_lease_is_none() -> None:
    here = pool()
    take(here, A)
    assert here.release(B, 1, NOW) is None
    assert here.release(A, 2, NOW) is None
    assert here.release(A, 1, NOW + 101) is None


def test_a_declined_address_rests() -> None:
    here = pool(1)
    take(here, A)
    declined = here.decline(1, NOW, 1000, "somebody answers")
    assert (declined.key, declined.reason) == (b"", "somebody answers")
    assert here.holder(1, NOW) == b""
    assert [take(here, A), take(here, B, NOW + 999), take(here, B, NOW + 1001)] == [None, None, 1]


def test_declines_beyond_a_quarter_of_the_pool_are_doubted() -> None:
    here = pool(8)
    until = [here.decline(ip, NOW, 1000, "taken").until - NOW for ip in range(1, 9)]
    assert until == [1000, 1000, 60, 60, 60, 60, 60, 60]
    assert [take(here, A, NOW + 59), take(here, A, NOW + 61)] == [None, 3]
    assert here.decline(4, NOW + 2000, 1000, "taken").until == NOW + 3000


def test_a_declined_address_that_a_reservation_names_counts_as_declined_no_more() -> None:
    """The usual life of a host with an address of its own: found in the pool, then reserved for it."""
    here = pool(8)
    here.decline(1, NOW, 1000, "the printer uses it")
    here.decline(2, NOW, 1000, "the camera uses it")
    here.fix(1)
    here.fix(2)
    assert here.declined == 0
    assert here.decline(3, NOW, 1000, "taken").until == NOW + 1000
    here.unfix(1)
    assert here.declined == 2
    assert here.used(NOW + 1000) == 1
    assert here.declined == 0


def test_a_declined_offer_is_withdrawn() -> None:
    here = pool(2)
    here.offer(A, 1, NOW)
    here.decline(1, NOW, 1000, "somebody answers")
    assert take(here, A) == 2


def test_a_machine_that_moves_ends_its_former_lease() -> None:
    here = pool(2)
    bind(here, A, 1)
    new, ended = bind(here, A, 2, since=NOW + 10)
    assert (new.ip, ended.ip, ended.state, ended.until) == (2, 1, LeaseState.RELEASED, NOW + 10)
    assert take(here, B, NOW + 11) == 1


def test_a_fixed_address_is_nobody_elses() -> None:
    here = pool(2)
    here.fix(1)
    assert [take(here, A), take(here, B), take(here, B, wanted=1)] == [2, None, None]
    assert here.used(NOW) == 2


def test_an_unfixed_address_goes_back_to_the_pool() -> None:
    here = pool(1)
    here.fix(1)
    here.fix(1)
    here.unfix(1)
    assert take(here, A) is None
    here.unfix(1)
    assert take(here, A) == 1


def test_an_unfixed_address_that_is_in_use_waits_for_its_end() -> None:
    here = pool(1)
    here.fix(1)
    bind(here, A, 1)
    here.unfix(1)
    assert take(here, B, NOW + 50) is None
    assert take(here, B, NOW + 101) == 1


def test_an_address_fixed_while_leased_is_not_given_on_when_the_lease_ends() -> None:
    here = pool(1)
    take(here, A)
    here.fix(1)
    assert take(here, B, NOW + 101) is None


def test_a_fixed_address_outside_the_ranges_costs_no_pool_address() -> None:
    here = pool(1)
    here.fix(77)
    bind(here, A, 77)
    assert here.used(NOW) == 0
    here.unfix(77)
    assert take(here, B) == 1
    assert take(here, C, NOW + 101) == 1
    assert take(here, D, NOW + 102) is None


def test_spare_addresses_are_for_known_machines() -> None:
    here = pool(2, spare=1)
    assert here.pick(A, 0, NOW, known=False) == 1
    bind(here, A, 1)
    assert here.pick(B, 0, NOW, known=False) is None
    assert here.pick(B, 0, NOW, known=True) == 2


def test_a_restart_loses_nothing() -> None:
    before = pool()
    take(before, A, NOW, 300)
    take(before, B)
    before.decline(2, NOW, 1000, "taken")
    take(before, C)
    after = pool()
    after.load(before.by_ip.values())
    assert [take(after, A, NOW, 300), take(after, C)] == [1, 3]
    assert take(after, D, NOW + 250) == 3
    assert take(after, B, NOW + 999) == 1


SOUND = {
    "as it was": ((NOW - 10, NOW + 90, "bound"), (NOW - 10, NOW + 90)),
    "over": ((NOW - 100, NOW - 10, "bound"), (NOW - 100, NOW - 10)),
    "the clock was ahead": ((NOW + 5000, NOW + 5100, "bound"), (NOW, NOW + 100)),
    "without an end, and the clock was ahead": ((NOW + 5000, FOR_EVER, "bound"), (NOW, FOR_EVER)),
    "longer than DHCP can say": ((0.0, NOW + 1e12, "bound"), (0.0, NOW + MOST_S)),
    "given back by a clock that was ahead": ((NOW + 5000, NOW + 5100, "released"), (NOW, NOW)),
    "given back later than now": ((NOW - 10, NOW + 5100, "released"), (NOW - 10, NOW)),
    "declined by a clock that was ahead": ((NOW + 5000, NOW + 8600, "declined"), (NOW, NOW + 3600)),
}


@pytest.mark.parametrize(("times", "expected"), SOUND.values(), ids=SOUND.keys())
def test_no_stored_lease_lasts_longer_from_now_than_it_was_given_for(
    times: tuple[float, float, str], expected: tuple[float, float]
) -> None:
    since, until, state = times
    found = sound(Lease(1, A, "p", until, LeaseState(state), since), NOW)
    assert (found.since, found.until) == expected


def test_the_time_of_a_decline_is_on_record() -> None:
    assert pool().decline(2, NOW, 60, "taken").since == NOW


ENDS = {
    "given back in another order": {1: ("released", 30), 2: ("released", 10), 3: ("released", 20)},
    "given back and run out": {1: ("bound", 30), 2: ("released", 10), 3: ("bound", 20)},
    "out of use for a while": {1: ("released", 30), 2: ("bound", 10), 3: ("declined", 20)},
}


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS.keys())
def test_after_a_restart_the_address_unused_for_longest_goes_first(ends: dict[int, tuple[str, float]]) -> None:
    here = pool()
    here.load(Lease(ip, bytes((ip,)) * 6, "p", NOW + end, LeaseState(state)) for ip, (state, end) in ends.items())
    assert [take(here, key, NOW + 50) for key in (A, B, C, D)] == [2, 3, 1, None]


def test_what_ran_out_goes_before_what_was_given_back_later() -> None:
    here = pool()
    assert [take(here, A, NOW, 300), take(here, B, NOW, 100), take(here, C, NOW, 500)] == [1, 2, 3]
    here.release(A, 1, NOW + 200)
    assert [take(here, D, NOW + 201), take(here, B, NOW + 202)] == [2, 1]
    here = pool()
    assert [take(here, A, NOW, 300), take(here, B, NOW, 100)] == [1, 2]
    bind(here, A, 3, NOW + 500, NOW + 200)  # who moves gives the address before back
    assert [take(here, C, NOW + 201), take(here, D, NOW + 202)] == [2, 1]


def test_ranges_that_shrank_do_not_give_what_lies_outside() -> None:
    here = pool(1)
    here.load([Lease(9, A, "p", NOW + 10)])
    assert here.held(A, NOW) is None
    assert take(here, B) == 1
    assert take(here, C, NOW + 50) is None


@pytest.mark.unmeasured
def test_a_million_renewals_leave_memory_flat() -> None:
    """CVE-2018-5733 in ISC dhcpd: traffic of one client that makes the server grow."""
    here = pool()
    for turn in range(100_000):
        now = NOW + turn
        here.offer(A, 1, now)
        bind(here, A, 1, now + 100, now)
        if turn % 3 == 0:
            here.release(A, 1, now)
        here.used(now)
    assert len(here._timers) <= 100
    assert len(here._timed) + len(here._free) + len(here._offers) <= 3


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "offer", "release", "decline", "fix", "unfix", "wait"]),
        st.sampled_from([A, B, C, D]),
        st.integers(1, 4),
    ),
    max_size=60,
)


class History:
    """A pool, and what its clients believe."""

    def __init__(self) -> None:
        self.pool = pool(3, offer_s=30)
        self.now = NOW
        self.fixed = 0
        self.using: dict[bytes, tuple[int, float]] = {}

    def take(self, key: bytes, _: int) -> None:
        ip = take(self.pool, key, self.now)
        if ip is not None:
            others = (use for who, use in self.using.items() if who != key)
            assert all(held != ip or until <= self.now for held, until in others)
            self.using[key] = (ip, self.now + 100)

    def offer(self, key: bytes, ip: int) -> None:
        if ip <= 3 and self.pool.holder(ip, self.now) is None:
            self.pool.offer(key, ip, self.now)

    def release(self, key: bytes, _: int) -> None:
        if key in self.using and self.pool.release(key, self.using[key][0], self.now) is not None:
            del self.using[key]

    def decline(self, _: bytes, ip: int) -> None:
        self.pool.decline(ip, self.now, 50, "taken")
        self.using = {who: use for who, use in self.using.items() if use[0] != ip}

    def fix(self, _: bytes, ip: int) -> None:
        if not self.fixed:
            self.pool.fix(ip)
            self.fixed = ip

    def unfix(self, _: bytes, __: int) -> None:
        if self.fixed:
            self.pool.unfix(self.fixed)
            self.fixed = 0

    def wait(self, _: bytes, turns: int) -> None:
        self.now += 40 * turns


@given(steps)
def test_no_address_is_ever_given_twice_or_lost(history: list[tuple[str, bytes, int]]) -> None:
    it = History()
    for what, key, number in history:
        getattr(it, what)(key, number)
    it.unfix(A, 0)
    later = it.now + 1000
    assert it.pool.used(later) == 0
    assert sorted(take(it.pool, key, later) or 0 for key in (A, B, C)) == [1, 2, 3]


@given(steps)
def test_what_was_offered_may_be_taken_by_the_rules_for_all_addresses(history: list[tuple[str, bytes, int]]) -> None:
    it = History()
    for what, key, number in history:
        getattr(it, what)(key, number)
        for who in (A, B, C, D):
            for ip in range(1, 5):
                may = it.pool.covers(ip) and not it.pool.is_fixed(ip) and it.pool.free_for(who, ip, it.now)
                offered = it.pool.offered(who) == ip and it.pool.keeps_for(who, it.now)
                assert it.pool.has_offered(who, ip, it.now) == (may and offered)
