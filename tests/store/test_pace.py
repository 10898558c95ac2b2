"""When the loop may commit by itself."""

from __future__ import annotations

import pytest

from provisioner.store.pace import FIRST_S, LONGEST_S, SLOW_S, Pace

AT = 100.0


@pytest.mark.parametrize(
    ("waited", "later", "allowed"),
    [
        (0.0, 0.0, True),
        (SLOW_S / 2, 0.0, True),
        (SLOW_S * 2, 0.0, False),
        (SLOW_S * 2, FIRST_S / 2, False),
        (SLOW_S * 2, FIRST_S, True),
    ],
)
def test_after_one_that_waited_it_rests(waited: float, later: float, allowed: bool) -> None:
    pace = Pace()
    assert pace.allows(AT)
    pace.waited(waited, AT)
    assert pace.allows(AT + later) is allowed


def test_the_rest_grows_while_they_go_on_to_wait() -> None:
    pace, now, rests = Pace(), AT, list[float]()
    for pause in (0.0, 0.0, 0.0, *[LONGEST_S / 2] * 8, LONGEST_S):
        now += pause
        pace.waited(SLOW_S * 2, now)
        rests.append(next(n / 10 for n in range(1000) if pace.allows(now + n / 10)))
        now += rests[-1]
    assert rests == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 10, 0.1], abs=0.11)
