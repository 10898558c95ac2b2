"""When the loop may commit by itself."""

from __future__ import annotations

import pytest

from provisioner.store.pace import REST_S, SLOW_S, Pace

AT = 100.0


@pytest.mark.parametrize(
    ("took", "later", "allowed"),
    [
        (0.0, 0.0, True),
        (SLOW_S / 2, 0.0, True),
        (SLOW_S * 2, 0.0, False),
        (SLOW_S * 2, REST_S - 0.1, False),
        (SLOW_S * 2, REST_S, True),
    ],
)
def test_after_one_that_was_slow_it_rests(took: float, later: float, allowed: bool) -> None:
    pace = Pace()
    assert pace.allows(AT)
    pace.took(AT - took, AT)
    assert pace.allows(AT + later) is allowed
