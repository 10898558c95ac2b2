"""No jump of the wall clock moves the one that leases and deadlines go by."""

from __future__ import annotations

import time

from provisioner.clock import SteadyClock


class Times:
    """A wall clock and a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 500.0

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.steady)

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_time_goes_on_steadily_whatever_is_set() -> None:
    times = Times()
    clock = times.clock()
    for jump in (2 * 86400.0, -3 * 3600.0, -20 * 365 * 86400.0):
        before = clock.now()
        times.wall += jump
        times.go_on(10)
        assert clock.now() == before + 10


def test_a_jump_is_told_once() -> None:
    times = Times()
    clock = times.clock()
    times.go_on(100)
    assert clock.jump() == 0.0
    times.wall += 3600
    assert clock.jump() == 3600.0
    times.go_on(100)
    assert clock.jump() == 0.0
    times.wall -= 3600
    assert clock.jump() == -3600.0


def test_adjustment_is_no_jump() -> None:
    times = Times()
    clock = times.clock()
    times.wall += 1
    assert clock.jump() == 0.0


def test_it_starts_with_the_wall_clock_and_only_goes_on() -> None:
    before = time.time()
    clock = SteadyClock()
    first, second = clock.now(), clock.now()
    assert abs(first - before) < 60
    assert second >= first
