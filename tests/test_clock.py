"""The clock that deadlines go by is not moved by whoever sets the time."""

from __future__ import annotations

import time

from provisioner.clock import SteadyClock


def test_it_starts_with_the_wall_clock_and_only_goes_on() -> None:
    before = time.time()
    clock = SteadyClock()
    first, second = clock.now(), clock.now()
    assert abs(first - before) < 60
    assert second >= first
    assert abs(clock.drift_s()) < 60
